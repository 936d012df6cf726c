"""Dropout: a mask from the counter-based generator, the CPU's bit for bit, so that no mask is stored."""

from __future__ import annotations

import functools
from typing import Any

from numba import uint64

from cnnlite_kernels.cuda.grid import THREADS, blocks_of, first_of, inlined, step_of, wide_of
from cnnlite_kernels.cuda.intrinsics import load4, store4
from cnnlite_kernels.cuda.kernel import U32, U64, Kernel, Longs, Real, Reals, kernel
from cnnlite_kernels.cuda.philox import philox
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.random import keep_threshold

GOLDEN = 0x9E3779B97F4A7C15  # from one layer's key to the next one's


@inlined
def kept(x, word, threshold, scale):
    """x * scale, or 0 where the random number is below the threshold."""
    return x * scale if word >= threshold else type(scale)(0)


@functools.cache
def apply(wide: int) -> Kernel:
    """y = x * scale where the place's random number is at least the threshold, else 0: forward on x, backward on grad_y.

    wide: 4 where `place` is a multiple of 4 and the arrays are aligned, so that a counter's four numbers are moved at once.
    """

    @kernel(THREADS)
    def dropout(
        x: Reals, y: Reals, count: U64, key: Longs, stream: U64, place: U64, threshold: U32, scale: Real
    ) -> None:
        """x, y (count,) may be the same array. Number i has place + i; word `place % 4` of counter `place // 4` decides on it.

        key (1,) int64, changed from step to step; stream: added to it.
        """
        counter, step = first_of(1) + (place >> uint64(2)), step_of(1)
        end = (place + count + uint64(3)) >> uint64(2)
        layer_key = uint64(key[0]) + stream
        while counter < end:
            a, b, c, d = philox(counter, layer_key)
            i = counter * uint64(4) - place  # before the first number it wraps and is beyond the last
            if wide == 4 and i + uint64(4) <= count:
                v = load4(x, i)
                first, second = kept(v[0], a, threshold, scale), kept(v[1], b, threshold, scale)
                third, fourth = kept(v[2], c, threshold, scale), kept(v[3], d, threshold, scale)
                store4(y, i, (first, second, third, fourth))
            else:
                for _ in range(4):
                    if i < count:
                        y[i] = kept(x[i], a, threshold, scale)
                    a, b, c = b, c, d
                    i += uint64(1)
            counter += step

    return dropout


def add_dropout(
    plan: Plan, x: Any, y: Any, count: int, rate: float, key: Any, stream: int, first: int = 0, *, aligned: bool = True
) -> None:  # fmt: skip
    """Emits y = dropout(x) over `count` numbers; the same call with gradients is its backward pass. y may be x.

    Args:
        rate: the share that is dropped, below 1.
        key: int64 (1,) on the device, read when the plan runs.
        stream: tells the layers of a network apart.
        first: the place of the first number in its batch: images before it times the numbers of one.
        aligned: x and y begin at multiples of 16 bytes.
    """
    wide = wide_of(aligned and first % 4 == 0, x, y)
    counters = (first + count + 3) // 4 - first // 4
    plan.add(
        apply(wide), blocks_of(plan, counters),
        x, y, count, key, stream * GOLDEN % 2**64, first, keep_threshold(rate), 1 / (1 - rate),
    )  # fmt: skip
