"""The rows with a bar of their own: speed-up by threads, start-up times, memory, installed size and accuracy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from peers.driver import (
    FEWEST_ROUNDS,
    PEERS,
    ROOT,
    TIMEOUT_SECONDS,
    Figure,
    Setup,
    Worker,
    WorkerError,
    compare,
    environment,
)
from peers.results import MET, MISSED, Result, amount, judged, shown
from peers.rows import PREDICTORS, ROWS, TRAINERS, model_file

SPEED_UP_BAR = 1.85
IMPORT_BAR, FILLED_BAR, EMPTY_BAR = 0.4, 1.5, 25.0
MEMORY_BAR = 300e6
ACCURACY_BARS = {"fashion_mnist": 0.900, "mnist": 0.991}
IMPORTED = {
    "cnnlite": "cnnlite",
    "torch": "torch",
    "tf": "keras",
    "jax": "keras",
    "ort": "onnxruntime",
    "ov": "openvino",
    "numpy": "scipy.signal",
    "loops": "numba",
}
# Where a library keeps what it has compiled, for those that can.
CACHES = {
    "cnnlite": "CNNLITE_CACHE_DIR",
    "torch": "TORCHINDUCTOR_CACHE_DIR",
    "jax": "JAX_COMPILATION_CACHE_DIR",
    "loops": "NUMBA_CACHE_DIR",
}
CACHE_SETTINGS = {"jax": {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}}
# Ways to train that differ in what has to be compiled first.
WAYS = {"torch": ("eager", "compiled")}
FILLED_ROUNDS = 3


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
    result.ours = ", then ".join(shown(amount(each, row.unit), row.unit) for each in (first, second))
    result.ratio = first.value / second.value
    result.verdict = MET if result.ratio >= SPEED_UP_BAR else MISSED
    return [result]


def import_time(setup: Setup) -> list[Result]:
    """Seconds for the import statement in a new process, with the files in memory."""

    def once(name: str) -> float:
        command = [_interpreter(name, setup), "-m", "peers.import_time", IMPORTED[name]]
        done = subprocess.run(
            command,
            env=environment(PEERS[name], 2, keep_freed_memory=False),
            cwd=setup.folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
        if done.returncode:
            raise WorkerError(f"failed: {_last_line(done.stderr) or done.returncode}")
        return float(_last_line(done.stdout))

    figures, rounds = {}, min(setup.rounds, FEWEST_ROUNDS)
    for name in IMPORTED:
        figures[name] = _figure(name, lambda name=name: [once(name) for _ in range(rounds + 1)][1:])  # type: ignore[misc]
        figures[name].note = IMPORTED[name] if IMPORTED[name] in ("keras", "scipy.signal", "numba") else ""
    result = Result("import", "import in a new process, warm disk", unit="s")
    return [judged(result, figures, list(IMPORTED)[1:], most=IMPORT_BAR)]


def first_step(setup: Setup) -> list[Result]:
    """From the start of a process to the end of its first training step, without and with what was compiled before."""
    empty: dict[str, Figure] = {}
    filled: dict[str, Figure] = {}
    for name in ("cnnlite", *TRAINERS):
        for way in WAYS.get(name, ("",)):
            _first_steps(name, way, setup, empty, filled)
    results = []
    for found, key, title, bar in (
        (filled, "filled", "first training step, new process, filled cache", FILLED_BAR),
        (empty, "empty", "first training step, empty cache", EMPTY_BAR),
    ):
        result = Result(f"first_step_{key}", title, unit="s")
        results.append(judged(result, found, [name for name in found if name != "cnnlite"], most=bar))
    return results


def _first_steps(
    name: str, way: str, setup: Setup, empty: dict[str, Figure], filled: dict[str, Figure]
) -> None:
    """Adds a library's figures; where it keeps nothing, the same ones to both."""
    label = f"{name} {way}".strip()
    cache = setup.folder / f"cache_{label.replace(' ', '_')}"
    request = {"kind": "first_step", "network": "documented", "batch": 32, "images": 32, "way": way}

    def once() -> float:
        began = time.time()
        settings = {CACHES[name]: str(cache), **CACHE_SETTINGS.get(name, {})} if name in CACHES else {}
        with Worker(PEERS[name], setup, 2, plain=True, settings=settings) as worker:
            worker.ask({**request, "do": "prepare"})
            ended: float = worker.ask({"do": "measure"})["value"]
        return ended - began

    keeps = name in CACHES and way != "eager"
    rounds = 1 if setup.quick else FILLED_ROUNDS
    cache.mkdir(mode=0o700)
    empty[label] = _figure(name, lambda: [once() for _ in range(1 if keeps else rounds)])
    filled[label] = _figure(name, lambda: [once() for _ in range(rounds)]) if keeps else empty[label]
    for figure in (empty[label], filled[label]):
        figure.note = ", ".join(filter(None, [way, "" if keeps else "keeps none"]))
    shutil.rmtree(cache, ignore_errors=True)


def memory(setup: Setup) -> list[Result]:
    """Peaks of new processes that train at batch 128 and predict at 256, above the arrays they were given."""
    results = []
    for kind, base, against, bar in (
        ("train", ROWS["train128"], TRAINERS, MEMORY_BAR),
        ("predict", ROWS["predict256"], PREDICTORS, None),
    ):
        request = {
            **base.request,
            "do": "prepare",
            "kind": f"{kind}_memory",
            "images": 60_000 if kind == "train" and not setup.quick else 8192,
            "data": str(setup.data) if setup.data else None,
        }
        if kind == "predict":
            request["model"] = model_file(base, setup)

        def once(name: str, request: Mapping[str, Any] = request) -> list[float]:
            with Worker(PEERS[name], setup, 2, plain=True) as worker:
                worker.ask(request)
                return [worker.ask({"do": "measure"})["value"]]

        figures = {name: _figure(name, lambda name=name, once=once: once(name)) for name in ("cnnlite", *against)}  # type: ignore[misc]  # fmt: skip
        size = base.request["batch"]
        title = f"peak memory above the caller's arrays, {'training' if kind == 'train' else '`predict`'}, batch {size}"
        results.append(judged(Result(f"memory_{kind}", title, unit="MB"), figures, against, most=bar))
    return results


def installed_size(setup: Setup) -> list[Result]:
    """Packages of an environment that has the library and what it needs; ours is made for this by pip."""
    own = setup.folder / "installed"

    def make() -> str:
        for command in (
            [sys.executable, "-m", "venv", str(own)],
            [str(own / "bin" / "python"), "-m", "pip", "install", "--quiet", str(ROOT)],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
            if done.returncode:
                raise WorkerError(f"pip install failed: {_last_line(done.stderr)}")
        return str(own / "bin" / "python")

    def once(name: str) -> list[float]:
        interpreter = make() if name == "cnnlite" else _interpreter(name, setup)
        if name != "cnnlite" and Path(interpreter) == Path(sys.executable):
            raise WorkerError("no environment of its own")
        done = subprocess.run(
            [interpreter, "-m", "peers.installed_size"],
            env=environment(PEERS[name], 2),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
        if done.returncode:
            raise WorkerError(f"failed: {_last_line(done.stderr) or done.returncode}")
        return [float(_last_line(done.stdout))]

    against = ("torch", "tf", "jax", "ort", "ov")
    figures = {name: _figure(name, lambda name=name: once(name)) for name in ("cnnlite", *against)}  # type: ignore[misc]
    return [judged(Result("size", "installed size, with what it needs", unit="MB"), figures, against)]


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


def _interpreter(name: str, setup: Setup) -> str:
    found = setup.interpreters[name]
    if found is None:
        raise WorkerError("absent")
    return found


def _figure(name: str, measured: Callable[[], list[float]]) -> Figure:
    """What was measured, or the reason why it could not be."""
    try:
        return Figure(name, measured())
    except (WorkerError, OSError, subprocess.TimeoutExpired) as reason:
        return Figure(name, missing=str(reason))


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


OWN_ROWS: dict[str, Callable[[Setup], list[Result]]] = {
    "threads": threads,
    "import": import_time,
    "first_step": first_step,
    "memory": memory,
    "size": installed_size,
    "accuracy": accuracy,
}
