"""MaxPooling2D: the largest number of each window."""

from __future__ import annotations

from cnnlite.engine.stages import PoolStage, Shape, Stage
from cnnlite.layers.pooling2d import Pooling2D


class MaxPooling2D(Pooling2D):
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

    def stage(self, in_shape: Shape, out_shape: Shape) -> Stage:
        return PoolStage(in_shape, out_shape, self.window)
