"""Metrics: numbers about predictions that training does not follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnnlite import losses


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


def binary_accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """1 where a prediction is on its target's side of a half, else 0; of y_pred's shape.

    >>> import numpy as np
    >>> binary_accuracy(np.array([[1], [0]]), np.array([[0.8], [0.6]])).ravel()
    array([1., 0.])
    """
    return ((y_pred > 0.5) == (y_true.reshape(y_pred.shape) > 0.5)).astype(np.float64)


def sparse_categorical_accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """1 where the largest of the predictions (n, ..., classes) is the label's, (n, ...) or (n, ..., 1), else 0; (n, ...).

    >>> import numpy as np
    >>> sparse_categorical_accuracy(np.array([1, 1]), np.array([[0.2, 0.8], [0.6, 0.4]]))
    array([1., 0.])
    """
    return (y_pred.argmax(axis=-1) == y_true.reshape(y_pred.shape[:-1])).astype(np.float64)


def categorical_accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """1 where the largest of the predictions (n, ..., classes) is that of the targets, else 0; (n, ...).

    >>> import numpy as np
    >>> categorical_accuracy(np.array([[0, 1], [1, 0]]), np.array([[0.2, 0.8], [0.4, 0.6]]))
    array([1., 0.])
    """
    return (y_pred.argmax(axis=-1) == y_true.argmax(axis=-1)).astype(np.float64)


def accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """1 where a prediction is right, else 0: `binary_accuracy` for one output, `sparse_categorical_accuracy` for labels,
    `categorical_accuracy` for targets of the predictions' shape, as Keras chooses.

    >>> import numpy as np
    >>> accuracy(np.array([1, 0]), np.array([[0.2, 0.8], [0.4, 0.6]]))
    array([1., 0.])
    """
    if y_pred.shape[-1] == 1:
        return binary_accuracy(y_true, y_pred)
    if y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1:
        return sparse_categorical_accuracy(y_true, y_pred)
    return categorical_accuracy(y_true, y_pred)


_BY_NAME: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "accuracy": accuracy,
    "acc": accuracy,
    "sparse_categorical_accuracy": sparse_categorical_accuracy,
    "categorical_accuracy": categorical_accuracy,
    "binary_accuracy": binary_accuracy,
}


def get(identifier: Any) -> Metric:
    """The metric that a name, a `Metric`, a loss or a function stands for; a loss by its name or as an object of cnnlite.losses.

    Raises:
        ValueError: an unknown name. TypeError: anything else.

    >>> get("accuracy").name, get("mae").name
    ('accuracy', 'mae')
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, losses.Loss):
        return Metric(identifier.per_sample, identifier.name)
    if isinstance(identifier, str):
        if identifier not in names():
            raise ValueError(
                f"metrics: expected one of {names()}, a function or a Metric, got {identifier!r}."
            )
        return Metric(_BY_NAME.get(identifier) or losses.get(identifier).per_sample, identifier)
    if isinstance(identifier, type):
        raise TypeError(
            f"metrics: expected names, functions or Metrics, got the class {identifier.__name__}; call it first."
        )
    if callable(identifier):
        return Metric(identifier)
    raise TypeError(f"metrics: expected names, functions or Metrics, got {type(identifier).__name__}.")


def names() -> list[str]:
    """The metrics that have a name: accuracies, then losses.

    >>> names()[0]
    'accuracy'
    """
    return [*_BY_NAME, *losses.names()]


def is_named(metric: Metric) -> bool:
    """Whether `get` makes the metric again of its name.

    >>> from cnnlite import losses
    >>> is_named(get("mse")), is_named(get(losses.BinaryCrossentropy(from_logits=True)))
    (True, False)
    """
    if metric.name not in names():
        return False
    loss, again = getattr(metric.function, "__self__", None), get(metric.name).function
    if not isinstance(loss, losses.Loss):
        return metric.function is again
    named = losses.get(metric.name)
    return type(loss) is type(named) and loss.get_config() == named.get_config()


def is_counted(metric: Metric, output_shape: tuple[int, ...]) -> bool:
    """Whether the loss's kernel counts it on the way: right predictions of networks with one row of outputs.

    >>> is_counted(get("accuracy"), (10,)), is_counted(get("binary_accuracy"), (10,))
    (True, False)
    """
    if len(output_shape) != 1:
        return False
    if metric.function is accuracy:
        return True
    return metric.function is binary_accuracy if output_shape == (1,) else metric.function in (
        categorical_accuracy, sparse_categorical_accuracy
    )  # fmt: skip
