"""The one indexing rule of convolution and pooling: which pixel tap (i, j) of window (oh, ow) looks at."""

from __future__ import annotations

import numpy as np

from ..window import Pair, Window2D


def pad(x: np.ndarray, window: Window2D, value: float = 0.0) -> np.ndarray:
    """x (n, h, w, c) with the window's padding around each image: (n, top + h + bottom, left + w + right, c).

    >>> pad(np.ones((1, 1, 2, 1)), Window2D.of(3, padding=((0, 0), (2, 1))))[0, 0, :, 0].tolist()
    [0.0, 0.0, 1.0, 1.0, 0.0]
    """
    rows, columns = window.pads(x.shape[1], x.shape[2])
    return np.pad(x, ((0, 0), rows, columns, (0, 0)), constant_values=value)


def crop(padded: np.ndarray, window: Window2D, h: int, w: int) -> np.ndarray:
    """The h x w image inside a padded one: undoes `pad`. A view.

    >>> window = Window2D.of(3, padding="same")
    >>> crop(pad(np.ones((2, 5, 6, 3)), window), window, 5, 6).shape
    (2, 5, 6, 3)
    """
    (top, _), (left, _) = window.pads(h, w)
    return padded[:, top : top + h, left : left + w]


def tap(padded: np.ndarray, window: Window2D, i: int, j: int, size: Pair) -> np.ndarray:
    """The pixels that tap (i, j) of every window looks at: (n, oh, ow, c). A view, fit to be added to.

    tap[n, y, x, c] = padded[n, y * sh + i * dh, x * sw + j * dw, c], for size = (oh, ow).

    >>> row = np.arange(7.0).reshape(1, 1, 7, 1)
    >>> tap(row, Window2D.of((1, 3), strides=2), 0, 1, (1, 3))[0, 0, :, 0].tolist()
    [1.0, 3.0, 5.0]
    """
    (sh, sw), (dh, dw), (oh, ow) = window.strides, window.dilation, size
    top, left = i * dh, j * dw
    return padded[:, top : top + (oh - 1) * sh + 1 : sh, left : left + (ow - 1) * sw + 1 : sw]
