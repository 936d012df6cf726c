"""max_pool2d and its gradient against the reference."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from cases import PoolCase
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import DTYPES, draw_integers, nans, variants
from strategies import pool_cases

import cnnlite_kernels as kernels
from cnnlite_kernels import reference

SMALL = (*cases.ODD_POOLS, *(c.with_batch(3) for c in cases.DOCUMENTED if isinstance(c, PoolCase)))
CUT = (
    PoolCase("cut_images", 17, 40, 40, 33, (2, 2)),
    PoolCase("cut_rows", 1, 401, 50, 24, (3, 3), (2, 2), "same"),
    PoolCase("cut_rows_strides_5", 2, 250, 60, 16, (3, 2), (5, 3)),
    PoolCase("cut_one_channel", 2, 400, 300, 1, (3, 3), (1, 1), ((1, 1), (1, 1))),
)


def assert_equal_to_reference(case: PoolCase, dtype: type, seed: int = 0) -> None:
    """Integers of few values: many windows hold equal maxima, of which the first must win."""
    rng = np.random.default_rng(seed)
    x, grad_y = draw_integers(rng, case.x_shape, dtype), draw_integers(rng, case.y_shape, dtype)
    expected, expected_indices = reference.max_pool2d(x, case.pool_size, return_indices=True, **case.options)
    out = nans(case.y_shape, dtype)
    y, indices = kernels.max_pool2d(x, case.pool_size, return_indices=True, out=out, **case.options)
    assert y is out
    assert indices.dtype == np.int32
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(kernels.max_pool2d(x, case.pool_size, **case.options), expected)
    expected = reference.max_pool2d_grad(grad_y, x, case.pool_size, **case.options)
    for known in (None, indices):
        out = nans(case.x_shape, dtype)
        grad_x = kernels.max_pool2d_grad(grad_y, x, case.pool_size, indices=known, out=out, **case.options)
        assert grad_x is out
        np.testing.assert_array_equal(grad_x, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_integers_equal_reference(case: PoolCase, dtype: type) -> None:
    assert_equal_to_reference(case, dtype)


@pytest.mark.parametrize("case", CUT, ids=str)
def test_integers_equal_reference_where_images_are_cut(case: PoolCase) -> None:
    assert_equal_to_reference(case, np.float32)


@settings(max_examples=60, deadline=None)
@given(pool_cases(), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_any_geometry_equals_reference(case: PoolCase, dtype: type, seed: int) -> None:
    assert_equal_to_reference(case, dtype, seed)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_wins_and_the_first_one_stays(dtype: type) -> None:
    rng = np.random.default_rng(1)
    x = draw_integers(rng, (2, 9, 8, 19), dtype)
    x[rng.random(x.shape) < 0.2] = np.nan
    x[rng.random(x.shape) < 0.2] = -np.inf
    for options in ({}, {"strides": 1, "padding": "same"}):
        expected, expected_indices = reference.max_pool2d(x, 3, return_indices=True, **options)
        y, indices = kernels.max_pool2d(x, 3, return_indices=True, **options)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(indices, expected_indices)
        grad_y = draw_integers(rng, y.shape, dtype)
        np.testing.assert_array_equal(
            kernels.max_pool2d_grad(grad_y, x, 3, **options),
            reference.max_pool2d_grad(grad_y, x, 3, **options),
        )


def test_padding_never_wins() -> None:
    x = np.full((1, 3, 3, 2), -np.inf, np.float32)
    y, indices = kernels.max_pool2d(x, 3, strides=1, padding="same", return_indices=True)
    np.testing.assert_array_equal(y, x)
    assert indices[0, 0, 0, 0] == 4  # the window's middle is its first pixel inside the image


def test_any_layout_of_the_operands() -> None:
    rng = np.random.default_rng(2)
    x, grad_y = draw_integers(rng, (2, 6, 8, 5), np.float32), draw_integers(rng, (2, 3, 4, 5), np.float32)
    y, indices = kernels.max_pool2d(x, 2, return_indices=True)
    grad_x = kernels.max_pool2d_grad(grad_y, x, 2)
    for x2, grad_y2, indices2 in zip(*map(variants, (x, grad_y, indices)), strict=True):
        np.testing.assert_array_equal(kernels.max_pool2d(x2, 2), y)
        np.testing.assert_array_equal(kernels.max_pool2d_grad(grad_y2, x2, 2), grad_x)
        np.testing.assert_array_equal(kernels.max_pool2d_grad(grad_y2, x2, 2, indices=indices2), grad_x)
