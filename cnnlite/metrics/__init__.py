"""Metrics: numbers about predictions that training does not follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

ACCURACIES = ("accuracy", "acc", "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy")


class Metric:
    """A metric from a function of (y_true, y_pred) that returns one number a sample, (n,), or one for the batch.

    Args:
        function: see above. name: the key in logs; default: the function's name.

    >>> import numpy as np
    >>> error = Metric(lambda y_true, y_pred: np.abs(y_true - y_pred).max(axis=1), "worst")
    >>> error(np.zeros((2, 2)), np.array([[1.0, 3.0], [0.0, 1.0]]))
    2.0
    """

    def __init__(self, function: Callable[[np.ndarray, np.ndarray], Any], name: str | None = None) -> None:
        self.function = function
        self.name = str(name or getattr(function, "__name__", "metric"))

    def __call__(self, y_true: np.ndarray, y_pred: np.ndarray) -> float:
        """The mean over the batch."""
        return float(np.mean(self.function(y_true, y_pred)))


def accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """1 where a prediction is right, else 0, (n,): its largest output is the label (or the largest target); with a single output,
    it is on the label's side of a half.

    >>> import numpy as np
    >>> accuracy(np.array([1, 0]), np.array([[0.2, 0.8], [0.4, 0.6]]))
    array([1., 0.])
    """
    if y_pred.shape[-1] == 1:
        return ((y_pred > 0.5).reshape(-1) == (y_true > 0.5).reshape(-1)).astype(np.float64)
    best = y_pred.argmax(axis=-1)
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] > 1:
        y_true = y_true.argmax(axis=-1)
    return (best.reshape(-1) == y_true.reshape(-1)).astype(np.float64)


def get(identifier: Any) -> Metric:
    """The metric that a name, a `Metric` or a function stands for.

    Raises:
        ValueError: an unknown name. TypeError: anything else.

    >>> get("accuracy").name
    'accuracy'
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, str):
        if identifier not in ACCURACIES:
            raise ValueError(f"metrics: expected one of {ACCURACIES}, a function or a Metric, got {identifier!r}.")
        return Metric(accuracy, identifier)
    if callable(identifier):
        return Metric(identifier)
    raise TypeError(f"metrics: expected names, functions or Metrics, got {type(identifier).__name__}.")


def is_accuracy(metric: Metric) -> bool:
    """Whether the loss's kernel counts it on the way."""
    return metric.function is accuracy
