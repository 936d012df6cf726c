"""A GPU's memory: a pool that keeps what is given back, so that after the first step nothing is asked of the driver."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

LEAST = 512  # bytes of the smallest block; addresses are multiples of 256


def rounded(size: int) -> int:
    """Bytes of the block for `size` bytes: eight sizes between one power of two and the next, so that blocks are met again.

    >>> [rounded(size) for size in (1, 513, 5000, 1 << 20, (1 << 20) + 1)]
    [512, 576, 5120, 1048576, 1179648]
    """
    step = max(64, 1 << max(0, size.bit_length() - 4))
    return max(LEAST, -(-size // step) * step)


class Block:
    """Memory of the pool, given back when nobody holds it any more.

    `shared` is set once another library was given the address: what that library launched may still be running when it lets go, so
    such a block goes back to the driver, once all that runs has ended.
    """

    def __init__(self, pool: Pool, address: int, size: int) -> None:
        self.pool, self.address, self.size, self.shared = pool, address, size, False

    def __del__(self) -> None:
        self.pool.give_back(self)


class Pool:
    """Blocks of one GPU. Everything of ours runs on one stream, so that a block can be used again at once.

    Args:
        allocate: (bytes) -> address, MemoryError where there is none left.
        free: (address) frees it when all that runs has ended; waits for nothing itself.
    """

    def __init__(self, allocate: Callable[[int], int], free: Callable[[int], None]) -> None:
        self._allocate, self._free = allocate, free
        self._kept: dict[int, list[int]] = {}
        self._ending = sys.is_finalizing  # kept here, for modules may be gone by then

    def take(self, size: int) -> Block:
        """A block of at least `size` bytes."""
        size = rounded(size)
        try:
            address = self._kept[size].pop()
        except (KeyError, IndexError):
            try:
                address = self._allocate(size)
            except MemoryError:
                self.clear()
                address = self._allocate(size)
        return Block(self, address, size)

    def give_back(self, block: Block) -> None:
        """Called by a block's finalizer, in whatever thread and moment that may be: takes no lock."""
        if not block.shared:
            self._kept.setdefault(block.size, []).append(block.address)
        elif not self._ending():
            self._free(block.address)

    def clear(self) -> None:
        """Gives what is not in use back to the driver."""
        for addresses in list(self._kept.values()):
            while addresses:
                self._free(addresses.pop())


class Vector:
    """A flat array in a GPU's memory; slices are views.

    Args:
        owner: what keeps the memory alive, a Block or another library's array.
        address: of the first element. size: elements.
    """

    __slots__ = ("address", "dtype", "owner", "size")

    def __init__(self, owner: Any, address: int, size: int, dtype: np.dtype) -> None:
        self.owner, self.address, self.size, self.dtype = owner, address, size, dtype

    def __len__(self) -> int:
        return self.size

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __getitem__(self, where: slice) -> Vector:
        first, stop, step = where.indices(self.size)
        if step != 1:
            raise ValueError(f"expected a slice of neighbours of a GPU's flat array, got step {step}.")
        size = max(0, stop - first)
        return Vector(self.owner, self.address + first * self.dtype.itemsize, size, self.dtype)

    def view(self, dtype: np.dtype) -> Vector:
        """The same bytes as elements of another dtype."""
        return Vector(self.owner, self.address, self.nbytes // dtype.itemsize, dtype)

    def __repr__(self) -> str:
        return f"<Vector of {self.size} {self.dtype}>"
