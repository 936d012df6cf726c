"""min_pool2d and its gradient: by hand, by central differences, and the kernels against the reference."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from arrays import image
from cases import PoolCase
from central_differences import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import DTYPES, draw_integers, nans
from strategies import pool_cases

import cnnlite_kernels as kernels
from cnnlite_kernels import reference

CUT = (
    PoolCase("cut_images", 17, 40, 40, 33, (2, 2)),
    PoolCase("cut_rows", 1, 401, 50, 24, (3, 3), (2, 2), "same"),
)


def test_by_hand() -> None:
    x = image([[4, 5, 2, 0], [3, 3, 9, np.nan]])
    grad_y = image([[7, 8]])
    for module in (reference, kernels):
        y, indices = module.min_pool2d(x, 2, return_indices=True)
        np.testing.assert_array_equal(y[0, :, :, 0], [[3, np.nan]])
        np.testing.assert_array_equal(indices[0, :, :, 0], [[2, 3]])
        np.testing.assert_array_equal(
            module.min_pool2d_grad(grad_y, x, 2)[0, :, :, 0], [[0, 0, 0, 0], [7, 0, 0, 8]]
        )


@pytest.mark.parametrize("case", cases.ODD_POOLS[:12:3], ids=str)
def test_gradient_against_central_differences(case: PoolCase) -> None:
    rng = np.random.default_rng(0)
    x = rng.permutation(np.arange(float(np.prod(case.x_shape)))).reshape(case.x_shape)
    grad_y = rng.standard_normal(case.y_shape)
    grad_x = reference.min_pool2d_grad(grad_y, x, case.pool_size, **case.options)
    assert_gradient(
        grad_x, lambda x: (reference.min_pool2d(x, case.pool_size, **case.options) * grad_y).sum(), x
    )


def assert_equal_to_reference(case: PoolCase, dtype: type, seed: int = 0) -> None:
    """Integers of few values: many windows hold equal minima, of which the first must win; NaN and infinity among them."""
    rng = np.random.default_rng(seed)
    x, grad_y = draw_integers(rng, case.x_shape, dtype), draw_integers(rng, case.y_shape, dtype)
    x[rng.random(x.shape) < 0.05] = np.nan
    x[rng.random(x.shape) < 0.05] = np.inf
    expected, places = reference.min_pool2d(x, case.pool_size, return_indices=True, **case.options)
    out = nans(case.y_shape, dtype)
    y, indices = kernels.min_pool2d(x, case.pool_size, return_indices=True, out=out, **case.options)
    assert y is out
    assert indices.dtype == np.int32
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, places)
    np.testing.assert_array_equal(kernels.min_pool2d(x, case.pool_size, **case.options), expected)
    expected = reference.min_pool2d_grad(grad_y, x, case.pool_size, **case.options)
    for known in (None, indices):
        out = nans(case.x_shape, dtype)
        grad_x = kernels.min_pool2d_grad(grad_y, x, case.pool_size, indices=known, out=out, **case.options)
        assert grad_x is out
        np.testing.assert_array_equal(grad_x, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", cases.ODD_POOLS, ids=str)
def test_equal_to_reference(case: PoolCase, dtype: type) -> None:
    assert_equal_to_reference(case, dtype)


@pytest.mark.parametrize("case", CUT, ids=str)
def test_equal_to_reference_where_images_are_cut(case: PoolCase) -> None:
    assert_equal_to_reference(case, np.float32)


@settings(max_examples=30, deadline=None)
@given(pool_cases(), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_any_geometry_equals_reference(case: PoolCase, dtype: type, seed: int) -> None:
    assert_equal_to_reference(case, dtype, seed)


def test_padding_never_wins() -> None:
    x = np.full((1, 3, 3, 2), np.inf, np.float32)
    y, indices = kernels.min_pool2d(x, 3, strides=1, padding="same", return_indices=True)
    np.testing.assert_array_equal(y, x)
    assert indices[0, 0, 0, 0] == 4  # the window's middle is its first pixel inside the image


X = np.ones((2, 8, 8, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kernels.min_pool2d(X.astype(np.uint8), 2), TypeError, "^min_pool2d: expected x of dtype float32"),
        (lambda: kernels.min_pool2d(X, 9), ValueError, "^min_pool2d: expected an image of at least 9 x 9"),
        (
            lambda: kernels.min_pool2d(X, 2, padding=((2, 0), (0, 0))),
            ValueError,
            r"^min_pool2d: expected padding smaller than the pool size \(2, 2\)",
        ),
        (
            lambda: kernels.min_pool2d_grad(X[:, ::2, ::2], X, 2, indices=np.zeros((2, 4, 4, 4))),
            TypeError,
            r"^min_pool2d_grad: expected indices of dtype int32, got float64; pass what min_pool2d\(\.\.\., return_ind",
        ),
        (
            lambda: kernels.min_pool2d_grad(X[:, ::2, ::2], X, 2, indices=np.full((2, 4, 4, 4), 4, np.int32)),
            ValueError,
            r"^min_pool2d_grad: expected indices of pixels inside .* got 4; pass what min_pool2d\(",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
