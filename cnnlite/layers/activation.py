"""Activation as a layer of its own, and the names activations have."""

from __future__ import annotations

from typing import Any

from cnnlite.engine.stages import ActivationStage, Stage, image_shape
from cnnlite.layers.layer import Layer, Shape

ACTIVATIONS = ("relu", "sigmoid", "softmax", "tanh")


def get_activation(name: Any, who: str) -> str | None:
    """A checked activation name; None for "linear".

    Raises:
        ValueError: an unknown one.
    """
    if name in (None, "linear"):
        return None
    if name not in ACTIVATIONS:
        raise ValueError(f"{who}: expected activation None, 'linear' or one of {ACTIVATIONS}, got {name!r}.")
    return name


def activation_stage(activation: str | None, shape: Shape) -> list[Stage]:
    """The stage of an activation, none for None."""
    sample = image_shape(shape)
    return [] if activation is None else [ActivationStage(sample, sample, activation)]


class Activation(Layer):
    """Applies an activation to every number (softmax: over the last axis).

    Args:
        activation: "relu", "sigmoid", "softmax", "tanh" or "linear".

    Input shape: any. Output shape: the same.

    Raises:
        ValueError: an unknown activation.

    >>> from cnnlite import layers
    >>> layers.Activation("relu").compute_output_shape((4, 4, 3))
    (4, 4, 3)
    """

    def __init__(self, activation: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = get_activation(activation, self.name)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None
        return activation_stage(self.activation, self.input_shape)

    def get_config(self) -> dict[str, Any]:
        return {"activation": self.activation or "linear", **super().get_config()}
