"""What training and evaluation handle step by step: batches before they are converted, what steps share, running means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cnnlite import losses, optimizers
from cnnlite.batches import gather, is_stream
from cnnlite.losses import SparseCategoricalCrossentropy
from cnnlite.losses.loss import LossKernel
from cnnlite.parameters import Parameter


class Rows(NamedTuple):
    """A batch before it is converted: rows (a slice or an array of numbers) of x, y and weights."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None
    rows: Any
    n: int


class Step(NamedTuple):
    """What all steps of an epoch share: looked up once, because a step takes a millisecond."""

    optimizer: optimizers.Optimizer
    loss: losses.Loss
    kernel: LossKernel | None
    parameters: list[Parameter]
    penalised: list[Parameter]
    masks: bool


Later = Callable[[], list[float]]
"""Waits for a step that has begun, and returns its [loss, *metrics]."""


class Totals:
    """Losses and metrics of an epoch, each batch counting with its number of samples.

    Those of a step that has only begun are waited for when the next has begun too, or when somebody looks.
    """

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._sums = [0.0] * (1 + len(names))
        self._samples = 0
        self._begun: tuple[Later, int] | None = None

    def add(self, values: list[float] | Later, samples: int) -> None:
        self._settle()
        if callable(values):
            self._begun = values, samples
        else:
            self._count(values, samples)

    def _count(self, values: list[float], samples: int) -> None:
        for i, value in enumerate(values):
            self._sums[i] += value * samples
        self._samples += samples

    def _settle(self) -> None:
        if self._begun is not None:
            (values, samples), self._begun = self._begun, None
            self._count(values(), samples)

    def values(self) -> list[float]:
        """[loss, *metrics]."""
        self._settle()
        return [total / max(1, self._samples) for total in self._sums]

    def logs(self, prefix: str = "") -> dict[str, float]:
        """By name, in the order in which Keras prints them."""
        named = zip(["loss", *self._names], self.values(), strict=True)
        return {prefix + name: value for name, value in sorted(named)}


def unpack(validation_data: Any) -> tuple[Any, Any, Any]:
    """(x, y, weights) of validation data; a generator in the place of x.

    Raises:
        ValueError: something else.
    """
    if is_stream(validation_data):
        return validation_data, None, None
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise ValueError("fit: expected validation_data as (x, y), (x, y, sample_weight) or a generator.")
    return (*validation_data, None)[:3]


def converted(
    batch: Rows, dtype: np.dtype, loss: losses.Loss, output_shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The batch's own arrays: x and y converted (labels stay integers), weights of one where there are none.

    Targets without the last axis of one that the outputs have get it: numpy would make a table of all pairs of both.
    """
    x = gather(batch.x, batch.rows, np.empty((batch.n, *batch.x.shape[1:]), dtype))
    y = batch.y[batch.rows]
    if (
        not isinstance(loss, SparseCategoricalCrossentropy)
        and y.shape[1:] == output_shape[:-1]
        and output_shape[-1] == 1
    ):
        y = y[..., None]
    if y.dtype.kind == "f" or y.ndim > 2:
        y = y.astype(dtype)
    weights = np.ones(batch.n, dtype) if batch.weights is None else batch.weights[batch.rows].astype(dtype)
    return x, y, weights


def verbosity(verbose: int | str, auto: int, op: str) -> int:
    """0, 1 or 2.

    Raises:
        ValueError: none of them, nor "auto".

    >>> verbosity("auto", 1, "fit"), verbosity(2, 1, "fit")
    (1, 2)
    """
    if isinstance(verbose, str) and verbose == "auto":
        return auto
    if verbose not in (0, 1, 2):
        raise ValueError(
            f"{op}: expected verbose 0 (silent), 1 (a progress bar), 2 (a line an epoch) or 'auto', got {verbose!r}."
        )
    return int(verbose)


def validates(epoch: int, freq: Any) -> bool:
    """Whether the epoch, counted from 0, is one after which `fit` validates: every so many, or one of those named from 1.

    Raises:
        ValueError: neither an integer of at least 1 nor a collection of them.

    >>> [validates(epoch, 2) for epoch in range(4)], validates(4, [1, 5])
    ([False, True, False, True], True)
    """
    if isinstance(freq, (int, np.integer)) and freq >= 1:
        return (epoch + 1) % int(freq) == 0
    if isinstance(freq, (list, tuple, set, range)):
        return epoch + 1 in freq
    raise ValueError(
        f"fit: expected validation_freq as an integer of at least 1 or a list of epochs, got {freq!r}."
    )


def only_stream(op: str, **given: Any) -> None:
    """ValueError for arguments that a generator gives itself, with each batch."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{op}: expected {name}=None with a generator, which gives (x, y) or (x, y, sample_weight) itself."
            )
