"""Dense: a fully connected layer, as Keras has it."""

from __future__ import annotations

from typing import Any

from cnnlite.engine.stages import ConvStage, Stage, image_shape
from cnnlite.layers.layer import Shape, positive_int
from cnnlite.layers.weighted import Weighted
from cnnlite_kernels.window import Window2D


class Dense(Weighted):
    """y = activation(x @ kernel + bias) over the last axis.

    Args:
        units: size of the output.
        activation: None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax".
        use_bias: whether there is a bias.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: names or objects, by keyword.

    Input shape: (..., features). Output shape: (..., units).

    Raises:
        ValueError: arguments that do not fit.

    >>> from cnnlite import layers
    >>> layers.Dense(10).compute_output_shape((64,))
    (10,)
    """

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(activation, use_bias, **kwargs)
        self.units = positive_int(units, "units", self.name)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def declare(self, input_shape: Shape) -> None:
        self.declare_weights((input_shape[-1], self.units), self.units)

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None and self.output_shape is not None
        shapes = image_shape(self.input_shape), image_shape(self.output_shape)
        dense = ConvStage(*shapes, Window2D.of(1), 1, self.kernel, self.bias)
        return [dense, *self.activation_stages()]

    def get_config(self) -> dict[str, Any]:
        return {
            "units": self.units,
            **super().get_config(),
        }
