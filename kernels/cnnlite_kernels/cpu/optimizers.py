"""Optimizer steps over a range of the flat parameter buffer. All are one pass over parameters, gradients and their slots."""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import POINTER, address, array_at
from cnnlite_kernels.settings import OPTIMIZER

UPDATE = np.dtype(
    [(name, POINTER) for name in ("parameters", "grads", "slot_0", "slot_1", "slot_2", "settings")]
    + [("count", np.int64)]
)
_FIELDS = {name: i for i, name in enumerate(OPTIMIZER)}
RATE, MOMENTUM, NESTEROV = _FIELDS["rate"], _FIELDS["momentum"], _FIELDS["nesterov"]
BETA_1, BETA_2, RHO = _FIELDS["beta_1"], _FIELDS["beta_2"], _FIELDS["rho"]
EPSILON, DECAY, STEPS = _FIELDS["epsilon"], _FIELDS["weight_decay"], _FIELDS["steps"]
COUNT = len(_FIELDS)


@kernel(UPDATE)
def sgd(item, momentum):
    """p -= rate * g. With momentum, v = momentum * v - rate * g and p += v, or with nesterov p += momentum * v - rate * g.

    slot_0: v. (Sutskever et al. 2013, in Keras's form.)
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        p, g = (
            array_at(address(bases, d.parameters), d.count, item),
            array_at(address(bases, d.grads), d.count, item),
        )
        settings = array_at(address(bases, d.settings), COUNT, 8)
        number = p.dtype.type
        rate, m = number(settings[RATE]), number(settings[MOMENTUM])
        keep = number(1 - settings[RATE] * settings[DECAY])
        if momentum:
            v = array_at(address(bases, d.slot_0), d.count, item)
            # nesterov: p += m * v - rate * g, else p += v
            of_v, of_g = (m, rate) if settings[NESTEROV] != 0 else (number(1), number(0))
            for i in range(d.count):
                v[i] = m * v[i] - rate * g[i]
                p[i] = keep * p[i] + of_v * v[i] - of_g * g[i]
        else:
            for i in range(d.count):
                p[i] = keep * p[i] - rate * g[i]

    return body


@kernel(UPDATE)
def adam(item):
    """m += (1 - b1)(g - m); v += (1 - b2)(g^2 - v); p -= rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon).

    slot_0: m, slot_1: v. (Kingma and Ba 2015, the form at the end of section 2, as Keras.) weight_decay: AdamW's, before the step.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        p, g = (
            array_at(address(bases, d.parameters), d.count, item),
            array_at(address(bases, d.grads), d.count, item),
        )
        m, v = (
            array_at(address(bases, d.slot_0), d.count, item),
            array_at(address(bases, d.slot_1), d.count, item),
        )
        settings = array_at(address(bases, d.settings), COUNT, 8)
        number = p.dtype.type
        b1, b2, t = settings[BETA_1], settings[BETA_2], settings[STEPS]
        rate = number(settings[RATE] * math.sqrt(1 - b2**t) / (1 - b1**t))
        keep = number(1 - settings[RATE] * settings[DECAY])
        new_m, new_v, epsilon = number(1 - b1), number(1 - b2), number(settings[EPSILON])
        for i in range(d.count):
            m[i] += new_m * (g[i] - m[i])
            v[i] += new_v * (g[i] * g[i] - v[i])
            p[i] = keep * p[i] - rate * m[i] / (math.sqrt(v[i]) + epsilon)

    return body


@kernel(UPDATE)
def rmsprop(item, momentum, centered):
    """v = rho v + (1 - rho) g^2; p -= rate * g / sqrt(v + epsilon), or that step through momentum: u = momentum u + step, p -= u.

    centered: v - (mean of g)^2 in place of v. slot_0: v, slot_1: u, slot_2: mean of g. (Hinton's lecture 6e, in Keras's form.)
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        p, g = (
            array_at(address(bases, d.parameters), d.count, item),
            array_at(address(bases, d.grads), d.count, item),
        )
        v = array_at(address(bases, d.slot_0), d.count, item)
        u = array_at(address(bases, d.slot_1), d.count * momentum, item)
        mean = array_at(address(bases, d.slot_2), d.count * centered, item)
        settings = array_at(address(bases, d.settings), COUNT, 8)
        number = p.dtype.type
        rate, m, epsilon = number(settings[RATE]), number(settings[MOMENTUM]), number(settings[EPSILON])
        rho, new = number(settings[RHO]), number(1 - settings[RHO])
        keep = number(1 - settings[RATE] * settings[DECAY])
        for i in range(d.count):
            v[i] = rho * v[i] + new * g[i] * g[i]
            spread = v[i]
            if centered:
                mean[i] = rho * mean[i] + new * g[i]
                spread = v[i] - mean[i] * mean[i]
            step = rate * g[i] / math.sqrt(spread + epsilon)
            if momentum:
                u[i] = m * u[i] + step
                step = u[i]
            p[i] = keep * p[i] - step

    return body
