"""Dense: a fully connected layer, as Keras has it."""

from __future__ import annotations

from typing import Any

from cnnlite import initializers, regularizers
from cnnlite.engine.stages import ConvStage, Stage, image_shape
from cnnlite.layers.activation import activation_stage, get_activation
from cnnlite.layers.layer import Layer, Shape, positive_int
from cnnlite_kernels.window import Window2D


class Dense(Layer):
    """y = activation(x @ kernel + bias) over the last axis.

    Args:
        units: size of the output.
        activation: None, "relu", "sigmoid", "tanh", "softmax".
        use_bias: whether there is a bias.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: names or objects.

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
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = positive_int(units, "units", self.name)
        self.activation = get_activation(activation, self.name)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def declare(self, input_shape: Shape) -> None:
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_parameter("kernel", shape, self.kernel_initializer, self.kernel_regularizer)
        self.bias = None
        if self.use_bias:
            self.bias = self.add_parameter("bias", (self.units,), self.bias_initializer, self.bias_regularizer)

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None and self.output_shape is not None
        shapes = image_shape(self.input_shape), image_shape(self.output_shape)
        dense = ConvStage(*shapes, Window2D.of(1), 1, self.kernel, self.bias)
        return [dense, *activation_stage(self.activation, self.output_shape)]

    def get_config(self) -> dict[str, Any]:
        return {
            "units": self.units,
            "activation": self.activation,
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            **super().get_config(),
        }
