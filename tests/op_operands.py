"""Operands of ops: exact or random, in every memory layout, and the tolerance that their sums allow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

DTYPES = (np.float32, np.float64)


def draw_integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Small integers: sums of a million products are exact in float32."""
    return rng.integers(-4, 5, shape).astype(dtype)


def draw_normals(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


def nans(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An output in which whatever is not written shows."""
    return np.full(shape, np.nan, dtype)


def assert_close(actual: np.ndarray, expected: np.ndarray, terms: int) -> None:
    """Sums of `terms` products of numbers of about 1, each at most 20.

    Rounding errors are at most eps / 2 of the partial sums, which are of about sqrt(terms), and add up like a random walk:
    eps * terms, times 4 for the unluckiest of many.
    """
    assert actual.shape == expected.shape
    tolerance = 4 * np.finfo(actual.dtype).eps * max(terms, 1)
    np.testing.assert_allclose(actual, expected, rtol=4 * np.finfo(actual.dtype).eps, atol=tolerance)


def variants(array: np.ndarray) -> Iterator[np.ndarray]:
    """Equal arrays that lie differently in memory."""
    yield array
    frozen = array.copy()
    frozen.flags.writeable = False
    yield frozen
    yield np.asfortranarray(array)
    yield np.repeat(array, 2, axis=-1)[..., ::2]
    yield np.ascontiguousarray(array[::-1])[::-1]
    flipped = tuple(slice(None, None, -1) for _ in range(array.ndim))
    yield np.ascontiguousarray(array[flipped])[flipped]
    yield np.ascontiguousarray(array.T).T
    yield array.astype(array.dtype.newbyteorder(">"))
    yield unaligned(array)


def unaligned(array: np.ndarray) -> np.ndarray:
    """An equal array that begins one byte after a place where its numbers should."""
    memory = np.empty(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view
