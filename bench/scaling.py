"""How speed and cost grow with threads, batch sizes, image sizes and channels, against the ideal line.

    python bench/scaling.py --json scaling.json --plots bench/plots
    python bench/scaling.py --axes threads,batch --quick

Ideal: n threads n times as quick as one; twice the work in twice the time, at the best rate that any size reaches.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests")]

from growth import plans, plots, tables
from pages.drawing import pyplot
from peers.table import facts
from roofline import machine

import cnnlite


def chosen_axes(text: str) -> list[str]:
    """The names in a comma-separated list.

    >>> chosen_axes("batch,threads")
    ['threads', 'batch']
    """
    given = {name.strip() for name in text.split(",") if name.strip()}
    if not given or not given <= set(plans.AXES):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(plans.AXES)}, got {text!r}")
    return [axis for axis in plans.AXES if axis in given]


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--axes", type=chosen_axes, default=list(plans.AXES), help=f"some of {','.join(plans.AXES)}"
    )
    parser.add_argument("--quick", action="store_true", help="few small sizes: a look, not a measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every round in this file")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw scaling_<axis>.png (matplotlib)")
    return parser.parse_args()


def main() -> int:
    """Measure, print, keep, draw."""
    asked = arguments()
    if asked.plots:
        try:
            pyplot()  # now, not after minutes of measuring
        except RuntimeError as problem:
            print(problem, file=sys.stderr)
            return 2
    about = machine.facts()
    print(facts(about), flush=True)
    seconds, rounds = (0.02, 2) if asked.quick else (0.3, 5)
    found = []
    for plan in plans.all_plans(cnnlite.get_num_threads(), asked.quick):
        if plan.axis in asked.axes:
            found.append(plan.measure(seconds, rounds))
            print(f"{plan.axis}: {plan.name}", file=sys.stderr, flush=True)
    for series in tables.by_axis(found).values():
        print("\n" + tables.table(series))
    if asked.json:
        tables.save(found, about, asked.json)
    if asked.plots:
        asked.plots.mkdir(parents=True, exist_ok=True)
        plots.draw_all(found, asked.plots)
    return 0


if __name__ == "__main__":
    sys.exit(main())
