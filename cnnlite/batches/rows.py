"""One batch out of a data set: converted to the model's dtype on the way, never the whole array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cnnlite.batches.types import AnyArray, Indices

# Bytes of source rows that are gathered before they are converted: they are still in L2 when read again.
CHUNK_BYTES = 256 * 1024


def gather(array: AnyArray, indices: Indices, out: AnyArray) -> AnyArray:
    """Copy the rows ``indices`` of ``array`` into the first rows of ``out``, converted to its dtype.

    Args:
        array: (n, ...), any bool, integer or float dtype, any memory layout; only the rows asked for are
            read, so a memory-mapped file stays on disk.
        indices: a slice of step 1, or an integer array (m,) of valid row numbers. They are not checked here:
            they come from ``ArrayBatches``.
        out: C-contiguous buffer (capacity, ...) with capacity >= m and rows shaped as those of ``array``.
            The caller owns it and may hand it in again for every batch.

    Returns:
        The view ``out[:m]``.

    Raises:
        ValueError: rows of another shape than those of ``out``, or more of them than fit.

    >>> import numpy as np
    >>> x = np.arange(12, dtype=np.uint8).reshape(6, 2)
    >>> buffer = np.empty((4, 2), np.float32)
    >>> gather(x, np.array([5, 0]), buffer)
    array([[10., 11.],
           [ 0.,  1.]], dtype=float32)
    >>> gather(x, slice(4, 6), buffer)
    array([[ 8.,  9.],
           [10., 11.]], dtype=float32)
    """
    if isinstance(indices, slice):
        rows = array[indices]
        count = len(rows)
        _check_fits(array, count, out)
        filled = out[:count]
        np.copyto(filled, rows, casting="unsafe")
        return filled
    count = len(indices)
    _check_fits(array, count, out)
    filled = out[:count]
    # np.take would first copy the whole of an array that is strided, misaligned or byte-swapped.
    takeable = array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative
    if takeable and array.dtype == out.dtype:
        # mode="raise" would make take fill a temporary copy of out first
        np.take(array, indices, axis=0, out=filled, mode="clip")
        return filled
    row_bytes = array.dtype.itemsize * max(1, filled[:1].size)
    chunk = max(1, CHUNK_BYTES // row_bytes)
    for start in range(0, count, chunk):
        part = indices[start : start + chunk]
        rows = np.take(array, part, axis=0, mode="clip") if takeable else array[part]
        np.copyto(filled[start : start + chunk], rows, casting="unsafe")
    return filled


def borrow(array: AnyArray, indices: Indices, dtype: np.dtype | type) -> AnyArray | None:
    """Return the rows as a view if a kernel can read them where they lie, else None: then ``gather`` them.

    Args:
        array: (n, ...), any dtype.
        indices: a slice of step 1, or an integer array (m,), for which the answer is always None.
        dtype: the dtype that the kernel reads.

    Returns:
        (m, ...) C-contiguous, aligned, of ``dtype``, sharing memory with ``array``; or None.

    >>> import numpy as np
    >>> x = np.zeros((6, 2), np.float32)
    >>> np.shares_memory(borrow(x, slice(0, 4), np.float32), x)
    True
    >>> borrow(x, slice(0, 4), np.float64) is None
    True
    """
    if not isinstance(indices, slice) or array.dtype != dtype:
        return None
    rows = array[indices]
    return rows if rows.flags.c_contiguous and rows.flags.aligned else None


def _check_fits(array: AnyArray, count: int, out: NDArray) -> None:
    if out.shape[1:] != array.shape[1:] or out.shape[0] < count:
        raise ValueError(
            f"gather: expected an out buffer for {count} rows of shape {array.shape[1:]}, got out of shape "
            f"{out.shape}. Allocate it as (batch_size, *array.shape[1:])."
        )
