"""Operands of benchmarks: whole numbers, at addresses that do not change the speed from one run to the next.

NumPy's arrays begin where the heap has room, on a cache line or not, as it happens; a kernel that is limited by memory differs by 20%
with that, between runs of the same program. Here every array begins on a cache line, and each of a call's in another part of a page,
so that a store to one is never mistaken for a load of another (processors compare the last 12 bits first).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

LINE, PAGE = 64, 4096
APART = PAGE // 4 + LINE


def empty(shape: Sequence[int], number: int, dtype: type = np.float32) -> np.ndarray:
    """An array of NaN (or of -1, of integers) for the `number`th operand of a call.

    >>> [empty((2, 3), number).ctypes.data % PAGE for number in range(3)]
    [0, 1088, 2176]
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 2 * PAGE, np.uint8)
    start = (-memory.ctypes.data) % PAGE + number * APART % PAGE
    found: np.ndarray = memory[start : start + size].view(dtype).reshape(shape)
    found.fill(np.nan if np.issubdtype(dtype, np.floating) else -1)
    return found


def placed(values: np.ndarray, number: int) -> np.ndarray:
    """A copy of an array as the `number`th operand of a call."""
    found = empty(values.shape, number, values.dtype.type)
    found[...] = values
    return found


def whole_numbers(*shapes: Sequence[int]) -> list[np.ndarray]:
    """Arrays of -2 to 2, float32, the first operands of a call: sums of 4 million products of them are exact."""
    rng = np.random.default_rng(4)
    return [
        placed(rng.integers(-2, 3, shape).astype(np.float32), number) for number, shape in enumerate(shapes)
    ]
