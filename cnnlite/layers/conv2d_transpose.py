"""Conv2DTranspose: a convolution's gradient as a layer, which makes images larger, as Keras has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnlite.engine.stages import Stage, TransposedConvStage
from cnnlite.layers.layer import Shape, check_data_format, check_rank, positive_int
from cnnlite.layers.weighted import Weighted, window_config
from cnnlite_kernels.image_checks import transposed_convolution
from cnnlite_kernels.window import pair


class Conv2DTranspose(Weighted):
    """Each pixel of x writes its multiple of a kernel into y, strides apart, and what overlaps adds up:

        yp[p * sh + i * dh, q * sw + k * dw, co] += x[p, q, ci] * w[i, k, co, ci]

    over all p, q, i, k, ci; y is activation(yp without its padding + bias). It is what a `Conv2D` that makes x's size of y's sends back.

    Args:
        filters: output channels.
        kernel_size: an int or (kh, kw); strides, dilation_rate: likewise.
        padding: "valid", "same" or ((top, bottom), (left, right)) pixels, which are cut off y.
        output_padding: rows and columns added to y at its end, an int or a pair, less than the strides. None: an axis becomes
            size * stride long for "same", and (size - 1) * stride + extent for "valid", where the extent (kernel - 1) * dilation + 1
            counts as no less than the stride.
        activation: None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax".
        use_bias: whether there is a bias.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: names or objects, by keyword.

    The kernel is (kh, kw, filters, channels), as in Keras.

    Input shape: (h, w, channels). Output shape: (oh, ow, filters).

    Raises:
        ValueError: arguments or an input shape that do not fit.

    >>> from cnnlite import layers
    >>> layers.Conv2DTranspose(32, 4, strides=2, padding="same").compute_output_shape((7, 7, 64))
    (14, 14, 32)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: Any = "valid",
        output_padding: int | Sequence[int] | None = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        activation: str | None = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(activation, use_bias, **kwargs)
        check_data_format(data_format, self.name)
        self.filters = positive_int(filters, "filters", self.name)
        self.window = self.window_of(kernel_size, strides, dilation_rate, padding)
        self.output_padding = (
            None if output_padding is None else pair(output_padding, "output_padding", self.name, 0)
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 3, self.name, "(h, w, channels)")
        window = self.window
        _, (_, *size) = transposed_convolution(
            self.name,
            (1, *input_shape),
            self._kernel_shape(input_shape),
            window.strides,
            window.padding,
            self.output_padding,
            window.dilation,
        )
        return tuple(size)

    def _kernel_shape(self, input_shape: Shape) -> Shape:
        return (*self.window.kernel, self.filters, input_shape[-1])

    def declare(self, input_shape: Shape) -> None:
        self.declare_weights(self._kernel_shape(input_shape), self.filters)

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None and self.output_shape is not None
        h, w, c = self.input_shape
        oh, ow, filters = self.output_shape
        conv = TransposedConvStage((h, w, c), (oh, ow, filters), self.window, self.kernel, self.bias)
        return [conv, *self.activation_stages()]

    def get_config(self) -> dict[str, Any]:
        return {
            "filters": self.filters,
            **window_config(self.window),
            "output_padding": None if self.output_padding is None else list(self.output_padding),
            **super().get_config(),
        }
