"""Mean squared error."""

from __future__ import annotations

import numpy as np

from cnnlite.losses.loss import Loss, LossKernel
from cnnlite_kernels.settings import SQUARED


class MeanSquaredError(Loss):
    """The mean over the last axis of (y_pred - y_true)^2.

    y_true, y_pred: (n, ...).

    >>> from cnnlite import losses
    >>> losses.MeanSquaredError()([[0.0, 1.0]], [[1.0, 1.0]])
    0.5
    """

    def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.square(y_pred - self.like(y_true, y_pred)).mean(axis=-1)

    def gradient(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return 2 * (y_pred - self.like(y_true, y_pred)) / y_pred.shape[-1]

    def kernel(self, activation: str | None) -> LossKernel | None:
        return LossKernel("elementwise", (SQUARED,))
