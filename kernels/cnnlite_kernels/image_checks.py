"""Checks of the ops that make images of another size. With checks.py and channel_checks.py these are all the errors of the ops."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.checks import Shape
from cnnlite_kernels.window import Pair, pair

INTERPOLATIONS = ("nearest", "bilinear")


def up_sampling(op: str, x_shape: Shape, size: Any, interpolation: Any) -> tuple[Pair, Shape]:
    """(factors, y_shape) of enlarging x (n, h, w, c).

    Raises:
        ValueError: factors or an interpolation that are none, an image without pixels.
    """
    n, h, w, c = x_shape
    sh, sw = pair(size, "size", op)
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f'{op}: expected interpolation "nearest" or "bilinear", got {interpolation!r}.')
    if h < 1 or w < 1:
        raise ValueError(
            f"{op}: expected an image of at least 1 x 1 pixels, got {h} x {w}; leave empty images out."
        )
    return (sh, sw), (n, h * sh, w * sw, c)


def up_sampled(op: str, y_shape: Shape, size: Any, interpolation: Any) -> tuple[Pair, Shape]:
    """(factors, x_shape) of what was enlarged to y (n, oh, ow, c).

    Raises:
        ValueError: as `up_sampling`; y that no image is enlarged to.
    """
    n, oh, ow, c = y_shape
    sh, sw = pair(size, "size", op)
    if oh % sh or ow % sw:
        raise ValueError(
            f"{op}: expected grad_y of a multiple of {sh} x {sw} pixels for size {(sh, sw)}, got {oh} x {ow}; "
            "pass the gradient that belongs to up_sampling2d's output."
        )
    x_shape = n, oh // sh, ow // sw, c
    up_sampling(op, x_shape, size, interpolation)
    return (sh, sw), x_shape
