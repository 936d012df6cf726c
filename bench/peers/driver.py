"""Starts the workers, asks them in turn, and collects what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
TIMEOUT_SECONDS = 900
TOLERANCE = 1e-3
# A peer of which one call alone takes so many times as long as a round has fewer rounds.
SLOW, FEWEST_ROUNDS = 2.0, 3

# Peers that this interpreter runs: they find what it finds.
OF_THIS = ("cnnlite", "loops", "numpy", "fma")

# glibc gives large blocks back to the system when they are freed, and fetching them again can cost PyTorch
# and TensorFlow half of their time, by chance. For every worker alike, freed memory stays with the process.
KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(8 << 30)}


@dataclass(frozen=True)
class Peer:
    """A library to compare with: the module of its worker, the package that must be there, and its environment variables."""

    name: str
    title: str
    module: str
    package: str
    settings: Mapping[str, str] = field(default_factory=dict)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("cnnlite", "cnnlite", "peers.cnnlite_worker", "numba"),
        Peer("torch", "PyTorch", "peers.torch_worker", "torch"),
        Peer("tf", "Keras-TensorFlow", "peers.keras_worker", "tensorflow", {"KERAS_BACKEND": "tensorflow"}),
        Peer("jax", "Keras-JAX", "peers.keras_worker", "jax", {"KERAS_BACKEND": "jax"}),
        Peer("ort", "onnxruntime", "peers.onnx_worker", "onnxruntime"),
        Peer("ov", "OpenVINO", "peers.openvino_worker", "openvino"),
        Peer("numpy", "NumPy and SciPy", "peers.numpy_worker", "numpy"),
        Peer("loops", "plain Numba loops", "peers.loops_worker", "numba"),
        Peer("fma", "FMA peak", "peers.fma_worker", "numba"),
    )
}


class WorkerError(Exception):
    """A worker failed or went away; the message is for the table."""


@dataclass
class Figure:
    """What one peer reached in one row: seconds an item of each round, or why there is nothing."""

    peer: str
    values: list[float] = field(default_factory=list)
    note: str = ""
    missing: str = ""

    @property
    def value(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """Half of the range, as a share of the median."""
        return (max(self.values) - min(self.values)) / 2 / self.value


@dataclass(frozen=True)
class Setup:
    """How the benchmark runs: interpreters by peer (None where absent), rounds and their length, files."""

    interpreters: Mapping[str, str | None]
    seconds: float
    rounds: int
    quick: bool
    folder: Path
    data: Path | None = None


def find_interpreter(peer: Peer, given: str | None) -> str | None:
    """The one named on the command line or in CNNLITE_BENCH_<NAME>, or this one if it has the package."""
    named = given or os.environ.get(f"CNNLITE_BENCH_{peer.name.upper()}")
    if named:
        if not Path(named).exists():
            raise ValueError(
                f"--{peer.name}: expected the path of a Python interpreter, got {named}, which is not there."
            )
        return named
    return sys.executable if importlib.util.find_spec(peer.package) else None


def environment(peer: Peer, threads: int, keep_freed_memory: bool = True) -> dict[str, str]:
    """Thread counts in every form the libraries read, where the modules are, and settings of glibc."""
    paths = [BENCH, ROOT / "tests"]
    if peer.name == "cnnlite":
        paths += [ROOT, ROOT / "kernels"]
    before = [path for path in [os.environ.get("PYTHONPATH")] if path and peer.name in OF_THIS]
    count = str(threads)
    return dict(
        os.environ,
        PYTHONPATH=os.pathsep.join([*map(str, paths), *before]),
        CNNLITE_BENCH_THREADS=count,
        OMP_NUM_THREADS=count,
        MKL_NUM_THREADS=count,
        OPENBLAS_NUM_THREADS=count,
        NUMBA_NUM_THREADS=count,
        **(KEEP_FREED_MEMORY if keep_freed_memory else {}),
        **peer.settings,
    )


class Worker:
    """A running worker, stopped except while it answers; a context manager.

    `label` names its figures; `plain` leaves glibc's settings as a user has them; `settings` are environment
    variables of its own.
    """

    def __init__(
        self,
        peer: Peer,
        setup: Setup,
        threads: int,
        label: str = "",
        plain: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        interpreter = setup.interpreters[peer.name]
        if interpreter is None:
            raise WorkerError("absent")
        self.peer, self.label = peer, label or peer.name
        self.log = setup.folder / f"{peer.name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [interpreter, "-m", peer.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**environment(peer, threads, keep_freed_memory=not plain), **(settings or {})},
                cwd=setup.folder,
                text=True,
                encoding="utf-8",
            )
        try:
            self.versions: dict[str, str] = self.ask({"do": "hello"})["versions"]
        except WorkerError:
            self.close()
            raise

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a request; WorkerError when the worker says why not, fails or takes too long."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(TIMEOUT_SECONDS, self.process.kill)
        timer.start()
        try:
            self.process.send_signal(signal.SIGCONT)
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            self.process.send_signal(signal.SIGSTOP)
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            raise WorkerError(f"its worker ended: {self.last_words()}")
        reply: dict[str, Any] = json.loads(line)
        if "absent" in reply:
            raise WorkerError(reply["absent"])
        if "error" in reply:
            raise WorkerError(f"failed: {reply['error']}")
        return reply

    def last_words(self) -> str:
        """The last line it wrote to standard error."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def disagreement(answers: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """How far each answer is from the middle one of all, as a share of the largest value.

    With two peers the middle is between them, so both are named when they differ.

    >>> disagreement({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [1.0, 3.0]})
    {'a': 0.0, 'b': 0.0, 'c': 0.5}
    """
    given = {name: np.asarray(answer) for name, answer in answers.items()}
    if len({answer.shape for answer in given.values()}) > 1:
        raise ValueError(
            f"answers differ in size: { {name: answer.shape for name, answer in given.items()} }"
        )
    middle = np.median(np.stack(list(given.values())), axis=0)
    scale = max(float(np.abs(middle).max()), 1e-30)
    # Written so that NaN counts as different.
    found = {name: float(np.abs(answer - middle).max()) / scale for name, answer in given.items()}
    return {name: far if far == far else float("inf") for name, far in found.items()}


def start(names: Sequence[str], setup: Setup, threads: int) -> tuple[list[Worker], dict[str, Figure]]:
    """Workers for these peers, and figures that say what is missing for those that could not be started."""
    workers, missing = [], {}
    for name in names:
        try:
            workers.append(Worker(PEERS[name], setup, threads))
        except WorkerError as reason:
            missing[name] = Figure(name, missing=str(reason))
    return workers, missing


def compare(workers: Sequence[Worker], request: Mapping[str, Any], setup: Setup) -> dict[str, Figure]:
    """Prepare the measurement in all workers, check that they agree, then time them in turn, round by round.

    The core's peak has a measurement of its own, which is timed among the others.
    """
    figures: dict[str, Figure] = {}
    answers: dict[str, list[float]] = {}
    ready = []
    for worker in workers:
        figure = figures[worker.label] = Figure(worker.peer.name)
        try:
            asked = {"kind": "peak"} if worker.peer.name == "fma" else request
            reply = worker.ask({**asked, "do": "prepare"})
        except WorkerError as reason:
            figure.missing = str(reason)
            continue
        figure.note = reply["note"]
        if reply["answer"]:
            answers[worker.label] = reply["answer"]
        ready.append(worker)
    tolerance = request.get("tolerance", TOLERANCE)
    for name, far in disagreement(answers).items() if answers else ():
        if far > tolerance:
            figures[name].missing = f"its answer is {far:.1e} from the others"
    ready = [worker for worker in ready if not figures[worker.label].missing]
    longest = {worker.label: 0.0 for worker in ready}
    for number in range(setup.rounds):
        # Back and forth, so that a slow drift of the machine does not favour the first.
        for worker in ready if number % 2 == 0 else reversed(ready):
            figure = figures[worker.label]
            slow = longest[worker.label] > SLOW * setup.seconds
            if not figure.missing and not (slow and number >= FEWEST_ROUNDS):
                began = time.perf_counter()
                try:
                    reply = worker.ask({"do": "measure", "seconds": setup.seconds})
                    figure.values.append(reply["value"])
                except WorkerError as reason:
                    figure.missing = str(reason)
                longest[worker.label] = max(longest[worker.label], time.perf_counter() - began)
    return figures
