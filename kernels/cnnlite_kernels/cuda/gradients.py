"""What is done to gradients: sums over rows, which are a bias's gradient, regularisers and limits. All sums have a fixed order."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import cuda, float64, uint32, uint64

from cnnlite_kernels.cuda.activations import activate_grad, kind_of
from cnnlite_kernels.cuda.epilogue import NONE
from cnnlite_kernels.cuda.grid import THREADS, WARPS, blocks_of, first_of, inlined, row_sum, step_of
from cnnlite_kernels.cuda.kernel import F64, U32, U64, Doubles, Kernel, Real, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan

SLOPE = 6  # beside activations.KINDS: what the gradient of PReLU's slope is a sum of
COLUMNS = (1, 8, 32)  # that a block may sum
# Rows of each thread, at least, before a sum is cut into pieces that a second launch adds up.
ROWS_PER_THREAD = 8


@inlined
def taken_back(kind, y, grad_y, grad_x, i, slope):
    """grad_y[i]; with an activation grad_x[i] = activate_grad(kind, grad_y[i], y[i], slope); for SLOPE y[i] * grad_y[i] where y <= 0."""
    value = grad_y[i]
    if kind == SLOPE:
        value = type(value)(0) if y[i] > type(value)(0) else y[i] * value
    elif kind != NONE:
        value = activate_grad(kind, value, y[i], slope)
        grad_x[i] = value
    return value


@functools.cache
def column_sums(columns: int, kind: int) -> Kernel:
    """Sums over rows, of `columns` neighbouring columns in a block (a power of two up to 256); kind: of an activation, NONE or SLOPE.

    With an activation the numbers are first taken back through it, and written.
    """
    rows_at_once = THREADS // columns

    @kernel(THREADS)
    def sum_columns(
        y: Reals, grad_y: Reals, grad_x: Reals, sums: Reals, rows: U64, c: U32, block_rows: U64, column_blocks: U32, slope: Real
    ) -> None:  # fmt: skip
        """sums[piece * c + i] = sum of grad_x[row * c + i] over the rows of a piece, grad_x = activate_grad(kind, grad_y, y, slope).

        y, grad_y, grad_x (rows, c); sums (pieces, c), of block_rows rows each. Without an activation grad_y is summed, y is not
        read and grad_x not written.
        """
        memory = cuda.shared.array(THREADS, grad_y.dtype)
        thread, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
        piece = block // column_blocks
        column = uint32(uint32(block % column_blocks) * uint32(columns) + thread % uint32(columns))
        row = uint64(piece) * block_rows + uint64(thread // uint32(columns))
        stop = min(rows, uint64(piece) * block_rows + block_rows)
        total = grad_y.dtype.type(0)
        if column < c:
            i, end = row * uint64(c) + uint64(column), stop * uint64(c)
            step = uint64(rows_at_once) * uint64(c)
            while i + uint64(3) * step < end:  # four loads on their way at once
                first = taken_back(kind, y, grad_y, grad_x, i, slope)
                second = taken_back(kind, y, grad_y, grad_x, i + step, slope)
                third = taken_back(kind, y, grad_y, grad_x, i + uint64(2) * step, slope)
                fourth = taken_back(kind, y, grad_y, grad_x, i + uint64(3) * step, slope)
                total += (first + second) + (third + fourth)
                i += uint64(4) * step
            while i < end:
                total += taken_back(kind, y, grad_y, grad_x, i, slope)
                i += step
        memory[thread] = total
        cuda.syncthreads()
        half = uint32(THREADS // 2)
        while half >= uint32(columns):
            if thread < half:
                memory[thread] += memory[thread + half]
            cuda.syncthreads()
            half >>= uint32(1)
        if thread < uint32(columns) and column < c:
            sums[uint64(piece) * uint64(c) + uint64(column)] = memory[thread]

    return sum_columns


@kernel(THREADS)
def regularize(parameters: Reals, grads: Reals, count: U64, l1: Real, twice_l2: Real) -> None:
    """grads[i] += l1 * sign(parameters[i]) + twice_l2 * parameters[i], i < count: the gradient of l1 sum |p| + l2 sum p^2."""
    number = grads.dtype.type
    i, step = first_of(1), step_of(1)
    while i < count:
        p = parameters[i]
        sign = number(p > number(0)) - number(p < number(0))
        grads[i] += l1 * sign + twice_l2 * p
        i += step


@kernel(THREADS)
def clip_values(grads: Reals, count: U64, limit: Real) -> None:
    """grads[i] kept between -limit and limit, i < count; a NaN stays."""
    i, step = first_of(1), step_of(1)
    while i < count:
        g = grads[i]
        g = -limit if g < -limit else g
        grads[i] = limit if g > limit else g
        i += step


@kernel(THREADS)
def sum_squares(grads: Reals, squares: Doubles, count: U64) -> None:
    """squares[block] = sum of grads[i]^2 over the block's i < count, in float64."""
    memory = cuda.shared.array(WARPS, float64)
    i, step = first_of(1), step_of(1)
    total = float64(0)
    while i < count:
        total += float64(grads[i]) * float64(grads[i])
        i += step
    total = row_sum(total, THREADS, memory)
    if uint32(cuda.threadIdx.x) == uint32(0):
        squares[uint32(cuda.blockIdx.x)] = total


@kernel(THREADS)
def clip_norm(grads: Reals, squares: Doubles, count: U64, number: U32, limit: F64) -> None:
    """grads[:count] scaled so that their norm, the root of the sum of squares[:number], is at most limit; number: up to THREADS.

    Each block adds up the squares by itself.
    """
    memory = cuda.shared.array(WARPS, float64)
    thread = uint32(cuda.threadIdx.x)
    norm = math.sqrt(row_sum(squares[thread] if thread < number else float64(0), THREADS, memory))
    if not norm > limit:
        return
    factor = grads.dtype.type(limit / norm)
    i, step = first_of(1), step_of(1)
    while i < count:
        grads[i] *= factor
        i += step


def add_bias_grad(plan: Plan, grad: Any, grad_b: Any, rows: int, c: int) -> None:
    """Emits grad_b (c,) = sum over rows of grad (rows, c)."""
    _add_column_sums(plan, NONE, grad, grad, grad, grad_b, rows, c, 0.0)


def add_activation_and_bias_grad(
    plan: Plan, kind: str | None, y: Any, grad_y: Any, grad_x: Any, grad_b: Any, rows: int, c: int, slope: float = 0.0
) -> None:  # fmt: skip
    """Emits grad_x = grad_y * kind'(x), from y = kind(x), and grad_b (c,) = its sum over rows, in one pass.

    y, grad_y, grad_x (rows, c); grad_x may be grad_y. kind: "relu", "relu6", "leaky_relu" of a slope, "sigmoid" or "tanh"; None sums
    grad_y and writes no grad_x.
    """
    _add_column_sums(plan, kind_of(kind, slope), y, grad_y, grad_x, grad_b, rows, c, slope)


def add_slope_grad(plan: Plan, x: Any, grad_y: Any, grad_alpha: Any, rows: int, c: int) -> None:
    """Emits grad_alpha (c,) = sum over rows of x * grad_y where x <= 0, x and grad_y (rows, c)."""
    _add_column_sums(plan, SLOPE, x, grad_y, grad_y, grad_alpha, rows, c, 0.0)


def row_pieces(plan: Plan, rows: int, c: int, columns: int) -> tuple[int, int, int]:
    """(Pieces of the rows, rows of a piece, blocks side by side in each) where a block takes `columns` of c columns.

    A launch has pieces * blocks blocks: so many as keep the device busy, but each thread has some rows.
    """
    column_blocks = -(-c // columns)
    at_once = THREADS // columns
    wanted = max(1, 4 * plan.device.multiprocessors // max(1, column_blocks))
    pieces = max(1, min(wanted, rows // (at_once * ROWS_PER_THREAD)))
    block_rows = -(-rows // (pieces * at_once)) * at_once
    return max(1, -(-rows // block_rows)) if rows else 1, block_rows, column_blocks


def _add_column_sums(
    plan: Plan, kind: int, y: Any, grad_y: Any, grad_x: Any, sums: Any, rows: int, c: int, slope: float
) -> None:
    columns = COLUMNS[0] if c == 1 else COLUMNS[1] if c <= 16 else COLUMNS[2]
    pieces, block_rows, column_blocks = row_pieces(plan, rows, c, columns)
    partial = sums if pieces == 1 else plan.transient(pieces * c, sums.dtype)
    plan.add(
        column_sums(columns, kind), pieces * column_blocks,
        y, grad_y, grad_x, partial, rows, c, block_rows, column_blocks, slope,
    )  # fmt: skip
    if pieces > 1:
        plan.add(
            column_sums(columns, NONE), column_blocks,
            partial, partial, partial, sums, pieces, c, pieces, column_blocks, 0.0,
        )  # fmt: skip


def add_regularize(plan: Plan, grads: Any, parameters: Any, count: int, l1: float, l2: float) -> None:
    """Emits grads[:count] += the gradient of l1 sum |p| + l2 sum p^2 of the parameters."""
    plan.add(regularize, blocks_of(plan, count), parameters, grads, count, l1, 2 * l2)


def add_clip_values(plan: Plan, grads: Any, count: int, limit: float) -> None:
    """Emits grads[:count] kept between -limit and limit."""
    plan.add(clip_values, blocks_of(plan, count), grads, count, limit)


def add_clip_norm(plan: Plan, grads: Any, count: int, limit: float) -> None:
    """Emits grads[:count] scaled so that their norm is at most limit."""
    number = min(THREADS, blocks_of(plan, count))
    squares = plan.transient(THREADS, np.float64)
    plan.add(sum_squares, number, grads, squares, count)
    plan.add(clip_norm, blocks_of(plan, count), grads, squares, count, number, limit)
