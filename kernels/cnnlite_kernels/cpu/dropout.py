"""Dropout: a mask from the counter-based generator, so that no mask is stored and any number of threads draws the same."""

from __future__ import annotations

import numpy as np
from numba import carray
from numba.extending import register_jitable

from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import INT64, POINTER, Pointer, address, array_at
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.random import M0, M1, ROUNDS, W0, W1, keep_threshold

DROPOUT = np.dtype(
    [("x", POINTER), ("y", POINTER), ("key", POINTER), ("first", POINTER)]
    + [
        (name, np.int64)
        for name in ("n", "h", "row", "x_row", "x_image", "y_row", "y_image", "threshold", "stream", "offset")
    ]
    + [("scale", np.float64)]
)
LOW = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)
MULTIPLIER_0, MULTIPLIER_1 = np.uint64(M0), np.uint64(M1)
WEYL_0, WEYL_1 = np.uint64(W0), np.uint64(W1)


@register_jitable
def philox(counter, key):
    """Four uint32 (as uint64) for a counter below 2^64; random.py has the same in plain integers."""
    c0, c1, c2, c3 = counter & LOW, counter >> SHIFT, np.uint64(0), np.uint64(0)
    k0, k1 = key & LOW, key >> SHIFT
    for _ in range(ROUNDS):
        first, second = MULTIPLIER_0 * c0, MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (second >> SHIFT) ^ c1 ^ k0, second & LOW, (first >> SHIFT) ^ c3 ^ k1, first & LOW
        k0, k1 = (k0 + WEYL_0) & LOW, (k1 + WEYL_1) & LOW
    return c0, c1, c2, c3


@kernel(DROPOUT)
def apply(item):
    """y = x * scale where the place's random number is at least the threshold, else 0: forward on x, backward on grad_y.

    key: one int64, changed from step to step; first: one int64, the number of this part's first image in the batch, so that a
    place's number does not depend on how the batch was cut. stream tells the layers of a network apart.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        key = array_at(address(bases, d.key), 1, INT64)[0] + d.stream * np.int64(
            0x9E3779B97F4A7C15 - (1 << 64)
        )
        number = array_at(address(bases, d.first), 1, INT64)[0] + d.offset
        xs, ys = address(bases, d.x), address(bases, d.y)
        threshold = np.uint64(d.threshold)
        for n in range(d.n):
            for h in range(d.h):
                x = array_at(xs + (n * d.x_image + h * d.x_row) * item, d.row, item)
                y = array_at(ys + (n * d.y_image + h * d.y_row) * item, d.row, item)
                scale, zero = x.dtype.type(d.scale), x.dtype.type(0)
                place = ((number + n) * d.h + h) * d.row
                words = philox(np.uint64(place >> 2), np.uint64(key))
                for i in range(d.row):
                    word = (place + i) & 3
                    if word == 0:
                        words = philox(np.uint64((place + i) >> 2), np.uint64(key))
                    y[i] = x[i] * scale if words[word] >= threshold else zero

    return body


def add_dropout(
    plan: Plan, x: Images, y: Images, rate: float, key: Pointer, stream: int, first: Pointer, offset: int = 0
) -> None:
    """Emits y = dropout(x); the same call with gradients is its backward pass. y may be x."""
    plan.add(
        apply, plan.item,
        x=x.first(plan.item), y=y.first(plan.item), key=key, first=first, offset=offset,
        n=x.n, h=x.h, row=x.w * x.c, x_row=x.row, x_image=x.image, y_row=y.row, y_image=y.image,
        threshold=keep_threshold(rate), stream=stream, scale=1 / (1 - rate),
    )  # fmt: skip
