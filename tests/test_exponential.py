"""e^x on vectors against NumPy's in more digits, and where it ends: infinity, zero, NaN, the numbers below the normal ones."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from cnnlite_kernels.cpu.exponential import (
    row_exponential_sum,
    row_exponentials,
    row_maximum,
    row_sigmoids,
    row_tanhs,
)

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


@njit
def tanhs_32(x, y):
    row_tanhs(x.ctypes.data, y.ctypes.data, x.size, LANES, 4)


@njit
def tanhs_64(x, y):
    row_tanhs(x.ctypes.data, y.ctypes.data, x.size, LANES, 8)


@njit
def sigmoids_32(x, y):
    row_sigmoids(x.ctypes.data, y.ctypes.data, x.size, LANES, 4)


@njit
def sigmoids_64(x, y):
    row_sigmoids(x.ctypes.data, y.ctypes.data, x.size, LANES, 8)


@pytest.mark.parametrize(
    ("row", "dtype"),
    [(tanhs_32, np.float32), (tanhs_64, np.float64), (sigmoids_32, np.float32), (sigmoids_64, np.float64)],
)
def test_tanh_and_sigmoid_to_three_units_in_the_last_place(row, dtype) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal(4001) * size for size in (1e-6, 1e-3, 0.3, 1, 3, 30)]).astype(
        dtype
    )
    ends = np.array([0, -0.0, np.inf, -np.inf, np.nan, 0.625, -0.625], dtype)
    x = np.concatenate([x, ends])
    wide = x.astype(np.longdouble)
    with np.errstate(over="ignore"):
        wanted = np.tanh(wide) if "tanh" in row.__name__ else 1 / (1 + np.exp(-wide))
    y = np.full_like(x, 7)
    row(x, y)
    assert np.array_equal(np.isnan(y), np.isnan(x))
    real = ~np.isnan(x)
    assert np.array_equal(np.signbit(y[real]), np.signbit(wanted[real]))
    unit = np.spacing(np.maximum(np.abs(wanted[real]).astype(dtype), np.finfo(dtype).tiny))
    assert (np.abs(y[real] - wanted[real]) <= 3 * unit.astype(np.longdouble)).all()
    again = x.copy()
    row(again, again)
    assert np.array_equal(again, y, equal_nan=True)
