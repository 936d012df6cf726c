"""Rows and columns of zeros around images, and rows and columns cut off: each is the other's gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..image_checks import margins


def zero_padding2d(x: np.ndarray, padding: Any = (1, 1)) -> np.ndarray:
    """Images with zeros around them.

    Args:
        x: images (n, h, w, c).
        padding: ((top, bottom), (left, right)); (rows, columns) on both sides each, or an int for all four.

    Returns:
        y (n, top + h + bottom, left + w + right, c), float64.

    >>> zero_padding2d(np.ones((1, 1, 1, 1)), ((0, 1), (2, 0)))[0, :, :, 0].tolist()
    [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    rows, columns = margins("zero_padding2d", "padding", padding)
    return np.pad(np.asarray(x, dtype=np.float64), ((0, 0), rows, columns, (0, 0)))


def cropping2d(x: np.ndarray, cropping: Any = ((0, 0), (0, 0))) -> np.ndarray:
    """Images without their outer rows and columns.

    Args:
        x: images (n, h, w, c).
        cropping: ((top, bottom), (left, right)); (rows, columns) on both sides each, or an int for all four.

    Returns:
        y (n, h - top - bottom, w - left - right, c), float64.

    >>> cropping2d(np.arange(12).reshape(1, 3, 4, 1), ((1, 1), (1, 0)))[0, :, :, 0].tolist()
    [[5.0, 6.0, 7.0]]
    """
    x = np.asarray(x, dtype=np.float64)
    (top, bottom), (left, right) = margins("cropping2d", "cropping", cropping)
    _, h, w, _ = x.shape
    return x[:, top : h - bottom, left : w - right].copy()
