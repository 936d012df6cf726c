"""Rows and columns of zeros around images, or cut off them, and the gradient, which is the same with the signs changed."""

from __future__ import annotations

import functools
from typing import Any

from numba import cuda, uint32, uint64

from cnnlite_kernels.cuda.grid import (
    THREADS,
    Pair,
    divider,
    image_launches,
    over,
    pixel_blocks,
    wide_of,
)
from cnnlite_kernels.cuda.intrinsics import load4, store4
from cnnlite_kernels.cuda.kernel import U32, U64, Kernel, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan

u = uint32
Margins = tuple[Pair, Pair]


@functools.cache
def frame(wide: int) -> Kernel:
    """Zeros around images, or rows and columns cut off, `wide` channels at a time."""

    @kernel(THREADS)
    def frame(
        x: Reals, y: Reals, pixels: U32, block_pixels: U32, h: U32, w: U32, pieces: U32, oh: U32, ow: U32, by_pieces: U64,
        by_oh: U64, by_ow: U64, top: U32, left: U32,
    ) -> None:  # fmt: skip
        """y[n, p, q, c] = x[n, p - top, q - left, c] where x (n, h, w, c) has that pixel, else 0; c = pieces * wide.

        y (n, oh, ow, c), n * oh * ow = pixels. A block takes block_pixels of y with all their channels. top and left are modulo 2^32,
        as all differences are: a pixel before the first one has a large number. by_...: dividers (grid.py).
        """
        first = u(u(cuda.blockIdx.x) * block_pixels)
        items = u(min(block_pixels, u(pixels - first)) * pieces)
        zero = x.dtype.type(0)
        item = u(cuda.threadIdx.x)
        while item < items:
            of_block = over(item, by_pieces)
            piece, pixel = u(item - of_block * pieces), u(first + of_block)
            line = over(pixel, by_ow)
            image = over(line, by_oh)
            row, column = u(line - image * oh - top), u(pixel - line * ow - left)
            inside = row < h and column < w
            at = uint64(u(u(image * h + row) * w + column)) * uint64(pieces) + uint64(piece)
            to = uint64(pixel) * uint64(pieces) + uint64(piece)
            if wide == 4:
                four = (zero, zero, zero, zero)
                if inside:
                    four = load4(x, at * uint64(4))
                store4(y, to * uint64(4), four)
            else:
                y[to] = x[at] if inside else zero
            item = u(item + u(THREADS))

    return frame


def add_forward(
    plan: Plan, margins: Margins, n: int, h: int, w: int, c: int, x: Any, y: Any, *, aligned: bool = True
) -> None:
    """Emits y (n, top + h + bottom, left + w + right, c) = x (n, h, w, c) with zeros around it.

    Args:
        margins: ((top, bottom), (left, right)) rows and columns of zeros; negative: that are cut off.
        aligned: x and y begin at multiples of 16 bytes.

    Raises:
        ValueError: an image of more than 2^31 - 1 pixels.
    """
    (top, bottom), (left, right) = margins
    oh, ow = top + h + bottom, left + w + right
    for launch in image_launches("frame", plan, n, c, (h, w), (oh, ow)):
        wide = wide_of(aligned and c % 4 == 0, x, y)
        pieces = c // wide
        blocks, block_pixels = pixel_blocks(plan, launch.pixels, pieces)
        plan.add(
            frame(wide), blocks, x[launch.x], y[launch.y], launch.pixels, block_pixels, h, w, pieces, oh, ow,
            divider(pieces), divider(oh), divider(ow), top % 2**32, left % 2**32,
        )  # fmt: skip


def add_grad(plan: Plan, margins: Margins, n: int, h: int, w: int, c: int, grad_y: Any, grad_x: Any) -> None:
    """Emits the gradient with respect to x (n, h, w, c). Arguments as of add_forward."""
    (top, bottom), (left, right) = margins
    oh, ow = top + h + bottom, left + w + right
    add_forward(plan, ((-top, -bottom), (-left, -right)), n, oh, ow, c, grad_y, grad_x)
