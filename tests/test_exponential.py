"""e^x on vectors against NumPy's in more digits, and where it ends: infinity, zero, NaN, the numbers below the normal ones."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from cnnlite_kernels.cpu.exponential import row_exponential_sum, row_exponentials, row_maximum

LANES = 8
DTYPES = (np.float32, np.float64)


@njit
def exponentials_32(x, y, shift):
    row_exponentials(x.ctypes.data, y.ctypes.data, x.size, shift, shift, np.float32(1), LANES, 4)


@njit
def exponentials_64(x, y, shift):
    row_exponentials(x.ctypes.data, y.ctypes.data, x.size, shift, shift, np.float64(1), LANES, 8)


@njit
def sums_32(x, shift):
    data, size = x.ctypes.data, x.size
    return row_maximum(data, size, LANES, 4), row_exponential_sum(data, size, shift, LANES, 4)


@njit
def sums_64(x, shift):
    data, size = x.ctypes.data, x.size
    return row_maximum(data, size, LANES, 8), row_exponential_sum(data, size, shift, LANES, 8)


def exponentials(x: np.ndarray) -> np.ndarray:
    y = np.full_like(x, np.nan)
    (exponentials_32 if x.dtype == np.float32 else exponentials_64)(x, y, x.dtype.type(0))
    return y


@pytest.mark.parametrize("dtype", DTYPES)
def test_within_two_units_in_the_last_place(dtype: type) -> None:
    low, high = (-87, 88.7) if dtype is np.float32 else (-708, 709.7)
    x = np.linspace(low, high, 200_003).astype(dtype)
    expected = np.exp(x.astype(np.longdouble))
    unit = np.spacing(expected.astype(dtype))
    assert np.abs((exponentials(x) - expected) / unit).max() < 2
    assert exponentials(np.zeros(3, dtype)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_it_ends(dtype: type) -> None:
    top = np.log(np.finfo(dtype).max)
    bottom = np.log(np.finfo(dtype).smallest_subnormal)
    x = np.array([np.inf, top + 1, 1e30, -np.inf, bottom - 2, -1e30, np.nan, bottom + 1], dtype)
    y = exponentials(x)
    np.testing.assert_array_equal(y[:7], [np.inf, np.inf, np.inf, 0, 0, 0, np.nan])
    np.testing.assert_allclose(y[7], np.exp(x[7]), atol=np.finfo(dtype).smallest_subnormal)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 41])
def test_rows_of_any_length(size: int, dtype: type) -> None:
    x = np.random.default_rng(size).normal(size=size).astype(dtype)
    top, total = (sums_32 if dtype is np.float32 else sums_64)(x, dtype(0.5))
    assert top == x.max()
    np.testing.assert_allclose(total, np.exp(x - dtype(0.5)).sum(), rtol=8 * np.finfo(dtype).eps)
    np.testing.assert_allclose(exponentials(x), np.exp(x), rtol=4 * np.finfo(dtype).eps)
