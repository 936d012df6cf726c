"""The rows with a bar of their own: speed-up by threads, start-up times, memory and accuracy."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from peers.driver import PEERS, ROOT, TIMEOUT_SECONDS, Setup, Worker, WorkerError, compare, environment
from peers.rows import MET, MISSED, ROWS, Result, shown

SPEED_UP_BAR = 1.85
IMPORT_BAR, FILLED_BAR, EMPTY_BAR = 0.4, 1.5, 25.0
MEMORY_BAR = 300e6
ACCURACY_BARS = {"fashion_mnist": 0.900, "mnist": 0.991}
IMPORTED = {"cnnlite": "cnnlite", "torch": "torch", "tf": "keras", "ort": "onnxruntime", "ov": "openvino"}


def threads(setup: Setup) -> list[Result]:
    """Training at batch 128 on one thread and on two."""
    row = ROWS["train128"]
    request = {
        **row.request,
        **(row.quick if setup.quick else {}),
        "data": str(setup.data) if setup.data else None,
    }
    result = Result("threads", "two threads over one, training, batch 128", "", bar=f"{SPEED_UP_BAR:g}x")
    try:
        with (
            Worker(PEERS["cnnlite"], setup, 1, "one") as one,
            Worker(PEERS["cnnlite"], setup, 2, "two") as two,
        ):
            figures = compare([one, two], request, setup)
    except WorkerError as reason:
        result.ours, result.verdict = str(reason), "not measured"
        return [result]
    result.raw = {label: vars(figure) for label, figure in figures.items()}
    first, second = figures["one"], figures["two"]
    if first.missing or second.missing:
        result.ours, result.verdict = first.missing or second.missing, "not measured"
        return [result]
    result.ours = f"{shown(first.value, 'images/s')}, then {shown(second.value, 'images/s')}"
    result.ratio = first.value / second.value
    result.verdict = MET if result.ratio >= SPEED_UP_BAR else MISSED
    return [result]


def _seconds_of(
    name: str, command: list[str], setup: Setup, extra: dict[str, str] | None = None
) -> tuple[float, str]:
    """Run a module in a peer's environment: when it began (seconds since the epoch), what it printed."""
    interpreter = setup.interpreters[name]
    if interpreter is None:
        raise WorkerError("absent")
    began = time.time()
    done = subprocess.run(
        [interpreter, "-m", *command],
        env={**environment(PEERS[name], 2, keep_freed_memory=False), **(extra or {})},
        cwd=setup.folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    if done.returncode:
        raise WorkerError(
            f"failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"
        )
    return began, done.stdout.strip().splitlines()[-1]


def import_time(setup: Setup) -> list[Result]:
    """Seconds for the import statement in a new process, with the files in memory."""
    found: dict[str, list[float]] = {}
    missing = {}
    for name, package in IMPORTED.items():
        try:
            found[name] = [
                float(_seconds_of(name, ["peers.import_time", package], setup)[1])
                for _ in range(setup.rounds + 1)
            ][1:]
        except WorkerError as reason:
            missing[name] = str(reason)
    result = _at_most(
        "import", "`import cnnlite`, warm disk", found.pop("cnnlite", None), IMPORT_BAR, _in_seconds
    )
    result.ours = result.ours or missing.pop("cnnlite", "")
    result.others = [f"{PEERS[name].title} {_in_seconds(median(values))}" for name, values in found.items()]
    result.others += [
        f"{PEERS[name].title} {reason}" for name, reason in missing.items() if name != "cnnlite"
    ]
    return [result]


def first_step(setup: Setup) -> list[Result]:
    """From the start of a process to the end of its first training step, without and with cached kernels."""
    cache = setup.folder / "cache"
    times: dict[str, list[float]] = {"empty": [], "filled": []}
    reason = ""
    try:
        for _ in range(1 if setup.quick else 2):
            shutil.rmtree(cache, ignore_errors=True)
            cache.mkdir(mode=0o700)
            for which, repeats in (("empty", 1), ("filled", setup.rounds)):
                for _ in range(repeats):
                    began, ended = _seconds_of(
                        "cnnlite", ["peers.first_step"], setup, {"CNNLITE_CACHE_DIR": str(cache)}
                    )
                    times[which].append(float(ended) - began)
    except WorkerError as error:
        reason = str(error)
    filled = _at_most(
        "first_step_filled",
        "first training step, new process, filled cache",
        times["filled"],
        FILLED_BAR,
        _in_seconds,
    )
    empty = _at_most(
        "first_step_empty", "first training step, empty cache", times["empty"], EMPTY_BAR, _in_seconds
    )
    for result in (filled, empty):
        result.ours = result.ours or reason
    return [filled, empty]


def memory(setup: Setup) -> list[Result]:
    """Peak of a new process that trains at batch 128, above the arrays it was given."""
    request = {
        "do": "prepare",
        "kind": "memory",
        "network": "documented",
        "batch": 128,
        "images": 8192 if setup.quick else 60_000,
        "data": str(setup.data) if setup.data else None,
    }
    found: dict[str, float] = {}
    missing = {}
    for name in ("cnnlite", "torch", "tf"):
        try:
            with Worker(PEERS[name], setup, 2, plain=True) as worker:
                worker.ask(request)
                found[name] = worker.ask({"do": "measure"})["value"]
        except WorkerError as reason:
            missing[name] = str(reason)
    ours = [found.pop("cnnlite")] if "cnnlite" in found else None
    result = _at_most(
        "memory", "peak memory above the caller's arrays, batch 128", ours, MEMORY_BAR, _in_megabytes
    )
    result.ours = result.ours or missing.pop("cnnlite", "")
    result.others = [f"{PEERS[name].title} {_in_megabytes(value)}" for name, value in found.items()]
    result.others += [f"{PEERS[name].title} {reason}" for name, reason in missing.items()]
    return [result]


def accuracy(setup: Setup) -> list[Result]:
    """Test accuracy after 5 epochs, mean of 3 seeds, and Keras's, from the tests' stored figures."""
    stored: dict[str, Any] = {}
    path = ROOT / "tests" / "data" / "keras_full_runs.json"
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
    results = []
    for dataset, bar in ACCURACY_BARS.items():
        result = Result(
            f"accuracy_{dataset}", f"accuracy after 5 epochs, 3 seeds, {dataset}", "", bar=f"{bar:.1%}"
        )
        request = {"kind": "accuracy", "dataset": dataset, "seeds": 1 if setup.quick else 3, "epochs": 5}
        try:
            with Worker(PEERS["cnnlite"], setup, 2) as worker:
                note = worker.ask({**request, "do": "prepare"})["note"]
                value = worker.ask({"do": "measure"})["value"]
            result.ours, result.verdict = f"{value:.2%} ({note})", MET if value >= bar else MISSED
            result.raw = {"mean": value, "range": note}
        except WorkerError as reason:
            result.ours, result.verdict = str(reason), "not measured"
        if dataset in stored:
            result.others = [f"Keras-TensorFlow {stored[dataset]['mean_test_accuracy']:.2%} (stored)"]
        results.append(result)
    return results


def _at_most(
    name: str, title: str, values: list[float] | None, bar: float, text: Callable[[float], str]
) -> Result:
    result = Result(name, title, "", bar=f"under {text(bar)}", verdict="not measured")
    if values:
        result.ours = text(median(values))
        result.verdict = MET if median(values) < bar else MISSED
        result.raw = {"values": values}
    return result


def _in_seconds(value: float) -> str:
    return f"{value:.2f} s"


def _in_megabytes(value: float) -> str:
    return f"{value / 1e6:.0f} MB"


OWN_ROWS: dict[str, Callable[[Setup], list[Result]]] = {
    "threads": threads,
    "import": import_time,
    "first_step": first_step,
    "memory": memory,
    "accuracy": accuracy,
}
