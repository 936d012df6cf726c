"""Pictures of saved runs: the roofline with every kernel on it, libraries as bars, layers beside PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers.driver import PEERS, Figure
from peers.layer_rows import PASSES, LayerResult
from peers.rows import ROWS, Result
from roofline.limits import Limits
from roofline.rows import Run

from pages.drawing import pyplot, save
from pages.saved import figures_of

OURS, THEIRS, LIMIT = "C3", "C7", "lightgray"
MARKERS = "os^vD<>ph*XP"


def roofline(run: Run, threads: int, path: Path) -> Path:
    """Operations a second over operations a byte, under the limits of `threads` threads."""
    (limits,) = [found for found in run.limits if found.threads == threads]
    rows = [row for row in run.rows if row.threads == threads]
    figure, place = pyplot().subplots(figsize=(11, 7), layout="constrained")
    intensities = [row.work.intensity for row in rows]
    low, high = min(intensities) / 2, max(intensities) * 2
    _roofs(place, limits, low, high)
    for number, op in enumerate(dict.fromkeys(row.op for row in rows)):
        of_op = [row for row in rows if row.op == op]
        place.plot(
            [row.work.intensity for row in of_op],
            [row.work.operations / row.seconds / 1e9 for row in of_op],
            MARKERS[number % len(MARKERS)],
            color=f"C{number % 10}",
            alpha=0.75,
            label=op,
        )
    place.set(
        xscale="log",
        yscale="log",
        xlim=(low, high),
        xlabel="operations for each byte that must be read or written",
        ylabel="GFLOP/s",
        title=f"Every kernel under what the machine can do, {threads} thread{'s' if threads > 1 else ''}\n"
        "a mark on a line is as quick as can be",
    )
    place.grid(True, which="both", alpha=0.2)
    place.legend(fontsize=9, loc="lower right")
    return save(figure, path)


def _roofs(place: Any, limits: Limits, low: float, high: float) -> None:
    place.axhline(limits.peak / 1e9, color="k", linewidth=1.5)
    place.text(
        low * 1.1, limits.peak / 1e9 * 1.05, f"multiply-adds: {limits.peak / 1e9:.0f} GFLOP/s", va="bottom"
    )
    size, slowest = limits.bandwidth[-1]
    fastest = max(rate for _, rate in limits.bandwidth)
    for rate, style, name in ((slowest, "-", f"memory ({size >> 20} MB in use)"), (fastest, ":", "caches")):
        ends = [low, min(high, limits.peak / rate)]
        place.plot(ends, [end * rate / 1e9 for end in ends], "k", linestyle=style, linewidth=1.5,
                   label=f"{name}: {rate / 1e9:.0f} GB/s")  # fmt: skip


def libraries(results: Sequence[Result], path: Path) -> Path | None:
    """A panel of bars for each row in which libraries do the same work, longer is better; None without such a row."""
    shown = [(result, figures_of(result)) for result in results if result.name in ROWS]
    shown = [(result, figures) for result, figures in shown if len(figures) > 1]
    if not shown:
        return None
    columns = 2
    lines = -(-len(shown) // columns)
    figure, places = pyplot().subplots(
        lines, columns, figsize=(13, 2.4 * lines), squeeze=False, layout="constrained"
    )
    for place, (result, figures) in zip(places.flat, shown, strict=False):
        _bars(place, result, figures)
    for place in list(places.flat)[len(shown) :]:
        place.set_visible(False)
    figure.suptitle("cnnlite and the libraries one would use instead: longer is better")
    return save(figure, path)


def speed(figure: Figure, row_name: str) -> tuple[float, str]:
    """A figure as something of which more is better, and its unit.

    >>> speed(Figure("torch", [0.5e-3]), "train32"), speed(Figure("torch", [30e-6]), "one_image")
    ((2000.0, 'images/s'), (33333.333333333336, 'images/s'))
    """
    row = ROWS[row_name]
    if row.unit == "GFLOP/s":
        # The peak of multiply-adds is timed an operation, not a product.
        return (1.0 if figure.peer == "fma" else row.flops) / figure.value / 1e9, row.unit
    return 1 / figure.value, "images/s"


def _bars(place: Any, result: Result, figures: Sequence[Figure]) -> None:
    found = sorted(figures, key=lambda figure: speed(figure, result.name)[0])
    values = [speed(figure, result.name)[0] for figure in found]
    names = [PEERS[figure.peer].title for figure in found]
    colors = [{"cnnlite": OURS, "fma": LIMIT}.get(figure.peer, THEIRS) for figure in found]
    ends = [value * (1 + figure.spread) for figure, value in zip(found, values, strict=True)]
    bars = place.barh(
        names, values, xerr=[f.spread * v for f, v in zip(found, values, strict=True)], color=colors
    )
    unit = speed(found[0], result.name)[1]
    place.bar_label(bars, [f"{value:,.0f} {unit}" for value in values], padding=4, fontsize=8)
    place.set(title=result.title.replace("`", ""), xlim=(0, max(ends) * 1.3))
    place.title.set_fontsize(10)
    place.set_xticks([])
    for side in ("top", "right", "bottom"):
        place.spines[side].set_visible(False)


def layers(found: Sequence[LayerResult], path: Path) -> Path | None:
    """How many times as fast as PyTorch every layer's three passes are; None without PyTorch."""
    known = [layer for layer in found if layer.ratio is not None]
    if not known:
        return None
    names = list(dict.fromkeys(layer.layer for layer in known))
    figure, places = pyplot().subplots(
        1, 3, figsize=(13, 1.5 + 0.24 * len(names)), sharey=True, layout="constrained"
    )
    for place, which in zip(places, PASSES, strict=True):
        of_pass = [layer for layer in known if layer.which == which]
        ratios = [layer.ratio or 0.0 for layer in of_pass]
        colors = [OURS if ratio >= 1 else THEIRS for ratio in ratios]
        bars = place.barh([names.index(layer.layer) for layer in of_pass], ratios, color=colors)
        place.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=2, fontsize=7)
        place.axvline(1, color="k", linewidth=1)
        place.set(
            title=which.replace("_", " of ").replace("grad", "gradient"), xlim=(0, max([1, *ratios]) * 1.15)
        )
    places[0].set_yticks(range(len(names)), names, fontsize=8)
    places[0].invert_yaxis()
    figure.suptitle("Convolution layers: how many times as fast as PyTorch (oneDNN), one thread; red: faster")
    return save(figure, path)
