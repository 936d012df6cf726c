"""Conv2D: a convolution over images, as Keras has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnlite.engine.stages import ConvStage, Stage
from cnnlite.layers.layer import Shape, check_data_format, check_rank, positive_int
from cnnlite.layers.weighted import Weighted, window_config


class Conv2D(Weighted):
    """A convolution over images:

        y[oh, ow, co] = activation(bias[co] + sum over kh, kw, ci of x[oh * sh + kh * dh, ow * sw + kw * dw, ci] * w[kh, kw, ci, co])

    This is cross-correlation, as in Keras and PyTorch: the kernel is not flipped.

    Args:
        filters: output channels.
        kernel_size: an int or (kh, kw); strides, dilation_rate: likewise.
        padding: "valid", "same" (TensorFlow's) or ((top, bottom), (left, right)).
        groups: channels are cut into so many groups that do not see each other.
        activation: None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax".
        use_bias: whether there is a bias.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: names or objects, by keyword.

    Input shape: (h, w, channels). Output shape: (oh, ow, filters).

    Raises:
        ValueError: arguments or an input shape that do not fit.

    >>> from cnnlite import layers
    >>> layers.Conv2D(32, (3, 3), activation="relu").compute_output_shape((28, 28, 1))
    (26, 26, 32)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        groups: int = 1,
        activation: str | None = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(activation, use_bias, **kwargs)
        check_data_format(data_format, self.name)
        self.filters = positive_int(filters, "filters", self.name)
        self.groups = positive_int(groups, "groups", self.name)
        self.window = self.window_of(kernel_size, strides, dilation_rate, padding)
        if self.filters % self.groups:
            raise ValueError(
                f"{self.name}: expected filters to be a multiple of groups, got {self.filters} and {self.groups}."
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 3, self.name, "(h, w, channels)")
        h, w, channels = input_shape
        if channels % self.groups:
            raise ValueError(
                f"{self.name}: expected channels to be a multiple of groups {self.groups}, got {channels}."
            )
        return (*self.window.output_size(h, w, op=self.name), self.filters)

    def declare(self, input_shape: Shape) -> None:
        shape = (*self.window.kernel, input_shape[-1] // self.groups, self.filters)
        self.declare_weights(shape, self.filters)

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None and self.output_shape is not None
        h, w, c = self.input_shape
        oh, ow, filters = self.output_shape
        conv = ConvStage((h, w, c), (oh, ow, filters), self.window, self.groups, self.kernel, self.bias)
        return [conv, *self.activation_stages()]

    def get_config(self) -> dict[str, Any]:
        return {
            "filters": self.filters,
            **window_config(self.window),
            "groups": self.groups,
            **super().get_config(),
        }
