"""Huber loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlite.losses.loss import Loss, LossKernel
from cnnlite_kernels.settings import HUBER


class Huber(Loss):
    """The mean over the last axis of e^2 / 2 where |e| <= delta, else delta |e| - delta^2 / 2, of errors e = y_pred - y_true.

    Huber, Robust estimation of a location parameter, 1964.

    Args:
        delta: above 0, from where on an error counts in proportion.

    y_true, y_pred: (n, ...).

    >>> from cnnlite import losses
    >>> losses.Huber()([[0.0, 1.0]], [[3.0, 2.0]])
    1.5
    """

    def __init__(
        self, delta: float = 1.0, name: str | None = "huber_loss", reduction: str = "sum_over_batch_size"
    ) -> None:
        super().__init__(name or "huber_loss", reduction)
        if (
            isinstance(delta, bool)
            or not isinstance(delta, (int, float, np.number))
            or not 0 < delta < np.inf
        ):
            raise ValueError(f"{self.name}: expected delta as a finite number above 0, got {delta!r}.")
        self.delta = float(delta)

    def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        error = np.abs(y_pred - self.like(y_true, y_pred))
        far = self.delta * error - self.delta**2 / 2
        return np.where(error <= self.delta, error**2 / 2, far).mean(axis=-1)

    def gradient(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        error = y_pred - self.like(y_true, y_pred)
        return np.clip(error, -self.delta, self.delta) / y_pred.shape[-1]

    def kernel(self, activation: str | None) -> LossKernel | None:
        return LossKernel("elementwise", (HUBER,), delta=self.delta)

    def get_config(self) -> dict[str, Any]:
        return {"delta": self.delta, **super().get_config()}
