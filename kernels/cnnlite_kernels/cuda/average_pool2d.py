"""Average pooling and its gradient: any window, strides and padding; padding is not counted. Each thread gathers its own numbers."""

from __future__ import annotations

import functools
from typing import Any

from numba import cuda, float64, uint32, uint64

from cnnlite_kernels.cuda.grid import THREADS, divider, image_launches, inlined, over
from cnnlite_kernels.cuda.kernel import U32, U64, Kernel, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.window import Window2D

u = uint32
BLOCK = 64  # pixels that are summed in the working type before they go to a sum in float64


@inlined
def pixels_of(window, stride, before, kernel_size, size):
    """(first, behind the last) of the pixels of one axis that a window has inside the image, uint32."""
    start = u(window * stride)
    return u(start - before) if start > before else u(0), min(u(u(start + kernel_size) - before), size)


@functools.cache
def forward(large: int) -> Kernel:
    """The mean of windows; large: 1 where they have more than BLOCK pixels, of whose sum in float32 digits would be lost."""

    @kernel(THREADS)
    def average_pool2d(
        x: Reals, y: Reals, pixels: U32, block_pixels: U32, h: U32, w: U32, c: U32, oh: U32, ow: U32, by_c: U64, by_oh: U64,
        by_ow: U64, kh: U32, kw: U32, sh: U32, sw: U32, top: U32, left: U32,
    ) -> None:  # fmt: skip
        """y[n, p, q, c] = the mean of x[n, row, column, c] over the window's pixels inside the image.

        x (n, h, w, c), y (n, oh, ow, c), n * oh * ow = pixels. A block takes block_pixels of y with all their channels.
        by_...: dividers (grid.py).
        """
        first = u(u(cuda.blockIdx.x) * block_pixels)
        items = u(min(block_pixels, u(pixels - first)) * c)
        item = u(cuda.threadIdx.x)
        while item < items:
            of_block = over(item, by_c)
            channel, pixel = u(item - of_block * c), u(first + of_block)
            line = over(pixel, by_ow)
            image = over(line, by_oh)
            first_row, last_row = pixels_of(u(line - image * oh), sh, top, kh, h)
            first_column, last_column = pixels_of(u(pixel - line * ow), sw, left, kw, w)
            total, whole, summed = x.dtype.type(0), float64(0), u(0)
            row = first_row
            while row < last_row:
                start = u(u(image * h + row) * w)
                column = first_column
                while column < last_column:
                    if large:
                        if summed == u(BLOCK):
                            whole, total, summed = whole + float64(total), x.dtype.type(0), u(0)
                        summed = u(summed + u(1))
                    total += x[uint64(u(start + column)) * uint64(c) + uint64(channel)]
                    column = u(column + u(1))
                row = u(row + u(1))
            count = x.dtype.type(u(last_row - first_row) * u(last_column - first_column))
            mean = x.dtype.type((whole + float64(total)) / float64(count)) if large else total / count
            y[uint64(pixel) * uint64(c) + uint64(channel)] = mean
            item = u(item + u(THREADS))

    return average_pool2d


@kernel(THREADS)
def average_pool2d_grad(
    grad_y: Reals, grad_x: Reals, pixels: U32, block_pixels: U32, h: U32, w: U32, c: U32, oh: U32, ow: U32, by_c: U64,
    by_h: U64, by_w: U64, kh: U32, kw: U32, sh: U32, sw: U32, by_sh: U64, by_sw: U64, top: U32, left: U32,
) -> None:  # fmt: skip
    """grad_x[n, i, j, c] = the sum of grad_y[n, p, q, c] over the windows that the pixel is in, each divided by its pixels.

    grad_y (n, oh, ow, c), grad_x (n, h, w, c), n * h * w = pixels; window by window in their order.
    """
    first = u(u(cuda.blockIdx.x) * block_pixels)
    items = u(min(block_pixels, u(pixels - first)) * c)
    item = u(cuda.threadIdx.x)
    while item < items:
        of_block = over(item, by_c)
        channel, pixel = u(item - of_block * c), u(first + of_block)
        line = over(pixel, by_w)
        image = over(line, by_h)
        row, column = u(u(line - image * h) + top), u(u(pixel - line * w) + left)
        # the first window that reaches this far
        first_p = u(over(u(row - kh), by_sh) + u(1)) if row >= kh else u(0)
        first_q = u(over(u(column - kw), by_sw) + u(1)) if column >= kw else u(0)
        total = grad_x.dtype.type(0)
        p = first_p
        while p < oh and u(p * sh) <= row:
            first_row, last_row = pixels_of(p, sh, top, kh, h)
            q = first_q
            while q < ow and u(q * sw) <= column:
                first_column, last_column = pixels_of(q, sw, left, kw, w)
                count = grad_x.dtype.type(u(last_row - first_row) * u(last_column - first_column))
                at = u(u(image * oh + p) * ow + q)
                total += grad_y[uint64(at) * uint64(c) + uint64(channel)] / count
                q = u(q + u(1))
            p = u(p + u(1))
        grad_x[uint64(pixel) * uint64(c) + uint64(channel)] = total
        item = u(item + u(THREADS))


def add_forward(plan: Plan, window: Window2D, n: int, h: int, w: int, c: int, x: Any, y: Any) -> None:
    """Emits y (n, oh, ow, c) = average pooling of x (n, h, w, c); each window has a pixel inside the image.

    Raises:
        ValueError: an image of more than 2^31 - 1 pixels.
    """
    oh, ow = window.output_size(h, w, op="average_pool2d")
    (top, _), (left, _) = window.pads(h, w)
    large = int(window.kernel[0] * window.kernel[1] > BLOCK)
    for launch in image_launches("average_pool2d", plan, n, c, (h, w), (oh, ow)):
        plan.add(
            forward(large), launch.blocks, x[launch.x], y[launch.y], launch.pixels, launch.block_pixels,
            h, w, c, oh, ow, divider(c), divider(oh), divider(ow), *window.kernel, *window.strides, top, left,
        )  # fmt: skip


def add_grad(plan: Plan, window: Window2D, n: int, h: int, w: int, c: int, grad_y: Any, grad_x: Any) -> None:
    """Emits the gradient (n, h, w, c) with respect to pooling's input.

    Raises:
        ValueError: an image of more than 2^31 - 1 pixels.
    """
    oh, ow = window.output_size(h, w, op="average_pool2d")
    (top, _), (left, _) = window.pads(h, w)
    for launch in image_launches("average_pool2d", plan, n, c, (h, w), (oh, ow), over_x=True):
        plan.add(
            average_pool2d_grad, launch.blocks, grad_y[launch.y], grad_x[launch.x], launch.pixels, launch.block_pixels,
            h, w, c, oh, ow, divider(c), divider(h), divider(w), *window.kernel, *window.strides, *map(divider, window.strides),
            top, left,
        )  # fmt: skip
