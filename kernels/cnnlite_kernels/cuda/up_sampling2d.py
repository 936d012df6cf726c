"""Enlarging images by whole factors, nearest and bilinear, and the gradient: each thread gathers for its own numbers."""

from __future__ import annotations

import functools
from typing import Any

from numba import cuda, uint32, uint64

from cnnlite_kernels.cuda.grid import THREADS, divider, image_launches, inlined, over
from cnnlite_kernels.cuda.kernel import U32, U64, Kernel, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan

u = uint32
BLOCKS = 4  # that a multiprocessor must hold: else the compiler unrolls the gradient's loop for half as many
Pair = tuple[int, int]


@inlined
def middle(new, factor, pixels):
    """How far the middle of a new pixel is from that of old pixel 0, in halves of a new pixel, kept between the old ones' middles.

    max(0, min(2 new + 1 - factor, 2 factor (pixels - 1))): old middles are 2 factor apart. uint32.
    """
    at = u(u(new * u(2)) + u(1))
    return min(u(at - factor) if at > factor else u(0), u(u(2) * factor * u(pixels - u(1))))


@inlined
def weight(new, old, factor, pixels):
    """How much old pixel `old` counts in new pixel `new` between two, in parts of 2 factor. uint32."""
    here, there = middle(new, factor, pixels), u(u(2) * factor * old)
    distance = u(here - there) if here > there else u(there - here)
    whole = u(u(2) * factor)
    return u(whole - distance) if distance < whole else u(0)


@functools.cache
def forward(bilinear: int) -> Kernel:
    """Enlarging; bilinear: 1, or 0 for the nearest pixel."""

    @kernel(THREADS)
    def up_sampling2d(
        x: Reals, y: Reals, pixels: U32, block_pixels: U32, h: U32, w: U32, c: U32, oh: U32, ow: U32, by_c: U64, by_oh: U64,
        by_ow: U64, sh: U32, sw: U32, by_rows: U64, by_columns: U64,
    ) -> None:  # fmt: skip
        """y[n, p, q, c] = x[n, p // sh, q // sw, c], or between the two rows and columns whose middles are around the new one's.

        x (n, h, w, c), y (n, oh, ow, c), n * oh * ow = pixels. A block takes block_pixels of y with all their channels.
        by_...: dividers (grid.py); by_rows and by_columns of sh and sw.
        """
        number = x.dtype.type
        first = u(u(cuda.blockIdx.x) * block_pixels)
        items = u(min(block_pixels, u(pixels - first)) * c)
        item = u(cuda.threadIdx.x)
        while item < items:
            of_block = over(item, by_c)
            channel, pixel = u(item - of_block * c), u(first + of_block)
            line = over(pixel, by_ow)
            image = over(line, by_oh)
            p, q = u(line - image * oh), u(pixel - line * ow)
            if bilinear:
                below, after = middle(p, sh, h), middle(q, sw, w)
                row, column = over(below >> u(1), by_rows), over(after >> u(1), by_columns)
                down = u(below - row * u(2) * sh)
                right = u(after - column * u(2) * sw)
                # what counts nothing is the same pixel once more
                next_row, next_column = u(row + u(down != u(0))), u(column + u(right != u(0)))
                b = number(down) / number(u(2) * sh)
                t = number(right) / number(u(2) * sw)
                above = uint64(u(image * h + row) * w)
                under = uint64(u(image * h + next_row) * w)
                x00 = x[(above + uint64(column)) * uint64(c) + uint64(channel)]
                x01 = x[(above + uint64(next_column)) * uint64(c) + uint64(channel)]
                x10 = x[(under + uint64(column)) * uint64(c) + uint64(channel)]
                x11 = x[(under + uint64(next_column)) * uint64(c) + uint64(channel)]
                one = number(1)
                # what counts nothing is left out: 0 times infinity is no number
                first_column = (one - b) * x00 + b * x10 if down != u(0) else x00
                second_column = (one - b) * x01 + b * x11 if down != u(0) else x01
                value = (one - t) * first_column + t * second_column if right != u(0) else first_column
            else:
                at = u(u(image * h + over(p, by_rows)) * w + over(q, by_columns))
                value = x[uint64(at) * uint64(c) + uint64(channel)]
            y[uint64(pixel) * uint64(c) + uint64(channel)] = value
            item = u(item + u(THREADS))

    return up_sampling2d


@functools.cache
def backward(bilinear: int) -> Kernel:
    """The gradient of enlarging; bilinear: 1, or 0 for the nearest pixel."""

    @kernel(THREADS, BLOCKS)
    def up_sampling2d_grad(
        grad_y: Reals, grad_x: Reals, pixels: U32, block_pixels: U32, h: U32, w: U32, c: U32, oh: U32, ow: U32, by_c: U64,
        by_h: U64, by_w: U64, sh: U32, sw: U32,
    ) -> None:  # fmt: skip
        """grad_x[n, i, j, c] = sum over p and q of a[p, i] b[q, j] grad_y[n, p, q, c], what pixel (i, j) counted in (p, q).

        grad_y (n, oh, ow, c), grad_x (n, h, w, c), n * h * w = pixels. Row i counts in rows i sh to (i + 1) sh of the nearest, and where
        bilinear in those whose middles are less than sh away: from (i - 1) sh + (sh + 1) // 2 to (i + 1) sh + sh // 2, which at the
        edges of the image are all that is left.
        """
        number = grad_x.dtype.type
        first = u(u(cuda.blockIdx.x) * block_pixels)
        items = u(min(block_pixels, u(pixels - first)) * c)
        # from a pixel's first new one to its first bilinear one, and from its last
        before_h, before_w = (u(sh // u(2)), u(sw // u(2))) if bilinear else (u(0), u(0))
        part = number(1)
        if bilinear:
            part = number(1) / (number(u(2) * sh) * number(u(2) * sw))
        item = u(cuda.threadIdx.x)
        while item < items:
            of_block = over(item, by_c)
            channel, pixel = u(item - of_block * c), u(first + of_block)
            line = over(pixel, by_w)
            image = over(line, by_h)
            i, j = u(line - image * h), u(pixel - line * w)
            # rows i * sh - sh // 2 and on: (i - 1) sh + (sh + 1) // 2
            first_p = u(i * sh - before_h) if i > u(0) else u(0)
            last_p = min(oh, u(u(i + u(1)) * sh + before_h))
            first_q = u(j * sw - before_w) if j > u(0) else u(0)
            last_q = min(ow, u(u(j + u(1)) * sw + before_w))
            total = number(0)
            p = first_p
            while p < last_p:
                row = uint64(u(u(image * oh + p) * ow))
                across = number(0)
                q = first_q
                while q < last_q:
                    share = grad_y[(row + uint64(q)) * uint64(c) + uint64(channel)]
                    if bilinear:
                        share *= number(weight(q, j, sw, w))
                    across += share
                    q = u(q + u(1))
                if bilinear:
                    across *= number(weight(p, i, sh, h))
                total += across
                p = u(p + u(1))
            grad_x[uint64(pixel) * uint64(c) + uint64(channel)] = total * part
            item = u(item + u(THREADS))

    return up_sampling2d_grad


def add_forward(
    plan: Plan, size: Pair, interpolation: str, n: int, h: int, w: int, c: int, x: Any, y: Any
) -> None:
    """Emits y (n, h * size[0], w * size[1], c) = x (n, h, w, c) enlarged, "nearest" or "bilinear".

    Raises:
        ValueError: an image of more than 2^31 - 1 new pixels.
    """
    bilinear = int(interpolation == "bilinear")
    (sh, sw), oh, ow = size, h * size[0], w * size[1]
    for launch in image_launches("up_sampling2d", plan, n, c, (h, w), (oh, ow)):
        plan.add(
            forward(bilinear), launch.blocks, x[launch.x], y[launch.y], launch.pixels, launch.block_pixels,
            h, w, c, oh, ow, divider(c), divider(oh), divider(ow), sh, sw, divider(sh), divider(sw),
        )  # fmt: skip


def add_grad(
    plan: Plan, size: Pair, interpolation: str, n: int, h: int, w: int, c: int, grad_y: Any, grad_x: Any
) -> None:
    """Emits the gradient (n, h, w, c) with respect to what was enlarged to (n, h * size[0], w * size[1], c).

    Raises:
        ValueError: an image of more than 2^31 - 1 new pixels.
    """
    bilinear = int(interpolation == "bilinear")
    (sh, sw), oh, ow = size, h * size[0], w * size[1]
    for launch in image_launches("up_sampling2d", plan, n, c, (h, w), (oh, ow), over_x=True):
        plan.add(
            backward(bilinear), launch.blocks, grad_y[launch.y], grad_x[launch.x], launch.pixels, launch.block_pixels,
            h, w, c, oh, ow, divider(c), divider(h), divider(w), sh, sw,
        )  # fmt: skip
