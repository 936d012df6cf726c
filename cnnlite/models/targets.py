"""Targets: what `y` may look like for a loss, and how a batch of it is written where the kernels read it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlite.batches import gather
from cnnlite.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Hinge,
    Huber,
    KLDivergence,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)
from cnnlite.losses.crossentropy import check_labels

_DENSE = (
    BinaryCrossentropy, CategoricalCrossentropy, Hinge, Huber, KLDivergence, MeanAbsoluteError, MeanSquaredError
)  # fmt: skip


def check_targets(y: np.ndarray, output_shape: tuple[int, ...], loss: Loss, op: str) -> None:
    """ValueError unless y (n, ...) fits the network's output and the loss; a loss of the user's own takes what it likes."""
    shape = y.shape[1:]
    if isinstance(loss, SparseCategoricalCrossentropy):
        if shape not in (output_shape[:-1], (*output_shape[:-1], 1)):
            hint = " They look one-hot: use loss='categorical_crossentropy'." if shape == output_shape else ""
            raise ValueError(
                f"{op}: expected labels y of shape {batch_of(output_shape[:-1])} for {loss.name}, got {batch_of(shape)}.{hint}"
            )
        check_labels(y, output_shape[-1], op)
    elif isinstance(loss, _DENSE) and _without_last_one(shape) != _without_last_one(output_shape):
        hint = ""
        if isinstance(loss, CategoricalCrossentropy) and shape in ((), (1,)):
            hint = " For integer labels use loss='sparse_categorical_crossentropy'."
        raise ValueError(
            f"{op}: expected targets y of shape {batch_of(output_shape)}, got {batch_of(shape)}.{hint}"
        )


def _without_last_one(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A last axis of one may be left out, as in Keras."""
    return shape[:-1] if shape and shape[-1] == 1 else shape


def write_targets(y: np.ndarray, rows: Any, out: np.ndarray, n: int) -> None:
    """Converts rows of y into a flat buffer for n samples."""
    gather(y, rows, out.reshape(n, *y.shape[1:]))


def batch_of(shape: tuple[int, ...] | None) -> str:
    """The shape of a batch of samples, for messages.

    >>> batch_of((28, 28, 1)), batch_of(())
    ('(n, 28, 28, 1)', '(n,)')
    """
    return f"({', '.join(['n', *map(str, shape or ())])}{'' if shape else ','})"
