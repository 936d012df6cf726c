"""The report: what it ran on, the table of figures, the table of layers."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnnlite.devices import processor_name
from peers.driver import PEERS, Setup, Worker, WorkerError
from peers.layer_rows import LayerResult, peak_rate
from peers.protocol import NOT_DONE
from peers.results import RATES, Result, described

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def write_into(page: Path, text: str) -> None:
    """Replaces what stands between the marks in a page.

    Raises:
        ValueError: a page without the marks.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page}: expected the marks {BEGIN} and {END}.")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def versions(setup: Setup) -> dict[str, str]:
    """Versions by peer, or why it is absent."""
    found = {}
    for peer in PEERS.values():
        try:
            with Worker(peer, setup, 1) as worker:
                found[peer.title] = ", ".join(f"{key} {value}" for key, value in worker.versions.items())
        except WorkerError as reason:
            found[peer.title] = str(reason)
    return found


def machine(setup: Setup) -> dict[str, str]:
    """What the figures were measured on."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return {
        "processor": processor_name(),
        "cpus": f"{len(usable) or os.cpu_count()}; workers of n threads are pinned to the last n",
        "system": f"{platform.system()} {platform.release()}, Python {sys.version.split()[0]}",
        "load": f"{os.getloadavg()[0]:.2f} over the last minute, before the start"
        if hasattr(os, "getloadavg")
        else "",
        "images": "Fashion-MNIST" if setup.data else "made from the tests' recipe",
        "memory": "glibc keeps what is freed, for every worker; not where memory or a start is measured",
        "rounds": f"{setup.rounds} of about {setup.seconds:g} s, in turn; medians, ± half the range",
    }


def facts(given: Mapping[str, str]) -> str:
    """A list of names and values."""
    return "\n".join(f"- {name}: {value}" for name, value in given.items() if value)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that reads well as plain text too.

    >>> print(markdown(["a", "b"], [["one", "2"]]))
    | a   | b   |
    | --- | --- |
    | one | 2   |
    """
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def headline(results: Sequence[Result]) -> str:
    """Each figure with a bar or a cost, beside the best of the other libraries."""
    rows = [
        [
            result.title,
            result.ours,
            _best(result),
            "" if result.ratio is None else f"{result.ratio:.2f}",
            result.bar,
            result.verdict,
        ]
        for result in results
        if result.headline
    ]
    return markdown(["figure", "cnnlite", "best of the others", "ratio", "bar", "verdict"], rows)


def _best(result: Result) -> str:
    best = result.best_other
    if best is None:
        return "; ".join(result.others)
    return f"{PEERS[best.peer].title} {described(best, result.unit, result.flops)}"


def every_library(results: Sequence[Result]) -> list[str]:
    """Tables, each under its heading: what every library reached, over batch sizes, in speed and in cost."""
    known = [result for result in results if result.measured]
    sweeps = dict.fromkeys(result.sweep for result in known if result.sweep)
    texts = [
        f"### {name[0].upper() if name[0] != '`' else name[0]}{name[1:]}, over batch sizes\n\n"
        + sweep([result for result in known if result.sweep == name])
        for name in sweeps
    ]
    rest = [result for result in known if not result.sweep]
    for title, chosen in (
        ("Other speeds", [result for result in rest if result.unit in (*RATES, "us")]),
        ("Start, memory, size", [result for result in rest if result.unit in ("s", "MB")]),
    ):
        if chosen:
            texts.append(f"### {title}\n\n{by_library(chosen)}")
    reasons = {
        f"- {result.title}: {PEERS[figure.peer].title} {figure.missing}"
        for result in results
        for figure in result.figures.values()
        if figure.missing not in ("", "absent", NOT_DONE)
    }
    if reasons:
        texts.append("Missing, and why:\n\n" + "\n".join(sorted(reasons)))
    return texts


def sweep(results: Sequence[Result]) -> str:
    """A line a library, a column a batch size; the quickest library at the middle size first."""
    results = sorted(results, key=lambda result: result.size)
    middle = results[len(results) // 2].measured
    names = list(dict.fromkeys(name for result in results for name in result.measured))
    names.sort(key=lambda name: middle[name].value if name in middle else float("inf"))
    rows = [
        [
            PEERS[name].title,
            *(
                described(result.measured[name], result.unit, result.flops) if name in result.measured else ""
                for result in results
            ),
        ]
        for name in names
    ]
    rows.append(
        [
            "ratio to the best other",
            *("" if result.ratio is None else f"{result.ratio:.2f}" for result in results),
        ]
    )
    rows.append(
        ["verdict", *(f"{result.verdict}{f' ({result.bar})' if result.bar else ''}" for result in results)]
    )
    return markdown(["library", *(f"batch {result.size}" for result in results)], rows)


def by_library(results: Sequence[Result]) -> str:
    """A line a figure, a column a library."""
    names = list(dict.fromkeys(figure.peer for result in results for figure in result.measured.values()))
    rows = [
        [
            result.title,
            *(
                "; ".join(
                    described(figure, result.unit, result.flops)
                    for figure in result.measured.values()
                    if figure.peer == name
                )
                for name in names
            ),
            "" if result.ratio is None else f"{result.ratio:.2f}",
            result.verdict,
        ]
        for result in results
    ]
    return markdown(["figure", *(PEERS[name].title for name in names), "ratio", "verdict"], rows)


def layers(results: Sequence[LayerResult]) -> str:
    """One line a layer and pass, in GFLOP/s."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    peak = peak_rate(results)
    rows = [
        [
            result.layer,
            result.which,
            number(result.rate(result.ours), ".0f") or result.ours.missing,
            number(result.rate(result.torch), ".0f") or result.torch.missing,
            result.torch.note,
            number(result.ratio, ".2f"),
            number(result.share(peak), ".2f"),
        ]
        for result in results
    ]
    header = [
        "layer",
        "pass",
        "cnnlite GFLOP/s",
        "PyTorch GFLOP/s",
        "PyTorch's way (packed: ours too)",
        "ratio",
        "share of peak",
    ]
    return markdown(header, rows)
