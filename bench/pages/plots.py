"""Pictures of saved runs: the roofline with every kernel on it, libraries as bars, layers beside PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers.driver import PEERS, Figure
from peers.layer_rows import PASSES, LayerResult
from peers.results import Result, amount, shown
from roofline.limits import Limits
from roofline.rows import Run

from pages.drawing import plain, pyplot, save

OURS, THEIRS, LIMIT = "C3", "C7", "lightgray"
OTHERS = ("C0", "C1", "C2", "C4", "C5", "C6", "C8", "C9", "C7")
COSTS = ("s", "MB")
COLORS = (*(f"C{number}" for number in range(10)), "k")
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
            color=COLORS[number % len(COLORS)],
            alpha=0.75,
            label=f"{op}, counted as direct" if "winograd" in op else op,
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
    plain(place.xaxis)
    plain(place.yaxis)
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


def speeds(results: Sequence[Result], path: Path) -> Path | None:
    """A panel of bars for each row with a bar in which libraries do the same work, longer is better; None without such a row."""
    found = [result for result in results if result.unit not in COSTS and result.bar]
    return _panels(found, path, "cnnlite and the libraries one would use instead: longer is better")


def costs(results: Sequence[Result], path: Path) -> Path | None:
    """The same for what one waits for, and what it takes in memory and on disk: shorter is better."""
    found = [result for result in results if result.unit in COSTS]
    return _panels(found, path, "What one waits for, and what it takes: shorter is better")


def _panels(results: Sequence[Result], path: Path, title: str) -> Path | None:
    shown = [result for result in results if len(result.measured) > 1]
    if not shown:
        return None
    columns = 2
    most = max(len(result.measured) for result in shown)
    lines = -(-len(shown) // columns)
    figure, places = pyplot().subplots(
        lines, columns, figsize=(13, 0.7 + (0.6 + 0.24 * most) * lines), squeeze=False, layout="constrained"
    )
    for place, result in zip(places.flat, shown, strict=False):
        _bars(place, result)
    for place in list(places.flat)[len(shown) :]:
        place.set_visible(False)
    figure.suptitle(title)
    return save(figure, path)


def _bars(place: Any, result: Result) -> None:
    """The best at the top. What takes microseconds is as long as it is quick, so that the slowest does not hide the others."""
    found = sorted(result.measured.values(), key=lambda each: each.value * _operations(each), reverse=True)
    amounts = [amount(figure, result.unit, result.flops) for figure in found]
    values = [1 / each for each in amounts] if result.unit == "us" else amounts
    names = [_named(figure) for figure in found]
    colors = [{"cnnlite": OURS, "fma": LIMIT}.get(figure.peer, THEIRS) for figure in found]
    spreads = [figure.spread * value for figure, value in zip(found, values, strict=True)]
    bars = place.barh(names, values, xerr=spreads, color=colors, error_kw={"linewidth": 1})
    place.bar_label(bars, [shown(each, result.unit) for each in amounts], padding=4, fontsize=8)
    ends = [value + spread for value, spread in zip(values, spreads, strict=True)]
    place.set(xlim=(0, max(ends) * 1.25))
    place.set_title(result.title.replace("`", ""), fontsize=10, loc="left")
    place.set_xticks([])
    place.tick_params(axis="y", length=0, labelsize=9)
    for side in ("top", "right", "bottom"):
        place.spines[side].set_visible(False)
    for label, figure in zip(place.get_yticklabels(), found, strict=True):
        label.set_fontweight("bold" if figure.peer == "cnnlite" else "normal")


def _operations(figure: Figure) -> float:
    """So that the peak, which is timed an operation, comes before whatever it bounds."""
    return 0.0 if figure.peer == "fma" else 1.0


def _named(figure: Figure) -> str:
    way = {"eager": " (eager)", "compiled": " (compiled)"}.get(figure.note.partition(",")[0], "")
    return PEERS[figure.peer].title + way


def batches(results: Sequence[Result], path: Path) -> Path | None:
    """Images a second over the batch size, a line a library and a panel a sweep; None where nothing was swept."""
    sweeps: dict[str, list[Result]] = {}
    for result in results:
        if result.sweep and len(result.measured) > 1:
            sweeps.setdefault(result.sweep, []).append(result)
    sweeps = {name: found for name, found in sweeps.items() if len(found) > 1}
    if not sweeps:
        return None
    figure, places = pyplot().subplots(
        1, len(sweeps), figsize=(6.5 * len(sweeps), 5.5), squeeze=False, layout="constrained"
    )
    names = [
        name for name in PEERS if any(name in each.measured for found in sweeps.values() for each in found)
    ]
    for place, (title, found) in zip(places.flat, sweeps.items(), strict=True):
        sizes = sorted(result.size for result in found)
        by_size = {result.size: result.measured for result in found}
        for name in names:
            at = [size for size in sizes if name in by_size[size]]
            rates = [1 / by_size[size][name].value for size in at]
            ours = name == "cnnlite"
            color = OURS if ours else OTHERS[names.index(name) % len(OTHERS)]
            place.plot(at, rates, "o-", color=color, linewidth=3 if ours else 1.5, label=PEERS[name].title)
        place.set(xscale="log", yscale="log", xlabel="images in a batch", title=title.replace("`", ""))
        plain(place.yaxis)
        place.set_xticks(sizes, [str(size) for size in sizes])
        place.minorticks_off()
        place.grid(True, alpha=0.3)
    places.flat[0].set_ylabel("images a second")
    handles = {
        label: line
        for place in places.flat
        for line, label in zip(*place.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    figure.suptitle("The documented network over batch sizes, 2 threads: higher is better")
    return save(figure, path)


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
        place.axvline(1, color="k", linewidth=1, zorder=1)
        for label in place.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=2, fontsize=7):
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
        place.set(
            title=which.replace("_", " of ").replace("grad", "gradient"), xlim=(0, max([1, *ratios]) * 1.15)
        )
    places[0].set_yticks(range(len(names)), names, fontsize=8)
    places[0].invert_yaxis()
    figure.suptitle(
        "Convolution layers: how many times as fast as PyTorch (oneDNN), one thread; red: faster, gray: slower"
    )
    return save(figure, path)
