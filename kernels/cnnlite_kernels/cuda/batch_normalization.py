"""Batch normalization: statistics of each channel, the normalization itself, and its gradients. All sums have a fixed order."""

from __future__ import annotations

import functools
import math
from typing import Any

from numba import cuda, uint32, uint64

from cnnlite_kernels.cuda.gradients import add_bias_grad, row_pieces
from cnnlite_kernels.cuda.grid import THREADS, blocks_of, first_of, inlined, step_of, wide_of
from cnnlite_kernels.cuda.intrinsics import load4, store4
from cnnlite_kernels.cuda.kernel import U32, U64, Kernel, Real, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan

MOST_COLUMNS = 32  # channels that a block takes, a power of two

# flags
GAMMA, BETA, MOVING, TRAINING = 1, 2, 4, 8


@inlined
def merged(mean, squares, count, other_mean, other_squares, other_count):
    """(mean, sum of squared differences from it, count) of two sets of numbers together, count a number of the same type.

    With delta = other_mean - mean: mean + delta b / (a + b), squares + other_squares + delta^2 a b / (a + b), where a and b are the
    counts (Chan, Golub, LeVeque 1979).
    """
    total = count + other_count
    share = other_count / total if total > count else other_count
    delta = other_mean - mean
    return mean + delta * share, squares + other_squares + delta * delta * (count * share), total


@inlined
def block_statistics(mean, squares, count, columns, means, all_squares, counts):
    """A column's (mean, squares, count) over all threads of the block that have it: in those of the first row, the others' parts.

    means, all_squares, counts: THREADS numbers each in shared memory.
    """
    thread = uint32(cuda.threadIdx.x)
    means[thread], all_squares[thread], counts[thread] = mean, squares, count
    cuda.syncthreads()
    half = uint32(THREADS // 2)
    while half >= columns:
        if thread < half:
            other = thread + half
            mean, squares, count = merged(
                means[thread],
                all_squares[thread],
                counts[thread],
                means[other],
                all_squares[other],
                counts[other],
            )
            means[thread], all_squares[thread], counts[thread] = mean, squares, count
        cuda.syncthreads()
        half >>= uint32(1)
    return means[thread], all_squares[thread], counts[thread]


@kernel(THREADS)
def channel_statistics(
    x: Reals, partial: Reals, rows: U64, c: U32, block_rows: U64, columns: U32, column_blocks: U32
) -> None:
    """partial[piece, 0, i] = the mean of x[row, i] over a piece's rows, partial[piece, 1, i] = the squared differences' sum.

    x (rows, c); partial (pieces, 2, c), of block_rows rows each; a block takes `columns` channels, a power of two. A thread sums
    x - s and (x - s)^2, where s is the first number that it sees: not far from the mean, so that little is lost when the squared
    differences from the mean are (x - s)^2 less (x - s) times its mean.
    """
    number = x.dtype.type
    means, squares = cuda.shared.array(THREADS, x.dtype), cuda.shared.array(THREADS, x.dtype)
    counts = cuda.shared.array(THREADS, x.dtype)
    thread, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    piece = block // column_blocks
    column = uint32(uint32(block % column_blocks) * columns + thread % columns)
    row = uint64(piece) * block_rows + uint64(thread // columns)
    stop = min(rows, uint64(piece) * block_rows + block_rows)
    mean, square, count = number(0), number(0), number(0)
    if column < c and row < stop:
        i, end = row * uint64(c) + uint64(column), stop * uint64(c)
        step = uint64(uint32(THREADS) // columns) * uint64(c)
        shift, total = x[i], number(0)
        while i + uint64(3) * step < end:  # four loads on their way at once
            first, second = x[i] - shift, x[i + step] - shift
            third, fourth = x[i + uint64(2) * step] - shift, x[i + uint64(3) * step] - shift
            total += (first + second) + (third + fourth)
            square += (first * first + second * second) + (third * third + fourth * fourth)
            count += number(4)
            i += uint64(4) * step
        while i < end:
            difference = x[i] - shift
            total += difference
            square += difference * difference
            count += number(1)
            i += step
        mean = total / count
        square -= total * mean
        square = number(0) if square < number(0) else square  # which rounding may make it
        mean += shift
    mean, square, count = block_statistics(mean, square, count, columns, means, squares, counts)
    if thread < columns and column < c:
        at = uint64(piece) * uint64(2) * uint64(c) + uint64(column)
        partial[at] = mean
        partial[at + uint64(c)] = square


@kernel(THREADS)
def collect_statistics(
    partial: Reals, mean: Reals, variance: Reals, moving_mean: Reals, moving_variance: Reals, pieces: U32, rows: U64,
    c: U32, block_rows: U64, columns: U32, keep: Real, take: Real, flags: U32,
) -> None:  # fmt: skip
    """mean and variance (c,) from partial (pieces, 2, c) of block_rows rows each, the last of fewer; rows in all.

    With MOVING: moving = keep * moving + take * new, (c,) each.
    """
    number = partial.dtype.type
    means, squares = cuda.shared.array(THREADS, partial.dtype), cuda.shared.array(THREADS, partial.dtype)
    counts = cuda.shared.array(THREADS, partial.dtype)
    thread = uint32(cuda.threadIdx.x)
    column = uint32(uint32(cuda.blockIdx.x) * columns + thread % columns)
    total, square, count = number(0), number(0), number(0)
    if column < c:
        piece = thread // columns
        while piece < pieces:
            first = uint64(piece) * block_rows
            at = uint64(piece) * uint64(2) * uint64(c) + uint64(column)
            total, square, count = merged(
                total,
                square,
                count,
                partial[at],
                partial[at + uint64(c)],
                number(min(block_rows, rows - first)),
            )
            piece = uint32(piece + uint32(THREADS) // columns)
    total, square, count = block_statistics(total, square, count, columns, means, squares, counts)
    if thread < columns and column < c:
        spread = square / count
        mean[column] = total
        variance[column] = spread
        if flags & uint32(MOVING) != uint32(0):
            moving_mean[column] = keep * moving_mean[column] + take * total
            moving_variance[column] = keep * moving_variance[column] + take * spread


@kernel(THREADS)
def scales(variance: Reals, gamma: Reals, scale: Reals, c: U32, epsilon: Real, flags: U32) -> None:
    """scale[i] = gamma[i] / sqrt(variance[i] + epsilon), all (c,); gamma is 1 without GAMMA."""
    i = uint32(uint32(cuda.blockIdx.x) * uint32(THREADS) + uint32(cuda.threadIdx.x))
    if i < c:
        one = variance.dtype.type(1)
        factor = gamma[i] if flags & uint32(GAMMA) != uint32(0) else one
        scale[i] = factor / math.sqrt(variance[i] + epsilon)


@functools.cache
def forward(wide: int) -> Kernel:
    """y = (x - mean) * scale + beta, `wide` numbers at a time."""

    @kernel(THREADS)
    def normalize(
        x: Reals,
        y: Reals,
        mean: Reals,
        scale: Reals,
        beta: Reals,
        count: U64,
        c: U32,
        first_step: U32,
        flags: U32,
    ) -> None:
        """y[i] = (x[i] - mean[i % c]) * scale[i % c] + beta[i % c] for i < count; x and y (count,) may be the same array.

        mean, scale, beta (c,), beta is 0 without BETA. With wide = 4, c and count are multiples of 4. first_step: step_of(wide) % c.
        """
        zero = x.dtype.type(0)
        with_beta = flags & uint32(BETA) != uint32(0)
        i, step = first_of(wide), step_of(wide)
        channel = uint32(i % uint64(c))
        while i < count:
            if wide == 4:
                a, m, s = load4(x, i), load4(mean, channel), load4(scale, channel)
                b = (zero, zero, zero, zero)
                if with_beta:
                    b = load4(beta, channel)
                first, second = (a[0] - m[0]) * s[0] + b[0], (a[1] - m[1]) * s[1] + b[1]
                third, fourth = (a[2] - m[2]) * s[2] + b[2], (a[3] - m[3]) * s[3] + b[3]
                store4(y, i, (first, second, third, fourth))
            else:
                shift = beta[channel] if with_beta else zero
                y[i] = (x[i] - mean[channel]) * scale[channel] + shift
            i += step
            channel = uint32(channel + first_step)
            channel = uint32(channel - c) if channel >= c else channel

    return normalize


@kernel(THREADS)
def sum_gradients(
    grad_y: Reals,
    x: Reals,
    mean: Reals,
    partial: Reals,
    rows: U64,
    c: U32,
    block_rows: U64,
    columns: U32,
    column_blocks: U32,
) -> None:
    """partial[piece, 0, i] = sum of grad_y[row, i], partial[piece, 1, i] = sum of grad_y[row, i] * (x[row, i] - mean[i]).

    grad_y, x (rows, c); mean (c,); partial (pieces, 2, c), of block_rows rows each.
    """
    number = x.dtype.type
    totals, products = cuda.shared.array(THREADS, x.dtype), cuda.shared.array(THREADS, x.dtype)
    thread, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    piece = block // column_blocks
    column = uint32(uint32(block % column_blocks) * columns + thread % columns)
    row = uint64(piece) * block_rows + uint64(thread // columns)
    stop = min(rows, uint64(piece) * block_rows + block_rows)
    total, product = number(0), number(0)
    if column < c:
        i, end = row * uint64(c) + uint64(column), stop * uint64(c)
        step = uint64(uint32(THREADS) // columns) * uint64(c)
        middle = mean[column]
        while i + uint64(3) * step < end:  # four pairs of loads on their way at once
            second, third, fourth = i + step, i + uint64(2) * step, i + uint64(3) * step
            g0, g1, g2, g3 = grad_y[i], grad_y[second], grad_y[third], grad_y[fourth]
            d0, d1, d2, d3 = x[i] - middle, x[second] - middle, x[third] - middle, x[fourth] - middle
            total += (g0 + g1) + (g2 + g3)
            product += (g0 * d0 + g1 * d1) + (g2 * d2 + g3 * d3)
            i += uint64(4) * step
        while i < end:
            total += grad_y[i]
            product += grad_y[i] * (x[i] - middle)
            i += step
    totals[thread], products[thread] = total, product
    cuda.syncthreads()
    half = uint32(THREADS // 2)
    while half >= columns:
        if thread < half:
            totals[thread] += totals[thread + half]
            products[thread] += products[thread + half]
        cuda.syncthreads()
        half >>= uint32(1)
    if thread < columns and column < c:
        at = uint64(piece) * uint64(2) * uint64(c) + uint64(column)
        partial[at] = totals[thread]
        partial[at + uint64(c)] = products[thread]


@kernel(THREADS)
def coefficients(
    sums: Reals, variance: Reals, gamma: Reals, grad_gamma: Reals, grad_beta: Reals, factors: Reals, c: U32, pixels: Real,
    epsilon: Real, flags: U32,
) -> None:  # fmt: skip
    """grad_beta = sum of grad_y, grad_gamma = sum of grad_y z, from sums (2, c) of grad_y and of grad_y (x - mean).

    factors (3, c): what grad_input needs: gamma r, grad_beta / pixels, r grad_gamma / pixels with r = 1 / sqrt(variance + epsilon).
    """
    i = uint32(uint32(cuda.blockIdx.x) * uint32(THREADS) + uint32(cuda.threadIdx.x))
    if i < c:
        one = variance.dtype.type(1)
        scale = one / math.sqrt(variance[i] + epsilon)
        total, product = sums[i], sums[uint64(c) + uint64(i)] * scale
        grad_beta[i] = total
        grad_gamma[i] = product
        factors[i] = scale * gamma[i] if flags & uint32(GAMMA) != uint32(0) else scale
        factors[uint64(c) + uint64(i)] = total / pixels
        factors[uint64(2) * uint64(c) + uint64(i)] = product * scale / pixels


@inlined
def input_gradient(grad_y, x, mean, scale, beta_share, gamma_share):
    """scale * (grad_y - beta_share - (x - mean) * gamma_share)."""
    return scale * (grad_y - beta_share - (x - mean) * gamma_share)


@functools.cache
def backward(wide: int) -> Kernel:
    """The gradient with respect to x, `wide` numbers at a time."""

    @kernel(THREADS)
    def normalize_grad(
        grad_y: Reals,
        x: Reals,
        mean: Reals,
        factors: Reals,
        grad_x: Reals,
        count: U64,
        c: U32,
        first_step: U32,
        flags: U32,
    ) -> None:
        """grad_x[i] = a * (grad_y[i] - b - (x[i] - mean) * d) for i < count, with mean[i % c] and a, b, d = factors[:, i % c].

        grad_y, x, grad_x (count,), grad_x may be one of them; mean (c,), factors (3, c). Without TRAINING a * grad_y[i] and x is not
        read. With wide = 4, c and count are multiples of 4. first_step: step_of(wide) % c.
        """
        training = flags & uint32(TRAINING) != uint32(0)
        i, step = first_of(wide), step_of(wide)
        channel = uint32(i % uint64(c))
        while i < count:
            second, third = uint64(c) + uint64(channel), uint64(2) * uint64(c) + uint64(channel)
            if wide == 4:
                g, s = load4(grad_y, i), load4(factors, channel)
                r = (g[0] * s[0], g[1] * s[1], g[2] * s[2], g[3] * s[3])
                if training:
                    a, m = load4(x, i), load4(mean, channel)
                    b, k = load4(factors, second), load4(factors, third)
                    r = (
                        input_gradient(g[0], a[0], m[0], s[0], b[0], k[0]),
                        input_gradient(g[1], a[1], m[1], s[1], b[1], k[1]),
                        input_gradient(g[2], a[2], m[2], s[2], b[2], k[2]),
                        input_gradient(g[3], a[3], m[3], s[3], b[3], k[3]),
                    )
                store4(grad_x, i, r)
            elif training:
                grad_x[i] = input_gradient(
                    grad_y[i], x[i], mean[channel], factors[channel], factors[second], factors[third]
                )
            else:
                grad_x[i] = grad_y[i] * factors[channel]
            i += step
            channel = uint32(channel + first_step)
            channel = uint32(channel - c) if channel >= c else channel

    return normalize_grad


def _columns(c: int) -> int:
    return min(MOST_COLUMNS, 1 << (c - 1).bit_length())


def _step(blocks: int, wide: int, c: int) -> int:
    return blocks * THREADS * wide % c


def add_statistics(
    plan: Plan, x: Any, mean: Any, variance: Any, rows: int, c: int, moving: tuple[Any, Any] | None = None,
    momentum: float = 0.99,
) -> None:  # fmt: skip
    """Emits the mean and the variance (c,) of the channels of x (rows, c), rows not 0.

    moving: the moving mean and variance (c,), which are updated: moving = momentum * moving + (1 - momentum) * new.
    """
    columns = _columns(c)
    pieces, block_rows, column_blocks = row_pieces(plan, rows, c, columns)
    partial = plan.transient(2 * pieces * c, x.dtype)
    plan.add(
        channel_statistics, pieces * column_blocks, x, partial, rows, c, block_rows, columns, column_blocks
    )  # fmt: skip
    flags = 0 if moving is None else MOVING
    plan.add(
        collect_statistics, column_blocks, partial, mean, variance, *(moving or (mean, variance)), pieces, rows, c, block_rows,
        columns, momentum, 1 - momentum, flags,
    )  # fmt: skip


def add_forward(
    plan: Plan, x: Any, y: Any, mean: Any, variance: Any, gamma: Any, beta: Any, epsilon: float, rows: int, c: int, *,
    aligned: bool = True,
) -> None:  # fmt: skip
    """Emits y = gamma * (x - mean) / sqrt(variance + epsilon) + beta over (rows, c); y may be x.

    Args:
        mean, variance, gamma, beta: (c,); gamma 1 and beta 0 where None.
        aligned: all arrays begin at multiples of 16 bytes.
    """
    scale = plan.transient(c, x.dtype)
    flags = (0 if gamma is None else GAMMA) | (0 if beta is None else BETA)
    plan.add(
        scales, -(-c // THREADS), variance, variance if gamma is None else gamma, scale, c, epsilon, flags
    )
    wide = wide_of(aligned and c % 4 == 0, x, y)
    blocks = blocks_of(plan, rows * c, wide)
    plan.add(
        forward(wide), blocks, x, y, mean, scale, mean if beta is None else beta, rows * c, c, _step(blocks, wide, c), flags
    )  # fmt: skip


def add_grad(
    plan: Plan, grad_y: Any, x: Any, mean: Any, variance: Any, gamma: Any, epsilon: float, grad_x: Any, grad_gamma: Any,
    grad_beta: Any, rows: int, c: int, *, training: bool = True, aligned: bool = True,
) -> None:  # fmt: skip
    """Emits the gradients with respect to x (rows, c), gamma and beta (c,); training: whether mean and variance are x's own.

    grad_x may be grad_y or x; gamma is 1 where None. Any of the gradients may be None, and is then not wanted. Without rows grad_gamma
    and grad_beta are 0.
    """
    factors = plan.scratch(3 * c, x.dtype)
    flags = (0 if gamma is None else GAMMA) | (TRAINING if training else 0)
    gamma = variance if gamma is None else gamma
    if grad_gamma is None and grad_beta is None and not training:
        plan.add(scales, -(-c // THREADS), variance, gamma, factors, c, epsilon, flags)
    else:
        columns = _columns(c)
        pieces, block_rows, column_blocks = row_pieces(plan, rows, c, columns)
        partial, sums = plan.scratch(2 * pieces * c, x.dtype), plan.scratch(2 * c, x.dtype)
        plan.add(
            sum_gradients, pieces * column_blocks, grad_y, x, mean, partial, rows, c, block_rows, columns, column_blocks
        )  # fmt: skip
        add_bias_grad(plan, partial, sums, pieces, 2 * c)
        to_gamma, to_beta = (
            plan.scratch(c, x.dtype) if one is None else one for one in (grad_gamma, grad_beta)
        )
        plan.add(
            coefficients, -(-c // THREADS), sums, variance, gamma, to_gamma, to_beta, factors, c, max(1, rows), epsilon, flags
        )  # fmt: skip
    if grad_x is not None:
        wide = wide_of(aligned and c % 4 == 0, x, grad_y, grad_x)
        blocks = blocks_of(plan, rows * c, wide)
        plan.add(
            backward(wide),
            blocks,
            grad_y,
            x,
            mean,
            factors,
            grad_x,
            rows * c,
            c,
            _step(blocks, wide, c),
            flags,
        )
