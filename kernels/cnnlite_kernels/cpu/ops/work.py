"""Work: the segments of an op for one shape and set of options, made once, and run on whatever arrays a call brings.

How an op is cut into parts follows from its shapes alone, never from the number of threads: 1, 2 or 16 threads give the same
bits. Parts differ in their base addresses only where they can, so that a batch of any size needs two or three plans.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np

from cnnlite_kernels.cpu.memory import Base, address_of
from cnnlite_kernels.cpu.plan import LINE, Job, Part

KEPT = 256  # pieces of work that each op keeps; the least recently used goes first
PARTS = 16  # parts that a segment is cut into, at most
MULTIPLY_ADDS = 1_000_000  # and at least in each: some ten microseconds
NUMBERS = 1 << 16  # of an op that only passes over memory, at least in each part
SHARED_LIMIT = 1 << 26  # bytes that a Python thread keeps between calls for what the parts of a job share

_shared = threading.local()


class Work:
    """Segments of parts whose bases are offsets in bytes from what `run` is given.

    Several Python threads may run the same work at once: each takes a job of its own.

    Args:
        segments: as for a Job.
        shared: bytes at Base.EXTRA that the parts share: packed weights, padded images. Its content is lost between runs.
    """

    def __init__(self, segments: Sequence[Sequence[Part]], shared: int = 0) -> None:
        self._segments = [parts for parts in segments if parts]
        self._shared = shared
        self._idle: list[Job] = []

    def run(self, **arrays: np.ndarray | None) -> None:
        """Runs on these arrays, named by base in lower case: x, y, w, grads, out."""
        try:
            job = self._idle.pop()
        except IndexError:
            job = Job(self._segments)
        addresses = job.addresses
        for name, array in arrays.items():
            addresses[_BASE[name]] = 0 if array is None else address_of(array)
        if self._shared:
            addresses[_EXTRA] = shared_memory(self._shared)
        job.run()
        self._idle.append(job)


_BASE = {base.name.lower(): int(base) for base in Base}
_EXTRA = int(Base.EXTRA)


def shared_memory(size: int) -> int:
    """Address of `size` bytes, from the beginning of a cache line, until this Python thread asks again."""
    buffer = getattr(_shared, "buffer", None)
    if buffer is None or not size + LINE <= buffer.size <= max(SHARED_LIMIT, 2 * size):
        buffer = _shared.buffer = np.empty(size + LINE, np.uint8)
    start = address_of(buffer)
    return start + -start % LINE


def aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """`size` numbers from the beginning of a cache line, not yet written."""
    buffer = np.empty(size * dtype.itemsize + LINE, np.uint8)
    start = -buffer.ctypes.data % LINE
    return buffer[start : start + size * dtype.itemsize].view(dtype)


def number_of_parts(work: int, least: int = MULTIPLY_ADDS, most: int = PARTS) -> int:
    """Into how many parts that much work is cut."""
    return max(1, min(most, work // least))


def pieces(size: int, parts: int, multiple: int = 1) -> Iterator[tuple[int, int]]:
    """(first, stop) of at most `parts` pieces of range(size), as even as can be, each but the last a multiple of `multiple` long.

    >>> list(pieces(10, 3)), list(pieces(10, 3, multiple=4))
    ([(0, 3), (3, 6), (6, 10)], [(0, 4), (4, 8), (8, 10)])
    """
    units = -(-size // multiple)
    parts = min(parts, units)
    for part in range(parts):
        yield part * units // parts * multiple, min(size, (part + 1) * units // parts * multiple)
