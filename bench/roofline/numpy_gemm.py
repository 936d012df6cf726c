"""A yardstick that no change here can move: NumPy's matrix product, timed beside every row.

What a shared machine takes away in a minute it takes from both, so their ratio is steadier than either (regressions.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from roofline.together import seconds_together

SIDE, PRODUCTS = 384, 4


def yardstick(threads: int) -> Callable[[], float]:
    """A function that returns seconds of a product of two 384 x 384 float32 matrices, one on each of `threads` threads at once.

    NumPy's library must be kept to one thread of its own: conftest.py sets OPENBLAS_NUM_THREADS and the like.
    """
    rng = np.random.default_rng(4)
    operands = [
        [rng.standard_normal((SIDE, SIDE), np.float32) for _ in range(2)]
        + [np.empty((SIDE, SIDE), np.float32)]
        for _ in range(threads)
    ]

    def several(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        for _ in range(PRODUCTS):
            np.matmul(a, b, out=out)

    calls = [partial(several, *mine) for mine in operands]
    return lambda: seconds_together(calls) / PRODUCTS
