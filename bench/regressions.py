"""Which kernels got slower between two saved runs of `pytest bench`: exit status 1 if any did, beyond the noise.

    pytest bench --benchmark-json before.json
    pytest bench --benchmark-json after.json
    python bench/regressions.py before.json after.json

Every time is divided by NumPy's matrix product, which nothing here changes, timed beside the row in the same run: what a shared machine
takes away it takes from both. A row counts as slower when its ratio has grown by more than the noise of its four measurements (one and
a half times their interquartile ranges, added as squares) and by more than 8%; an op when the median of its rows has, where noise
averages out, and by more than 2%.
Exit status 2: files that cannot be compared.

Of some hundred rows a few differ by 10 to 18% between two processes of the same code, say with the memory they were given. So a single
row raises the alarm from 25% on; from 8% on it is named, and more files of the same code after the second settle it: what is slower in
every one of them counts too.

    pytest bench -k depthwise --benchmark-json again.json
    python bench/regressions.py before.json after.json again.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests")]

from peers.table import markdown
from roofline.rows import Row, Run, load

ROW_FLOOR, MIDDLE_FLOOR = 0.08, 0.02
ALARM = 0.25  # a single row, in a single run
WIDTH = 1.5  # spreads of both runs together that a row may be off
MEDIAN_NOISE = 1.25  # times that of a mean
UNTELLING = 0.3  # rows noisier than this say little: named, so that silence is not taken for health


@dataclass(frozen=True)
class Change:
    """A row, or an op's median over `rows` rows: how many times as long it takes, and how far from 1 noise can bring that."""

    name: str
    ratio: float
    tolerance: float
    rows: int = 1

    @property
    def verdict(self) -> str:
        """Slower, faster, or the same as far as can be told.

        >>> Change("a", 1.2, 0.1).verdict, Change("a", 0.8, 0.1).verdict, Change("a", 1.05, 0.1).verdict
        ('slower', 'faster', 'same')
        """
        if self.ratio > 1 + self.tolerance:
            return "slower"
        return "faster" if self.ratio < 1 / (1 + self.tolerance) else "same"

    @property
    def alarm(self) -> bool:
        """Whether one run is enough to say so: of several rows together, or of one that is far slower.

        >>> Change("a", 1.2, 0.1).alarm, Change("a", 1.3, 0.1).alarm, Change("op", 1.05, 0.02, rows=40).alarm
        (False, True, True)
        """
        return self.verdict == "slower" and (self.rows > 1 or self.ratio > 1 + ALARM)


def change(before: Row, after: Row) -> Change:
    """Of one row, in units of the reference of its own run."""
    spreads = (before.spread, after.spread, before.reference_spread, after.reference_spread)
    ratio = (after.seconds / after.reference) / (before.seconds / before.reference)
    return Change(after.name, ratio, max(ROW_FLOOR, WIDTH * hypot(*spreads)))


def middle(name: str, changes: Sequence[Change]) -> Change:
    """The median of some rows, which rows disturbed by chance do not move; its noise shrinks with the root of their number."""
    noise = MEDIAN_NOISE * median(each.tolerance for each in changes) / sqrt(len(changes))
    return Change(name, median(each.ratio for each in changes), max(MIDDLE_FLOOR, noise), len(changes))


def compare(before: Run, after: Run) -> tuple[list[Change], list[Change]]:
    """The rows that both have, and the medians of their ops.

    Raises:
        ValueError: two runs without a row in common.
    """
    known = {row.name: row for row in before.rows}
    pairs = [(known[row.name], row) for row in after.rows if row.name in known]
    if not pairs:
        raise ValueError("regressions: expected two runs with rows in common, got none.")
    changes = [change(*pair) for pair in pairs]
    by_op: dict[str, list[Change]] = {}
    for (_, row), each in zip(pairs, changes, strict=True):
        by_op.setdefault(row.op, []).append(each)
    return changes, [middle(op, found) for op, found in by_op.items()]


def report(before: Run, after: Run) -> tuple[str, bool]:
    """What changed, in words and tables, and whether anything got slower."""
    changes, middles = compare(before, after)
    texts = [table(middles)]
    for verdict in ("slower", "faster"):
        found = [each for each in changes if each.verdict == verdict]
        if found:
            found.sort(key=lambda each: each.ratio, reverse=verdict == "slower")
            texts.append(f"Rows that got {verdict}:\n\n{table(found)}")
    noisy = [each for each in changes if each.tolerance > UNTELLING]
    if noisy:
        texts.append(
            f"{len(noisy)} of {len(changes)} rows are too noisy to show a change of {UNTELLING:.0%}; an idle machine helps."
        )
    names, others = {row.name for row in before.rows}, {row.name for row in after.rows}
    for missing, where in ((names - others, "first"), (others - names, "second")):
        if missing:
            texts.append(f"Only in the {where} run: {', '.join(sorted(missing))}.")
    if before.machine.get("processor") != after.machine.get("processor"):
        texts.append(
            "The runs are from different processors: ratios between them are no sign of a regression."
        )
    texts += references(before, after)
    alarms = [each.name for each in (*middles, *changes) if each.alarm]
    if alarms:
        texts.append(f"Slower: {', '.join(alarms)}.")
    elif any(each.verdict == "slower" for each in changes):
        texts.append(
            "Nothing got slower beyond what a new process may change; a further run of the second says more."
        )
    else:
        texts.append("Nothing got slower beyond the noise.")
    return "\n\n".join(texts), bool(alarms)


def references(before: Run, after: Run) -> list[str]:
    """What to say where NumPy's product itself took another time."""
    found = []
    for threads in sorted({row.threads for row in before.rows} & {row.threads for row in after.rows}):
        first, second = (
            median(row.reference for row in run.rows if row.threads == threads) for run in (before, after)
        )
        if not 1 / (1 + ALARM) < second / first < 1 + ALARM:
            found.append(
                f"NumPy's product on {threads} thread{'s' if threads > 1 else ''} took {second / first:.2f} times as long in the second: "
                "a busy machine, or another NumPy, or threads of its own (OPENBLAS_NUM_THREADS)."
            )
    return found


def confirmed(before: Run, after: Run, again: Sequence[Run]) -> tuple[str, bool]:
    """The report, and whether anything got slower: enough in one run, or in every run that has it where there are more."""
    text, slower = report(before, after)
    if not again:
        return text, slower
    names = _slower(before, after)
    for run in again:
        changes, middles = compare(before, run)
        measured = {each.name for each in (*changes, *middles)}
        names -= measured - _slower(before, run)
    said = f"Slower in every run: {', '.join(sorted(names))}." if names else "Nothing is slower in every run."
    return f"{text}\n\n{said}", bool(names)


def _slower(before: Run, after: Run) -> set[str]:
    changes, middles = compare(before, after)
    return {each.name for each in (*changes, *middles) if each.verdict == "slower"}


def table(changes: Sequence[Change]) -> str:
    lines = [
        [each.name, str(each.rows), f"{each.ratio:.2f}", f"±{each.tolerance:.0%}", each.verdict]
        for each in changes
    ]
    return markdown(["what", "rows", "times as long", "noise", "verdict"], lines)


def main() -> int:
    """Compares, prints, and returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("again", type=Path, nargs="*", help="more runs of the same code as the second")
    asked = parser.parse_args()
    try:
        text, slower = confirmed(load(asked.before), load(asked.after), [load(path) for path in asked.again])
    except (OSError, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 2
    print(text)
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
