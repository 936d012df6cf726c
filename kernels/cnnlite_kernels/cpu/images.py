"""Where a part's images lie in memory: NHWC with a halo of zeros around each image, so that padding needs no copy later."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import POINTER, Pointer, address, clear_bytes, copy_bytes

Pair = tuple[int, int]
NO_HALO = ((0, 0), (0, 0))


class Images(NamedTuple):
    """n images of h x w pixels with c channels, in memory (n, top + h + bottom, left + w + right, c).

    `start` is the first number of the halo; `pixels` gives offsets of real pixels, in numbers, from it.
    """

    start: Pointer
    n: int
    h: int
    w: int
    c: int
    halo: tuple[Pair, Pair] = NO_HALO

    @property
    def row(self) -> int:
        """Numbers from one row of pixels to the next."""
        return (self.halo[1][0] + self.w + self.halo[1][1]) * self.c

    @property
    def image(self) -> int:
        """Numbers from one image to the next."""
        return (self.halo[0][0] + self.h + self.halo[0][1]) * self.row

    @property
    def size(self) -> int:
        """Numbers in all, halos included."""
        return self.n * self.image

    @property
    def origin(self) -> int:
        """The first real pixel's first number."""
        return self.halo[0][0] * self.row + self.halo[1][0] * self.c

    def first(self, item: int) -> Pointer:
        """Where the first real pixel is, for numbers of `item` bytes."""
        return self.start + self.origin * item

    def pixels(self, rows, columns) -> np.ndarray:
        """Offsets of the pixels at (rows, columns) of the first image; negative ones reach into the halo."""
        return self.origin + np.asarray(rows) * self.row + np.asarray(columns) * self.c

    def covers(self, halo: tuple[Pair, Pair]) -> bool:
        """Whether the halo is at least as wide as another on every side."""
        return all(
            have >= want
            for mine, other in zip(self.halo, halo, strict=True)
            for have, want in zip(mine, other, strict=True)
        )


CLEAR = np.dtype([("y", POINTER), ("count", np.int64)])


@kernel(CLEAR)
def clear(item):
    """y[:count] = 0."""

    def body(bases, d):
        d = carray(d, 1)[0]
        clear_bytes(address(bases, d.y), d.count * item)

    return body


def add_clear(plan, y: Pointer, count: int) -> None:
    """Writes `count` zeros at y."""
    plan.add(clear, plan.item, y=y, count=count)


HALO = np.dtype(
    [("x", POINTER), ("y", POINTER)]
    + [(name, np.int64) for name in ("n", "h", "row", "x_row", "x_image", "top", "left", "bottom", "right")]
)


@kernel(HALO)
def clear_halo(item):
    """Zeros around the images at y: rows of `row` numbers between margins of top, bottom (rows), left, right (numbers)."""

    def body(bases, d):
        d = carray(d, 1)[0]
        pitch = d.left + d.row + d.right
        image = (d.top + d.h + d.bottom) * pitch
        for n in range(d.n):
            start = address(bases, d.y) + n * image * item
            clear_bytes(start, (d.top * pitch + d.left) * item)
            for r in range(d.h - 1):  # the end of one row and the beginning of the next are neighbours
                clear_bytes(start + ((d.top + r + 1) * pitch - d.right) * item, (d.right + d.left) * item)
            last = (d.top + d.h) * pitch - d.right
            clear_bytes(start + last * item, (image - last) * item)

    return body


@kernel(HALO)
def copy_with_halo(item):
    """Copies images at x, rows x_row and images x_image apart, to y with a halo of zeros."""

    def body(bases, d):
        d = carray(d, 1)[0]
        pitch = d.left + d.row + d.right
        image = (d.top + d.h + d.bottom) * pitch
        for n in range(d.n):
            to, origin = address(bases, d.y) + n * image * item, address(bases, d.x) + n * d.x_image * item
            clear_bytes(to, (d.top * pitch + d.left) * item)
            for r in range(d.h):
                row = to + ((d.top + r) * pitch + d.left) * item
                copy_bytes(row, origin + r * d.x_row * item, d.row * item)
                if r < d.h - 1:
                    clear_bytes(row + d.row * item, (d.right + d.left) * item)
            last = (d.top + d.h) * pitch - d.right
            clear_bytes(to + last * item, (image - last) * item)

    return body


def add_clear_halo(plan, y: Images, item: int | None = None) -> None:
    """Writes the zeros around y, unless it has no halo. item: bytes of y's numbers, if not the plan's."""
    if y.halo == NO_HALO or y.n == 0:
        return
    plan.add(clear_halo, item or plan.item, y=y.start, n=y.n, h=y.h, row=y.w * y.c, **margins(y))


def with_halo(
    plan, x: Images, halo: tuple[Pair, Pair], start: Pointer | None = None, item: int | None = None
) -> Images:
    """x itself if its halo is wide enough, else a copy at `start`, or in scratch, that has this one. item: bytes of x's numbers, if not
    the plan's."""
    item = item or plan.item
    if x.covers(halo) or x.n == 0:
        return x
    y = x._replace(halo=halo)
    y = y._replace(start=plan.scratch(y.size * item) if start is None else start)
    plan.add(
        copy_with_halo,
        item,
        x=x.first(item), y=y.start, n=x.n, h=x.h, row=x.w * x.c, x_row=x.row, x_image=x.image,
        **margins(y),
    )  # fmt: skip
    return y


def margins(y: Images) -> dict[str, int]:
    """Fields of HALO: the zeros around y."""
    (top, bottom), (left, right) = y.halo
    return {"top": top, "bottom": bottom, "left": left * y.c, "right": right * y.c}
