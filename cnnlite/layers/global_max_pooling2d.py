"""GlobalMaxPooling2D: the largest number of each channel."""

from __future__ import annotations

from cnnlite.engine.stages import PoolStage, Shape, Stage
from cnnlite.layers.global_pooling2d import GlobalPooling2D
from cnnlite_kernels.window import Window2D


class GlobalMaxPooling2D(GlobalPooling2D):
    """y[c] = max of x[h, w, c] over all pixels.

    Args:
        keepdims: whether the output has the axes of rows and columns still, of one pixel.

    Input shape: (h, w, channels). Output shape: (channels,), or (1, 1, channels).

    Raises:
        ValueError: an input that is no image.

    >>> from cnnlite import layers
    >>> layers.GlobalMaxPooling2D().compute_output_shape((7, 7, 64))
    (64,)
    """

    def stage(self, in_shape: Shape, out_shape: Shape, window: Window2D) -> Stage:
        return PoolStage(in_shape, out_shape, window)
