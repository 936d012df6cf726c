"""A row of `pytest bench`: what was measured, in the JSON that pytest-benchmark keeps, and as a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from devices.report import time_of
from peers.table import markdown

from roofline.limits import Limits
from roofline.work import Work

BEHIND = 0.8


@dataclass(frozen=True)
class Row:
    """One kernel on one shape.

    Attributes:
        seconds: the median of its rounds; spread: their interquartile range, as a share of it.
        share: how much of the machine's limit it reaches, and bound: which limit, "arithmetic" or "memory".
        reference: seconds of NumPy's product before and after it, the median; reference_spread: their interquartile range, as a share.
    """

    op: str
    case: str
    threads: int
    work: Work
    seconds: float
    spread: float
    share: float
    bound: str
    reference: float
    reference_spread: float

    @property
    def name(self) -> str:
        return f"{self.op} {self.case}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    @property
    def rate(self) -> float:
        return self.work.rate(self.seconds)

    def extra_info(self) -> dict[str, Any]:
        """What pytest-benchmark's JSON keeps of it, beside its own statistics; rate and share for a reader of that file."""
        return {**asdict(self), "rate": self.rate, "unit": self.work.unit}

    @classmethod
    def from_extra_info(cls, found: Any) -> Row:
        known = {name: found[name] for name in cls.__dataclass_fields__}
        return cls(**{**known, "work": Work(**found["work"])})


@dataclass(frozen=True)
class Run:
    """A saved run: its rows, the limits by number of threads, and what it ran on."""

    rows: tuple[Row, ...]
    limits: tuple[Limits, ...]
    machine: dict[str, str]


def row_of(
    op: str, case: str, work: Work, limits: Limits, seconds: float, spread: float, references: Sequence[float]
) -> Row:
    """A row from its measurements."""
    first, _, third = quantiles(references, n=4, method="inclusive")
    middle = median(references)
    return Row(
        op,
        case,
        limits.threads,
        work,
        seconds,
        spread,
        limits.share(work, seconds),
        limits.bound(work),
        middle,
        (third - first) / middle,
    )


def load(path: Path) -> Run:
    """What `pytest bench --benchmark-json FILE` wrote.

    Raises:
        ValueError: another file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(Row.from_extra_info(each["extra_info"]) for each in found["benchmarks"])
        return Run(rows, tuple(map(Limits.from_json, found["limits"])), found["machine"])
    except (ValueError, KeyError, TypeError) as problem:
        raise ValueError(
            f"{path}: expected a file of `pytest bench --benchmark-json FILE`, got {type(problem).__name__}: {problem}."
        ) from problem


def without_rounds(text: str) -> str:
    """The same JSON without every single round, which is most of it and which nothing here reads."""
    found = json.loads(text)
    for each in found["benchmarks"]:
        each["stats"].pop("data", None)
    return json.dumps(found, indent=1) + "\n"


def table(rows: Sequence[Row]) -> str:
    """A line a row."""
    lines = [
        [
            row.op,
            row.case,
            str(row.threads),
            f"{time_of(row.seconds)} ±{row.spread / 2:.0%}",
            f"{row.rate:.3g} {row.work.unit}",
            f"{row.share:.0%}",
            row.bound,
        ]
        for row in rows
    ]
    return markdown(["op", "shape", "threads", "time", "speed", "of the limit", "limit"], lines)


def limits_table(limits: Sequence[Limits]) -> str:
    """Peak, and bandwidth by bytes in use."""
    sizes = [size for size, _ in limits[0].bandwidth]
    header = ["threads", "multiply-adds", *(f"{_size(size)} in use" for size in sizes)]
    lines = [
        [
            str(each.threads),
            f"{each.peak / 1e9:.0f} GFLOP/s",
            *(f"{rate / 1e9:.0f} GB/s" for _, rate in each.bandwidth),
        ]
        for each in limits
    ]
    return markdown(header, lines)


def behind(rows: Sequence[Row], share: float = BEHIND) -> list[Row]:
    """Rows under a share of their limit, the worst first."""
    return sorted((row for row in rows if row.share < share), key=lambda row: row.share)


def _size(size: int) -> str:
    return f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} KB"
