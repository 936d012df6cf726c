"""average_pool2d and pooling over whole images: the reference by hand and by central differences, the kernels against it."""

from __future__ import annotations

from typing import Any

import cases
import numpy as np
import pytest
from arrays import image
from cases import PoolCase
from central_differences import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import DTYPES, assert_close, draw_integers, draw_normals, nans, variants
from strategies import pool_cases

import cnnlite_kernels as kernels
from cnnlite_kernels import reference

SMALL = (*cases.ODD_POOLS, *(c.with_batch(3) for c in cases.DOCUMENTED if isinstance(c, PoolCase)))
CUT = (
    PoolCase("cut_images", 17, 40, 40, 33, (2, 2)),
    PoolCase("cut_rows", 1, 401, 50, 24, (3, 3), (2, 2), "same"),
    PoolCase("cut_rows_strides_5", 2, 250, 60, 16, (3, 2), (5, 3)),
)


@pytest.mark.parametrize(
    ("rows", "pool_size", "options", "expected"),
    [
        ([[1, 2, 3, 4], [5, 6, 7, 8]], 2, {}, [[3.5, 5.5]]),
        ([[1, 5, 2], [4, 2, 9]], 2, {}, [[3]]),
        ([[1, 5, 2], [4, 2, 9]], 2, {"padding": "same"}, [[3, 5.5]]),
        ([[1, 5, 2], [4, 2, 9]], 2, {"strides": 1}, [[3, 4.5]]),
        ([[1, 5, 3], [4, 2, 9]], (1, 3), {}, [[3], [5]]),
        ([[8]], 3, {"padding": ((1, 1), (1, 1)), "strides": 1}, [[8]]),
        ([[2, 4]], 2, {"padding": ((1, 0), (1, 1))}, [[2, 4]]),
    ],
)
def test_by_hand(rows: list, pool_size: Any, options: dict, expected: list) -> None:
    for module in (reference, kernels):
        y = module.average_pool2d(image(rows), pool_size, **options)
        np.testing.assert_array_equal(y[0, :, :, 0], expected)


def test_as_keras(keras_layers: dict[str, Any]) -> None:
    stored = keras_layers["average_pool2d"]
    x, options = np.array(stored["x"]), {"strides": 2, "padding": "same"}
    np.testing.assert_allclose(reference.average_pool2d(x, 3, **options), stored["y"], rtol=1e-9)
    grad_x = reference.average_pool2d_grad(np.array(stored["grad_y"]), x.shape, 3, **options)
    np.testing.assert_allclose(grad_x, stored["grad_x"], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", cases.ODD_POOLS, ids=str)
def test_gradient_against_central_differences(case: PoolCase) -> None:
    rng = np.random.default_rng(0)
    x, grad_y = rng.standard_normal(case.x_shape), rng.standard_normal(case.y_shape)
    grad_x = reference.average_pool2d_grad(grad_y, case.x_shape, case.pool_size, **case.options)
    assert_gradient(
        grad_x, lambda x: (reference.average_pool2d(x, case.pool_size, **case.options) * grad_y).sum(), x
    )


def multiples(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Integers that everything up to 4 x 4 pixels divides: means and shares are exact."""
    return draw_integers(rng, shape, dtype) * dtype(144)


def run(draw: Any, case: PoolCase, dtype: type, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(found, expected) of both passes."""
    rng = np.random.default_rng(seed)
    x, grad_y = draw(rng, case.x_shape, dtype), draw(rng, case.y_shape, dtype)
    y, grad_x = nans(case.y_shape, dtype), nans(case.x_shape, dtype)
    assert kernels.average_pool2d(x, case.pool_size, out=y, **case.options) is y
    kernels.average_pool2d_grad(grad_y, x.shape, case.pool_size, out=grad_x, **case.options)
    expected = reference.average_pool2d(x, case.pool_size, **case.options)
    expected_grad = reference.average_pool2d_grad(grad_y, x.shape, case.pool_size, **case.options)
    return [(y, expected), (grad_x, expected_grad)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_integers_equal_reference(case: PoolCase, dtype: type) -> None:
    for found, expected in run(multiples, case, dtype, 0):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("case", CUT, ids=str)
def test_integers_equal_reference_where_images_are_cut(case: PoolCase) -> None:
    for found, expected in run(multiples, case, np.float32, 0):
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=60, deadline=None)
@given(pool_cases(), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_any_geometry_is_close_to_reference(case: PoolCase, dtype: type, seed: int) -> None:
    for found, expected in run(draw_normals, case, dtype, seed):
        assert_close(found, expected, case.pool_size[0] * case.pool_size[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 4, 2, 5), (0, 2, 2, 3), (20, 8, 16, 70)], ids=str)
def test_whole_images(shape: tuple[int, int, int, int], dtype: type) -> None:
    rng = np.random.default_rng(1)
    n, _, _, c = shape
    x, grad_y = draw_integers(rng, shape, dtype), draw_integers(rng, (n, c), dtype)
    y = kernels.global_average_pool2d(x, out=nans((n, c), dtype))
    np.testing.assert_array_equal(y, reference.global_average_pool2d(x))
    grad_x = kernels.global_average_pool2d_grad(grad_y, shape, out=nans(shape, dtype))
    np.testing.assert_array_equal(grad_x, reference.global_average_pool2d_grad(grad_y, shape))
    y = kernels.global_max_pool2d(x, out=nans((n, c), dtype))
    np.testing.assert_array_equal(y, reference.global_max_pool2d(x))
    grad_x = kernels.global_max_pool2d_grad(grad_y, x, out=nans(shape, dtype))
    np.testing.assert_array_equal(grad_x, reference.global_max_pool2d_grad(grad_y, x))


def test_whole_images_are_means_and_maxima() -> None:
    rng = np.random.default_rng(2)
    x, grad_y = rng.permutation(np.arange(30.0)).reshape(1, 3, 5, 2), np.array([[15.0, 30.0]])
    np.testing.assert_array_equal(reference.global_average_pool2d(x), x.mean(axis=(1, 2)))
    np.testing.assert_array_equal(reference.global_max_pool2d(x), x.max(axis=(1, 2)))
    grad_x = reference.global_average_pool2d_grad(grad_y, x.shape)
    np.testing.assert_array_equal(grad_x, np.broadcast_to([1.0, 2.0], x.shape))
    grad_x = reference.global_max_pool2d_grad(grad_y, x)
    np.testing.assert_array_equal(grad_x, np.where(x == x.max(axis=(1, 2)), grad_y, 0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_means_of_many_pixels_keep_their_digits(dtype: type) -> None:
    """One sum in float32 of so many numbers of one sign would be off by 3 in 10,000, and by more for larger images."""
    x = np.full((1, 200, 150, 3), dtype(0.1))
    x[..., 2] = -7
    x[0, 199, 149, 1] = np.inf
    found = [kernels.global_average_pool2d(x)[0], kernels.average_pool2d(x, (200, 9), strides=1)[0, 0, -1]]
    for mean in found:
        np.testing.assert_allclose(mean, [dtype(0.1), np.inf, -7], rtol=64 * np.finfo(dtype).eps)


def test_nan_stays_in_its_windows() -> None:
    x = np.zeros((1, 6, 6, 2), np.float32)
    x[0, 2, 3, 1] = np.nan
    y = kernels.average_pool2d(x, 2)
    expected = np.zeros(y.shape, bool)
    expected[0, 1, 1, 1] = True
    np.testing.assert_array_equal(np.isnan(y), expected)


def test_any_layout_of_the_operands() -> None:
    rng = np.random.default_rng(3)
    x, grad_y = draw_integers(rng, (2, 6, 8, 5), np.float32), draw_integers(rng, (2, 3, 4, 5), np.float32)
    y, grad_x = kernels.average_pool2d(x, 2), kernels.average_pool2d_grad(grad_y, x.shape, 2)
    for x2, grad_y2 in zip(*map(variants, (x, grad_y)), strict=True):
        np.testing.assert_array_equal(kernels.average_pool2d(x2, 2), y)
        np.testing.assert_array_equal(kernels.average_pool2d_grad(grad_y2, x.shape, 2), grad_x)
        np.testing.assert_array_equal(kernels.global_max_pool2d(x2), kernels.global_max_pool2d(x))


X, Y = np.ones((2, 4, 4, 3), np.float32), np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kernels.average_pool2d(X.astype(int), 2),
            TypeError,
            "^average_pool2d: expected x of dtype float32 or float64, got int64",
        ),
        (
            lambda: kernels.average_pool2d(X, 5),
            ValueError,
            "^average_pool2d: expected an image of at least 5 x 5",
        ),
        (
            lambda: kernels.average_pool2d(X, 2, padding=((0, 2), (0, 0))),
            ValueError,
            r"^average_pool2d: expected padding smaller than the pool size \(2, 2\)",
        ),
        (
            lambda: kernels.average_pool2d_grad(X, X.shape, 2),
            ValueError,
            r"^average_pool2d_grad: expected grad_y of shape \(2, 2, 2, 3\) for x_shape \(2, 4, 4, 3\) and pool_size",
        ),
        (
            lambda: kernels.average_pool2d_grad(X, (4, 4, 3), 2),
            ValueError,
            r"^average_pool2d_grad: expected x_shape as ints \(n, h, w, c\), got \(4, 4, 3\)",
        ),
        (
            lambda: kernels.global_average_pool2d(X[0]),
            ValueError,
            r"^global_average_pool2d: expected x of shape \(n, h, w, c\), got \(4, 4, 3\)",
        ),
        (
            lambda: kernels.global_max_pool2d(X[:, :0]),
            ValueError,
            "^global_max_pool2d: expected an image of at least 1 x 1 pixels, got 0 x 4; leave",
        ),
        (
            lambda: kernels.global_average_pool2d(X, out=np.empty((2, 1, 1, 3), np.float32)),
            ValueError,
            r"^global_average_pool2d: expected out of shape \(2, 3\), got \(2, 1, 1, 3\)",
        ),
        (
            lambda: kernels.global_average_pool2d_grad(Y, (2, 4, 4, 2)),
            ValueError,
            r"^global_average_pool2d_grad: expected grad_y of shape \(2, 2\) for x_shape \(2, 4, 4, 2\), got \(2, 3\)",
        ),
        (
            lambda: kernels.global_max_pool2d_grad(Y[:1], X),
            ValueError,
            r"^global_max_pool2d_grad: expected grad_y of shape \(2, 3\) for x \(2, 4, 4, 3\), got \(1, 3\)",
        ),
        (
            lambda: kernels.global_max_pool2d_grad(Y, X.astype(float)),
            TypeError,
            "^global_max_pool2d_grad: expected grad_y of dtype float64 as",
        ),
    ],
)
def test_what_cannot_be(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
