"""Rows and columns of zeros around images, or cut off them, and the gradient, which is the same with the signs changed."""

from __future__ import annotations

from typing import Any

from numba import cuda, uint32, uint64

from cnnlite_kernels.cuda.grid import THREADS, Pair, divider, image_launches, over
from cnnlite_kernels.cuda.kernel import U32, U64, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan

u = uint32
Margins = tuple[Pair, Pair]


@kernel(THREADS)
def frame(
    x: Reals, y: Reals, pixels: U32, block_pixels: U32, h: U32, w: U32, c: U32, oh: U32, ow: U32, by_c: U64, by_oh: U64,
    by_ow: U64, top: U32, left: U32,
) -> None:  # fmt: skip
    """y[n, p, q, c] = x[n, p - top, q - left, c] where x (n, h, w, c) has that pixel, else 0.

    y (n, oh, ow, c), n * oh * ow = pixels. A block takes block_pixels of y with all their channels. top and left are modulo 2^32, as
    all differences are: a pixel before the first one has a large number. by_...: dividers (grid.py).
    """
    first = u(u(cuda.blockIdx.x) * block_pixels)
    items = u(min(block_pixels, u(pixels - first)) * c)
    item = u(cuda.threadIdx.x)
    while item < items:
        of_block = over(item, by_c)
        channel, pixel = u(item - of_block * c), u(first + of_block)
        line = over(pixel, by_ow)
        image = over(line, by_oh)
        row, column = u(line - image * oh - top), u(pixel - line * ow - left)
        value = x.dtype.type(0)
        if row < h and column < w:
            value = x[uint64(u(u(image * h + row) * w + column)) * uint64(c) + uint64(channel)]
        y[uint64(pixel) * uint64(c) + uint64(channel)] = value
        item = u(item + u(THREADS))


def add_forward(plan: Plan, margins: Margins, n: int, h: int, w: int, c: int, x: Any, y: Any) -> None:
    """Emits y (n, top + h + bottom, left + w + right, c) = x (n, h, w, c) with zeros around it.

    margins: ((top, bottom), (left, right)) rows and columns of zeros; negative: that are cut off.

    Raises:
        ValueError: an image of more than 2^31 - 1 pixels.
    """
    (top, bottom), (left, right) = margins
    oh, ow = top + h + bottom, left + w + right
    for launch in image_launches("frame", plan, n, c, (h, w), (oh, ow)):
        plan.add(
            frame, launch.blocks, x[launch.x], y[launch.y], launch.pixels, launch.block_pixels, h, w, c, oh, ow,
            divider(c), divider(oh), divider(ow), top % 2**32, left % 2**32,
        )  # fmt: skip


def add_grad(plan: Plan, margins: Margins, n: int, h: int, w: int, c: int, grad_y: Any, grad_x: Any) -> None:
    """Emits the gradient with respect to x (n, h, w, c). Arguments as of add_forward."""
    (top, bottom), (left, right) = margins
    oh, ow = top + h + bottom, left + w + right
    add_forward(plan, ((-top, -bottom), (-left, -right)), n, oh, ow, c, grad_y, grad_x)
