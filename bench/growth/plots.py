"""A picture for each axis: speed on the left, cost on the right, each with its ideal as a dashed line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devices.report import time_of
from pages.drawing import plain, pyplot, save

from growth.series import THREADS, Series
from growth.tables import by_axis

LABELS = {
    THREADS: "threads",
    "batch": "images in a batch",
    "image": "height and width of the image in pixels",
    "channels": "channels in and out",
}


def draw_all(found: Sequence[Series], folder: Path) -> list[Path]:
    """scaling_<axis>.png for every axis; RuntimeError without matplotlib."""
    return [draw(series, folder / f"scaling_{axis}.png") for axis, series in by_axis(found).items()]


def draw(found: Sequence[Series], path: Path) -> Path:
    """Series of one axis."""
    axis = found[0].axis
    figure, (left, right) = pyplot().subplots(
        1, 2, figsize=(13, 5.2 + 0.11 * len(found)), layout="constrained"
    )
    for number, series in enumerate(found):
        sizes = [point.size for point in series.points]
        color = f"C{number}"
        best = max(point.rate for point in series.points)
        label = f"{series.name} (best: {best:,.0f} {series.unit})"
        left.plot(sizes, [_speed(series, i) for i in range(len(sizes))], "o-", color=color, label=label)
        right.plot(sizes, [point.middle for point in series.points], "o-", color=color)
        ideal = [series.ideal_seconds(point) for point in series.points]
        right.plot(sizes, ideal, "--", color=color, alpha=0.6)
    _ideal(left, axis, found)
    scale = "linear" if axis == THREADS else "log"
    for place in (left, right):
        place.set(xlabel=LABELS.get(axis, axis), xscale=scale)
        sizes = sorted({point.size for series in found for point in series.points})
        place.set_xticks(sizes, [str(size) for size in sizes])
        place.minorticks_off()
        place.grid(True, alpha=0.3)
    right.set(ylabel="time of a call", yscale="log", title="Cost (dashed: in step with the work)")
    plain(right.yaxis, time_of)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    figure.suptitle(f"Scaling over {LABELS.get(axis, axis)}")
    return save(figure, path)


def _speed(series: Series, at: int) -> float:
    """Speed-up over the fewest threads, or the share of the best rate."""
    point = series.points[at]
    if series.axis == THREADS:
        return series.points[0].size * point.rate / series.points[0].rate
    return 100 * series.share(point)


def _ideal(place: Any, axis: str, found: Sequence[Series]) -> None:
    if axis == THREADS:
        most = max(point.size for series in found for point in series.points)
        place.plot([1, most], [1, most], "k--", alpha=0.6, label="ideal: n threads, n times the speed")
        place.set(title="Speed on n threads over one", ylabel="times the speed of one thread", ylim=(0, None))
        return
    place.axhline(
        100, color="k", linestyle="--", alpha=0.6, label="ideal: as quick per unit of work as at its best"
    )
    place.set(title="Speed for the same amount of work", ylabel="% of its best", ylim=(0, 108))
