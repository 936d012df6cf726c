"""Losses, by Keras's names."""

from __future__ import annotations

from typing import Any

from cnnlite.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from cnnlite.losses.hinge import Hinge
from cnnlite.losses.huber import Huber
from cnnlite.losses.kl_divergence import KLDivergence
from cnnlite.losses.loss import FunctionLoss, Loss
from cnnlite.losses.mean_absolute_error import MeanAbsoluteError
from cnnlite.losses.mean_squared_error import MeanSquaredError

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "FunctionLoss",
    "Hinge",
    "Huber",
    "KLDivergence",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "deserialize",
    "get",
    "names",
    "serialize",
]

_BY_NAME: dict[str, type[Loss]] = {
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "binary_crossentropy": BinaryCrossentropy,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "mae": MeanAbsoluteError,
    "kl_divergence": KLDivergence,
    "kld": KLDivergence,
    "hinge": Hinge,
    "huber": Huber,
}
_BY_CLASS = {cls.__name__: cls for cls in _BY_NAME.values()}


def get(identifier: Any) -> Loss:
    """The loss that a name, a `Loss` or a function of (y_true, y_pred) stands for.

    Raises:
        ValueError: an unknown name. TypeError: anything else.

    >>> get("mse").name
    'mean_squared_error'
    """
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, str):
        cls = _BY_NAME.get(identifier) or _BY_CLASS.get(identifier)
        if cls is None:
            raise ValueError(f"loss: expected one of {names()}, got {identifier!r}.")
        return cls()
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier):
        return FunctionLoss(identifier)
    raise TypeError(f"loss: expected a name, a Loss or a function, got {type(identifier).__name__}.")


def names() -> list[str]:
    """The losses that have a name.

    >>> names()[:2]
    ['binary_crossentropy', 'categorical_crossentropy']
    """
    return sorted(_BY_NAME)


def serialize(loss: Loss) -> dict[str, Any]:
    """What `deserialize` makes the loss of again, fit for JSON.

    Raises:
        ValueError: a loss of the user's own.
    """
    if type(loss).__name__ not in _BY_CLASS:
        raise ValueError(
            f"loss: {loss.name} is not one of cnnlite's and cannot be saved; compile again after loading."
        )
    return {"class_name": type(loss).__name__, "config": loss.get_config()}


def deserialize(saved: dict[str, Any]) -> Loss:
    """The loss that `serialize` described."""
    return _BY_CLASS[saved["class_name"]](**saved["config"])
