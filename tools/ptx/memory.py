"""The memory of a launch: a region for each argument, far from all others; shared memory of each block; local of each thread.

Addresses are generic: global memory begins at 1 << 40, one window a region and the region in its middle, so that an address
tells its region and nothing lies before an array or behind its end. Offsets within a region, and so alignment, are those of
the array in what it is a slice of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SHARED = 1 << 24
LOCAL = 1 << 28
WINDOW = 40  # log2 of the bytes of a region's window
PAGE = 1 << 16  # bytes
NOTHING = np.zeros(0, np.bool_)


def window_base(number: int) -> int:
    """Where region `number` begins."""
    return (number + 1 << WINDOW) + (1 << WINDOW - 1)


def cell_of(item: int) -> int:
    """log2 of the bytes that are watched together in an array of such items: one item, at most 4."""
    return min(2, item.bit_length() - 1)


class Buffer:
    """An array as an argument, with what is known of it.

    Args:
        array: C-contiguous.
        name: for messages.
        readonly: a store to it is an error. So it is to arrays whose `writeable` flag is off.
        uninitialised: a load of what no kernel has written is an error; it lasts over launches.
    """

    def __init__(
        self, array: np.ndarray, name: str = "", *, readonly: bool = False, uninitialised: bool = False
    ) -> None:
        if not array.flags.c_contiguous:
            raise ValueError(
                f"Buffer: expected a C-contiguous array, got strides {array.strides} for {array.shape}"
            )
        self.array = array
        self.name = name
        self.readonly = readonly or not array.flags.writeable
        self.cell = cell_of(array.itemsize)
        self.start = array.__array_interface__["data"][0]
        self.within = (self.start - _root(array)) % 256
        cells = (self.within % 16 + array.nbytes) >> self.cell
        self.written = np.zeros(cells, np.bool_) if uninitialised else NOTHING


class Sparse:
    """A one-dimensional array of which only the pages that are touched exist: sizes beyond 2^33 elements cost nothing.

    Args:
        length: elements.
        dtype: of an element.
        page: `page(first, count)` is the content of elements first to first + count - 1 before the launch; zeros by default.
    """

    def __init__(
        self,
        length: int,
        dtype: Any = np.float32,
        page: Callable[[int, int], np.ndarray] | None = None,
        *,
        name: str = "",
        readonly: bool = False,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.length, self.name, self.readonly = length, name, readonly
        self._page = page or (lambda first, count: np.zeros(count, self.dtype))
        self._places: dict[int, int] = {}
        self.data = np.zeros((0, PAGE), np.uint8)
        self.cell = cell_of(self.dtype.itemsize)

    @property
    def pages(self) -> int:
        """How many exist."""
        return len(self._places)

    def __getitem__(self, index: Any) -> np.ndarray:
        """The elements at an integer, or at an array of integers."""
        offset = np.atleast_1d(np.asarray(index, np.int64)) * self.dtype.itemsize
        return self.data.reshape(-1).view(self.dtype)[self.physical(offset) // self.dtype.itemsize]

    def physical(self, offset: np.ndarray) -> np.ndarray:
        """Where in `data` the bytes at `offset` lie; pages that do not exist yet are made."""
        pages, inverse = np.unique(offset // PAGE, return_inverse=True)
        missing = [int(page) for page in pages if int(page) not in self._places]
        if missing:
            count = PAGE // self.dtype.itemsize
            made = [
                np.asarray(self._page(page * count, count), self.dtype).view(np.uint8) for page in missing
            ]
            self._places |= {page: len(self._places) + i for i, page in enumerate(missing)}
            self.data = np.concatenate((self.data, np.stack(made)))
        places = np.array([self._places[int(page)] for page in pages], np.int64)
        return places[inverse.reshape(-1)] * PAGE + offset % PAGE


@dataclass(slots=True)
class Region:
    """Memory that one array lies in, as the machine sees it.

    It takes the bytes low to high - 1 of `data`, which begins at a multiple of 16, address `base`, and ends at one.
    cell, stamps: see tracking.py; no rows where races are not looked for.
    """

    name: str
    base: int
    low: int
    high: int
    data: np.ndarray
    cell: int
    stamps: np.ndarray
    written: np.ndarray
    readonly: bool = False
    sparse: Sparse | None = None
    array: np.ndarray | None = None

    @property
    def address(self) -> int:
        """Of its first byte."""
        return self.base + self.low

    def view(self, dtype: np.dtype) -> np.ndarray:
        """The bytes as unsigned integers of dtype's size."""
        return self.data.view(f"u{dtype.itemsize}")

    def physical(self, offset: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Offsets into `data`: those of a sparse array are looked up, pages made as needed."""
        if self.sparse is None:
            return offset
        places = np.zeros_like(offset)
        places[active] = self.sparse.physical(offset[active])
        self.data = self.sparse.data.reshape(-1)
        if self.stamps.size:
            self.stamps = _grown(self.stamps, self.data.size >> self.cell)
        return places

    def write_back(self) -> None:
        """To the argument."""
        if self.array is not None and not self.readonly:
            self.array.reshape(-1).view(np.uint8)[:] = self.data[self.low : self.high]


def _grown(stamps: np.ndarray, rows: int) -> np.ndarray:
    if rows == len(stamps):
        return stamps
    return np.concatenate((stamps, np.zeros((rows - len(stamps), 4), np.int64)))


def empty_stamps(cells: int) -> np.ndarray:
    """For so many cells that no one has touched."""
    return np.zeros((cells, 4), np.int64)


class GlobalMemory:
    """The regions of one launch, by their number: region k begins in the window from (k + 1) << WINDOW."""

    def __init__(self, check: bool) -> None:
        self.check = check
        self.regions: list[Region] = []
        self._known: dict[tuple[int, int], Region] = {}

    def add(self, argument: Buffer | Sparse) -> Region:
        """The region of an argument; arrays that are the same memory share theirs.

        Raises:
            ValueError: two arguments overlap in part.
        """
        window = window_base(len(self.regions))
        name = argument.name or f"argument {len(self.regions)}"
        if isinstance(argument, Sparse):
            size = argument.length * argument.dtype.itemsize
            if size > 1 << WINDOW - 1:
                raise ValueError(f"{name}: expected at most 2^{WINDOW - 1} bytes, got {size}")
            data = argument.data.reshape(-1)
            stamps = empty_stamps(data.size >> argument.cell if self.check else 0)
            region = Region(
                name, window, 0, size, data, argument.cell, stamps, NOTHING, argument.readonly, argument
            )
        else:
            array = argument.array
            start, low = argument.start, argument.within % 16
            key = (start, array.nbytes)
            if key in self._known:
                known = self._known[key]
                known.readonly |= argument.readonly
                return known
            for other, nbytes in self._known:
                if array.nbytes and other < start + array.nbytes and start < other + nbytes:
                    raise ValueError(
                        f"{name} overlaps another argument in part: pass the same array, or disjoint ones"
                    )
            watched = self.check and not argument.readonly
            region = Region(
                name,
                window + argument.within - low,
                low,
                low + array.nbytes,
                padded(array, low),
                argument.cell,
                empty_stamps((low + array.nbytes) >> argument.cell if watched else 0),
                argument.written,
                argument.readonly,
                array=array,
            )
            self._known[key] = region
        self.regions.append(region)
        return region

    def constant(self, name: str, content: bytes) -> Region:
        """An array of the module."""
        region = self.add(Buffer(np.frombuffer(content, np.uint8).copy(), name, readonly=True))
        region.array = None
        return region

    def region(self, window: int) -> Region | None:
        """The one in a window; the first is window 1."""
        return self.regions[window - 1] if 0 < window <= len(self.regions) else None

    def write_back(self) -> None:
        for region in self.regions:
            region.write_back()


def _root(array: np.ndarray) -> int:
    """Address of the array that this one is a slice of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.__array_interface__["data"][0]


def padded(array: np.ndarray, low: int = 0) -> np.ndarray:
    """Its bytes from byte `low` on, with zeros to a multiple of 16: a view of any item size is possible."""
    data = np.zeros(-(-(low + array.nbytes) // 16) * 16, np.uint8)
    data[low : low + array.nbytes] = array.reshape(-1).view(np.uint8)
    return data
