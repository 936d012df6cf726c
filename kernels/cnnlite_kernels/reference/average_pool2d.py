"""Two-dimensional average pooling, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..window import Window2D
from .taps import crop, pad, tap


def average_pool2d(
    x: np.ndarray, pool_size: Any, *, strides: Any = None, padding: Any = "valid"
) -> np.ndarray:
    """The mean of each window's pixels inside the image, channel by channel: padding is not counted, as in Keras.

    Args:
        x: images (n, h, w, c).
        pool_size: an int, or (ph, pw).
        strides: an int or a pair; the pool size where none is given.
        padding: see `Window2D.of`.

    Returns:
        y (n, oh, ow, c), float64.

    >>> average_pool2d(np.arange(6).reshape(1, 2, 3, 1), 2, padding="same")[0, :, :, 0].tolist()
    [[2.0, 3.5]]
    """
    x = np.asarray(x, dtype=np.float64)
    window = Window2D.of(pool_size, pool_size if strides is None else strides, padding=padding)
    return _sums(x, window) / _sums(np.ones_like(x), window)


def average_pool2d_grad(
    grad_y: np.ndarray,
    x_shape: tuple[int, int, int, int],
    pool_size: Any,
    *,
    strides: Any = None,
    padding: Any = "valid",
) -> np.ndarray:
    """Gradient of a loss with respect to the input of `average_pool2d`: each pixel of a window gets its share of the window's.

    Args:
        grad_y: gradient with respect to the output, (n, oh, ow, c).
        x_shape: (n, h, w, c), of the images that were pooled.
        pool_size, strides, padding: as given to `average_pool2d`.

    Returns:
        grad_x (n, h, w, c), float64.

    >>> average_pool2d_grad(np.array([8, 6]).reshape(1, 1, 2, 1), (1, 2, 3, 1), 2, padding="same")[0, :, :, 0].tolist()
    [[2.0, 2.0, 3.0], [2.0, 2.0, 3.0]]
    """
    window = Window2D.of(pool_size, pool_size if strides is None else strides, padding=padding)
    share = np.asarray(grad_y, dtype=np.float64) / _sums(np.ones(x_shape), window)
    grad_padded = pad(np.zeros(x_shape), window)
    for i, k in np.ndindex(*window.kernel):
        tap(grad_padded, window, i, k, share.shape[1:3])[...] += share
    return crop(grad_padded, window, x_shape[1], x_shape[2]).copy()


def _sums(x: np.ndarray, window: Window2D) -> np.ndarray:
    """The sum over each window, zero in the padding."""
    size = window.output_size(x.shape[1], x.shape[2])
    padded = pad(x, window)
    y = np.zeros((x.shape[0], *size, x.shape[3]))
    for i, k in np.ndindex(*window.kernel):
        y += tap(padded, window, i, k, size)
    return y
