"""The machine's own limits: multiply-adds a second, and bytes a second by how much memory is in use.

A kernel cannot be quicker than the slower of the two lets it (Williams, Waterman and Patterson, Roofline: an insightful visual
performance model, CACM 52, 2009): seconds >= max(operations / peak, bytes / bandwidth).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numba
import numpy as np
from peers.fma_worker import FLOPS_A_CALL, STEPS, register_loop

from roofline.together import seconds_together
from roofline.work import Work

# Bytes in use by all threads together, from a share of the second cache to far more than the last.
WORKING_SETS = (256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20)
ARRAYS = 3  # of the triad


@dataclass(frozen=True)
class Limits:
    """What `threads` threads can do at most.

    Attributes:
        peak: floating-point operations a second, a multiply-add counted as two.
        bandwidth: (bytes in use, bytes a second), from small to large.
    """

    threads: int
    peak: float
    bandwidth: tuple[tuple[int, float], ...]

    def bandwidth_for(self, moved: float) -> float:
        """Bytes a second for a kernel that touches `moved` bytes: of the largest set measured that is no larger.

        So a kernel is compared with memory that is, if anything, too fast for it.

        >>> Limits(1, 1e9, ((100, 8e9), (1000, 2e9))).bandwidth_for(999)
        8000000000.0
        """
        fitting = [rate for size, rate in self.bandwidth if size <= moved]
        return fitting[-1] if fitting else self.bandwidth[0][1]

    def seconds(self, work: Work) -> float:
        """The least a kernel can take."""
        return max(self.seconds_computing(work), self.seconds_moving(work))

    def seconds_computing(self, work: Work) -> float:
        return work.operations / self.peak

    def seconds_moving(self, work: Work) -> float:
        return work.moved / self.bandwidth_for(work.moved)

    def bound(self, work: Work) -> str:
        """Which of the limits holds a kernel back: "arithmetic" or "memory"."""
        return "arithmetic" if self.seconds_computing(work) >= self.seconds_moving(work) else "memory"

    def share(self, work: Work, seconds: float) -> float:
        """How much of its limit a kernel reaches that takes `seconds`.

        >>> Limits(1, 4e9, ((0, 1e9),)).share(Work(2e9, 1e6, "GFLOP/s"), 1.0)
        0.5
        """
        return self.seconds(work) / seconds

    def as_json(self) -> dict[str, Any]:
        return {
            "threads": self.threads,
            "peak": self.peak,
            "bandwidth": [list(pair) for pair in self.bandwidth],
        }

    @classmethod
    def from_json(cls, found: Any) -> Limits:
        pairs = tuple((int(size), float(rate)) for size, rate in found["bandwidth"])
        return cls(int(found["threads"]), float(found["peak"]), pairs)


@numba.njit(nogil=True)
def triad(a: Any, b: Any, c: Any, repeats: int) -> None:
    """a[i] = b[i] + factor c[i], with another factor in each of `repeats` (STREAM's triad, McCalpin 1995)."""
    for r in range(repeats):
        factor = numba.float32(r)
        for i in range(a.size):
            a[i] = b[i] + factor * c[i]


@numba.njit(nogil=True, fastmath={"reassoc", "nsz"})
def read(a: Any, repeats: int) -> float:
    """Adds up all of a, `repeats` times: memory that is only read, which is quicker than memory that is written."""
    total = numba.float32(0)
    for _ in range(repeats):
        for i in range(a.size):
            total += a[i]
    return total


def measure(threads: int, seconds: float = 0.1, rounds: int = 3) -> Limits:
    """Measures them, with `rounds` of about `seconds` for each figure; the best round counts, for it is a limit."""
    loops = [partial(register_loop, STEPS, 0.5, 1.0) for _ in range(threads)]
    register_loop(1, 0.5, 1.0)
    peak = threads * FLOPS_A_CALL / _least(lambda: seconds_together(loops), seconds, rounds)
    return Limits(
        threads, peak, tuple((size, _bandwidth(threads, size, seconds, rounds)) for size in WORKING_SETS)
    )


def _bandwidth(threads: int, size: int, seconds: float, rounds: int) -> float:
    """Bytes a second of the quicker of triad and read; each thread has arrays of its own."""
    count = size // (4 * ARRAYS * threads)
    arrays = [[np.ones(count, np.float32) for _ in range(ARRAYS)] for _ in range(threads)]
    # Long enough that starting the threads costs nothing beside it.
    repeats = max(1, (32 << 20) // size)
    moved = 4.0 * ARRAYS * count * threads * repeats
    writing = [partial(triad, *mine, repeats) for mine in arrays]
    reading = [partial(_read_all, mine, repeats) for mine in arrays]
    least = (_least(partial(seconds_together, calls), seconds, rounds) for calls in (writing, reading))
    return moved / min(least)


def _read_all(arrays: Sequence[np.ndarray], repeats: int) -> None:
    for array in arrays:
        read(array, repeats)


def _least(once: Callable[[], float], seconds: float, rounds: int) -> float:
    """The least of what `once` returns in the time, after one that is not counted."""
    once()
    end = time.perf_counter() + seconds * rounds
    found = [once()]
    while time.perf_counter() < end:
        found.append(once())
    return min(found)
