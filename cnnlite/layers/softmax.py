"""Softmax: numbers of the last axis become probabilities."""

from __future__ import annotations

from typing import Any

from cnnlite.engine.stages import Stage
from cnnlite.layers.activation import activation_stage
from cnnlite.layers.layer import Layer, Shape


class Softmax(Layer):
    """y = exp(x) / (the sum of exp(x) over the last axis).

    Args:
        axis: -1, the last one.

    Input shape: any. Output shape: the same.

    Raises:
        ValueError: another axis.

    >>> from cnnlite import layers
    >>> layers.Softmax().compute_output_shape((10,))
    (10,)
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if axis != -1:
            raise ValueError(f"{self.name}: expected axis -1, the last one, got {axis!r}.")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None
        return activation_stage("softmax", self.input_shape)
