"""The same ops and the documented network on the CPU and on a GPU: times, their ratio, and the size from which the GPU pays.

    python bench/compare_devices.py
    python bench/compare_devices.py --device cuda:1 --csv devices.csv --png devices.png
    python bench/compare_devices.py --quick

Three times of each: the CPU with all its threads; the GPU with operands and results in its memory, by CUDA events; the GPU with
NumPy arrays in and out, transfers counted. Medians of rounds after a warm-up; answers are compared before anything is timed.
Without a GPU it gives the CPU's half and says which piece is missing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests")]

from devices import gpu, networks, report, sweeps
from devices.measure import Effort, Row, measure
from peers import table

from cnnlite.devices import processor_name


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help='which GPU, "cuda" or "cuda:N"')
    parser.add_argument("--quick", action="store_true", help="few small sizes: a look, not a measurement")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every time to this file")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the times into this file (matplotlib)")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    asked = arguments()
    effort = Effort(0.02, 3) if asked.quick else Effort(0.2, 5)
    timed, missing = gpu.find(asked.device)
    about = {"processor": processor_name(), "GPU": timed.description if timed else f"none: {missing}"}
    print(table.facts(about), flush=True)
    rows: list[Row] = []
    for sweep in [*sweeps.all_sweeps(asked.quick), *networks.all_sweeps(asked.quick)]:
        for point in sweep.points:
            rows.append(measure(sweep.name, sweep.axis, point, timed, effort))
            print(f"{sweep.name}, {point.size} {sweep.axis}", file=sys.stderr, flush=True)
    print("\n" + report.tables(rows))
    if timed is None:
        print(f"\nNo GPU, so this is the CPU's half: {missing}.")
    if asked.csv:
        report.write_csv(rows, asked.csv)
    if asked.png and not report.plot(
        rows, asked.png, f"{about['processor']} and {timed.description if timed else 'no GPU'}"
    ):
        print('No picture: matplotlib is not installed; pip install "cnnlite[bench]".', file=sys.stderr)


if __name__ == "__main__":
    main()
