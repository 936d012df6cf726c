"""What is done to a sum before it is written: scale it, add what was there and the bias, activate."""

from __future__ import annotations

import math

from numba import cuda, float32, uint32, uint64

from cnnlite_kernels.cuda.intrinsics import load4, store4

NONE, RELU, SIGMOID, TANH = range(4)
ACTIVATIONS = {None: NONE, "linear": NONE, "relu": RELU, "sigmoid": SIGMOID, "tanh": TANH}

# Flags of `write4`: there is a bias; y, its rows and the bias begin at multiples of 16 bytes; beta is not 0.
BIAS, WIDE, ACCUMULATE = 1, 2, 4


@cuda.jit(device=True, inline="always")
def activate(code, x):
    """f(x), float32 or float64. relu: max(x, 0), a NaN stays. sigmoid: 1 / (1 + e^-x), of e^-|x|, which never overflows."""
    zero, one = float32(0), float32(1)
    if code == uint32(RELU):
        return zero if x < zero else x
    if code == uint32(SIGMOID):
        e = math.exp(-abs(x))
        return (one if x >= zero else e) / (one + e)
    if code == uint32(TANH):
        return math.tanh(x)
    return x


@cuda.jit(device=True, inline="always")
def read4(x, at, count, wide):
    """x[at : at + count] as a tuple of four, zeros behind; at once if `wide`."""
    zero = float32(0)
    if wide:
        return load4(x, at)
    return (
        x[at],
        x[at + uint64(1)] if count > uint32(1) else zero,
        x[at + uint64(2)] if count > uint32(2) else zero,
        x[at + uint64(3)] if count > uint32(3) else zero,
    )


@cuda.jit(device=True, inline="always")
def write4(y, at, sums, columns, bias, column, alpha, beta, code, flags):
    """y[at + j] = activate(code, alpha * sums[j] + beta * y[at + j] + bias[column + j]) for j < min(columns, 4).

    Args:
        y: float32. at: where the four begin, uint64.
        sums: a tuple of four float32.
        columns: of the row, from here on, uint32, not 0; with WIDE at least 4.
        bias: float32, not read without BIAS. column: where its four begin, uint64.
        alpha, beta: float32. code: an activation, uint32.
        flags: BIAS, WIDE, ACCUMULATE, added up, uint32. Without ACCUMULATE y is not read.
    """
    wide = flags & uint32(WIDE) != uint32(0)
    zero = float32(0)
    old = added = (zero, zero, zero, zero)
    if flags & uint32(ACCUMULATE) != uint32(0):
        old = read4(y, at, columns, wide)
    if flags & uint32(BIAS) != uint32(0):
        added = read4(bias, column, columns, wide)
    y0 = alpha * sums[0] + beta * old[0] + added[0]
    y1 = alpha * sums[1] + beta * old[1] + added[1]
    y2 = alpha * sums[2] + beta * old[2] + added[2]
    y3 = alpha * sums[3] + beta * old[3] + added[3]
    if code != uint32(NONE):
        # Round and round: the code of the activations is there once.
        for _ in range(uint32(4)):
            y0, y1, y2, y3 = y1, y2, y3, activate(code, y0)
    if wide:
        store4(y, at, (y0, y1, y2, y3))
        return
    y[at] = y0
    if columns > uint32(1):
        y[at + uint64(1)] = y1
    if columns > uint32(2):
        y[at + uint64(2)] = y2
    if columns > uint32(3):
        y[at + uint64(3)] = y3
