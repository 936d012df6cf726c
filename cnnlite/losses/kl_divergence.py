"""Kullback-Leibler divergence."""

from __future__ import annotations

import numpy as np

from cnnlite.losses.crossentropy import EPSILON
from cnnlite.losses.loss import Loss, LossKernel
from cnnlite_kernels.settings import DIVERGENCE


class KLDivergence(Loss):
    """The sum over the last axis of t log(t / p), with targets t and predictions p kept from 1e-7 to 1.

    Kullback and Leibler, On information and sufficiency, 1951; in Keras's form.

    y_true, y_pred: (n, ...).

    >>> from cnnlite import losses
    >>> round(losses.KLDivergence()([[0.0, 1.0]], [[0.5, 0.5]]), 4)
    0.6931
    """

    def __init__(self, name: str | None = "kl_divergence", reduction: str = "sum_over_batch_size") -> None:
        super().__init__(name or "kl_divergence", reduction)

    def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        t, p = _kept(self.like(y_true, y_pred)), _kept(y_pred)
        return (t * np.log(t / p)).sum(axis=-1)

    def gradient(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        t, p = _kept(self.like(y_true, y_pred)), _kept(y_pred)
        return np.where(p == y_pred, -t / p, 0)

    def kernel(self, activation: str | None) -> LossKernel | None:
        return LossKernel("elementwise", (DIVERGENCE,), of_last_axis=True)


def _kept(y: np.ndarray) -> np.ndarray:
    return np.clip(y, EPSILON, 1)
