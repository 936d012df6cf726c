"""Two-dimensional average pooling and its gradient."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels import checks, dispatch
from cnnlite_kernels.arrays import ArrayT


def average_pool2d(
    x: ArrayT,
    pool_size: Any,
    *,
    strides: Any = None,
    padding: Any = "valid",
    out: ArrayT | None = None,
    device: str | None = None,
) -> ArrayT:
    """The mean of each window's pixels inside the image, channel by channel.

    y[n, p, q, c] = mean over i, k of x[n, p * sh + i - top, q * sw + k - left, c] inside the image: padding is not counted, as in
    Keras (PyTorch's count_include_pad=False).

    Args:
        x: images (n, h, w, c), float32 or float64, in any memory layout; n may be 0.
        pool_size: pixels of a window, an int or (ph, pw).
        strides: pixels from one window to the next, an int or a pair; the pool size where None.
        padding: "valid", "same" (TensorFlow's), or ((top, bottom), (left, right)) pixels, fewer than the pool has.
        out: where to write y, C-contiguous and apart from x; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        y (n, oh, ow, c), of x's dtype; `out` if it was given.

    Raises:
        ValueError: a window that does not fit the image, padding as large as the pool, an unfit `out`.
        TypeError: x of another dtype.
        RuntimeError: a device that is not there.

    >>> import numpy as np
    >>> average_pool2d(np.arange(6.0).reshape(1, 2, 3, 1), 2, padding="same").ravel().tolist()
    [2.0, 3.5]
    """
    op = "average_pool2d"
    run = dispatch.find(op, device, x)
    x = checks.operand(op, "x", x, "(n, h, w, c)")
    window, shape = checks.pooling(op, x.shape, pool_size, strides, padding)
    y = checks.output(op, out, shape, x.dtype, (x,))
    if y.size:
        run(x, y, window)
    return y


def average_pool2d_grad(
    grad_y: ArrayT,
    x_shape: Any,
    pool_size: Any,
    *,
    strides: Any = None,
    padding: Any = "valid",
    out: ArrayT | None = None,
    device: str | None = None,
) -> ArrayT:
    """Gradient of a loss with respect to the input of `average_pool2d`.

    Each pixel of a window gets the window's gradient divided by its pixels inside the image; where windows overlap, they add up.

    Args:
        grad_y: gradient with respect to the output, (n, oh, ow, c), float32 or float64.
        x_shape: (n, h, w, c), of the images that were pooled.
        pool_size, strides, padding: as given to `average_pool2d`.
        out: where to write grad_x, C-contiguous and apart from grad_y; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        grad_x (n, h, w, c), of grad_y's dtype; `out` if it was given.

    Raises:
        ValueError, TypeError, RuntimeError: as `average_pool2d`.

    >>> import numpy as np
    >>> average_pool2d_grad(np.array([8.0, 6.0]).reshape(1, 1, 2, 1), (1, 2, 3, 1), 2, padding="same")[0, :, :, 0].tolist()
    [[2.0, 2.0, 3.0], [2.0, 2.0, 3.0]]
    """
    op = "average_pool2d_grad"
    run = dispatch.find(op, device, grad_y)
    grad_y = checks.operand(op, "grad_y", grad_y, "(n, oh, ow, c)")
    x_shape = checks.shape(op, "x_shape", x_shape, "(n, h, w, c)")
    window, shape = checks.pooling(op, x_shape, pool_size, strides, padding)
    checks.same_shape(op, "grad_y", grad_y, shape, f"for x_shape {x_shape} and pool_size {window.kernel}")
    grad_x = checks.output(op, out, x_shape, grad_y.dtype, (grad_y,))
    if grad_x.size:
        run(grad_y, grad_x, window)
    return grad_x
