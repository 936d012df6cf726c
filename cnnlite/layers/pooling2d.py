"""What pooling layers share: one number for each window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnlite.engine.stages import Shape as ImageShape
from cnnlite.engine.stages import Stage, image_shape
from cnnlite.layers.layer import Layer, Shape, check_data_format, check_rank
from cnnlite_kernels.checks import pooling
from cnnlite_kernels.window import POOL_NAMES, Window2D


class Pooling2D(Layer):
    """A layer that makes one number of each window, channel by channel.

    Args:
        pool_size: an int or (ph, pw).
        strides: an int or a pair; default: pool_size.
        padding: "valid" or "same".
        further arguments: see `Layer`.
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
        check_data_format(data_format, self.name)
        self.window = Window2D.of(
            pool_size, pool_size if strides is None else strides, 1, padding, op=self.name, names=POOL_NAMES
        )

    def stage(self, in_shape: ImageShape, out_shape: ImageShape) -> Stage:
        """The stage of one kind of pooling."""
        raise NotImplementedError(f"{type(self).__name__}: define stage.")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 3, self.name, "(h, w, channels)")
        window = self.window
        _, (_, oh, ow, channels) = pooling(
            self.name, (1, *input_shape), window.kernel, window.strides, window.padding
        )
        return oh, ow, channels

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None and self.output_shape is not None
        return [self.stage(image_shape(self.input_shape), image_shape(self.output_shape))]

    def get_config(self) -> dict[str, Any]:
        return {
            "pool_size": list(self.window.kernel),
            "strides": list(self.window.strides),
            "padding": self.window.padding,
            **super().get_config(),
        }
