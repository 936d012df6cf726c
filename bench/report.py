"""Runs the benchmarks and writes bench/RESULTS.md with its tables, the machine, the versions, and pictures in bench/plots/.

    python bench/report.py --torch A/bin/python --tf B/bin/python --jax C/bin/python --ort D/bin/python --ov E/bin/python --readme
    python bench/report.py --only kernels,scaling --quick --out look
    python bench/report.py --from bench/saved

What is measured is kept as JSON in the folder given by --keep; --from makes the page of such a folder again and measures nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests")]

from pages import page, saved
from pages.drawing import pyplot
from peers import table
from peers.driver import OF_THIS, PEERS
from roofline import rows

KERNEL_SECONDS = 0.4  # a row; three hundred rows take three minutes
SETS = ("peers", "kernels", "scaling")


def chosen_sets(text: str) -> list[str]:
    """The names in a comma-separated list.

    >>> chosen_sets("scaling,peers")
    ['peers', 'scaling']
    """
    given = {name.strip() for name in text.split(",") if name.strip()}
    if not given or not given <= set(SETS):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(SETS)}, got {text!r}")
    return [name for name in SETS if name in given]


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=chosen_sets, default=list(SETS), help=f"some of {','.join(SETS)}")
    parser.add_argument("--quick", action="store_true", help="a look, not a measurement")
    parser.add_argument(
        "--from", dest="given", type=Path, metavar="FOLDER", help="measure nothing: read this"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep what was measured here, as JSON")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "bench", metavar="FOLDER", help="for RESULTS.md and plots/"
    )
    parser.add_argument(
        "--readme",
        action="store_true",
        help="put the headline table and its picture between README.md's marks",
    )
    parser.add_argument("--no-plots", action="store_true", help="tables only; needs no matplotlib")
    for name, peer in PEERS.items():
        if name not in OF_THIS:
            parser.add_argument(f"--{name}", metavar="PYTHON", help=f"interpreter that has {peer.package}")
    return parser.parse_args(words)


def command(name: str, file: Path, asked: argparse.Namespace) -> list[str]:
    """The program that measures one of SETS into a file."""
    bench = ROOT / "bench"
    if name == "kernels":
        quick = ["--bench-quick"] if asked.quick else [f"--benchmark-max-time={KERNEL_SECONDS}"]
        return [sys.executable, "-m", "pytest", str(bench), "-q", f"--benchmark-json={file}", *quick]
    program = {"peers": "compare_peers.py", "scaling": "scaling.py"}[name]
    words = [sys.executable, str(bench / program), "--json", str(file)]
    if name == "peers":
        for peer in PEERS:
            if vars(asked).get(peer):
                words += [f"--{peer}", vars(asked)[peer]]
    return [*words, *(["--quick"] if asked.quick else [])]


def measure(asked: argparse.Namespace, folder: Path) -> None:
    """Runs what was chosen, one after the other, each in a process of its own.

    Raises:
        RuntimeError: one of them failed.
    """
    files = {"kernels": saved.KERNELS, "peers": saved.PEERS, "scaling": saved.SCALING}
    for name in asked.only:
        file = folder / files[name]
        words = command(name, file, asked)
        began = time.perf_counter()
        print(f"{name}: {' '.join(words)}", file=sys.stderr, flush=True)
        status = subprocess.run(words, cwd=ROOT).returncode
        if status or not file.exists():
            raise RuntimeError(
                f"report: expected `{' '.join(words)}` to measure and end with status 0, got {status}; run it by itself to see why."
            )
        print(f"{name} took {(time.perf_counter() - began) / 60:.1f} minutes", file=sys.stderr, flush=True)
        if name == "kernels":
            file.write_text(rows.without_rounds(file.read_text(encoding="utf-8")), encoding="utf-8")


def readme_picture(out: Path) -> str:
    """README's link to the bars, where they are inside the project; nothing where they are not."""
    bars = (out / "plots" / "peers.png").resolve()
    if not bars.exists() or not bars.is_relative_to(ROOT):
        return ""
    return page.shown("cnnlite and other libraries", bars, bars.parent.relative_to(ROOT).as_posix())


def main() -> int:
    """Measure or read, then write."""
    asked = arguments()
    try:
        if not asked.no_plots:
            pyplot()  # now, not after an hour of measuring
        with tempfile.TemporaryDirectory(prefix="cnnlite-report-") as name:
            folder = asked.given or asked.keep or Path(name)
            if asked.given is None:
                folder.mkdir(parents=True, exist_ok=True)
                measure(asked, folder)
            found = saved.load(folder)
            if asked.readme and not found.peers:
                raise ValueError(
                    "report: expected the peers' figures for --readme, got none; leave it out or measure them."
                )
            print(page.write(found, asked.out, pictures=not asked.no_plots))
            if asked.readme and found.peers:
                table.write_into(ROOT / "README.md", page.headline(found.peers, readme_picture(asked.out)))
    except (RuntimeError, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
