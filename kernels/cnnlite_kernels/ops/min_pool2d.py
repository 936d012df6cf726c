"""Two-dimensional min pooling and its gradient."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.arrays import ArrayT, Operand
from cnnlite_kernels.ops.max_pool2d import backward, forward


def min_pool2d(
    x: ArrayT,
    pool_size: Any,
    *,
    strides: Any = None,
    padding: Any = "valid",
    return_indices: bool = False,
    out: ArrayT | None = None,
    device: str | None = None,
) -> Any:
    """The smallest pixel of each window, channel by channel: -max_pool2d(-x).

    Of equal pixels the first in row-major order wins; a NaN wins over any number. Arguments, result and errors are those of
    `max_pool2d`.

    >>> import numpy as np
    >>> x = np.array([[4, 5, 2, 0], [3, 3, 9, 9]], np.float32).reshape(1, 2, 4, 1)
    >>> y, indices = min_pool2d(x, 2, return_indices=True)
    >>> y.ravel().tolist(), indices.ravel().tolist()
    ([3.0, 0.0], [2, 1])
    """
    return forward("min_pool2d", x, pool_size, strides, padding, return_indices, out, device)


def min_pool2d_grad(
    grad_y: ArrayT,
    x: Operand,
    pool_size: Any,
    *,
    strides: Any = None,
    padding: Any = "valid",
    indices: Operand | None = None,
    out: ArrayT | None = None,
    device: str | None = None,
) -> ArrayT:
    """Gradient of a loss with respect to the input of `min_pool2d`: each window's goes to the pixel that won it.

    Arguments, result and errors are those of `max_pool2d_grad`; indices are what min_pool2d returned.

    >>> import numpy as np
    >>> x = np.array([[4, 5, 2, 0], [3, 3, 9, 9]], np.float32).reshape(1, 2, 4, 1)
    >>> min_pool2d_grad(np.array([7, 8], np.float32).reshape(1, 1, 2, 1), x, 2)[0, :, :, 0].tolist()
    [[0.0, 0.0, 0.0, 8.0], [7.0, 0.0, 0.0, 0.0]]
    """
    return backward("min_pool2d_grad", grad_y, x, pool_size, strides, padding, indices, out, device)
