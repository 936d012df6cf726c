"""SeparableConv2D: a convolution of each channel by itself, then one over the channels of each pixel, as Keras has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnlite import initializers, regularizers
from cnnlite.engine.stages import ConvStage, Stage
from cnnlite.layers.layer import Shape, check_data_format, check_rank, positive_int
from cnnlite.layers.weighted import Weighted, refuse_kernel_names, window_config
from cnnlite.parameters import Parameter
from cnnlite_kernels.window import Window2D


class SeparableConv2D(Weighted):
    """A depthwise convolution, then a convolution of 1 x 1 pixels with a bias and an activation:

        z[oh, ow, ci * m + j] = sum over kh, kw of x[oh * sh + kh * dh, ow * sw + kw * dw, ci] * depthwise[kh, kw, ci, j]
        y[oh, ow, co] = activation(bias[co] + sum over c of z[oh, ow, c] * pointwise[0, 0, c, co])

    Args:
        filters: output channels.
        kernel_size: of the depthwise convolution, an int or (kh, kw); strides, dilation_rate: likewise.
        padding: "valid", "same" (TensorFlow's) or ((top, bottom), (left, right)).
        depth_multiplier: m, depthwise kernels of each channel.
        activation: None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax".
        use_bias: whether there is a bias.
        depthwise_initializer, pointwise_initializer, bias_initializer, depthwise_regularizer, pointwise_regularizer,
            bias_regularizer: names or objects.

    Input shape: (h, w, channels). Output shape: (oh, ow, filters).

    Raises:
        ValueError: arguments or an input shape that do not fit.

    >>> from cnnlite import layers
    >>> layers.SeparableConv2D(64, 3, padding="same").compute_output_shape((28, 28, 16))
    (28, 28, 64)
    """

    depthwise_kernel: Parameter
    pointwise_kernel: Parameter

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        depth_multiplier: int = 1,
        activation: str | None = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        refuse_kernel_names(type(self), kwargs)
        super().__init__(
            activation,
            use_bias,
            pointwise_initializer,
            bias_initializer,
            pointwise_regularizer,
            bias_regularizer,
            **kwargs,
        )
        check_data_format(data_format, self.name)
        self.filters = positive_int(filters, "filters", self.name)
        self.depth_multiplier = positive_int(depth_multiplier, "depth_multiplier", self.name)
        self.window = self.window_of(kernel_size, strides, dilation_rate, padding)
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 3, self.name, "(h, w, channels)")
        h, w, _ = input_shape
        return (*self.window.output_size(h, w, op=self.name), self.filters)

    def declare(self, input_shape: Shape) -> None:
        channels, m = input_shape[-1], self.depth_multiplier
        self.depthwise_kernel = self.add_parameter(
            "depthwise_kernel",
            (*self.window.kernel, channels, m),
            self.depthwise_initializer,
            self.depthwise_regularizer,
        )
        self.pointwise_kernel = self.add_parameter(
            "pointwise_kernel",
            (1, 1, channels * m, self.filters),
            self.kernel_initializer,
            self.kernel_regularizer,
        )
        self.declare_bias(self.filters)

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None and self.output_shape is not None
        h, w, c = self.input_shape
        oh, ow, filters = self.output_shape
        between = (oh, ow, c * self.depth_multiplier)
        depthwise = ConvStage((h, w, c), between, self.window, c, self.depthwise_kernel, None)
        pointwise = ConvStage(between, (oh, ow, filters), Window2D.of(1), 1, self.pointwise_kernel, self.bias)
        return [depthwise, pointwise, *self.activation_stages()]

    def get_config(self) -> dict[str, Any]:
        config = {
            "filters": self.filters,
            **window_config(self.window),
            "depth_multiplier": self.depth_multiplier,
            "depthwise_initializer": initializers.serialize(self.depthwise_initializer),
            "depthwise_regularizer": regularizers.serialize(self.depthwise_regularizer),
            **super().get_config(),
        }
        for what in ("initializer", "regularizer"):
            config[f"pointwise_{what}"] = config.pop(f"kernel_{what}")
        return config
