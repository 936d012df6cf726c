"""Two-dimensional max pooling, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..window import Window2D
from .taps import crop, pad, tap


def max_pool2d(
    x: np.ndarray,
    pool_size: Any,
    *,
    strides: Any = None,
    padding: Any = "valid",
    return_indices: bool = False,
) -> Any:
    """The largest pixel of each window, channel by channel.

    y[n, p, q, c] = max over i, k of x[n, p * sh + i - top, q * sw + k - left, c] inside the image.

    Of equal pixels the first in row-major order wins; a NaN wins over any number, the first NaN over later
    ones. Padding never wins, not even where all real pixels are -inf.

    Args:
        x: images (n, h, w, c).
        pool_size: an int, or (ph, pw).
        strides: an int or a pair; the pool size where none is given.
        padding: see `Window2D.of`; explicit padding must be smaller than the pool, for every
            window to have a pixel.
        return_indices: also return which pixel won.

    Returns:
        y (n, oh, ow, c), float64; with return_indices (y, indices), where indices, int32 of the same shape,
        is the winner's position i * pw + k in its window.

    Raises:
        ValueError: impossible geometry, or explicit padding as large as the pool.

    >>> x = np.array([[1, 5, 2, 0], [5, 3, 9, 9]]).reshape(1, 2, 4, 1)
    >>> y, indices = max_pool2d(x, 2, return_indices=True)
    >>> y.ravel().tolist(), indices.ravel().tolist()
    ([5.0, 9.0], [1, 2])
    """
    x = np.asarray(x, dtype=np.float64)
    window = _window(pool_size, strides, padding)
    size = window.output_size(x.shape[1], x.shape[2], op="max_pool2d")
    padded = pad(x, window, -np.inf)
    inside = pad(np.ones(x.shape), window, 0.0) == 1.0
    y = np.full((x.shape[0], *size, x.shape[3]), -np.inf)
    indices = np.full(y.shape, -1, dtype=np.int32)
    for position, (i, k) in enumerate(np.ndindex(*window.kernel)):
        pixels = tap(padded, window, i, k, size)
        larger = (pixels > y) | (np.isnan(pixels) & ~np.isnan(y))
        wins = tap(inside, window, i, k, size) & (larger | (indices < 0))
        y[wins] = pixels[wins]
        indices[wins] = position
    return (y, indices) if return_indices else y


def max_pool2d_grad(
    grad_y: np.ndarray, x: np.ndarray, pool_size: Any, *, strides: Any = None, padding: Any = "valid"
) -> np.ndarray:
    """Gradient of a loss with respect to the input of `max_pool2d`.

    Each window's gradient goes to the pixel that won it; where windows overlap, a pixel's gradients add up:
    grad_x[n, p * sh + i - top, q * sw + k - left, c] += grad_y[n, p, q, c], (i, k) winning window (p, q).

    Args:
        grad_y: gradient with respect to the output, (n, oh, ow, c).
        x: the images (n, h, w, c) that were pooled.
        pool_size, strides, padding: as given to `max_pool2d`.

    Returns:
        grad_x (n, h, w, c), float64.

    >>> x = np.array([[1, 5, 2, 0], [5, 3, 9, 9]]).reshape(1, 2, 4, 1)
    >>> max_pool2d_grad(np.array([7, 8]).reshape(1, 1, 2, 1), x, 2)[0, :, :, 0].tolist()
    [[0.0, 7.0, 0.0, 0.0], [0.0, 0.0, 8.0, 0.0]]
    """
    window = _window(pool_size, strides, padding)
    _, indices = max_pool2d(x, pool_size, strides=strides, padding=padding, return_indices=True)
    grad_padded = pad(np.zeros(x.shape), window)
    for position, (i, k) in enumerate(np.ndindex(*window.kernel)):
        tap(grad_padded, window, i, k, indices.shape[1:3])[...] += np.where(indices == position, grad_y, 0.0)
    return crop(grad_padded, window, x.shape[1], x.shape[2]).copy()


def _window(pool_size: Any, strides: Any, padding: Any) -> Window2D:
    window = Window2D.of(
        pool_size, pool_size if strides is None else strides, padding=padding, op="max_pool2d"
    )
    if not isinstance(window.padding, str):
        (ph, pw), (rows, columns) = window.kernel, window.padding
        if max(rows) >= ph or max(columns) >= pw:
            raise ValueError(
                f"max_pool2d: expected padding smaller than the pool size {window.kernel}, so that every "
                f"window has a pixel, got {window.padding}; pad less or pool more."
            )
    return window
