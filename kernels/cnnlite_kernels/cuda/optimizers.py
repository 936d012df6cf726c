"""Optimizer steps over a range of the flat parameter buffer: one pass over parameters, gradients and their slots.

What a step takes from the settings is worked out in float64 by one thread of each block, as the CPU does, and shared.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from numba import cuda, float64, uint32, uint64

from cnnlite_kernels.cuda.grid import THREADS, blocks_of, first_of, inlined, step_of
from cnnlite_kernels.cuda.kernel import U64, Doubles, Kernel, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.settings import OPTIMIZER

_FIELDS = {name: i for i, name in enumerate(OPTIMIZER)}
RATE, MOMENTUM, NESTEROV = _FIELDS["rate"], _FIELDS["momentum"], _FIELDS["nesterov"]
BETA_1, BETA_2, RHO = _FIELDS["beta_1"], _FIELDS["beta_2"], _FIELDS["rho"]
EPSILON, DECAY, STEPS = _FIELDS["epsilon"], _FIELDS["weight_decay"], _FIELDS["steps"]
SHARED = 6  # numbers that a block's threads share, at most


@functools.cache
def sgd(momentum: int) -> Kernel:
    """momentum: 1 with momentum."""

    @kernel(THREADS)
    def sgd_step(p: Reals, g: Reals, v: Reals, settings: Doubles, count: U64) -> None:
        """p -= rate * g. With momentum, v = momentum * v - rate * g and p += v, or with nesterov p += momentum * v - rate * g.

        p, g, v (count,); v is not touched without momentum. weight_decay: p -= rate * weight_decay * p before the step.
        (Sutskever et al. 2013, in Keras's form.)
        """
        number = p.dtype.type
        shared = cuda.shared.array(SHARED, p.dtype)
        if uint32(cuda.threadIdx.x) == uint32(0):
            nesterov = settings[NESTEROV] != float64(0)
            shared[0] = number(settings[RATE])
            shared[1] = number(float64(1) - settings[RATE] * settings[DECAY])
            shared[2] = number(settings[MOMENTUM])
            shared[3] = shared[2] if nesterov else number(1)
            shared[4] = shared[0] if nesterov else number(0)
        cuda.syncthreads()
        rate, keep, m, of_v, of_g = shared[0], shared[1], shared[2], shared[3], shared[4]
        i, step = first_of(1), step_of(1)
        while i < count:
            if momentum:
                moved = m * v[i] - rate * g[i]
                v[i] = moved
                p[i] = keep * p[i] + of_v * moved - of_g * g[i]
            else:
                p[i] = keep * p[i] - rate * g[i]
            i += step

    return sgd_step


@inlined
def power(base, steps):
    """base^steps in float64, for a whole number of steps, by squaring: pow() would be a function that is called."""
    result, left = float64(1), uint64(steps)
    while left > uint64(0):
        if left & uint64(1):
            result *= base
        base *= base
        left >>= uint64(1)
    return result


@functools.cache
def adam() -> Kernel:
    """Adam, and with weight decay AdamW."""

    @kernel(THREADS)
    def adam_step(p: Reals, g: Reals, m: Reals, v: Reals, settings: Doubles, count: U64) -> None:
        """m += (1 - b1)(g - m); v += (1 - b2)(g^2 - v); p -= rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon).

        p, g, m, v (count,). weight_decay: p -= rate * weight_decay * p before the step. (Kingma and Ba 2015, the form at the end of
        section 2, as Keras.)
        """
        number = p.dtype.type
        shared = cuda.shared.array(SHARED, p.dtype)
        if uint32(cuda.threadIdx.x) == uint32(0):
            one, b1, b2, t = float64(1), settings[BETA_1], settings[BETA_2], settings[STEPS]
            shared[0] = number(settings[RATE] * math.sqrt(one - power(b2, t)) / (one - power(b1, t)))
            shared[1] = number(one - settings[RATE] * settings[DECAY])
            shared[2], shared[3], shared[4] = number(one - b1), number(one - b2), number(settings[EPSILON])
        cuda.syncthreads()
        rate, keep, new_m, new_v, epsilon = shared[0], shared[1], shared[2], shared[3], shared[4]
        i, step = first_of(1), step_of(1)
        while i < count:
            mean, square = m[i], v[i]
            mean += new_m * (g[i] - mean)
            square += new_v * (g[i] * g[i] - square)
            m[i], v[i] = mean, square
            p[i] = keep * p[i] - rate * mean / (math.sqrt(square) + epsilon)
            i += step

    return adam_step


@functools.cache
def rmsprop(momentum: int, centered: int) -> Kernel:
    """momentum: 1 with momentum; centered: 1 to divide by the spread around the mean gradient."""

    @kernel(THREADS)
    def rmsprop_step(
        p: Reals, g: Reals, v: Reals, moved: Reals, mean: Reals, settings: Doubles, count: U64
    ) -> None:
        """v = rho v + (1 - rho) g^2; p -= rate * g / sqrt(v + epsilon), or that step through momentum: u = momentum u + step, p -= u.

        centered: v - (mean of g)^2 in place of v. p, g, v, moved (u) and mean (count,), the last two not touched where they are not
        needed. weight_decay: p -= rate * weight_decay * p before the step. (Hinton's lecture 6e, in Keras's form.)
        """
        number = p.dtype.type
        shared = cuda.shared.array(SHARED, p.dtype)
        if uint32(cuda.threadIdx.x) == uint32(0):
            shared[0] = number(settings[RATE])
            shared[1] = number(float64(1) - settings[RATE] * settings[DECAY])
            shared[2], shared[3] = number(settings[MOMENTUM]), number(settings[EPSILON])
            shared[4], shared[5] = number(settings[RHO]), number(float64(1) - settings[RHO])
        cuda.syncthreads()
        rate, keep, m, epsilon, rho, new = shared[0], shared[1], shared[2], shared[3], shared[4], shared[5]
        i, step = first_of(1), step_of(1)
        while i < count:
            square = rho * v[i] + new * g[i] * g[i]
            v[i] = square
            if centered:
                middle = rho * mean[i] + new * g[i]
                mean[i] = middle
                square -= middle * middle
            change = rate * g[i] / math.sqrt(square + epsilon)
            if momentum:
                change += m * moved[i]
                moved[i] = change
            p[i] = keep * p[i] - change
            i += step

    return rmsprop_step


KERNELS = {"sgd": (sgd, 1), "adam": (adam, 2), "rmsprop": (rmsprop, 3)}


def add_step(
    plan: Plan, name: str, integers: Sequence[int], parameters: Any, grads: Any, settings: Any, slots: Sequence[Any], count: int
) -> None:  # fmt: skip
    """Emits a step of parameters[:count] along grads.

    Args:
        name, integers: an optimizer's kernel and what it is made for: ("sgd", (momentum,)), ("adam", ()) or
            ("rmsprop", (momentum, centered)).
        settings: float64 (len(OPTIMIZER),) on the device, read when the plan runs.
        slots: the optimizer's state, in its kernel's order; those at the end that it does not need may be missing.
    """
    make, number = KERNELS[name]
    state = [*slots, *[parameters] * (number - len(slots))]
    plan.add(make(*integers), blocks_of(plan, count), parameters, grads, *state, settings, count)
