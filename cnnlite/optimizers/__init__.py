"""Optimizers, by Keras's names, arguments and defaults."""

from __future__ import annotations

from typing import Any

from cnnlite.optimizers.adam import Adam
from cnnlite.optimizers.adamw import AdamW
from cnnlite.optimizers.optimizer import Optimizer
from cnnlite.optimizers.rmsprop import RMSprop
from cnnlite.optimizers.sgd import SGD
from cnnlite.schedules import (
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)


class schedules:
    """Learning rate schedules: `optimizers.schedules.CosineDecay(...)`."""

    CosineDecay = CosineDecay
    ExponentialDecay = ExponentialDecay
    InverseTimeDecay = InverseTimeDecay
    LearningRateSchedule = LearningRateSchedule
    PiecewiseConstantDecay = PiecewiseConstantDecay
    PolynomialDecay = PolynomialDecay


__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "deserialize", "get", "schedules", "serialize"]

_BY_NAME: dict[str, Any] = {"adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "sgd": SGD}


def get(identifier: Any) -> Optimizer:
    """The optimizer that a name or an `Optimizer` stands for.

    Raises:
        ValueError: an unknown name. TypeError: anything else.

    >>> get("adam").learning_rate
    0.001
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        if identifier.lower() not in _BY_NAME:
            raise ValueError(f"optimizer: expected one of {sorted(_BY_NAME)}, got {identifier!r}.")
        return _BY_NAME[identifier.lower()]()
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        return identifier()  # type: ignore[call-arg]
    raise TypeError(f"optimizer: expected a name or an Optimizer, got {type(identifier).__name__}.")


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """What `deserialize` makes the optimizer of again, without its state; fit for JSON.

    Raises:
        ValueError: an optimizer of the user's own.
    """
    if type(optimizer) not in _BY_NAME.values():
        raise ValueError(
            f"optimizer: {optimizer.name} is not one of cnnlite's and cannot be saved; use save_weights."
        )
    return {"class_name": type(optimizer).__name__.lower(), "config": optimizer.get_config()}


def deserialize(saved: dict[str, Any]) -> Optimizer:
    """The optimizer that `serialize` described, without its state."""
    return _BY_NAME[saved["class_name"]].from_config(saved["config"])
