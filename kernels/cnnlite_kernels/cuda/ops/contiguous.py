"""Arrays with gaps or turned axes, copied once so that kernels find them row by row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda, uint32, uint64

from cnnlite_kernels.cuda.grid import THREADS
from cnnlite_kernels.cuda.kernel import U32, U64, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan

AXES = 4  # of the kernel; what has more is copied piece by piece
MOST = 1 << 31  # elements of a launch, so that their numbers fit 32 bits
FLOAT = {4: np.dtype(np.float32), 8: np.dtype(np.float64)}


@kernel(threads=THREADS)
def copy_strided(
    x: Reals, y: Reals, start: U64, count: U32, n1: U32, n2: U32, n3: U32, s0: U64, s1: U64, s2: U64, s3: U64
):
    """y[((i0 * n1 + i1) * n2 + i2) * n3 + i3] = x[start + i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3].

    x: any memory; y (count,). Strides count elements; a negative one is its two's complement, and sums wrap around.
    """
    i = uint32(cuda.blockIdx.x) * uint32(THREADS) + uint32(cuda.threadIdx.x)
    if i < count:
        rest = i // n3
        i3 = i - rest * n3
        i1 = rest // n2
        i2 = rest - i1 * n2
        i0 = i1 // n1
        i1 -= i0 * n1
        y[i] = x[start + uint64(i0) * s0 + uint64(i1) * s1 + uint64(i2) * s2 + uint64(i3) * s3]


def contiguous(device: Any, memory: Any, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """A flat copy of the array whose first element is memory[start], of elements of 4 or 8 bytes.

    Strides count elements and may be negative or 0.
    """
    copy = device.empty(math.prod(shape), memory.dtype)
    plan = Plan(device)
    _add(plan, _as_floats(memory), _as_floats(copy), start, *_merged(shape, strides))
    plan.run()
    return copy


def _as_floats(array: Any) -> Any:
    """The same bits as floats: copies keep them."""
    dtype = FLOAT[array.dtype.itemsize]
    return array.view(dtype)


def _merged(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Fewer axes for the same elements in the same order.

    >>> _merged((2, 1, 3, 4), (24, 7, 8, 2))
    ((24,), (2,))
    """
    sizes: list[int] = []
    steps: list[int] = []
    for n, stride in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if sizes and steps[-1] == n * stride:
            sizes[-1], steps[-1] = sizes[-1] * n, stride
        else:
            sizes.append(n)
            steps.append(stride)
    return tuple(sizes), tuple(steps)


def _add(plan: Plan, x: Any, y: Any, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    count = math.prod(shape)
    if len(shape) > AXES or count > MOST:
        inner = count // shape[0]
        # along the first axis: one by one where there are too many axes, else as many as a launch takes
        most = 1 if len(shape) > AXES else max(1, MOST // inner)
        for first in range(0, shape[0], most):
            n = min(most, shape[0] - first)
            piece = _merged((n, *shape[1:]), strides)
            _add(plan, x, y[first * inner : (first + n) * inner], start + first * strides[0], *piece)
        return
    missing = AXES - len(shape)
    sizes = (1,) * missing + shape
    steps = [stride % 2**64 for stride in (0,) * missing + strides]
    plan.add(copy_strided, -(-count // THREADS), x, y, start, count, *sizes[1:], *steps)
