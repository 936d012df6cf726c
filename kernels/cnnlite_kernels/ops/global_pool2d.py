"""Pooling over whole images, which leaves one number for each channel."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels import checks, dispatch
from cnnlite_kernels.arrays import ArrayT, Operand
from cnnlite_kernels.window import Window2D


def global_average_pool2d(x: ArrayT, *, out: ArrayT | None = None, device: str | None = None) -> ArrayT:
    """y[n, c] = the mean of x[n, :, :, c].

    Args:
        x: images (n, h, w, c), float32 or float64, in any memory layout; n may be 0.
        out: where to write y, C-contiguous and apart from x; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        y (n, c), of x's dtype; `out` if it was given.

    Raises:
        ValueError: images without pixels, an unfit `out`.
        TypeError: x of another dtype.
        RuntimeError: a device that is not there.

    >>> import numpy as np
    >>> global_average_pool2d(np.arange(6.0).reshape(1, 2, 3, 1)).tolist()
    [[2.5]]
    """
    return _forward("average_pool2d", "global_average_pool2d", x, out, device)


def global_average_pool2d_grad(
    grad_y: ArrayT, x_shape: Any, *, out: ArrayT | None = None, device: str | None = None
) -> ArrayT:
    """Gradient of a loss with respect to the input of `global_average_pool2d`: grad_x[n, i, j, c] = grad_y[n, c] / (h w).

    Args:
        grad_y: gradient with respect to the output, (n, c), float32 or float64.
        x_shape: (n, h, w, c), of the images that were pooled.
        out: where to write grad_x, C-contiguous and apart from grad_y; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        grad_x (n, h, w, c), of grad_y's dtype; `out` if it was given.

    Raises:
        ValueError, TypeError, RuntimeError: as `global_average_pool2d`.

    >>> import numpy as np
    >>> global_average_pool2d_grad(np.array([[6.0]]), (1, 1, 3, 1)).ravel().tolist()
    [2.0, 2.0, 2.0]
    """
    op = "global_average_pool2d_grad"
    run = dispatch.find("average_pool2d_grad", device, grad_y, name=op)
    grad_y = checks.operand(op, "grad_y", grad_y, "(n, c)")
    x_shape = checks.shape(op, "x_shape", x_shape, "(n, h, w, c)")
    window = _window(op, x_shape)
    checks.same_shape(op, "grad_y", grad_y, (x_shape[0], x_shape[3]), f"for x_shape {x_shape}")
    grad_x = checks.output(op, out, x_shape, grad_y.dtype, (grad_y,))
    if grad_x.size:
        run(_images(grad_y), grad_x, window)
    return grad_x


def global_max_pool2d(x: ArrayT, *, out: ArrayT | None = None, device: str | None = None) -> ArrayT:
    """y[n, c] = the largest of x[n, :, :, c]; a NaN wins over any number.

    Arguments, result and errors are those of `global_average_pool2d`.

    >>> import numpy as np
    >>> global_max_pool2d(np.arange(6.0).reshape(1, 2, 3, 1)).tolist()
    [[5.0]]
    """
    return _forward("max_pool2d", "global_max_pool2d", x, out, device)


def global_max_pool2d_grad(
    grad_y: ArrayT, x: Operand, *, out: ArrayT | None = None, device: str | None = None
) -> ArrayT:
    """Gradient of a loss with respect to the input of `global_max_pool2d`: all of it to the pixel that won, the first of equal ones.

    Args:
        grad_y: gradient with respect to the output, (n, c), of x's dtype.
        x: the images (n, h, w, c) that were pooled, float32 or float64.
        out: where to write grad_x, C-contiguous and apart from the inputs; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        grad_x (n, h, w, c), of x's dtype; `out` if it was given.

    Raises:
        ValueError, TypeError, RuntimeError: as `global_average_pool2d`.

    >>> import numpy as np
    >>> global_max_pool2d_grad(np.array([[7.0]]), np.array([1.0, 9.0, 9.0]).reshape(1, 1, 3, 1)).ravel().tolist()
    [0.0, 7.0, 0.0]
    """
    op = "global_max_pool2d_grad"
    run = dispatch.find("max_pool2d_grad", device, grad_y, x, name=op)
    x = checks.operand(op, "x", x, "(n, h, w, c)")
    grad_y = checks.operand(op, "grad_y", grad_y, "(n, c)", like=x)
    window = _window(op, x.shape)
    checks.same_shape(op, "grad_y", grad_y, (x.shape[0], x.shape[3]), f"for x {x.shape}")
    grad_x = checks.output(op, out, x.shape, x.dtype, (x, grad_y))
    if grad_x.size:
        run(_images(grad_y), x, None, grad_x, window)
    return grad_x


def _forward(pooling: str, op: str, x: ArrayT, out: ArrayT | None, device: str | None) -> ArrayT:
    """Pooling by the op `pooling`, with one window on each image."""
    run = dispatch.find(pooling, device, x, name=op)
    x = checks.operand(op, "x", x, "(n, h, w, c)")
    window = _window(op, x.shape)
    y = checks.output(op, out, (x.shape[0], x.shape[3]), x.dtype, (x,))
    if y.size:
        run(x, _images(y), None, window) if pooling == "max_pool2d" else run(x, _images(y), window)
    return y


def _window(op: str, x_shape: checks.Shape) -> Window2D:
    _, h, w, _ = x_shape
    if h < 1 or w < 1:
        raise ValueError(
            f"{op}: expected an image of at least 1 x 1 pixels, got {h} x {w}; leave empty images out."
        )
    return Window2D.of((h, w))


def _images(y: Any) -> Any:
    """y (n, c) as images of one pixel."""
    n, c = y.shape
    return y.reshape(n, 1, 1, c)
