"""Compare cnnlite with PyTorch, Keras on TensorFlow and on JAX, onnxruntime, OpenVINO, NumPy and plain Numba loops, in one run, in turn.

    python bench/compare_peers.py
    python bench/compare_peers.py --torch A/bin/python --tf B/bin/python --jax C/bin/python --ort D/bin/python --ov E/bin/python
    python bench/compare_peers.py --rows train32,predict256 --quick --json figures.json

Each library runs in a process of its own, by the interpreter given for it (or named in CNNLITE_BENCH_TORCH,
_TF, _JAX, _ORT, _OV), or by this one where it has the package (the `bench` extra). One that is absent is named as
absent. All get the same weights and images, and their answers are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests")]

from peers import bfloat16_rows, layer_rows, own_rows, rows, table
from peers.driver import OF_THIS, PEERS, Setup, find_interpreter
from peers.results import Result

# The order of measuring and of the tables; `layers` gives two rows and a table of its own, `bfloat16_layers` one.
NAMES = [*rows.ROWS, "layers", "bfloat16_layers", *own_rows.OWN_ROWS]


def chosen_rows(text: str) -> list[str]:
    """The names in a comma-separated list, in the table's order."""
    given = [name.strip() for name in text.split(",") if name.strip()]
    unknown = sorted(set(given) - set(NAMES))
    if unknown or not given:
        raise argparse.ArgumentTypeError(
            f"expected some of {','.join(NAMES)}, got {','.join(unknown) or 'nothing'}"
        )
    return [name for name in NAMES if name in given]


def save_images(folder: Path) -> Path | None:
    """A file with the images that come with the package, for the workers; None if they cannot be had."""
    import numpy as np

    try:
        from cnnlite.datasets import fashion_mnist

        (images, labels), _ = fashion_mnist.load_data(sample=True)
    except (ImportError, AttributeError, OSError) as error:
        print(f"The package's images cannot be had ({error}).", file=sys.stderr)
        return None
    path = folder / "images.npz"
    np.savez(path, x=images, y=labels)
    return path


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, peer in PEERS.items():
        if name not in OF_THIS:
            parser.add_argument(f"--{name}", metavar="PYTHON", help=f"interpreter that has {peer.package}")
    parser.add_argument("--rows", type=chosen_rows, default=NAMES, help=f"some of {','.join(NAMES)}")
    parser.add_argument(
        "--quick", action="store_true", help="shorter and fewer rounds: a look, not a measurement"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measured value to this file")
    return parser.parse_args()


def measured(names: Sequence[str], setup: Setup, layers: list[layer_rows.LayerResult]) -> Iterator[Result]:
    """The results of the named rows, one by one; those of single convolutions are added to `layers`."""
    yield from rows.measure([rows.ROWS[name] for name in names if name in rows.ROWS], setup)
    for name in names:
        if name == "layers":
            layers += layer_rows.measure_layers(setup)
            yield from layer_rows.summed_up(layers)
        elif name == "bfloat16_layers":
            found = bfloat16_rows.measure_layers(setup)
            print("\n" + bfloat16_rows.table(found) + "\n", flush=True)
            yield bfloat16_rows.summed_up(found)
        elif name in own_rows.OWN_ROWS:
            yield from own_rows.OWN_ROWS[name](setup)


def main() -> None:
    """Measure the chosen rows and print them."""
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by an exception, which ends the workers too
    interpreters = {name: find_interpreter(peer, vars(asked).get(name)) for name, peer in PEERS.items()}
    results: list[Result] = []
    layers: list[layer_rows.LayerResult] = []
    with tempfile.TemporaryDirectory(prefix="cnnlite-bench-") as name:
        folder = Path(name)
        setup = Setup(
            interpreters,
            seconds=0.2 if asked.quick else 0.6,
            rounds=2 if asked.quick else 5,
            quick=asked.quick,
            folder=folder,
            data=save_images(folder),
        )
        machine, versions = table.machine(setup), table.versions(setup)
        print(table.facts({**machine, **versions}), flush=True)
        began = time.perf_counter()
        for result in measured(asked.rows, setup, layers):
            took, began = time.perf_counter() - began, time.perf_counter()
            print(
                f"{result.title}: {result.ours} | {result.verdict} | {took:.0f} s",
                file=sys.stderr,
                flush=True,
            )
            results.append(result)
    print("\n" + "\n\n".join([table.headline(results), *table.every_library(results)]))
    if layers:
        print("\n" + table.layers(layers))
    if asked.json:
        report = {"machine": machine, "versions": versions, "rows": [vars(result) for result in results]}
        asked.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
