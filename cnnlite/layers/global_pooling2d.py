"""What layers share that pool whole images."""

from __future__ import annotations

from typing import Any

from cnnlite.engine.stages import Shape as ImageShape
from cnnlite.engine.stages import Stage
from cnnlite.layers.layer import Layer, Shape, check_data_format, check_rank
from cnnlite_kernels.window import Window2D


class GlobalPooling2D(Layer):
    """A layer that makes one number of each channel of an image.

    Args:
        keepdims: whether the output has the axes of rows and columns still, of one pixel.
        further arguments: see `Layer`.
    """

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_data_format(data_format, self.name)
        self.keepdims = bool(keepdims)

    def stage(self, in_shape: ImageShape, out_shape: ImageShape, window: Window2D) -> Stage:
        """The stage of one kind of pooling; the window is the image."""
        raise NotImplementedError(f"{type(self).__name__}: define stage.")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 3, self.name, "(h, w, channels)")
        return (1, 1, input_shape[2]) if self.keepdims else input_shape[2:]

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None
        h, w, c = self.input_shape
        return [self.stage((h, w, c), (1, 1, c), Window2D.of((h, w), (h, w), op=self.name))]

    def get_config(self) -> dict[str, Any]:
        return {"keepdims": self.keepdims, **super().get_config()}
