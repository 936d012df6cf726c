"""Mean absolute error."""

from __future__ import annotations

import numpy as np

from cnnlite.losses.loss import Loss, LossKernel
from cnnlite_kernels.settings import ABSOLUTE


class MeanAbsoluteError(Loss):
    """The mean over the last axis of |y_pred - y_true|. Where both are equal the gradient is 0.

    y_true, y_pred: (n, ...).

    >>> from cnnlite import losses
    >>> losses.MeanAbsoluteError()([[0.0, 1.0]], [[3.0, 1.0]])
    1.5
    """

    def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.abs(y_pred - self.like(y_true, y_pred)).mean(axis=-1)

    def gradient(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.sign(y_pred - self.like(y_true, y_pred)) / y_pred.shape[-1]

    def kernel(self, activation: str | None) -> LossKernel | None:
        return LossKernel("elementwise", (ABSOLUTE,))
