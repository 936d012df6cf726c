"""Two-dimensional min pooling, forward and backward: max pooling of what has the other sign."""

from __future__ import annotations

from typing import Any

import numpy as np

from .max_pool2d import max_pool2d, max_pool2d_grad


def min_pool2d(
    x: np.ndarray,
    pool_size: Any,
    *,
    strides: Any = None,
    padding: Any = "valid",
    return_indices: bool = False,
) -> Any:
    """The smallest pixel of each window: y = -max_pool2d(-x), whose arguments, result and errors it has.

    >>> min_pool2d(np.array([[4, 5, 2, 0], [3, 3, 9, 9]]).reshape(1, 2, 4, 1), 2).ravel().tolist()
    [3.0, 0.0]
    """
    y, indices = max_pool2d(
        -np.asarray(x, dtype=np.float64), pool_size, strides=strides, padding=padding, return_indices=True
    )
    return (-y, indices) if return_indices else -y


def min_pool2d_grad(
    grad_y: np.ndarray, x: np.ndarray, pool_size: Any, *, strides: Any = None, padding: Any = "valid"
) -> np.ndarray:
    """Gradient of a loss with respect to the input of `min_pool2d`: each window's goes to the pixel that won it.

    >>> x = np.array([[4, 5, 2, 0], [3, 3, 9, 9]]).reshape(1, 2, 4, 1)
    >>> min_pool2d_grad(np.array([7, 8]).reshape(1, 1, 2, 1), x, 2)[0, :, :, 0].tolist()
    [[0.0, 0.0, 0.0, 8.0], [7.0, 0.0, 0.0, 0.0]]
    """
    return max_pool2d_grad(
        grad_y, -np.asarray(x, dtype=np.float64), pool_size, strides=strides, padding=padding
    )
