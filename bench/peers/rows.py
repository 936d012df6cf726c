"""The rows in which libraries do the same work: networks over batch sizes, the matrix product, one convolution, single ops."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cases import LARGE_CONVS, RESNET50, ConvCase

from peers.driver import FEWEST_ROUNDS, PEERS, Figure, Setup, Worker, compare, environment, start
from peers.layer_rows import PASSES, request_for
from peers.op_rows import requests
from peers.results import Result, judged

TRAINERS = ("torch", "tf", "jax", "loops")
PREDICTORS = ("ort", "ov", "torch", "tf", "jax", "numpy", "loops")
CONVOLVERS = ("torch", "numpy", "loops")
# Rows without a bar of their own are there to show how a figure grows.
SHARE_OF_TIME = 0.3


@dataclass(frozen=True)
class Row:
    """A figure to reach: how many times as good as the best of `against`; no bar where it only shows something.

    `shown` peers are measured too and do not count. `unit` is one of `results.UNITS`; GFLOP/s needs `flops` an item.
    Rows of one `sweep` are at some `size` of it, and share their workers.
    """

    name: str
    title: str
    bar: float | None
    threads: int
    request: Mapping[str, Any]
    against: tuple[str, ...]
    shown: tuple[str, ...] = ()
    unit: str = "images/s"
    flops: float = 0.0
    quick: Mapping[str, Any] = field(default_factory=dict)
    sweep: str = ""
    size: int = 0


def _train(batch: int, images: int, bar: float | None = None) -> Row:
    return Row(
        f"train{batch}",
        f"training, `fit`, batch {batch}, 2 threads",
        bar,
        2,
        {"kind": "train", "network": "documented", "batch": batch, "images": images},
        TRAINERS,
        quick={"images": max(batch, images // 4)},
        sweep="training, `fit`, 2 threads",
        size=batch,
    )


def _predict(batch: int, images: int, bar: float | None = None) -> Row:
    return Row(
        f"predict{batch}",
        f"`predict`, batch {batch}, 2 threads",
        bar,
        2,
        {"kind": "predict", "network": "documented", "batch": batch, "images": images},
        PREDICTORS,
        sweep="`predict`, 2 threads",
        size=batch,
    )


def _second(kind: str, title: str, batches: int, against: tuple[str, ...]) -> Row:
    return Row(
        f"second_{kind}",
        f"second network, `{title}`, batch 37, 2 threads",
        1.5,
        2,
        {"kind": kind, "network": "second", "batch": 37, "images": 37 * batches},
        against,
        quick={"images": 37 * 10},
    )


def _conv(which: str) -> Row:
    """A pass of a layer with 3 x 3 windows and 64 channels, for the libraries that the table of layers leaves out."""
    (case,) = [case for case in RESNET50 if case.name == "resnet50_conv2_3x3"]
    return _pass("conv", which, "3 x 3, 56 x 56 pixels, 64 to 64 channels", case, CONVOLVERS, ("fma",))


def _depthwise(which: str) -> Row:
    """A pass of MobileNet's first depthwise layer."""
    (case,) = [case for case in LARGE_CONVS if case.name == "depthwise_112"]
    return _pass("depthwise", which, "depthwise 3 x 3, 112 x 112 pixels, 32 channels", case, ("torch",))


def _pass(
    name: str, which: str, layer: str, case: ConvCase, against: tuple[str, ...], shown: tuple[str, ...] = ()
) -> Row:
    """A pass of a layer on one thread."""
    return Row(
        f"{name}_{which}",
        f"conv2d {which}, {layer}, 1 thread",
        None,
        1,
        request_for(case, which),
        against,
        shown,
        unit="GFLOP/s",
        flops=case.flops,
    )


def _bfloat16(row: Row, title: str, against: tuple[str, ...], shown: tuple[str, ...] = ()) -> Row:
    """A row with factors of products that are rounded to 8 bits, to which libraries agree, in those that can."""
    request = {**row.request, "precision": "bfloat16", "tolerance": 0.05}
    name = f"{row.name}_bfloat16"
    return replace(row, name=name, title=title, request=request, against=against, shown=shown, sweep="")


ROWS = {
    row.name: row
    for row in (
        _train(8, 1024),
        _train(32, 4096, 3.5),
        _train(128, 4096, 2.5),
        _train(512, 4096),
        _predict(1, 128),
        _predict(8, 1024),
        _predict(32, 4096),
        _predict(256, 8192, 1.3),
        _predict(1024, 8192),
        _bfloat16(_train(128, 8192, 3.0), "training in bfloat16, `fit`, batch 128, 2 threads", ("torch",)),
        _bfloat16(
            _predict(256, 8192, 1.7),
            "`predict` in bfloat16, batch 256, 2 threads, over onnxruntime in float32",
            ("ort",),
            ("ov", "torch"),
        ),
        Row(
            "one_image",
            "`predict` of one image in a loop, 1 thread",
            1.25,
            1,
            {"kind": "predict", "network": "documented", "batch": 1, "images": 1},
            PREDICTORS,
            unit="us",
        ),
        Row(
            "matmul",
            "matmul 1024 x 1024 x 1024, 1 thread",
            0.95,
            1,
            {"kind": "matmul", "m": 1024, "k": 1024, "n": 1024},
            ("numpy", "torch", "loops"),
            ("fma",),
            unit="GFLOP/s",
            flops=2.0 * 1024**3,
        ),
        *(_conv(which) for which in PASSES),
        *(_depthwise(which) for which in PASSES),
        *(
            Row(name, title, None, 1, asked, ("torch",), unit="us")
            for name, (title, asked) in requests().items()
        ),
        _second("train", "fit", 50, ("torch", "tf", "jax")),
        _second("predict", "predict", 50, tuple(name for name in PREDICTORS if name != "loops")),
    )
}


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


def measure(rows: Sequence[Row], setup: Setup) -> Iterator[Result]:
    """Some rows one after the other; those of one sweep with the same workers."""
    kept: list[Worker] = []
    absent: dict[str, Figure] = {}
    at = ""
    try:
        for row in rows:
            if not (row.sweep and row.sweep == at):
                _close(kept)
                kept, absent = start(_names(row), setup, row.threads)
                at = row.sweep
            yield _measured(row, setup, kept, absent)
    finally:
        _close(kept)


def _names(row: Row) -> list[str]:
    return ["cnnlite", *row.against, *row.shown]


def _close(workers: list[Worker]) -> None:
    while workers:
        workers.pop().close()


def _measured(row: Row, setup: Setup, workers: Sequence[Worker], absent: Mapping[str, Figure]) -> Result:
    request = {**row.request, **(row.quick if setup.quick else {})}
    if setup.data is not None and request.get("network") == "documented":
        request["data"] = str(setup.data)
    no_model = {}
    if request["kind"] == "predict":
        request["model"] = model_file(row, setup)
        if request["model"] is None:
            no_model = {
                name: Figure(name, missing="no onnx package to write its model") for name in ("ort", "ov")
            }
    if row.bar is None:
        setup = replace(setup, seconds=setup.seconds * SHARE_OF_TIME, rounds=min(setup.rounds, FEWEST_ROUNDS))
    able = [worker for worker in workers if worker.peer.name not in no_model]
    figures = {**absent, **no_model, **compare(able, request, setup)}
    result = Result(row.name, row.title, unit=row.unit, flops=row.flops, sweep=row.sweep, size=row.size)
    return judged(result, figures, row.against, row.bar)
