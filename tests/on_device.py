"""Whole models with the interpreter of PTX in a GPU's place."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda, which compiles the GPU's kernels, is not installed")

import networks
from interpreted import Interpreted

import cnnlite
from cnnlite import models
from cnnlite_kernels.cuda import gpu


class Counted(Interpreted):
    """An interpreter that counts what is asked of it, and puts it off as a GPU may: until somebody waits.

    Copies to and from memory of `host` are done when their turn comes, with what is there by then; others at once, after all that
    was asked before.
    """

    def __init__(self) -> None:
        super().__init__()
        self._asked: list[Callable[[], None]] = []
        self._done = 0  # of all that was ever asked
        self._pinned: list[np.ndarray] = []
        self.forget()

    def forget(self) -> None:
        """Counts from zero."""
        self.uploads = self.downloads = self.runs = self.allocations = 0
        self.order: list[str] = []  # "run" and "wait" as they were called

    def drop(self) -> None:
        """Leaves undone what an earlier test that failed has asked for."""
        self._done += len(self._asked)
        self._asked.clear()

    def empty(self, count: int, dtype: Any = np.float32) -> np.ndarray:
        self.allocations += 1
        return super().empty(count, dtype)

    def host(self, count: int, dtype: Any = np.float32) -> np.ndarray:
        self._pinned.append(super().host(count, dtype))
        return self._pinned[-1]

    def upload(self, host: np.ndarray, to: np.ndarray) -> None:
        assert host.nbytes == to.nbytes
        self.uploads += 1
        given = host if self._is_pinned(host) else host.copy()
        self._asked.append(functools.partial(super().upload, given, to))

    def download(self, array: np.ndarray, to: np.ndarray) -> None:
        assert array.nbytes == to.nbytes
        self.downloads += 1
        self._asked.append(functools.partial(super().download, array, to))
        if not self._is_pinned(to):
            self.synchronize()

    def run(self, launches: list[Any]) -> None:
        self.runs += 1
        self.order.append("run")
        self._asked.append(functools.partial(super().run, launches))

    def synchronize(self) -> None:
        self.until(self._done + len(self._asked))

    def event(self) -> Reached:
        """The end of all that was asked so far; its `wait` returns then."""
        return Reached(self, self._done + len(self._asked))

    def until(self, count: int) -> None:
        """Does what was asked, up to so many things in all."""
        while self._done < count:
            self._done += 1
            self._asked.pop(0)()

    def _is_pinned(self, array: np.ndarray) -> bool:
        return any(np.may_share_memory(array, pinned) for pinned in self._pinned)


class Reached(NamedTuple):
    """A moment in the work of `Counted`: when so much of what was ever asked is done."""

    device: Counted
    count: int

    def wait(self) -> None:
        self.device.order.append("wait")
        self.device.until(self.count)


@functools.cache
def interpreter(number: int = 0) -> Counted:
    """The one of this process with that number: it keeps every kernel that it has decoded."""
    return Counted()


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """The interpreter, as device "cuda" and every "cuda:N"."""
    found = interpreter(0)
    found.drop()
    found.forget()
    monkeypatch.setattr(gpu, "current", interpreter)
    return found


class Trained(NamedTuple):
    """A model after some steps: what each reported, the weights, the optimizer's state."""

    model: models.Sequential
    reported: list[list[float]]
    weights: list[np.ndarray]
    state: list[np.ndarray]


def train(
    make: Callable[..., models.Sequential],
    device: str | None,
    optimizer: Callable[[], Any],
    loss: Any,
    batches: list[tuple[np.ndarray, np.ndarray]],
    metrics: Any = ("accuracy",),
) -> Trained:
    """Trains a model on a device, from the same first weights and with the same masks every time."""
    cnnlite.set_random_seed(3)
    model = make(device=device)
    model.compile(optimizer(), loss, list(metrics))
    model.build()
    cnnlite.set_random_seed(5)
    reported = [np.atleast_1d(model.train_on_batch(x, y)).tolist() for x, y in batches]
    trained = model.optimizer.layout.parameters
    state = [slot.copy() for parameter in trained for slot in model.optimizer.state_of(parameter)]
    return Trained(model, reported, model.get_weights(), state)


def assert_close(one: Any, other: Any, tolerance: float = 1e-4, least: float = 1e-3) -> None:
    """Lists of arrays are equal to within a share of the largest number of each; which counts for `least` if it is below."""
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * float(np.abs(b).max(initial=least)))


def on_both(model: models.Sequential) -> tuple[models.Sequential, models.Sequential]:
    """A model on the CPU, and with the same weights on the device."""
    cpu = networks.scattered(model)
    return cpu, copy.deepcopy(cpu).to("cuda")


def passes(model: models.Sequential, x: np.ndarray, training: bool) -> list[np.ndarray]:
    """[output, gradient of x, gradients of the weights, the weights]: a pass in training moves some of them.

    A bias in front of a normalization has a gradient of 0 but for rounding: compared with numbers about 1.
    """
    cnnlite.set_random_seed(2)
    y = model.forward(x, training=training)
    model.zero_gradients()
    grad_x = model.backward(np.random.default_rng(3).standard_normal(y.shape))
    return [y, grad_x, *model.gradients, *model.get_weights()]
