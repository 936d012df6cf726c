"""Images side by side in the channels of others: put there, and taken out again."""

from __future__ import annotations

import functools
from typing import Any

from numba import cuda, uint32, uint64

from cnnlite_kernels.cuda.grid import THREADS, divider, over, pixel_blocks, wide_of
from cnnlite_kernels.cuda.intrinsics import load4, store4
from cnnlite_kernels.cuda.kernel import U32, U64, Kernel, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan

u = uint32


@functools.cache
def copy(accumulate: int, wide: int) -> Kernel:
    """Copies channels, `wide` at a time, with accumulate 1 adds them to what is there."""

    @kernel(THREADS)
    def copy_channels(
        x: Reals, y: Reals, pixels: U64, block_pixels: U32, pieces: U32, by_pieces: U64, x_c: U32, x_first: U32, y_c: U32, y_first: U32
    ) -> None:  # fmt: skip
        """y[pixel, y_first + i] = x[pixel, x_first + i] for i < pieces * wide; x (pixels, x_c), y (pixels, y_c).

        A block takes block_pixels, so few that it can count their channels in 31 bits. by_pieces: the divider of pieces (grid.py). With
        wide = 4 all channels that are counted here are multiples of 4.
        """
        first = uint64(u(cuda.blockIdx.x)) * uint64(block_pixels)
        items = u(u(min(uint64(block_pixels), pixels - first)) * pieces)
        item = u(cuda.threadIdx.x)
        while item < items:
            of_block = over(item, by_pieces)
            channel, pixel = u(u(item - of_block * pieces) * u(wide)), first + uint64(of_block)
            at = pixel * uint64(x_c) + uint64(u(x_first + channel))
            to = pixel * uint64(y_c) + uint64(u(y_first + channel))
            if wide == 4:
                a = load4(x, at)
                if accumulate:
                    b = load4(y, to)
                    a = (b[0] + a[0], b[1] + a[1], b[2] + a[2], b[3] + a[3])
                store4(y, to, a)
            else:
                y[to] = y[to] + x[at] if accumulate else x[at]
            item = u(item + u(THREADS))

    return copy_channels


def add_join(
    plan: Plan, x: Any, y: Any, pixels: int, c: int, y_c: int, first: int, *, aligned: bool = True
) -> None:
    """Emits y[:, first : first + c] = x, x (pixels, c) and y (pixels, y_c).

    aligned: both begin at multiples of 16 bytes.
    """
    _add(plan, 0, x, c, 0, y, y_c, first, pixels, c, aligned)


def add_part(
    plan: Plan, y: Any, x: Any, pixels: int, c: int, y_c: int, first: int, accumulate: bool = False, *, aligned: bool = True
) -> None:  # fmt: skip
    """Emits x = y[:, first : first + c], with accumulate x += that: the gradient of add_join."""
    _add(plan, int(accumulate), y, y_c, first, x, c, 0, pixels, c, aligned)


def _add(
    plan: Plan, accumulate: int, x: Any, x_c: int, x_first: int, y: Any, y_c: int, y_first: int, pixels: int, c: int,
    aligned: bool,
) -> None:  # fmt: skip
    if pixels * c:
        fours = not any(count % 4 for count in (c, x_c, x_first, y_c, y_first))
        wide = wide_of(aligned and fours, x, y)
        pieces = c // wide
        blocks, block_pixels = pixel_blocks(plan, pixels, pieces)
        plan.add(
            copy(accumulate, wide), blocks, x, y, pixels, block_pixels, pieces, divider(pieces), x_c, x_first, y_c, y_first
        )  # fmt: skip
