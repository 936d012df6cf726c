"""Two-dimensional transposed convolution, forward and backward: each pixel of x writes a kernel into y."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..window import Window2D
from .taps import crop, pad, tap


def conv2d_transpose(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    y_size: tuple[int, int],
    strides: Any = (1, 1),
    padding: Any = "valid",
    dilation: Any = (1, 1),
) -> np.ndarray:
    """yp[n, p * sh + i * dh, q * sw + k * dw, j] += x[n, p, q, c] * w[i, k, j, c] over all p, q, i, k, c; y is yp without its padding.

    Args:
        x: images (n, h, w, cin).
        w: kernels (kh, kw, cout, cin).
        b: bias (cout,), or none.
        y_size: (oh, ow), of which a convolution with these options makes (h, w); padding "same" is that of such an image.
        strides, padding, dilation: see `Window2D.of`.

    Returns:
        y (n, oh, ow, cout), float64.

    >>> x, w = np.array([1, 10]).reshape(1, 1, 2, 1), np.array([1, 2, 3]).reshape(1, 3, 1, 1)
    >>> conv2d_transpose(x, w, y_size=(1, 5), strides=2).ravel().tolist()
    [1.0, 2.0, 13.0, 20.0, 30.0]
    """
    x, w = np.asarray(x, dtype=np.float64), np.asarray(w, dtype=np.float64)
    window = Window2D.of(w.shape[:2], strides, dilation, padding, op="conv2d_transpose")
    padded = pad(np.zeros((x.shape[0], *y_size, w.shape[2])), window)
    for i, k in np.ndindex(*window.kernel):
        tap(padded, window, i, k, x.shape[1:3])[...] += x @ w[i, k].T
    y = crop(padded, window, *y_size).copy()
    return y if b is None else y + b
