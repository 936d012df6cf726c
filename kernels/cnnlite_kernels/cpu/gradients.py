"""What happens to gradients between the backward pass and the optimizer, on ranges of the flat buffers: parts are added up in
their order, regularisers and limits applied.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import POINTER, address, array_at

RANGE = np.dtype(
    [(name, POINTER) for name in ("parameters", "parts", "grads", "squares")]
    + [(name, np.int64) for name in ("count", "number", "stride", "accumulate")]
    + [(name, np.float64) for name in ("l1", "l2", "limit")]
)


@kernel(RANGE)
def collect(item):
    """grads[i] = sum over p < number of parts[p * stride + i], always in the order of the parts; i < count.

    With `accumulate` they are added to what is there.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        grads = array_at(address(bases, d.grads), d.count, item)
        if not d.accumulate:
            grads[:] = array_at(address(bases, d.parts), d.count, item)
        for p in range(0 if d.accumulate else 1, d.number):
            part = array_at(address(bases, d.parts) + p * d.stride * item, d.count, item)
            for i in range(d.count):
                grads[i] += part[i]

    return body


@kernel(RANGE)
def regularize(item):
    """grads[i] += l1 * sign(parameters[i]) + 2 * l2 * parameters[i]: the gradient of l1 sum |p| + l2 sum p^2."""

    def body(bases, d):
        d = carray(d, 1)[0]
        grads = array_at(address(bases, d.grads), d.count, item)
        parameters = array_at(address(bases, d.parameters), d.count, item)
        number = grads.dtype.type
        l1, twice_l2 = number(d.l1), number(2 * d.l2)
        for i in range(d.count):
            p = parameters[i]
            sign = number(p > 0) - number(p < 0)
            grads[i] += l1 * sign + twice_l2 * p

    return body


@kernel(RANGE)
def clip_values(item):
    """grads[i] kept between -limit and limit."""

    def body(bases, d):
        d = carray(d, 1)[0]
        grads = array_at(address(bases, d.grads), d.count, item)
        number = grads.dtype.type
        limit = number(d.limit)
        for i in range(d.count):
            grads[i] = min(max(grads[i], -limit), limit)

    return body


@kernel(RANGE)
def sum_squares(item):
    """squares[0] = sum of grads[i]^2, in float64."""

    def body(bases, d):
        d = carray(d, 1)[0]
        grads = array_at(address(bases, d.grads), d.count, item)
        total = 0.0
        for i in range(d.count):
            total += np.float64(grads[i]) * np.float64(grads[i])
        array_at(address(bases, d.squares), 1, 8)[0] = total

    return body


@kernel(RANGE)
def clip_norm(item):
    """grads scaled so that their norm, the root of the sum of squares[0 .. number), is at most limit."""

    def body(bases, d):
        d = carray(d, 1)[0]
        grads = array_at(address(bases, d.grads), d.count, item)
        squares = array_at(address(bases, d.squares), d.number, 8)
        total = 0.0
        for i in range(d.number):
            total += squares[i]
        norm = math.sqrt(total)
        if norm > d.limit:
            factor = grads.dtype.type(d.limit / norm)
            for i in range(d.count):
                grads[i] *= factor

    return body
