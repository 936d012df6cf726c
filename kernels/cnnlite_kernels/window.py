"""Geometry of a sliding window: kernel size, strides, dilation and padding, and the output size they give.

Nobody else computes an output size. Plain Python integers throughout, so a window is cheap to build on every
call of an op, hashable, and fit to be a cache key.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import Any

Pair = tuple[int, int]
Padding = str | tuple[Pair, Pair]

POOL_NAMES = ("pool_size", "dilation")  # Keras's words, for messages
LAYER_NAMES = ("kernel_size", "dilation_rate")


@dataclass(frozen=True, slots=True)
class Window2D:
    """A two-dimensional sliding window, rows first. Build one with `Window2D.of`, which checks its arguments.

    Attributes:
        kernel: (kh, kw), taps per axis, at least 1.
        strides: (sh, sw), pixels between neighbouring windows, at least 1.
        dilation: (dh, dw), pixels between neighbouring taps, at least 1; 1 is a dense window.
        padding: "valid" (none), "same" (TensorFlow's: ceil(size / stride) windows, and where the padding is
            odd the extra pixel goes after), or ((top, bottom), (left, right)) in pixels.

    >>> window = Window2D.of((3, 5), strides=2, padding="same")
    >>> window.output_size(28, 28)
    (14, 14)
    >>> window.pads(28, 28)
    ((0, 1), (1, 2))
    """

    kernel: Pair
    strides: Pair
    dilation: Pair
    padding: Padding

    @classmethod
    def of(
        cls,
        kernel: Any,
        strides: Any = (1, 1),
        dilation: Any = (1, 1),
        padding: Any = "valid",
        *,
        op: str = "conv2d",
        names: tuple[str, str] = ("kernel", "dilation"),
    ) -> Window2D:
        """A checked window.

        Args:
            kernel, strides, dilation: an int for both axes, or a pair of ints (rows, columns), at least 1.
            padding: "valid" or "same" in any case, or ((top, bottom), (left, right)) of ints, at least 0.
            op: the op or layer that an error message names; names: what its arguments kernel and dilation are called.

        Raises:
            ValueError: anything else.

        >>> Window2D.of(3) == Window2D.of([3, 3], strides=1, padding="VALID")
        True
        >>> Window2D.of((3, 0), op="max_pool2d", names=POOL_NAMES)
        Traceback (most recent call last):
        ValueError: max_pool2d: expected pool_size as an int or a pair of ints of at least 1, got (3, 0); \
pass, say, pool_size=2 or pool_size=(2, 2).
        """
        return cls(
            pair(kernel, names[0], op),
            pair(strides, "strides", op),
            pair(dilation, names[1], op),
            _padding(padding, op),
        )

    @property
    def extent(self) -> Pair:
        """(rows, columns) of image that the dilated window covers: (kernel - 1) * dilation + 1.

        >>> Window2D.of((3, 2), dilation=(2, 4)).extent
        (5, 5)
        """
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return (kh - 1) * dh + 1, (kw - 1) * dw + 1

    def pads(self, h: int, w: int) -> tuple[Pair, Pair]:
        """((top, bottom), (left, right)) pixels of padding around an image of h x w pixels.

        >>> Window2D.of(2, padding="same").pads(5, 5)
        ((0, 1), (0, 1))
        """
        padding = self.padding
        if not isinstance(padding, str):
            return padding
        if padding == "valid":
            return (0, 0), (0, 0)
        (eh, ew), (sh, sw) = self.extent, self.strides
        return _same(h, eh, sh), _same(w, ew, sw)

    def output_size(self, h: int, w: int, *, op: str = "conv2d") -> Pair:
        """(oh, ow), how many windows fit an image of h x w pixels.

        Per axis (size + padding - extent) // stride + 1, which for "same" is ceil(size / stride).

        Raises:
            ValueError: the image has no pixels, or the padded image is smaller than the window. Names `op`.

        >>> Window2D.of(3, strides=2).output_size(28, 29)
        (13, 14)
        >>> Window2D.of(3).output_size(2, 8)
        Traceback (most recent call last):
        ValueError: conv2d: expected an image of at least 3 x 3 pixels, padding included, for kernel (3, 3) \
with dilation (1, 1), got 2 x 8; use a larger image, a smaller kernel or padding="same".
        """
        (eh, ew), (sh, sw) = self.extent, self.strides
        if h < 1 or w < 1:
            raise ValueError(
                f"{op}: expected an image of at least 1 x 1 pixels, got {h} x {w}; leave empty images out."
            )
        (top, bottom), (left, right) = self.pads(h, w)
        rows, columns = h + top + bottom, w + left + right
        if rows < eh or columns < ew:
            raise ValueError(
                f"{op}: expected an image of at least {eh} x {ew} pixels, padding included, for kernel "
                f"{self.kernel} with dilation {self.dilation}, got {rows} x {columns}; use a larger image, a "
                'smaller kernel or padding="same".'
            )
        return (rows - eh) // sh + 1, (columns - ew) // sw + 1


def _same(size: int, extent: int, stride: int) -> Pair:
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def pair(value: Any, name: str, op: str, least: int = 1) -> Pair:
    """An int for both axes, or a pair of ints (rows, columns), as a pair; a ValueError unless they are at least `least`."""
    if type(value) is int and value >= least:
        return value, value
    if type(value) is tuple and len(value) == 2:
        first, second = value
        if type(first) is int and type(second) is int and first >= least and second >= least:
            return value
    found = ints(value, least)
    if found is None:
        raise ValueError(
            f"{op}: expected {name} as an int or a pair of ints of at least {least}, got {value!r}; "
            f"pass, say, {name}=2 or {name}=(2, 2)."
        )
    return found


def _padding(value: Any, op: str) -> Padding:
    if isinstance(value, str):
        lower = value.lower()
        if lower in ("valid", "same"):
            return lower
    elif isinstance(value, (tuple, list)) and len(value) == 2:
        rows, columns = ints(value[0], 0, pair_only=True), ints(value[1], 0, pair_only=True)
        if rows is not None and columns is not None:
            return rows, columns
    raise ValueError(
        f'{op}: expected padding "valid", "same" or ((top, bottom), (left, right)) of ints of at least 0, '
        f"got {value!r}."
    )


def ints(value: Any, least: int, pair_only: bool = False) -> Pair | None:
    """`value` as a pair of plain ints of at least `least`; None where it is not one."""
    try:
        pair = tuple(index(v) for v in value) if isinstance(value, (tuple, list)) else (index(value),) * 2
    except TypeError:
        return None
    if len(pair) != 2 or min(pair) < least or (pair_only and not isinstance(value, (tuple, list))):
        return None
    return pair
