"""Writes bench/cuda_static.md, or checks budgets: python -m tools.cuda_static [--check] [--exact] [--only WORD] [--processes N]"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests")]

from cnnlite_kernels.cuda.catalogue import CATALOGUE
from tools.cuda_static import figures, measure, report
from tools.cuda_static.tables import Measured
from tools.cuda_static.toolchain import architecture

TABLE = ROOT / "bench" / "cuda_static.md"


def figures_of(name: str, exact: bool) -> Measured:
    """Of the entry of that name: entries themselves do not go from a process to another."""
    (entry,) = (one for one in CATALOGUE if one.name == name)
    return measure.everywhere(entry, exact)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.cuda_static", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a kernel breaks its budget"
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="WORD",
        help="entries whose name has this in it; the table goes to the screen",
    )
    parser.add_argument(
        "--exact", action="store_true", help="compile each architecture for itself: see measure.everywhere"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    options = parser.parse_args()
    entries = [entry for entry in CATALOGUE if options.only in entry.name]
    if not entries:
        parser.error(
            f"expected a word of a kernel's name, got {options.only!r}; bench/cuda_static.md has the names"
        )
    with ProcessPoolExecutor(options.processes) as pool:
        names = [entry.name for entry in entries]
        measured = dict(zip(names, pool.map(partial(figures_of, exact=options.exact), names), strict=True))
    broken = 0
    for entry in entries:
        for capability, found in measured[entry.name].items():
            for fault in measure.faults(entry.budget, found):
                broken += 1
                print(f"{entry.name}, {architecture(capability)}: {fault}", file=sys.stderr)
    if options.check:
        print(f"{len(entries)} kernels, {broken} broken budgets")
        return int(broken > 0)
    lines = [*report.opening(), *report.machine_code(measured, entries)]
    if options.only:
        print("\n".join(lines))
        return int(broken > 0)
    lines += report.memory(figures.traffic_rows(), figures.bytes_rows())
    lines += report.roofline(figures.roofline_rows(measured))
    lines += ["", "## Each architecture", *report.each_architecture(measured, entries)]
    TABLE.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"wrote {TABLE.relative_to(ROOT)}: {len(entries)} kernels, {broken} broken budgets")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
