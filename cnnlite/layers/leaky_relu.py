"""LeakyReLU: negative numbers become smaller."""

from __future__ import annotations

import warnings
from typing import Any

from cnnlite.engine.stages import Stage
from cnnlite.layers.activation import activation_stage, check_slope
from cnnlite.layers.layer import Layer, Shape


class LeakyReLU(Layer):
    """y = x where x is positive, negative_slope * x elsewhere.

    Args:
        negative_slope: of at least 0. Keras 2 called it alpha, which is understood, with a warning, as in Keras 3.

    Input shape: any. Output shape: the same.

    Raises:
        ValueError: a negative slope, or none.

    >>> from cnnlite import layers
    >>> layers.LeakyReLU(0.2).compute_output_shape((4, 4, 3))
    (4, 4, 3)
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        if "alpha" in kwargs:
            negative_slope = kwargs.pop("alpha")
            warnings.warn("LeakyReLU: alpha is called negative_slope now.", stacklevel=2)
        super().__init__(**kwargs)
        self.negative_slope = check_slope(negative_slope, self.name)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None
        return activation_stage("leaky_relu", self.input_shape, self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        return {"negative_slope": self.negative_slope, **super().get_config()}
