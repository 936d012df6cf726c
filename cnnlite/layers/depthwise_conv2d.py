"""DepthwiseConv2D: a convolution of each channel by itself, as Keras has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnlite.engine.stages import ConvStage, Stage
from cnnlite.layers.layer import Shape, check_data_format, check_rank, positive_int
from cnnlite.layers.weighted import Weighted, refuse_kernel_names, window_config


class DepthwiseConv2D(Weighted):
    """A convolution of each channel by itself, with `depth_multiplier` kernels for each:

        z[oh, ow, ci * m + j] = sum over kh, kw of x[oh * sh + kh * dh, ow * sw + kw * dw, ci] * w[kh, kw, ci, j]
        y = activation(z + bias)

    Args:
        kernel_size: an int or (kh, kw); strides, dilation_rate: likewise.
        padding: "valid", "same" (TensorFlow's) or ((top, bottom), (left, right)).
        depth_multiplier: m, kernels of each channel.
        activation: None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax".
        use_bias: whether there is a bias.
        depthwise_initializer, bias_initializer, depthwise_regularizer, bias_regularizer: names or objects.

    Input shape: (h, w, channels). Output shape: (oh, ow, channels * depth_multiplier).

    Raises:
        ValueError: arguments or an input shape that do not fit.

    >>> from cnnlite import layers
    >>> layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2).compute_output_shape((28, 28, 16))
    (28, 28, 32)
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: Any = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        activation: str | None = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        refuse_kernel_names(type(self), kwargs)
        super().__init__(
            activation,
            use_bias,
            depthwise_initializer,
            bias_initializer,
            depthwise_regularizer,
            bias_regularizer,
            **kwargs,
        )
        check_data_format(data_format, self.name)
        self.depth_multiplier = positive_int(depth_multiplier, "depth_multiplier", self.name)
        self.window = self.window_of(kernel_size, strides, dilation_rate, padding)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 3, self.name, "(h, w, channels)")
        h, w, channels = input_shape
        return (*self.window.output_size(h, w, op=self.name), channels * self.depth_multiplier)

    def declare(self, input_shape: Shape) -> None:
        channels, m = input_shape[-1], self.depth_multiplier
        self.declare_weights((*self.window.kernel, channels, m), channels * m)

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None and self.output_shape is not None
        h, w, c = self.input_shape
        oh, ow, filters = self.output_shape
        # (kh, kw, channels, m) lies in memory as the (kh, kw, 1, channels * m) of so many groups
        conv = ConvStage((h, w, c), (oh, ow, filters), self.window, c, self.kernel, self.bias)
        return [conv, *self.activation_stages()]

    def get_config(self) -> dict[str, Any]:
        config = {
            **window_config(self.window),
            "depth_multiplier": self.depth_multiplier,
            **super().get_config(),
        }
        for what in ("initializer", "regularizer"):
            config[f"depthwise_{what}"] = config.pop(f"kernel_{what}")
        return config
