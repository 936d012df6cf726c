"""Pooling over whole images, forward and backward."""

from __future__ import annotations

import numpy as np

from .average_pool2d import average_pool2d, average_pool2d_grad
from .max_pool2d import max_pool2d, max_pool2d_grad


def global_average_pool2d(x: np.ndarray) -> np.ndarray:
    """y[n, c] = the mean of x[n, :, :, c]; x (n, h, w, c) gives y (n, c), float64.

    >>> global_average_pool2d(np.arange(6).reshape(1, 2, 3, 1)).tolist()
    [[2.5]]
    """
    return average_pool2d(x, x.shape[1:3])[:, 0, 0]


def global_average_pool2d_grad(grad_y: np.ndarray, x_shape: tuple[int, int, int, int]) -> np.ndarray:
    """grad_x[n, i, j, c] = grad_y[n, c] / (h w), for x_shape (n, h, w, c), float64.

    >>> global_average_pool2d_grad(np.array([[6]]), (1, 1, 3, 1)).ravel().tolist()
    [2.0, 2.0, 2.0]
    """
    return average_pool2d_grad(grad_y[:, None, None], x_shape, x_shape[1:3])


def global_max_pool2d(x: np.ndarray) -> np.ndarray:
    """y[n, c] = the largest of x[n, :, :, c]; x (n, h, w, c) gives y (n, c), float64.

    >>> global_max_pool2d(np.arange(6).reshape(1, 2, 3, 1)).tolist()
    [[5.0]]
    """
    return max_pool2d(x, x.shape[1:3])[:, 0, 0]


def global_max_pool2d_grad(grad_y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """grad_y (n, c) to the first of the largest pixels of x (n, h, w, c), 0 to the others; float64.

    >>> global_max_pool2d_grad(np.array([[7]]), np.array([1, 9, 9]).reshape(1, 1, 3, 1)).ravel().tolist()
    [0.0, 7.0, 0.0]
    """
    return max_pool2d_grad(grad_y[:, None, None], x, x.shape[1:3])
