"""MaxPooling2D: the largest number of each window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnlite.engine.stages import PoolStage, Stage
from cnnlite.layers.layer import Layer, Shape, check_rank
from cnnlite_kernels.checks import pooling
from cnnlite_kernels.window import Window2D


class MaxPooling2D(Layer):
    """y[oh, ow, c] = max of x over the window at (oh * sh, ow * sw), channel by channel.

    Args:
        pool_size: an int or (ph, pw).
        strides: an int or a pair; default: pool_size.
        padding: "valid" or "same".

    Input shape: (h, w, channels). Output shape: (oh, ow, channels).

    Raises:
        ValueError: arguments or an input shape that do not fit.

    >>> from cnnlite import layers
    >>> layers.MaxPooling2D((2, 2)).compute_output_shape((11, 11, 64))
    (5, 5, 64)
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = (2, 2),
        strides: int | Sequence[int] | None = None,
        padding: Any = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if data_format not in (None, "channels_last"):
            raise ValueError(f'{self.name}: expected data_format "channels_last", got {data_format!r}.')
        self.window = Window2D.of(
            pool_size, pool_size if strides is None else strides, 1, padding, op=self.name
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 3, self.name, "(h, w, channels)")
        window = self.window
        _, (_, oh, ow, channels) = pooling(
            self.name, (1, *input_shape), window.kernel, window.strides, window.padding
        )
        return oh, ow, channels

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None and self.output_shape is not None
        h, w, c = self.input_shape
        oh, ow, _ = self.output_shape
        return [PoolStage((h, w, c), (oh, ow, c), self.window)]

    def get_config(self) -> dict[str, Any]:
        return {
            "pool_size": list(self.window.kernel),
            "strides": list(self.window.strides),
            "padding": self.window.padding,
            **super().get_config(),
        }
