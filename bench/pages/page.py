"""RESULTS.md of saved runs: the machine, tables, and pictures where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log
from pathlib import Path

from growth import plots as growth_plots
from growth import tables as growth_tables
from peers import bfloat16_rows, table
from peers.results import Result
from roofline import rows
from roofline.rows import BEHIND, Row, Run

from pages import plots
from pages.saved import Peers, Saved, Scaling

NOTES = "NOTES.md"
HEAD = """# Results

Written by `python bench/report.py`. Each part says what it ran on, and any row can be measured again with the command above its table.
Rows that lose are in the tables."""
PEERS_TEXT = """## Beside other libraries

`python bench/compare_peers.py`: all in turns in one run on the same threads, answers compared before anything is timed; medians, ± half
the range. ratio: how many times as good as the best of the others, or the figure itself where there is nothing to compare with; a
verdict compares it, or the figure, with the bar that the project has set itself, and where there is none says who is ahead."""
BFLOAT16_TEXT = """Activations and weights are bfloat16, sums float32; one thread, GFLOP/s.
ratio: over PyTorch; gain: over our own float32."""
KERNELS_TEXT = """## Kernels and what the machine can do

`pytest bench`, one row with `pytest bench -k "test_conv2d and vgg16_conv3_1"`. Answers are checked against the reference first. A
kernel takes at least the time that its multiply-adds take at the machine's peak, and at least the time that its operands and its result
take once through memory of their size; of the limit: that time over the measured one. Medians; ± half the quartiles' range. Rows of
Winograd's algorithm count the direct one's operations, so they lie above the roof."""
SCALING_TEXT = """## Scaling

`python bench/scaling.py`. Ideal: n threads n times as quick as one; over sizes, the best rate that any of them reaches."""


def write(saved: Saved, out: Path, pictures: bool = True) -> Path:
    """Writes out/RESULTS.md and out/plots/*.png; returns the page."""
    folder = out / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    sections = [HEAD]
    if saved.peers:
        sections += peers_section(saved.peers, folder if pictures else None)
    if saved.kernels:
        notes = (out / NOTES).exists()
        sections += kernels_section(saved.kernels, folder if pictures else None, notes)
    if saved.scaling:
        sections += scaling_section(saved.scaling, folder if pictures else None)
    missing = [name for name in ("peers", "kernels", "scaling") if getattr(saved, name) is None]
    if missing:
        sections.append(f"Not measured in this run: {', '.join(missing)}.")
    page = out / "RESULTS.md"
    page.write_text("\n\n".join(text for text in sections if text) + "\n", encoding="utf-8")
    return page


def headline(peers: Peers, picture: str = "") -> str:
    """What README shows."""
    return "\n\n".join(filter(None, [table.headline(peers.results), picture]))


def shown(title: str, path: Path | None, folder: str = "plots") -> str:
    """A picture on a page, nothing where there is none."""
    return f"![{title}]({folder}/{path.name})" if path else ""


def peers_section(peers: Peers, folder: Path | None) -> list[str]:
    def drawn(title: str, draw: Callable[[Sequence[Result], Path], Path | None], name: str) -> str:
        return shown(title, draw(peers.results, folder / name)) if folder else ""

    sections = [
        PEERS_TEXT,
        table.facts({**peers.machine, **peers.versions}),
        table.headline(peers.results),
        drawn("Speeds as bars", plots.speeds, "peers.png"),
        drawn("Start, memory and size as bars", plots.costs, "costs.png"),
        "## Every library",
        drawn("Images a second over batch sizes", plots.batches, "batches.png"),
        *table.every_library(peers.results),
    ]
    if peers.layers:
        bars = plots.layers(peers.layers, folder / "layers.png") if folder else None
        sections += [
            "### Convolution layers",
            shown("Layers beside PyTorch", bars),
            table.layers(peers.layers),
        ]
    if peers.bfloat16_layers:
        sections += [
            "### Convolution layers in bfloat16",
            BFLOAT16_TEXT,
            bfloat16_rows.table(peers.bfloat16_layers),
        ]
    return sections


def kernels_section(run: Run, folder: Path | None, notes: bool) -> list[str]:
    sections = [KERNELS_TEXT, table.facts(run.machine), rows.limits_table(run.limits)]
    for threads in sorted({row.threads for row in run.rows}):
        drawn = plots.roofline(run, threads, folder / f"roofline_{threads}.png") if folder else None
        sections.append(shown(f"Roofline, threads: {threads}", drawn))
    late = rows.behind(run.rows)
    rest = [row for row in run.rows if row not in late]
    why = f" [{NOTES}]({NOTES}) says why, and what was tried." if notes and late else ""
    sections += ["### By op", summary(run.rows)]
    if late:
        count = f"{len(late)} of {len(run.rows)} rows, the worst first.{why}"
        sections += [f"### Under {BEHIND:.0%} of their limit", count, rows.table(late)]
    if rest:
        sections += [f"### {BEHIND:.0%} of their limit and more", rows.table(rest)]
    return sections


def summary(found: tuple[Row, ...]) -> str:
    """A line an op and number of threads: geometric mean, least and best share of the limit."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in found:
        groups.setdefault((row.op, row.threads), []).append(row)
    lines = []
    for (op, threads), each in groups.items():
        worst, best = min(each, key=lambda row: row.share), max(each, key=lambda row: row.share)
        middle = exp(sum(log(row.share) for row in each) / len(each))
        lines.append(
            [op, str(threads), str(len(each)), f"{middle:.0%}", f"{worst.share:.0%} ({worst.case})", f"{best.share:.0%} ({best.case})"]
        )  # fmt: skip
    return table.markdown(["op", "threads", "shapes", "of the limit, mean", "least", "best"], lines)


def scaling_section(found: Scaling, folder: Path | None) -> list[str]:
    sections = [SCALING_TEXT, table.facts(found.machine)]
    for axis, series in growth_tables.by_axis(found.series).items():
        drawn = growth_plots.draw(series, folder / f"scaling_{axis}.png") if folder else None
        title = f"Over {growth_plots.LABELS.get(axis, axis)}"
        sections += [f"### {title}", shown(title, drawn), growth_tables.table(series)]
    return sections
