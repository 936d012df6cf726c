"""Images side by side in the channels of others: put there, and taken out again."""

from __future__ import annotations

import functools
from typing import Any

from numba import cuda, uint32, uint64

from cnnlite_kernels.cuda.grid import THREADS, divider, over, pixel_blocks
from cnnlite_kernels.cuda.kernel import U32, U64, Kernel, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan

u = uint32


@functools.cache
def copy(accumulate: int) -> Kernel:
    """Copies channels, with accumulate 1 adds them to what is there."""

    @kernel(THREADS)
    def copy_channels(
        x: Reals, y: Reals, pixels: U64, block_pixels: U32, c: U32, by_c: U64, x_c: U32, x_first: U32, y_c: U32, y_first: U32
    ) -> None:  # fmt: skip
        """y[pixel, y_first + i] = x[pixel, x_first + i] for i < c; x (pixels, x_c), y (pixels, y_c).

        A block takes block_pixels, so few that it can count their channels in 31 bits. by_c: c's divider (grid.py).
        """
        first = uint64(u(cuda.blockIdx.x)) * uint64(block_pixels)
        items = u(u(min(uint64(block_pixels), pixels - first)) * c)
        item = u(cuda.threadIdx.x)
        while item < items:
            of_block = over(item, by_c)
            channel, pixel = u(item - of_block * c), first + uint64(of_block)
            value = x[pixel * uint64(x_c) + uint64(u(x_first + channel))]
            to = pixel * uint64(y_c) + uint64(u(y_first + channel))
            y[to] = y[to] + value if accumulate else value
            item = u(item + u(THREADS))

    return copy_channels


def add_join(plan: Plan, x: Any, y: Any, pixels: int, c: int, y_c: int, first: int) -> None:
    """Emits y[:, first : first + c] = x, x (pixels, c) and y (pixels, y_c)."""
    _add(plan, 0, x, c, 0, y, y_c, first, pixels, c)


def add_part(
    plan: Plan, y: Any, x: Any, pixels: int, c: int, y_c: int, first: int, accumulate: bool = False
) -> None:
    """Emits x = y[:, first : first + c], with accumulate x += that: the gradient of add_join."""
    _add(plan, int(accumulate), y, y_c, first, x, c, 0, pixels, c)


def _add(
    plan: Plan, accumulate: int, x: Any, x_c: int, x_first: int, y: Any, y_c: int, y_first: int, pixels: int, c: int
) -> None:  # fmt: skip
    if pixels * c:
        blocks, block_pixels = pixel_blocks(plan, pixels, c)
        plan.add(
            copy(accumulate), blocks, x, y, pixels, block_pixels, c, divider(c), x_c, x_first, y_c, y_first
        )
