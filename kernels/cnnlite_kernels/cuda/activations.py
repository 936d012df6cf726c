"""Activations over whole arrays and their gradients; sums and constants, which are of the same kind."""

from __future__ import annotations

import functools
import math
from typing import Any

from numba import cuda, uint32, uint64

from cnnlite_kernels.cuda.epilogue import ACTIVATIONS, NONE, RELU, SIGMOID, TANH, activate
from cnnlite_kernels.cuda.grid import (
    THREADS,
    WARPS,
    blocks_of,
    first_of,
    inlined,
    lanes_of,
    largest_of,
    row_blocks,
    row_of,
    row_sum,
    step_of,
    wide_of,
)
from cnnlite_kernels.cuda.intrinsics import load4, store4
from cnnlite_kernels.cuda.kernel import U32, U64, Kernel, Real, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan

LEAKY_RELU, RELU6 = 4, 5  # beside those of epilogue.py, which a product applies to what it writes
KINDS = {**ACTIVATIONS, "leaky_relu": LEAKY_RELU, "relu6": RELU6}


@inlined
def activated(kind, x, slope):
    """f(x), as `activate`; leaky_relu: slope * x where x < 0, else x; relu6: min(max(x, 0), 6)."""
    if kind == LEAKY_RELU:
        return slope * x if x < type(x)(0) else x
    if kind == RELU6:
        x = type(x)(0) if x < type(x)(0) else x
        return type(x)(6) if x > type(x)(6) else x
    return activate(uint32(kind), x)


@inlined
def activate_grad(kind, grad_y, y, slope):
    """grad_y * f'(x), from y = f(x).

    relu: grad_y where y > 0. relu6: where 0 < y < 6. leaky_relu: grad_y, where y <= 0 slope * grad_y. sigmoid: grad_y y (1 - y).
    tanh: grad_y (1 - y^2).
    """
    one = type(y)(1)
    grad_x = grad_y
    if kind == RELU:
        grad_x = grad_y if y > type(y)(0) else type(y)(0)
    elif kind == RELU6:
        grad_x = grad_y if type(y)(0) < y < type(y)(6) else type(y)(0)
    elif kind == LEAKY_RELU:
        grad_x = grad_y if y > type(y)(0) else slope * grad_y
    elif kind == SIGMOID:
        grad_x = grad_y * y * (one - y)
    elif kind == TANH:
        grad_x = grad_y * (one - y * y)
    return grad_x


@functools.cache
def forward(kind: int, wide: int) -> Kernel:
    """y = f(x), of the activation `kind` (KINDS), `wide` numbers at a time."""

    @kernel(THREADS)
    def activation(x: Reals, y: Reals, count: U64, slope: Real) -> None:
        """y[i] = activated(kind, x[i], slope) for i < count; x and y (count,) may be the same array.

        relu: max(x, 0), a NaN stays. relu6: min(max(x, 0), 6). leaky_relu: slope * x where x < 0, else x. sigmoid: 1 / (1 + e^-x).
        tanh.
        """
        i, step = first_of(wide), step_of(wide)
        if wide == 4:
            while i + uint64(4) <= count:
                a, b, c, d = load4(x, i)
                first, second = activated(kind, a, slope), activated(kind, b, slope)
                third, fourth = activated(kind, c, slope), activated(kind, d, slope)
                store4(y, i, (first, second, third, fourth))
                i += step
            step = uint64(1)  # one thread is left with fewer than four
        while i < count:
            y[i] = activated(kind, x[i], slope)
            i += step

    return activation


@functools.cache
def backward(kind: int, wide: int) -> Kernel:
    """grad_x = grad_y * f'(x), from y = f(x), `wide` numbers at a time."""

    @kernel(THREADS)
    def activation_grad(y: Reals, grad_y: Reals, grad_x: Reals, count: U64, slope: Real) -> None:
        """grad_x[i] = activate_grad(kind, grad_y[i], y[i], slope) for i < count; grad_x and grad_y (count,) may be the same array."""
        i, step = first_of(wide), step_of(wide)
        if wide == 4:
            while i + uint64(4) <= count:
                g, f = load4(grad_y, i), load4(y, i)
                first, second = activate_grad(kind, g[0], f[0], slope), activate_grad(kind, g[1], f[1], slope)
                third, fourth = activate_grad(kind, g[2], f[2], slope), activate_grad(kind, g[3], f[3], slope)
                store4(grad_x, i, (first, second, third, fourth))
                i += step
            step = uint64(1)
        while i < count:
            grad_x[i] = activate_grad(kind, grad_y[i], y[i], slope)
            i += step

    return activation_grad


@functools.cache
def softmax_forward(lanes: int) -> Kernel:
    """y = e^(x - max x) / sum of it, along rows of which each has `lanes` threads: 1, 32 or 256."""

    @kernel(THREADS)
    def softmax(x: Reals, y: Reals, rows: U32, c: U32) -> None:
        """Rows of x and y (rows, c), which may be the same array. The largest x is taken off first: nothing overflows."""
        memory = cuda.shared.array(WARPS, x.dtype)
        places = cuda.shared.array(WARPS, uint32)
        row, lane = row_of(lanes)
        if row >= rows:
            return
        start = uint64(row) * uint64(c)
        top, _ = largest_of(x, start, uint32(0), c, lane, lanes, memory, places)
        total = x.dtype.type(0)
        column = lane
        while column < c:
            total += math.exp(x[start + uint64(column)] - top)
            column = uint32(column + uint32(lanes))
        total = row_sum(total, lanes, memory)
        column = lane
        while column < c:
            y[start + uint64(column)] = math.exp(x[start + uint64(column)] - top) / total
            column = uint32(column + uint32(lanes))

    return softmax


@functools.cache
def softmax_backward(lanes: int) -> Kernel:
    """grad_x = y (grad_y - sum of grad_y y), along rows of which each has `lanes` threads: 1, 32 or 256."""

    @kernel(THREADS)
    def softmax_grad(y: Reals, grad_y: Reals, grad_x: Reals, rows: U32, c: U32) -> None:
        """Rows of y, grad_y and grad_x (rows, c); grad_x and grad_y may be the same array."""
        memory = cuda.shared.array(WARPS, y.dtype)
        row, lane = row_of(lanes)
        if row >= rows:
            return
        start = uint64(row) * uint64(c)
        dot = y.dtype.type(0)
        column = lane
        while column < c:
            dot += grad_y[start + uint64(column)] * y[start + uint64(column)]
            column = uint32(column + uint32(lanes))
        dot = row_sum(dot, lanes, memory)
        column = lane
        while column < c:
            i = start + uint64(column)
            grad_x[i] = y[i] * (grad_y[i] - dot)
            column = uint32(column + uint32(lanes))

    return softmax_grad


@functools.cache
def add_to(wide: int) -> Kernel:
    """y = a + b, `wide` numbers at a time."""

    @kernel(THREADS)
    def add(a: Reals, b: Reals, y: Reals, count: U64) -> None:
        """y[i] = a[i] + b[i] for i < count; y (count,) may be a or b (count,)."""
        i, step = first_of(wide), step_of(wide)
        if wide == 4:
            while i + uint64(4) <= count:
                p, q = load4(a, i), load4(b, i)
                store4(y, i, (p[0] + q[0], p[1] + q[1], p[2] + q[2], p[3] + q[3]))
                i += step
            step = uint64(1)
        while i < count:
            y[i] = a[i] + b[i]
            i += step

    return add


@kernel(THREADS)
def fill(array: Reals, count: U64, value: Real) -> None:
    """array[i] = value for i < count."""
    i, step = first_of(1), step_of(1)
    while i < count:
        array[i] = value
        i += step


def kind_of(kind: str | None, slope: float) -> int:
    """The code of an activation. A slope of 0 is relu, of which -infinity is 0 and no NaN."""
    return RELU if kind == "leaky_relu" and slope == 0 else KINDS[kind]


def add_forward(
    plan: Plan, kind: str | None, x: Any, y: Any, rows: int, c: int, *, aligned: bool = True, slope: float = 0.0
) -> None:  # fmt: skip
    """Emits y = kind(x) over (rows, c), which only softmax looks at; x and y may be the same array.

    Args:
        kind: "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax", or None, which copies.
        aligned: x and y begin at multiples of 16 bytes.
        slope: of leaky_relu, at least 0.
    """
    if not rows * c:
        return
    if kind == "softmax":
        lanes = lanes_of(c)
        plan.add(softmax_forward(lanes), row_blocks(rows, lanes), x, y, rows, c)
        return
    wide = wide_of(aligned, x, y)
    plan.add(forward(kind_of(kind, slope), wide), blocks_of(plan, rows * c, wide), x, y, rows * c, slope)


def add_grad(
    plan: Plan, kind: str | None, y: Any, grad_y: Any, grad_x: Any, rows: int, c: int, *, aligned: bool = True,
    slope: float = 0.0,
) -> None:  # fmt: skip
    """Emits grad_x = grad_y * kind'(x), from y = kind(x), over (rows, c); grad_x may be grad_y. Arguments as of add_forward."""
    if not rows * c:
        return
    if kind == "softmax":
        lanes = lanes_of(c)
        plan.add(softmax_backward(lanes), row_blocks(rows, lanes), y, grad_y, grad_x, rows, c)
        return
    wide = wide_of(aligned, y, grad_y, grad_x)
    code = kind_of(kind, slope)
    if code != NONE or grad_x is not grad_y:
        plan.add(backward(code, wide), blocks_of(plan, rows * c, wide), y, grad_y, grad_x, rows * c, slope)


def add_sum(plan: Plan, source: Any, into: Any, count: int, *, aligned: bool = True) -> None:
    """Emits into[:count] += source[:count]."""
    add_total(plan, into, source, into, count, aligned=aligned)


def add_total(plan: Plan, a: Any, b: Any, y: Any, count: int, *, aligned: bool = True) -> None:
    """Emits y[:count] = a[:count] + b[:count]; y may be a or b."""
    wide = wide_of(aligned, a, b, y)
    plan.add(add_to(wide), blocks_of(plan, count, wide), a, b, y, count)


def add_fill(plan: Plan, array: Any, count: int, value: float) -> None:
    """Emits array[:count] = value."""
    plan.add(fill, blocks_of(plan, count), array, count, value)
