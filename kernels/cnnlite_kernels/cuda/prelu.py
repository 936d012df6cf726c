"""PReLU and its gradients: a rectifier with a slope for each number of an image, or one that rows, columns or channels share."""

from __future__ import annotations

import functools
from math import prod
from typing import Any

from numba import cuda, uint32, uint64

from cnnlite_kernels.cuda.gradients import add_slope_grad
from cnnlite_kernels.cuda.grid import (
    THREADS,
    WARPS,
    divider,
    image_launches,
    lanes_of,
    over,
    row_blocks,
    row_of,
    row_sum,
)
from cnnlite_kernels.cuda.kernel import U32, U64, Kernel, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan

u = uint32
AlphaShape = tuple[int, int, int]


@kernel(THREADS)
def prelu(
    x: Reals, alpha: Reals, z: Reals, y: Reals, pixels: U32, block_pixels: U32, c: U32, by_c: U64, w: U32, by_w: U64, h: U32,
    by_h: U64, row: U32, column: U32, channel: U32,
) -> None:  # fmt: skip
    """y = z where x > 0, else a * z, a = alpha[row i + column j + channel k] at pixel (i, j) and channel k.

    x, z, y (n, h, w, c), n * h * w = pixels, of which a block takes block_pixels; z may be x or y. With z = x it is PReLU, with
    z = grad_y the gradient with respect to x. row, column, channel: from one slope to the next, 0 where they are shared. by_...:
    dividers (grid.py).
    """
    first = u(u(cuda.blockIdx.x) * block_pixels)
    items = u(min(block_pixels, u(pixels - first)) * c)
    item = u(cuda.threadIdx.x)
    while item < items:
        of_block = over(item, by_c)
        k, pixel = u(item - of_block * c), u(first + of_block)
        line = over(pixel, by_w)
        i, j = u(line - over(line, by_h) * h), u(pixel - line * w)
        at = uint64(pixel) * uint64(c) + uint64(k)
        value = z[at]
        if not x[at] > x.dtype.type(0):
            value *= alpha[u(i * row) + u(j * column) + u(k * channel)]
        y[at] = value
        item = u(item + u(THREADS))


@functools.cache
def middle_sums(lanes: int) -> Kernel:
    """Sums over the middle axis of three, each by `lanes` threads: 1, 32 or 256."""

    @kernel(THREADS)
    def sum_middle(source: Reals, sums: Reals, rows: U32, inner: U32, middle: U32) -> None:
        """sums[o, k] = sum over m of source[o, m, k]; source (outer, middle, inner), sums (outer, inner), of outer * inner = rows."""
        memory = cuda.shared.array(WARPS, source.dtype)
        row, lane = row_of(lanes)
        if row >= rows:
            return
        outer = row // inner
        start = uint64(outer) * uint64(middle) * uint64(inner) + uint64(u(row - outer * inner))
        total = source.dtype.type(0)
        m = lane
        while m < middle:
            total += source[start + uint64(m) * uint64(inner)]
            m = u(m + u(lanes))
        total = row_sum(total, lanes, memory)
        if lane == u(0):
            sums[row] = total

    return sum_middle


def add_forward(
    plan: Plan, n: int, h: int, w: int, c: int, x: Any, alpha: Any, shape: AlphaShape, y: Any
) -> None:
    """Emits y = x where x > 0, else alpha * x; x and y (n, h, w, c), which may be the same array.

    alpha: of this shape, (h, w, c) with 1 where slopes are shared.

    Raises:
        ValueError: an image of more than 2^31 - 1 pixels.
    """
    _add(plan, n, h, w, c, x, alpha, shape, x, y)


def add_grad(
    plan: Plan, n: int, h: int, w: int, c: int, x: Any, alpha: Any, shape: AlphaShape, grad_y: Any, grad_x: Any,
    grad_alpha: Any = None,
) -> None:  # fmt: skip
    """Emits the gradients with respect to x (n, h, w, c) and to alpha, where there is a place for each; grad_x may be grad_y.

    Raises:
        ValueError: an image of more than 2^31 - 1 pixels.
    """
    if grad_alpha is not None:
        _add_alpha_grad(plan, (n, h, w, c), shape, x, grad_y, grad_alpha)
    if grad_x is not None:
        _add(plan, n, h, w, c, x, alpha, shape, grad_y, grad_x)


def _add(
    plan: Plan, n: int, h: int, w: int, c: int, x: Any, alpha: Any, shape: AlphaShape, z: Any, y: Any
) -> None:  # fmt: skip
    ah, aw, ac = shape
    steps = (0 if ah == 1 else aw * ac, 0 if aw == 1 else ac, 0 if ac == 1 else 1)
    for launch in image_launches("prelu", plan, n, c, (h, w), (h, w)):
        plan.add(
            prelu, launch.blocks, x[launch.x], alpha, z[launch.x], y[launch.x], launch.pixels, launch.block_pixels,
            c, divider(c), w, divider(w), h, divider(h), *steps,
        )  # fmt: skip


def _add_alpha_grad(
    plan: Plan, x_shape: tuple[int, ...], shape: AlphaShape, x: Any, grad_y: Any, grad_alpha: Any
) -> None:
    """Sums over the leading axes that are shared, and over what is shared behind one that is not."""
    shared = [True, *(size == 1 for size in shape)]
    lead = shared.index(False) if False in shared else len(shared)
    rows, columns = prod(x_shape[:lead]), prod(x_shape[lead:])
    kept, sizes = shared[lead:], x_shape[lead:]
    if all(size == 1 for size, summed in zip(sizes, kept, strict=True) if summed):
        add_slope_grad(plan, x, grad_y, grad_alpha, rows, columns)
        return
    partial = plan.scratch(columns, grad_alpha.dtype)
    add_slope_grad(plan, x, grad_y, partial, rows, columns)
    begin = kept.index(True)
    end = next((i for i in range(begin, len(kept)) if not kept[i]), len(kept))
    inner, middle = prod(sizes[end:]), prod(sizes[begin:end])
    lanes = 1 if inner > 1 else lanes_of(middle)
    plan.add(
        middle_sums(lanes),
        row_blocks(grad_alpha.size, lanes),
        partial,
        grad_alpha,
        grad_alpha.size,
        inner,
        middle,
    )
