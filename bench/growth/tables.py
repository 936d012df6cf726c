"""Series as tables and as a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from devices.report import time_of
from peers.table import markdown

from growth.series import Series


def by_axis(found: Sequence[Series]) -> dict[str, list[Series]]:
    """Series by their axis, in order."""
    axes: dict[str, list[Series]] = {}
    for series in found:
        axes.setdefault(series.axis, []).append(series)
    return axes


def table(found: Sequence[Series]) -> str:
    """Every point of some series."""
    lines = [
        [
            series.name,
            str(point.size),
            f"{time_of(point.middle)} ±{point.spread:.0%}",
            f"{point.rate:,.0f} {series.unit}" if point.rate >= 100 else f"{point.rate:.3g} {series.unit}",
            f"{series.share(point):.0%}",
        ]
        for series in found
        for point in series.points
    ]
    return markdown(["what", found[0].axis, "time", "speed", "of the ideal"], lines)


def save(found: Sequence[Series], machine: dict[str, str], path: Path) -> None:
    content = {"machine": machine, "series": [series.as_json() for series in found]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> tuple[list[Series], dict[str, str]]:
    """What `save` wrote: the series, and what they were measured on.

    Raises:
        ValueError: another file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [Series.from_json(each) for each in found["series"]], found["machine"]
    except (ValueError, KeyError, TypeError) as problem:
        raise ValueError(
            f"{path}: expected a file of `python bench/scaling.py --json FILE`, got {type(problem).__name__}: {problem}."
        ) from problem
