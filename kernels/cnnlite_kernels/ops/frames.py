"""Zeros around images, and images without their edges. The gradient of each is the other."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels import checks, dispatch, image_checks
from cnnlite_kernels.arrays import ArrayT


def zero_padding2d(
    x: ArrayT, padding: Any = (1, 1), *, out: ArrayT | None = None, device: str | None = None
) -> ArrayT:
    """Images with rows and columns of zeros around them. The gradient with respect to x is cropping2d(grad_y, padding).

    Args:
        x: images (n, h, w, c), float32 or float64, in any memory layout; n may be 0.
        padding: ((top, bottom), (left, right)); (rows, columns), as many on both sides; or an int for all four.
        out: where to write y, C-contiguous and apart from x; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        y (n, top + h + bottom, left + w + right, c), of x's dtype; `out` if it was given.

    Raises:
        ValueError: padding that is none of these, an image without pixels, an unfit `out`.
        TypeError: x of another dtype.
        RuntimeError: a device that is not there.

    >>> import numpy as np
    >>> zero_padding2d(np.ones((1, 1, 1, 1)), ((0, 1), (2, 0)))[0, :, :, 0].tolist()
    [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    op = "zero_padding2d"
    run = dispatch.find(op, device, x)
    x = checks.operand(op, "x", x, "(n, h, w, c)")
    margins, shape = image_checks.padded(op, x.shape, padding)
    y = checks.output(op, out, shape, x.dtype, (x,))
    if y.size:
        run(x, y, margins)
    return y


def cropping2d(
    x: ArrayT, cropping: Any = ((0, 0), (0, 0)), *, out: ArrayT | None = None, device: str | None = None
) -> ArrayT:
    """Images without their outer rows and columns. The gradient with respect to x is zero_padding2d(grad_y, cropping).

    Args:
        x: images (n, h, w, c), float32 or float64, in any memory layout; n may be 0.
        cropping: ((top, bottom), (left, right)); (rows, columns), as many on both sides; or an int for all four.
        out, device: as of `zero_padding2d`.

    Returns:
        y (n, h - top - bottom, w - left - right, c), of x's dtype; `out` if it was given.

    Raises:
        ValueError: cropping that is none of these, or that leaves no pixel; an unfit `out`.
        TypeError, RuntimeError: as `zero_padding2d`.

    >>> import numpy as np
    >>> cropping2d(np.arange(12.0).reshape(1, 3, 4, 1), ((1, 1), (1, 0)))[0, :, :, 0].tolist()
    [[5.0, 6.0, 7.0]]
    """
    op = "cropping2d"
    run = dispatch.find(op, device, x)
    x = checks.operand(op, "x", x, "(n, h, w, c)")
    margins, shape = image_checks.cropped(op, x.shape, cropping)
    y = checks.output(op, out, shape, x.dtype, (x,))
    if y.size:
        run(x, y, margins)
    return y
