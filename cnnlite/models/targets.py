"""Targets: what `y` may look like for a loss, and how a batch of it is written where the kernels read it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnlite.batches import gather
from cnnlite.losses import Loss
from cnnlite.losses.loss import LossKernel


def check_targets(y: np.ndarray, output_shape: tuple[int, ...], loss: Loss, kernel: LossKernel | None, op: str) -> None:
    """ValueError unless y (n, ...) fits the network's output and the loss."""
    outputs, shape = output_shape[-1], y.shape[1:]
    if kernel is not None and kernel.sparse:
        if shape not in ((), (1,)):
            hint = " They look one-hot: use loss='categorical_crossentropy'." if shape == output_shape else ""
            raise ValueError(f"{op}: expected labels y of shape (n,) for {loss.name}, got (n, {_commas(shape)}).{hint}")
        if y.size:
            low, high = y.min(), y.max()
            if not (low >= 0 and high < outputs):
                raise ValueError(
                    f"{op}: expected labels from 0 to {outputs - 1} for an output of {outputs} classes, got {low} to {high}."
                )
            if y.dtype.kind == "f" and not (np.floor(y) == y).all():
                raise ValueError(f"{op}: expected whole labels for {loss.name}, got fractions such as {y[np.floor(y) != y][0]}.")
    elif kernel is not None and math.prod(shape) != math.prod(output_shape):
        hint = ""
        if loss.name == "CategoricalCrossentropy" and shape in ((), (1,)):
            hint = " For integer labels use loss='sparse_categorical_crossentropy'."
        raise ValueError(f"{op}: expected targets y of shape (n, {_commas(output_shape)}), got (n, {_commas(shape)}).{hint}")


def write_targets(y: np.ndarray, rows: Any, out: np.ndarray, n: int) -> None:
    """Converts rows of y into a flat buffer for n samples."""
    gather(y, rows, out.reshape(n, *y.shape[1:]))


def _commas(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
