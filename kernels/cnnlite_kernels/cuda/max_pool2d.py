"""Max and min pooling and their gradient: any window, strides, dilation and padding; that of a relu in front of it comes for free."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import cuda, uint32, uint64

from cnnlite_kernels.cuda.grid import NOWHERE, THREADS, divider, image_launches, over
from cnnlite_kernels.cuda.kernel import U32, U64, Ints, Kernel, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.window import Window2D

u = uint32
# Windows that have kernels of their own, whose loads are all on their way at once.
UNROLLED = ((2, 2), (3, 3))


@functools.cache
def forward(rows: int, columns: int, with_index: int, minimum: int) -> Kernel:
    """Pooling with windows of rows x columns, or with 0 and 0 of any size.

    with_index: 1 if the places of the winners are wanted. minimum: 1 if the smallest wins, 0 for the largest.
    """

    @kernel(THREADS)
    def max_pool2d(
        x: Reals, y: Reals, index: Ints, pixels: U32, block_pixels: U32,
        h: U32, w: U32, c: U32, oh: U32, ow: U32, by_c: U64, by_oh: U64, by_ow: U64,
        kh: U32, kw: U32, sh: U32, sw: U32, dh: U32, dw: U32, top: U32, left: U32,
    ) -> None:  # fmt: skip
        """y[n, p, q, c] = max of x[n, p * sh + i * dh - top, q * sw + j * dw - left, c] inside the image, over i < kh and j < kw.

        x (n, h, w, c), y and index int32 (n, oh, ow, c), n * oh * ow = pixels; index: i * kw + j of the maximum. With
        `minimum` it is the min. Of equal ones the first stays; a NaN replaces a number and is replaced by nothing. A block takes
        block_pixels of y with all their channels. by_...: dividers (grid.py).
        """
        first = u(u(cuda.blockIdx.x) * block_pixels)
        items = u(min(block_pixels, u(pixels - first)) * c)
        window_rows, window_columns = u(rows or kh), u(columns or kw)
        last_row, last_column = u(h - u(1)), u(w - u(1))
        item = u(cuda.threadIdx.x)
        while item < items:
            of_block = over(item, by_c)
            channel, pixel = u(item - of_block * c), u(first + of_block)
            line = over(pixel, by_ow)
            image = over(line, by_oh)
            # before the image they wrap, and are beyond its end too
            row, column = u(u(line - image * oh) * sh - top), u(u(pixel - line * ow) * sw - left)
            best, place = x.dtype.type(0), u(NOWHERE)
            for i in range(window_rows):
                for j in range(window_columns):
                    r, s = u(row + u(i) * dh), u(column + u(j) * dw)
                    # some pixel is read in any case: loads under conditions would wait for each other
                    at = u(u(image * h + min(r, last_row)) * w + min(s, last_column))
                    value = x[uint64(at) * uint64(c) + uint64(channel)]
                    ahead = not (value >= best if minimum else value <= best)
                    wins = (place == u(NOWHERE)) | ((best == best) & ahead)
                    better = (r < h) & (s < w) & wins
                    best = value if better else best
                    place = u(u(i) * window_columns + u(j)) if better else place
            to = uint64(pixel) * uint64(c) + uint64(channel)
            y[to] = best
            if with_index:
                index[to] = place
            item = u(item + u(THREADS))

    return max_pool2d


@functools.cache
def backward(with_relu: int) -> Kernel:
    """The gradient of pooling; with_relu: 1 for the gradient before a relu whose output was pooled."""

    @kernel(THREADS)
    def max_pool2d_grad(
        grad_y: Reals, index: Ints, pooled: Reals, grad_x: Reals, pixels: U32, block_pixels: U32,
        h: U32, w: U32, c: U32, oh: U32, ow: U32, by_c: U64, by_h: U64, by_w: U64,
        kh: U32, kw: U32, sh: U32, sw: U32, dh: U32, dw: U32, by_sh: U64, by_sw: U64, by_dh: U64, by_dw: U64,
        top: U32, left: U32,
    ) -> None:  # fmt: skip
        """grad_x[n, ih, iw, c] = sum of grad_y over the windows that this pixel won, by index, row by row.

        grad_y, index int32 and pooled (n, oh, ow, c), grad_x (n, h, w, c), n * h * w = pixels. With relu only windows count whose
        maximum, in `pooled`, is above 0. Each thread gathers for its own numbers of grad_x: nothing is added by two.
        """
        first = u(u(cuda.blockIdx.x) * block_pixels)
        items = u(min(block_pixels, u(pixels - first)) * c)
        zero = grad_x.dtype.type(0)
        # from a window's first row or column to its last
        height, width = u(u(kh - u(1)) * dh), u(u(kw - u(1)) * dw)
        item = u(cuda.threadIdx.x)
        while item < items:
            of_block = over(item, by_c)
            channel, pixel = u(item - of_block * c), u(first + of_block)
            line = over(pixel, by_w)
            image = over(line, by_h)
            row, column = u(u(line - image * h) + top), u(u(pixel - line * w) + left)
            # the first window that reaches this far
            first_p = u(over(u(row - height - u(1)), by_sh) + u(1)) if row > height else u(0)
            first_q = u(over(u(column - width - u(1)), by_sw) + u(1)) if column > width else u(0)
            total = zero
            p = first_p
            while p < oh and u(p * sh) <= row:
                below = u(row - p * sh)
                i = over(below, by_dh)
                q = first_q
                while q < ow and u(q * sw) <= column:
                    after = u(column - q * sw)
                    j = over(after, by_dw)
                    if u(i * dh) == below and u(j * dw) == after:
                        window = u(u(image * oh + p) * ow + q)
                        at = uint64(window) * uint64(c) + uint64(channel)
                        # read in any case: loads under conditions would wait for each other
                        share = grad_y[at]
                        won = u(index[at]) == u(i * kw + j)
                        if with_relu:
                            won = won & (pooled[at] > zero)
                        total += share if won else zero
                    q = u(q + u(1))
                p = u(p + u(1))
            grad_x[uint64(pixel) * uint64(c) + uint64(channel)] = total
            item = u(item + u(THREADS))

    return max_pool2d_grad


def add_forward(
    plan: Plan, window: Window2D, n: int, h: int, w: int, c: int, x: Any, y: Any, index: Any = None, minimum: bool = False
) -> None:  # fmt: skip
    """Emits y (n, oh, ow, c) = max or min pooling of x (n, h, w, c); index, int32 of y's size, gets the place of each winner.

    Raises:
        ValueError: an image of more than 2^31 - 1 pixels.
    """
    oh, ow = window.output_size(h, w, op="max_pool2d")
    (top, _), (left, _) = window.pads(h, w)
    size = window.kernel if window.kernel in UNROLLED else (0, 0)
    places = plan.transient(1, np.int32) if index is None else index
    for launch in image_launches("max_pool2d", plan, n, c, (h, w), (oh, ow)):
        plan.add(
            forward(*size, int(index is not None), int(minimum)), launch.blocks,
            x[launch.x], y[launch.y], places if index is None else index[launch.y], launch.pixels, launch.block_pixels,
            h, w, c, oh, ow, divider(c), divider(oh), divider(ow),
            *window.kernel, *window.strides, *window.dilation, top, left,
        )  # fmt: skip


def add_grad(
    plan: Plan, window: Window2D, n: int, h: int, w: int, c: int, grad_y: Any, index: Any, grad_x: Any, pooled: Any = None
) -> None:  # fmt: skip
    """Emits the gradient (n, h, w, c) with respect to pooling's input, from the places that the forward pass wrote to `index`.

    Args:
        pooled: the output (n, oh, ow, c) of the pooling, where its input was made by relu: grad_x is then the gradient before the
            relu, of which pixels without a share in a maximum above 0 have none.

    Raises:
        ValueError: an image of more than 2^31 - 1 pixels.
    """
    oh, ow = window.output_size(h, w, op="max_pool2d")
    (top, _), (left, _) = window.pads(h, w)
    for launch in image_launches("max_pool2d", plan, n, c, (h, w), (oh, ow), over_x=True):
        of_relu = grad_y if pooled is None else pooled
        plan.add(
            backward(int(pooled is not None)), launch.blocks,
            grad_y[launch.y], index[launch.y], of_relu[launch.y], grad_x[launch.x], launch.pixels, launch.block_pixels,
            h, w, c, oh, ow, divider(c), divider(h), divider(w),
            *window.kernel, *window.strides, *window.dilation, *map(divider, window.strides), *map(divider, window.dilation),
            top, left,
        )  # fmt: skip
