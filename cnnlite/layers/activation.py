"""Activation as a layer of its own, and the names activations have."""

from __future__ import annotations

from numbers import Real
from typing import Any

from cnnlite.engine.stages import ActivationStage, Stage, image_shape
from cnnlite.layers.layer import Layer, Shape

ACTIVATIONS = ("leaky_relu", "relu", "relu6", "sigmoid", "softmax", "tanh")
NAMED_SLOPE = 0.2  # of "leaky_relu" as a name: Keras's function, whose layer has 0.3


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


def check_slope(slope: Any, who: str) -> float:
    """A checked slope of negative numbers."""
    if isinstance(slope, bool) or not isinstance(slope, Real) or not 0 <= float(slope) < float("inf"):
        raise ValueError(f"{who}: expected negative_slope as a finite number of at least 0, got {slope!r}.")
    return float(slope)


def activation_stage(activation: str | None, shape: Shape, slope: float = NAMED_SLOPE) -> list[Stage]:
    """The stage of an activation, none for None; slope: of "leaky_relu" where x is negative."""
    sample = image_shape(shape)
    if activation is None:
        return []
    return [ActivationStage(sample, sample, activation, slope if activation == "leaky_relu" else 0.0)]


class Activation(Layer):
    """Applies an activation to every number (softmax: over the last axis).

    Args:
        activation: "relu", "relu6", "leaky_relu" (slope 0.2; `LeakyReLU` takes others), "sigmoid", "softmax", "tanh" or
            "linear".

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
