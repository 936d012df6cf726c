"""The table, the CSV file and the picture of a comparison."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pages.drawing import pyplot, save
from peers.table import markdown

from devices.measure import Row

GPU_HEADER = ["GPU", "GPU with transfers", "CPU / GPU", "CPU / GPU with transfers"]


def time_of(seconds: float | None) -> str:
    """A time with three digits, in the unit that fits.

    >>> time_of(0.0000123), time_of(0.5), time_of(None)
    ('12.3 us', '500 ms', '')
    """
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def rate_of(row: Row) -> str:
    """What the CPU, and where there is one the GPU, does in a second: GFLOP/s, or GB/s where bytes are the limit."""
    amount, unit = (row.moved, "GB/s") if row.work is None else (row.work, "GFLOP/s")
    rates = [f"{amount / seconds / 1e9:.3g}" for seconds in (row.cpu, row.gpu) if seconds]
    return " / ".join(rates) + f" {unit}"


def crossover(rows: Sequence[Row]) -> str:
    """From which size on the GPU is faster with transfers, in words; rows of one sweep in the order of their sizes.

    >>> crossover([Row("relu", "numbers", size, None, 1.0, 1.0, 0.1, time) for size, time in ((8, 2.0), (64, 0.5))])
    'from 64 numbers on'
    """
    if any(row.transferred is None for row in rows):
        return "no GPU here"
    slower = [i for i, row in enumerate(rows) if row.transferred is not None and row.transferred >= row.cpu]
    first = slower[-1] + 1 if slower else 0
    if first == len(rows):
        return f"not up to {rows[-1].size:,} {rows[-1].axis}"
    return f"from {rows[first].size:,} {rows[first].axis} on"


def by_sweep(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by the name of their sweep, in order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.name, []).append(row)
    return found


def tables(rows: Sequence[Row]) -> str:
    """Every row, then from which size on the GPU pays; without a GPU the CPU's half alone."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    with_gpu = any(row.gpu is not None for row in rows)
    lines = []
    for row in rows:
        there = [time_of(row.gpu), time_of(row.transferred), number(row.ratio), number(row.ratio_transferred)]
        size = f"{row.size:,} {row.axis}"
        lines.append([row.name, size, time_of(row.cpu), *(there if with_gpu else []), rate_of(row)])
    every = markdown(["op", "size", "CPU", *(GPU_HEADER if with_gpu else []), "rate"], lines)
    if not with_gpu:
        return every
    pays = [[name, crossover(found)] for name, found in by_sweep(rows).items()]
    return f"{every}\n\n{markdown(['op', 'the GPU pays, transfers counted'], pays)}"


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Seconds and sizes, a line a row; empty where there is no GPU."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["op", "axis", "size", "flops", "bytes", "cpu_s", "gpu_s", "gpu_with_transfers_s", "cpu_over_gpu"]
        )
        for row in rows:
            writer.writerow(
                [
                    row.name,
                    row.axis,
                    row.size,
                    row.work,
                    row.moved,
                    row.cpu,
                    row.gpu,
                    row.transferred,
                    row.ratio,
                ]
            )


def plot(rows: Sequence[Row], path: Path, title: str) -> bool:
    """A small picture for each sweep, time over size; False where matplotlib is not installed."""
    try:
        found = pyplot()
    except RuntimeError:
        return False
    sweeps = by_sweep(rows)
    columns = 3
    lines = -(-len(sweeps) // columns)
    figure, axes = found.subplots(
        lines, columns, figsize=(4.6 * columns, 3.2 * lines), squeeze=False, layout="constrained"
    )
    for place, (name, points) in zip(axes.flat, sweeps.items(), strict=False):
        _draw(place, name, points)
    for place in list(axes.flat)[len(sweeps) :]:
        place.set_visible(False)
    axes.flat[0].legend(fontsize=8)
    figure.suptitle(title)
    save(figure, path)
    return True


def _draw(place: Any, name: str, rows: Sequence[Row]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    sizes = [row.size for row in rows]
    for label, marker, values in (
        ("CPU", "o", [row.cpu for row in rows]),
        ("GPU", "s", [row.gpu for row in rows]),
        ("GPU with transfers", "^", [row.transferred for row in rows]),
    ):
        if all(value is not None for value in values):
            place.plot(sizes, values, marker=marker, label=label)
    place.set(xscale="log", yscale="log", title=name, xlabel=rows[0].axis, ylabel="time of a call")
    place.set_xticks(sizes, [f"{size:,}" for size in sizes])
    place.xaxis.set_minor_locator(NullLocator())
    low, high = place.get_ylim()
    few = high < 100 * low  # powers of ten alone would be too few marks
    place.yaxis.set_major_formatter(FuncFormatter(lambda value, _: time_of(value)))
    place.yaxis.set_minor_formatter(
        FuncFormatter(lambda value, _: time_of(value)) if few else NullFormatter()
    )
    place.tick_params(which="both", labelsize=7)
    place.title.set_fontsize(9)
    place.grid(True, which="major", alpha=0.3)
