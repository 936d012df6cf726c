"""Two-dimensional max pooling and its gradient."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np

from cnnlite_kernels import checks, dispatch
from cnnlite_kernels.arrays import ArrayT, Operand


@overload
def max_pool2d(
    x: ArrayT, pool_size: Any, *, strides: Any = ..., padding: Any = ..., return_indices: Literal[False] = ...,
    out: ArrayT | None = ..., device: str | None = ...,
) -> ArrayT: ...  # fmt: skip


@overload
def max_pool2d(
    x: ArrayT, pool_size: Any, *, strides: Any = ..., padding: Any = ..., return_indices: bool,
    out: ArrayT | None = ..., device: str | None = ...,
) -> Any: ...  # fmt: skip


def max_pool2d(
    x: ArrayT,
    pool_size: Any,
    *,
    strides: Any = None,
    padding: Any = "valid",
    return_indices: bool = False,
    out: ArrayT | None = None,
    device: str | None = None,
) -> Any:
    """The largest pixel of each window, channel by channel.

    y[n, p, q, c] = max over i, k of x[n, p * sh + i - top, q * sw + k - left, c] inside the image.

    Of equal pixels the first in row-major order wins; a NaN wins over any number, the first NaN over later ones. Padding
    never wins, not even where all real pixels are -inf.

    Args:
        x: images (n, h, w, c), float32 or float64, in any memory layout; n may be 0.
        pool_size: pixels of a window, an int or (ph, pw).
        strides: pixels from one window to the next, an int or a pair; the pool size where None.
        padding: "valid", "same" (TensorFlow's), or ((top, bottom), (left, right)) pixels, fewer than the pool has.
        return_indices: also return which pixel won.
        out: where to write y, C-contiguous and apart from x; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        y (n, oh, ow, c), of x's dtype; with return_indices (y, indices), where indices, int32 of the same shape, is the
        winner's position i * pw + k in its window.

    Raises:
        ValueError: a window that does not fit the image, padding as large as the pool, an unfit `out`.
        TypeError: x of another dtype.
        RuntimeError: a device that is not there.

    >>> import numpy as np
    >>> x = np.array([[1, 5, 2, 0], [5, 3, 9, 9]], np.float32).reshape(1, 2, 4, 1)
    >>> y, indices = max_pool2d(x, 2, return_indices=True)
    >>> y.ravel().tolist(), indices.ravel().tolist()
    ([5.0, 9.0], [1, 2])
    """
    return forward("max_pool2d", x, pool_size, strides, padding, return_indices, out, device)


def max_pool2d_grad(
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
    """Gradient of a loss with respect to the input of `max_pool2d`.

    Each window's gradient goes to the pixel that won it; where windows overlap, a pixel's gradients add up:
    grad_x[n, p * sh + i - top, q * sw + k - left, c] += grad_y[n, p, q, c], (i, k) winning window (p, q).

    Args:
        grad_y: gradient with respect to the output, (n, oh, ow, c), of x's dtype.
        x: the images (n, h, w, c) that were pooled, float32 or float64.
        pool_size, strides, padding: as given to `max_pool2d`.
        indices: int32 (n, oh, ow, c), what max_pool2d(x, ..., return_indices=True) returned, to spare pooling x again.
        out: where to write grad_x, C-contiguous and apart from the inputs; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        grad_x (n, h, w, c), of x's dtype; `out` if it was given.

    Raises:
        ValueError, TypeError, RuntimeError: as `max_pool2d`; indices that lie outside the window or the image.

    >>> import numpy as np
    >>> x = np.array([[1, 5, 2, 0], [5, 3, 9, 9]], np.float32).reshape(1, 2, 4, 1)
    >>> max_pool2d_grad(np.array([7, 8], np.float32).reshape(1, 1, 2, 1), x, 2)[0, :, :, 0].tolist()
    [[0.0, 7.0, 0.0, 0.0], [0.0, 0.0, 8.0, 0.0]]
    """
    return backward("max_pool2d_grad", grad_y, x, pool_size, strides, padding, indices, out, device)


def forward(
    op: str, x: ArrayT, pool_size: Any, strides: Any, padding: Any, return_indices: bool, out: ArrayT | None, device: str | None
) -> Any:  # fmt: skip
    """max_pool2d or min_pool2d, as `op` says."""
    run = dispatch.find(op, device, x)
    x = checks.operand(op, "x", x, "(n, h, w, c)")
    window, shape = checks.pooling(op, x.shape, pool_size, strides, padding)
    y = checks.output(op, out, shape, x.dtype, (x,))
    indices = checks.new(shape, np.int32, (x,)) if return_indices else None
    if y.size:
        run(x, y, indices, window)
    return (y, indices) if return_indices else y


def backward(
    op: str, grad_y: ArrayT, x: Operand, pool_size: Any, strides: Any, padding: Any, indices: Operand | None,
    out: ArrayT | None, device: str | None,
) -> ArrayT:  # fmt: skip
    """max_pool2d_grad or min_pool2d_grad, as `op` says."""
    run = dispatch.find(op, device, grad_y, x, indices)
    x = checks.operand(op, "x", x, "(n, h, w, c)")
    grad_y = checks.operand(op, "grad_y", grad_y, "(n, oh, ow, c)", like=x)
    window, shape = checks.pooling(op, x.shape, pool_size, strides, padding)
    checks.same_shape(op, "grad_y", grad_y, shape, f"for x {x.shape} and pool_size {window.kernel}")
    inputs = [x, grad_y]
    if indices is not None:
        indices = checks.pool_indices(op, indices, x.shape, shape, window)
        inputs.append(indices)
    grad_x = checks.output(op, out, x.shape, x.dtype, inputs)
    if grad_x.size:
        run(grad_y, x, indices, grad_x, window)
    return grad_x
