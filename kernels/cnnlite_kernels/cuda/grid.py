"""How threads share work: numbers one after the other, rows of numbers, pixels with their channels; and division by what a plan knows.

The device functions are inlined by Numba (`inline="always"`): compiled on their own they would ask for a GPU's driver.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, int32, uint32, uint64

from cnnlite_kernels.cuda.plan import Plan

Pair = tuple[int, int]

THREADS = 256  # of a block
WARP = 32
WARPS = THREADS // WARP
ALL_LANES = 0xFFFFFFFF
NOWHERE = 0xFFFFFFFF  # a place that is none

BLOCKS_PER_MULTIPROCESSOR = 16  # twice what one can hold at a time: more would only start and end
FEW_COLUMNS, MANY_COLUMNS = 4, 1024  # up to where a thread, and a warp, takes a row by itself
MOST_PIXELS = 2**31 - 1  # that `over` can divide

inlined = cuda.jit(device=True, inline="always")


def wide_of(aligned: bool, *arrays: Any) -> int:
    """Numbers that a thread takes at a time: four float32 in one instruction of 128 bits, where the arrays are aligned to that."""
    return 4 if aligned and all(np.dtype(array.dtype) == np.float32 for array in arrays) else 1


def blocks_of(plan: Plan, count: int, wide: int = 1) -> int:
    """Blocks for a kernel that loops from `first_of` in steps of `step_of`."""
    return min(-(-count // (THREADS * wide)), BLOCKS_PER_MULTIPROCESSOR * plan.device.multiprocessors)


@inlined
def first_of(wide):
    """The first number that a thread works on."""
    return (uint64(cuda.blockIdx.x) * uint64(THREADS) + uint64(cuda.threadIdx.x)) * uint64(wide)


@inlined
def step_of(wide):
    """From there to its next one."""
    return uint64(cuda.gridDim.x) * uint64(THREADS) * uint64(wide)


def lanes_of(columns: int) -> int:
    """Threads that work on a row of so many numbers: one, a warp, or a block."""
    return 1 if columns <= FEW_COLUMNS else WARP if columns <= MANY_COLUMNS else THREADS


def row_blocks(rows: int, lanes: int) -> int:
    """Blocks for rows of which each has `lanes` threads."""
    return -(-rows // (THREADS // lanes))


@inlined
def row_of(lanes):
    """(The row that a thread works on, the first of its columns), uint32."""
    thread = uint32(cuda.threadIdx.x)
    row = uint32(cuda.blockIdx.x) * uint32(THREADS // lanes) + thread // uint32(lanes)
    return uint32(row), uint32(thread % uint32(lanes))


@inlined
def row_sum(value, lanes, memory):
    """The sum of `value` over a row's threads, the same bits in each of them.

    lanes: 1, 32 or 256 threads; of 256 all must call. memory: WARPS numbers of value's type in shared memory.
    """
    if lanes > 1:
        for distance in (16, 8, 4, 2, 1):
            value += cuda.shfl_xor_sync(ALL_LANES, value, distance)
    if lanes > WARP:
        thread = uint32(cuda.threadIdx.x)
        if thread % uint32(WARP) == uint32(0):
            memory[thread // uint32(WARP)] = value
        cuda.syncthreads()
        value = memory[0]
        for warp in range(1, WARPS):
            value += memory[warp]
        cuda.syncthreads()
    return value


@inlined
def row_largest(value, place, lanes, values, places):
    """(The largest value of a row's threads, its place): of equal ones the smallest place. No value is NaN.

    lanes: as for row_sum; values, places: WARPS numbers and WARPS uint32 in shared memory.
    """
    if lanes > 1:
        for distance in (16, 8, 4, 2, 1):
            other = cuda.shfl_xor_sync(ALL_LANES, value, distance)
            elsewhere = uint32(cuda.shfl_xor_sync(ALL_LANES, int32(place), distance))
            if other > value or (other == value and elsewhere < place):
                value, place = other, elsewhere
    if lanes > WARP:
        thread = uint32(cuda.threadIdx.x)
        if thread % uint32(WARP) == uint32(0):
            values[thread // uint32(WARP)] = value
            places[thread // uint32(WARP)] = place
        cuda.syncthreads()
        value, place = values[0], places[0]
        for warp in range(1, WARPS):
            if values[warp] > value or (values[warp] == value and places[warp] < place):
                value, place = values[warp], places[warp]
        cuda.syncthreads()
    return value, place


@inlined
def largest_of(x, start, first, columns, lane, lanes, values, places):
    """(The largest of x[start + first : start + columns], its place from start on): of equal ones the first; NaNs count as -inf.

    Each thread reads its own columns only: lane, lane + lanes and so on. The other arguments are those of row_largest.
    """
    lowest = x.dtype.type(-math.inf)
    top, best = lowest, uint32(NOWHERE)
    column = lane
    while column < columns:
        value = x[start + uint64(column)]
        value = value if value == value else lowest
        if column >= first and (value > top or best == uint32(NOWHERE)):
            top, best = value, column
        column = uint32(column + uint32(lanes))
    return row_largest(top, best, lanes, values, places)


def pixel_blocks(plan: Plan, pixels: int, channels: int) -> tuple[int, int]:
    """(Blocks, pixels of each) for kernels whose threads take a pixel's channels one after the other."""
    each = pixels * channels // (BLOCKS_PER_MULTIPROCESSOR * plan.device.multiprocessors)
    block = max(1, min(max(each, THREADS), 8 * THREADS) // max(1, channels))
    return -(-pixels // block), block


class ImageLaunch(NamedTuple):
    """One launch over some images: its blocks, the pixels that its threads take, those of a block, and where x and y have them."""

    blocks: int
    pixels: int
    block_pixels: int
    x: slice
    y: slice


def image_launches(
    op: str, plan: Plan, n: int, c: int, x_size: Pair, y_size: Pair, *, over_x: bool = False
) -> Iterator[ImageLaunch]:
    """As many of n images at once as one launch can count the pixels of: x (n, *x_size, c) and y (n, *y_size, c), flat.

    over_x: threads take the pixels of x, not those of y.

    Raises:
        ValueError: an image of more than 2^31 - 1 pixels. Names `op`.
    """
    (h, w), (oh, ow) = x_size, y_size
    most = max(h * w, oh * ow)
    if most > MOST_PIXELS:
        raise ValueError(
            f"{op}: expected images of at most {MOST_PIXELS} pixels on a GPU, got {h} x {w} and {oh} x {ow}; "
            "work on them piece by piece."
        )
    for first in range(0, n if c else 0, MOST_PIXELS // most):
        stop = min(n, first + MOST_PIXELS // most)
        pixels = (stop - first) * (h * w if over_x else oh * ow)
        blocks, block_pixels = pixel_blocks(plan, pixels, c)
        x, y = (slice(first * size * c, stop * size * c) for size in (h * w, oh * ow))
        yield ImageLaunch(blocks, pixels, block_pixels, x, y)


def divider(by: int) -> int:
    """What `over` needs to divide by a number from 1 to 2^31: a multiplier and a shift, as one uint64.

    With 2^s >= by and m = ceil(2^(31 + s) / by), below 2^32 or, for by = 2^s, 2^31: m x / 2^(31 + s) exceeds x / by by less than
    x / 2^31 / by, too little to reach the next integer (Granlund and Montgomery 1994, for x < 2^31).

    >>> [divider(7) & 0xFFFFFFFF, divider(7) >> 32]
    [2454267027, 34]
    """
    shift = 31 + (by - 1).bit_length()
    return -(-(1 << shift) // by) | shift << 32


@inlined
def over(x, by):
    """x // d for x < 2^31, with by = divider(d): a multiplication and a shift in place of some twenty instructions. uint32."""
    return uint32((uint64(uint32(x)) * (by & uint64(0xFFFFFFFF))) >> (by >> uint64(32)))
