"""Hinge loss."""

from __future__ import annotations

import numpy as np

from cnnlite.losses.loss import Loss, LossKernel
from cnnlite_kernels.settings import HINGE


class Hinge(Loss):
    """The mean over the last axis of max(1 - t y, 0), with targets t of -1 and 1.

    Targets may also be 0 and 1: a 0 is -1. (Keras looks at all targets of a batch: where one is neither 0 nor 1, a 0 stays 0 there.)

    y_true, y_pred: (n, ...).

    >>> from cnnlite import losses
    >>> losses.Hinge()([[0, 1]], [[-3.0, 0.5]])
    0.25
    """

    def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.maximum(1 - self._sides(y_true, y_pred) * y_pred, 0).mean(axis=-1)

    def gradient(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        sides = self._sides(y_true, y_pred)
        return np.where(1 - sides * y_pred < 0, 0, -sides) / y_pred.shape[-1]

    def kernel(self, activation: str | None) -> LossKernel | None:
        return LossKernel("elementwise", (HINGE,))

    def _sides(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        t = self.like(y_true, y_pred).astype(y_pred.dtype)
        return np.where(t == 0, -1, t)
