"""Checks of the ops that make images of another size. With checks.py and channel_checks.py these are all the errors of the ops."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.checks import Shape
from cnnlite_kernels.window import Pair, Window2D, ints, pair

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


def transposed_convolution(
    op: str, x_shape: Shape, w_shape: Shape, strides: Any, padding: Any, output_padding: Any, dilation: Any
) -> tuple[Window2D, Shape]:
    """(window, y_shape) of a transposed convolution of x (n, h, w, cin) with w (kh, kw, cout, cin); the window is one on y.

    An axis of `size` pixels, with windows of `extent`, becomes (size - 1) * stride + extent - pads + output_padding long (Keras's and
    PyTorch's rule; with "same" pads are extent // 2 * 2). Without output_padding it is size * stride for "same", and for "valid" no
    shorter than that.

    Raises:
        ValueError: shapes that do not fit each other, padding that leaves nothing, or output_padding from which a convolution would not
            lead back to x.
    """
    n, h, w, cin = x_shape
    kh, kw, cout, depth = w_shape
    window = Window2D.of((kh, kw), strides, dilation, padding, op=op)
    if cin != depth:
        raise ValueError(
            f"{op}: expected x with {depth} channels to match w {w_shape}, got x of shape {x_shape}; "
            f"pass x with {depth} channels, or w of shape {(kh, kw, cout, cin)}."
        )
    if h < 1 or w < 1:
        raise ValueError(
            f"{op}: expected an image of at least 1 x 1 pixels, got {h} x {w}; leave empty images out."
        )
    more = None if output_padding is None else pair(output_padding, "output_padding", op, 0)
    oh, ow = (_transposed_size(window, axis, size, more and more[axis]) for axis, size in enumerate((h, w)))
    if min(oh, ow) < 1 and not isinstance(window.padding, str):
        raise ValueError(
            f"{op}: expected padding that leaves at least 1 x 1 pixels of the result, got {window.padding}, which leaves {oh} x {ow}; "
            "pad less."
        )
    if min(oh, ow) < 1 or _back(window, oh, ow) != (h, w):
        raise ValueError(
            f"{op}: expected a result that a convolution with kernel {window.kernel}, strides {window.strides} and padding "
            f"{window.padding!r} makes {h} x {w} pixels of, got {oh} x {ow} with output_padding {output_padding!r}; "
            "leave output_padding out, or pass less than the strides."
        )
    return window, (n, oh, ow, cout)


def _transposed_size(window: Window2D, axis: int, size: int, more: int | None) -> int:
    """How long an axis becomes."""
    extent, stride = window.extent[axis], window.strides[axis]
    if window.padding == "same":
        last = stride if more is None else extent - extent // 2 * 2 + more
    elif window.padding == "valid":
        last = max(extent, stride) if more is None else extent + more
    else:
        assert not isinstance(window.padding, str)
        last = extent - sum(window.padding[axis]) + (more or 0)
    return (size - 1) * stride + last


def _back(window: Window2D, oh: int, ow: int) -> Pair | None:
    """The size of what a convolution makes of oh x ow pixels; None where its window does not fit."""
    try:
        return window.output_size(oh, ow)
    except ValueError:
        return None


def margins(op: str, name: str, value: Any) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right)) of what a layer that pads or crops was given: that, (rows, columns) for both sides, or an int.

    Raises:
        ValueError: anything else, or a negative number.

    >>> margins("zero_padding2d", "padding", 1), margins("zero_padding2d", "padding", (1, (2, 3)))
    (((1, 1), (1, 1)), ((1, 1), (2, 3)))
    """
    if isinstance(value, (tuple, list)) and len(value) == 2:
        rows, columns = (ints(side, 0) for side in value)
    else:
        rows = columns = None if isinstance(value, (tuple, list)) else ints(value, 0)
    if rows is None or columns is None:
        raise ValueError(
            f"{op}: expected {name} as an int, (rows, columns) or ((top, bottom), (left, right)) of ints of at least 0, "
            f"got {value!r}; pass, say, {name}=1 or {name}=((0, 1), (0, 1))."
        )
    return rows, columns


def padded(op: str, x_shape: Shape, padding: Any) -> tuple[tuple[Pair, Pair], Shape]:
    """(((top, bottom), (left, right)), y_shape) of zeros around x (n, h, w, c).

    Raises:
        ValueError: as `margins`; an image without pixels.
    """
    (top, bottom), (left, right) = found = margins(op, "padding", padding)
    n, h, w, c = x_shape
    if h < 1 or w < 1:
        raise ValueError(
            f"{op}: expected an image of at least 1 x 1 pixels, got {h} x {w}; leave empty images out."
        )
    return found, (n, top + h + bottom, left + w + right, c)


def cropped(op: str, x_shape: Shape, cropping: Any) -> tuple[tuple[Pair, Pair], Shape]:
    """(((-top, -bottom), (-left, -right)), y_shape) of x (n, h, w, c) without its edges.

    Raises:
        ValueError: as `margins`; an image of which nothing is left.
    """
    (top, bottom), (left, right) = found = margins(op, "cropping", cropping)
    n, h, w, c = x_shape
    oh, ow = h - top - bottom, w - left - right
    if oh < 1 or ow < 1:
        raise ValueError(
            f"{op}: expected cropping that leaves at least 1 x 1 of {h} x {w} pixels, got {found}; crop less, or larger images."
        )
    return ((-top, -bottom), (-left, -right)), (n, oh, ow, c)
