"""The rows in which libraries do the same work: networks, and the matrix product."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from peers.driver import PEERS, Figure, Setup, compare, environment, start

MET, MISSED = "met", "missed"


@dataclass
class Result:
    """One row of the table: texts for the reader, `raw` for the JSON file."""

    name: str
    title: str
    ours: str
    others: list[str] = field(default_factory=list)
    ratio: float | None = None
    bar: str = ""
    verdict: str = ""
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A figure to reach: how many times as fast as the best of `against`.

    `shown` peers are measured too and do not count. `unit` is "images/s", "us" or "GFLOP/s" (then `flops` an
    item).
    """

    name: str
    title: str
    bar: float
    threads: int
    request: Mapping[str, Any]
    against: tuple[str, ...]
    shown: tuple[str, ...] = ()
    unit: str = "images/s"
    flops: float = 0.0
    quick: Mapping[str, Any] = field(default_factory=dict)


def _train(network: str, batch: int, images: int) -> dict[str, Any]:
    return {"kind": "train", "network": network, "batch": batch, "images": images}


def _predict(network: str, batch: int, images: int) -> dict[str, Any]:
    return {"kind": "predict", "network": network, "batch": batch, "images": images}


ROWS = {
    row.name: row
    for row in (
        Row(
            "train32",
            "training, `fit`, batch 32, 2 threads",
            2.5,
            2,
            _train("documented", 32, 16384),
            ("torch", "tf"),
            quick={"images": 4096},
        ),
        Row(
            "train128",
            "training, `fit`, batch 128, 2 threads",
            1.8,
            2,
            _train("documented", 128, 16384),
            ("torch", "tf"),
            quick={"images": 8192},
        ),
        Row(
            "predict256",
            "`predict`, batch 256, 2 threads",
            1.2,
            2,
            _predict("documented", 256, 8192),
            ("ort", "ov", "torch"),
            ("tf",),
        ),
        Row(
            "one_image",
            "`predict` of one image in a loop, 1 thread",
            1.0,
            1,
            _predict("documented", 1, 1),
            ("ort",),
            ("ov", "torch", "tf"),
            unit="us",
        ),
        Row(
            "matmul",
            "matmul 1024 x 1024 x 1024, 1 thread",
            0.95,
            1,
            {"kind": "matmul", "m": 1024, "k": 1024, "n": 1024},
            ("numpy",),
            ("torch", "fma"),
            unit="GFLOP/s",
            flops=2.0 * 1024**3,
        ),
        Row(
            "second_train",
            "second network, `fit`, batch 37, 2 threads",
            1.5,
            2,
            _train("second", 37, 37 * 150),
            ("torch", "tf"),
            quick={"images": 37 * 50},
        ),
        Row(
            "second_predict",
            "second network, `predict`, batch 37, 2 threads",
            1.5,
            2,
            _predict("second", 37, 37 * 50),
            ("ort", "ov", "torch"),
            ("tf",),
        ),
    )
}


def shown(value: float, unit: str, flops: float = 0.0) -> str:
    """Seconds an item, in the unit of a row.

    >>> shown(0.0001, "images/s"), shown(30.4e-6, "us"), shown(0.01, "GFLOP/s", 2e9)
    ('10,000 images/s', '30.4 us', '200 GFLOP/s')
    """
    if unit == "us":
        return f"{value * 1e6:.1f} us"
    if unit == "GFLOP/s":
        return f"{flops / value / 1e9:.0f} GFLOP/s"
    return f"{1 / value:,.0f} images/s"


def described(figure: Figure, row: Row) -> str:
    """A peer's figure with its variant and spread, or why there is none."""
    if figure.missing:
        return figure.missing
    # The peak of multiply-adds is timed an operation, not a product.
    flops = 1.0 if figure.peer == "fma" else row.flops
    note = f", {figure.note}" if figure.note else ""
    return f"{shown(figure.value, row.unit, flops)} (±{figure.spread:.0%}{note})"


def model_file(row: Row, setup: Setup) -> str | None:
    """The row's network as an ONNX file, made by the first interpreter that has onnx; None without one."""
    network, batch = row.request["network"], row.request["batch"]
    path = setup.folder / f"{network}_{batch}.onnx"
    for name in ("ort", "ov", "cnnlite"):
        interpreter = setup.interpreters[name]
        if path.exists() or interpreter is None:
            continue
        command = [interpreter, "-m", "peers.onnx_file", network, str(batch), str(path)]
        subprocess.run(command, env=environment(PEERS[name], 1), cwd=setup.folder, capture_output=True)
    return str(path) if path.exists() else None


def measure(row: Row, setup: Setup) -> Result:
    """Run one row."""
    request = {**row.request, **(row.quick if setup.quick else {})}
    if setup.data is not None and request.get("network") == "documented":
        request["data"] = str(setup.data)
    names = ["cnnlite", *row.against, *row.shown]
    no_model = {}
    if request["kind"] == "predict":
        request["model"] = model_file(row, setup)
        if request["model"] is None:
            no_model = {
                name: Figure(name, missing="no onnx package to write its model") for name in ("ort", "ov")
            }
    workers, missing = start([name for name in names if name not in no_model], setup, row.threads)
    try:
        figures = {**missing, **no_model, **compare(workers, request, setup)}
    finally:
        for worker in workers:
            worker.close()
    return judged(row, figures)


def judged(row: Row, figures: Mapping[str, Figure]) -> Result:
    """The row of the table: ratio of medians against the best peer that counts."""
    ours = figures["cnnlite"]
    theirs = [figures[name] for name in row.against if not figures[name].missing]
    others = [
        f"{PEERS[name].title} {described(figures[name], row)}"
        for name in sorted([*row.against, *row.shown], key=lambda name: _order(figures[name]))
    ]
    result = Result(row.name, row.title, described(ours, row), others, bar=f"{row.bar:g}x")
    result.raw = {name: vars(figure) for name, figure in figures.items()}
    if ours.missing or not theirs:
        result.verdict = "not measured" if ours.missing else "no peer to compare with"
        return result
    result.ratio = min(figure.value for figure in theirs) / ours.value
    result.verdict = MET if result.ratio >= row.bar else MISSED
    absent = [PEERS[name].title for name in row.against if figures[name].missing]
    if absent:
        result.verdict += f" (without {', '.join(absent)})"
    return result


def _order(figure: Figure) -> float:
    return float("inf") if figure.missing or figure.peer == "fma" else figure.value
