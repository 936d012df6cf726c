"""Winograd's algorithm beside our direct one and PyTorch (oneDNN), over the 3 x 3 layers of ResNet-50 and VGG-16, in turns.

    python bench/winograd.py --torch peers/torch/bin/python
    python bench/winograd.py --layers conv4,conv5 --pass grad_input --threads 2 --quick

PyTorch has no Winograd for the CPU to ask for: its column is oneDNN's own choice, weights packed before or not, whichever is quicker.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from math import exp, log
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests")]

from cases import RESNET50, VGG16, ConvCase
from peers import table
from peers.driver import PEERS, Figure, Setup, Worker, WorkerError, compare, find_interpreter
from peers.layer_rows import request_for

ALGORITHMS = ("direct", "winograd2x2", "winograd")
FEW_CHANNELS = 16


class ByAlgorithm(Worker):
    """A worker of this library that computes convolutions by the algorithm that is its label."""

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return super().ask({**request, "algorithm": self.label})


def layers(names: str) -> list[ConvCase]:
    """The 3 x 3 layers with stride 1 that have one of these names in theirs."""
    return [
        case
        for case in (*RESNET50, *VGG16)
        if case.kernel == (3, 3) and case.strides == (1, 1) and case.cin >= FEW_CHANNELS
        if any(name in case.name for name in names.split(","))
    ]


def cells(case: ConvCase, figures: Mapping[str, Figure]) -> list[str]:
    """Milliseconds of the direct algorithm, how many times as fast the others are, and oneDNN's way."""
    direct = figures["direct"]
    found = [case.name, direct.missing or f"{1e3 * direct.value:.3f} ±{direct.spread:.0%}"]
    for name in (*ALGORITHMS[1:], "torch"):
        figure = figures[name]
        found.append(figure.missing or ("" if direct.missing else f"{direct.value / figure.value:.2f}"))
    return [*found, figures["torch"].note]


def mean_of(rows: list[list[str]], column: int) -> str:
    """The geometric mean of a column, where all of it was measured."""
    try:
        return f"{exp(sum(log(float(row[column])) for row in rows) / len(rows)):.2f}"
    except ValueError:
        return ""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch", metavar="PYTHON", help="interpreter that has torch")
    parser.add_argument("--layers", type=layers, default=layers(""), help="parts of names, with commas")
    parser.add_argument("--pass", dest="which", choices=("forward", "grad_input"), default="forward")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="shorter and fewer rounds")
    asked = parser.parse_args()
    interpreters = {
        "cnnlite": sys.executable,
        "torch": find_interpreter(PEERS["torch"], asked.torch),
    }
    rows = []
    with tempfile.TemporaryDirectory(prefix="cnnlite-bench-") as name:
        seconds, rounds = (0.05, 3) if asked.quick else (0.15, 5)
        setup = Setup(interpreters, seconds, rounds, asked.quick, Path(name))
        workers: list[Worker] = []
        absent: dict[str, Figure] = {}
        try:
            for algorithm in ALGORITHMS:
                workers.append(ByAlgorithm(PEERS["cnnlite"], setup, asked.threads, label=algorithm))
            try:
                workers.append(Worker(PEERS["torch"], setup, asked.threads))
            except WorkerError as reason:
                absent["torch"] = Figure("torch", missing=str(reason))
            for case in asked.layers:
                case = case.with_batch(asked.batch)
                rows.append(
                    cells(case, {**absent, **compare(workers, request_for(case, asked.which), setup)})
                )
                print(" ".join(rows[-1]), file=sys.stderr, flush=True)
        finally:
            for worker in workers:
                worker.close()
    if not rows:
        parser.error("--layers: expected a part of the name of a 3 x 3 layer with stride 1.")
    rows.append(["geometric mean", "", *(mean_of(rows, column) for column in (2, 3, 4)), ""])
    print(f"{asked.which}, batch {asked.batch}, {asked.threads} thread{'s' * (asked.threads > 1)}\n")
    header = ["layer", "direct, ms", "winograd2x2, times as fast", "winograd", "PyTorch", "PyTorch's way"]
    print(table.markdown(header, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
