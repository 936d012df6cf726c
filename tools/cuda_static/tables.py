"""The tables of machine code: a kernel's figures over all architectures in a row, and each architecture's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from cnnlite_kernels.cuda.catalogue import Entry
from tools.cuda_static.measure import Figures
from tools.cuda_static.occupancy import Capability

Measured = Mapping[Capability, Figures]
Row = tuple[str, ...]

HEADS = (
    "kernel",
    "registers",
    "shared, bytes",
    "blocks at once",
    "threads",
    "stack",
    "spills",
    "hot loop",
    "128-bit loads",
    "s",
)
DETAIL_HEADS = ("kernel", "architecture", *HEADS[1:])


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """A table's lines: the first `left` columns aligned left, the others right."""
    rule = ["---" if column < left else "---:" for column in range(len(heads))]
    return [f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)]


def span(values: Iterable[float], form: str = "{:.0f}") -> str:
    """The least and the most, or the one where they read the same.

    >>> span([3, 5, 4]), span([0.891, 0.889], "{:.0%}")
    ('3-5', '89%')
    """
    values = list(values)
    least, most = form.format(min(values)), form.format(max(values))
    return least if least == most else f"{least.removesuffix('%')}-{most}"


def summary(entry: Entry, measured: Measured) -> Row:
    """An entry's figures over all architectures."""
    return (entry.name, *_cells(list(measured.values())))


def details(entry: Entry, measured: Measured) -> Iterator[Row]:
    """A row for each run of architectures whose figures are the same, compile time aside."""
    for _, run in groupby(measured.items(), key=lambda pair: _cells([pair[1]])[:-1]):
        together = list(run)
        names = ", ".join(f"{major}.{minor}" for (major, minor), _ in together)
        yield (entry.name, names, *_cells([figures for _, figures in together]))


def _cells(figures: list[Figures]) -> Row:
    loops = [one.loop for one in figures if one.loop is not None]
    shares = [loop.share for loop in loops]
    wide = [loop.wide for loop in loops if loop.wide is not None]
    kind = "" if not loops else " HMMA" if any("HMMA" in loop.counts for loop in loops) else " FFMA"
    return (
        span(one.registers for one in figures),
        span(one.shared for one in figures),
        span(one.occupancy.blocks for one in figures),
        span((one.occupancy.part for one in figures), "{:.0%}"),
        span(one.stack for one in figures),
        span(one.spilled for one in figures),
        f"{span(shares, '{:.1%}')}{kind} of {span(loop.length for loop in loops)}" if loops else "",
        span(wide, "{:.0%}") if wide else "",
        span([max(one.seconds for one in figures)], "{:.1f}"),
    )
