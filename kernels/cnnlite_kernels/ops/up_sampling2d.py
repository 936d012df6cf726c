"""Enlarging images by whole factors, and the gradient."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels import checks, dispatch, image_checks
from cnnlite_kernels.arrays import ArrayT


def up_sampling2d(
    x: ArrayT,
    size: Any = (2, 2),
    *,
    interpolation: str = "nearest",
    out: ArrayT | None = None,
    device: str | None = None,
) -> ArrayT:
    """Images with `size` times as many rows and columns.

    Nearest: y[n, p, q, c] = x[n, p // sh, q // sw, c]. Bilinear: the middle of new row p lies at (p + 1/2) / sh - 1/2 among the old
    ones, whose middles are 0, 1, ...; two neighbours at distances d and 1 - d count 1 - d and d, and beyond the first and the last
    middle the image goes on as it ends; columns likewise (half-pixel centres, as in Keras; PyTorch's align_corners=False).

    Args:
        x: images (n, h, w, c), float32 or float64, in any memory layout; n may be 0.
        size: rows and columns that are made of each, an int or (sh, sw).
        interpolation: "nearest" or "bilinear".
        out: where to write y, C-contiguous and apart from x; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        y (n, h * sh, w * sw, c), of x's dtype; `out` if it was given.

    Raises:
        ValueError: an unknown interpolation, factors below 1, an image without pixels, an unfit `out`.
        TypeError: x of another dtype.
        RuntimeError: a device that is not there.

    >>> import numpy as np
    >>> x = np.array([1.0, 2.0]).reshape(1, 1, 2, 1)
    >>> up_sampling2d(x, (1, 2)).ravel().tolist(), up_sampling2d(x, (1, 2), interpolation="bilinear").ravel().tolist()
    ([1.0, 1.0, 2.0, 2.0], [1.0, 1.25, 1.75, 2.0])
    """
    op = "up_sampling2d"
    run = dispatch.find(op, device, x)
    x = checks.operand(op, "x", x, "(n, h, w, c)")
    size, shape = image_checks.up_sampling(op, x.shape, size, interpolation)
    y = checks.output(op, out, shape, x.dtype, (x,))
    if y.size:
        run(x, y, size, interpolation)
    return y


def up_sampling2d_grad(
    grad_y: ArrayT,
    size: Any = (2, 2),
    *,
    interpolation: str = "nearest",
    out: ArrayT | None = None,
    device: str | None = None,
) -> ArrayT:
    """Gradient of a loss with respect to the input of `up_sampling2d`: what each pixel gave to the new ones, it gets back.

    Args:
        grad_y: gradient with respect to the output, (n, h * sh, w * sw, c), float32 or float64.
        size, interpolation: as given to `up_sampling2d`.
        out: where to write grad_x, C-contiguous and apart from grad_y; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        grad_x (n, h, w, c), of grad_y's dtype; `out` if it was given.

    Raises:
        ValueError, TypeError, RuntimeError: as `up_sampling2d`; rows or columns that are no multiple of `size`.

    >>> import numpy as np
    >>> up_sampling2d_grad(np.arange(4.0).reshape(1, 1, 4, 1), (1, 2)).ravel().tolist()
    [1.0, 5.0]
    """
    op = "up_sampling2d_grad"
    run = dispatch.find(op, device, grad_y)
    grad_y = checks.operand(op, "grad_y", grad_y, "(n, oh, ow, c)")
    size, shape = image_checks.up_sampled(op, grad_y.shape, size, interpolation)
    grad_x = checks.output(op, out, shape, grad_y.dtype, (grad_y,))
    if grad_x.size:
        run(grad_y, grad_x, size, interpolation)
    return grad_x
