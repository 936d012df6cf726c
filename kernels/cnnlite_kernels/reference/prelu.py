"""PReLU, a rectifier whose slope is learned, and its gradients."""

from __future__ import annotations

import numpy as np


def prelu(x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """y = x where x > 0, else alpha * x (He et al. 2015). x (n, ...), alpha of x's shape without n, 1 where it is shared; float64.

    >>> prelu(np.array([[-2.0, 3.0]]), np.array([0.25])).tolist()
    [[-0.5, 3.0]]
    """
    x = np.asarray(x, dtype=np.float64)
    return np.where(x > 0, x, np.asarray(alpha, dtype=np.float64) * x)


def prelu_grad(grad_y: np.ndarray, x: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(grad_x, grad_alpha): (grad_y, 0) where x > 0, elsewhere (alpha * grad_y, x * grad_y), the latter summed as alpha is shared.

    >>> [grad.tolist() for grad in prelu_grad(np.array([[4.0, 8.0]]), np.array([[-2.0, 3.0]]), np.array([0.25]))]
    [[[1.0, 8.0]], [-8.0]]
    """
    grad_y, x, alpha = (np.asarray(array, dtype=np.float64) for array in (grad_y, x, alpha))
    shared = tuple(axis + 1 for axis, size in enumerate(alpha.shape) if size == 1)
    of_alpha = np.where(x > 0, 0.0, x * grad_y)
    return np.where(x > 0, grad_y, alpha * grad_y), of_alpha.sum((0, *shared), keepdims=True)[0]
