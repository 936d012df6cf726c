"""batch_normalization, in training and outside it, and its gradients against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import DTYPES, draw_normals, nans, variants

import cnnlite_kernels as kernels
from cnnlite_kernels import reference

# one number; lines of several pixels and some left; more channels than a block has numbers; more parts than one
SHAPES = (
    (1,),
    (1, 1),
    (70, 3),
    (3, 5, 7, 16),
    (2, 33),
    (3, 5000),
    (2, 9, 11, 64),
    (17, 60, 50, 3),
    (3, 200, 200, 1),
)
CUT = ((9, 60, 50, 33), (40_000, 7), (5, 200, 100, 1))


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> list[np.ndarray]:
    """x, grad_y, gamma, beta."""
    return [draw_normals(rng, s, dtype) for s in (shape, shape, shape[-1:], shape[-1:])]


def assert_near(actual: np.ndarray, expected: np.ndarray, terms: int = 1) -> None:
    """Some roundings of the largest number, and a random walk of those of a sum of `terms`."""
    tolerance = np.finfo(actual.dtype).eps * (32 + np.sqrt(terms)) * np.abs(expected).max(initial=1)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def assert_close_to_reference(shape: tuple[int, ...], dtype: type, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    x, grad_y, gamma, beta = draw(rng, shape, dtype)
    x += dtype(3)
    options: dict[str, Any] = {
        "epsilon": 0.25
    }  # however small a variance, x's own rounding grows by 2 at most
    pixels = x.size // shape[-1]
    y, mean, variance = kernels.batch_normalization_train(x, gamma, beta, out=nans(shape, dtype), **options)
    expected = reference.batch_normalization_train(x, gamma, beta, **options)
    for actual, wanted in zip((y, mean, variance), expected, strict=True):
        assert actual.dtype == dtype
        assert_near(actual, wanted, pixels)
    given = kernels.batch_normalization(x, mean, variance, gamma, beta, out=nans(shape, dtype), **options)
    np.testing.assert_array_equal(given, y)
    for training in (True, False):
        options |= {"gamma": gamma, "training": training}
        out = nans(shape, dtype)
        grads = kernels.batch_normalization_grad(grad_y, x, mean, variance, out=out, **options)
        assert grads[0] is out
        expected = reference.batch_normalization_grad(grad_y, x, mean, variance, **options)
        for actual, wanted in zip(grads, expected, strict=True):
            assert actual.dtype == dtype
            assert_near(actual, wanted, pixels)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_close_to_reference(shape: tuple[int, ...], dtype: type) -> None:
    assert_close_to_reference(shape, dtype)


@pytest.mark.parametrize("shape", CUT, ids=str)
def test_close_to_reference_where_pixels_are_cut(shape: tuple[int, ...]) -> None:
    assert_close_to_reference(shape, np.float32)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), max_size=3), st.integers(1, 80), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1)
)  # fmt: skip
def test_any_shape_is_close_to_reference(axes: list[int], c: int, dtype: type, seed: int) -> None:
    assert_close_to_reference((*axes, c), dtype, seed)


def exact(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Numbers one above and one below some integer of each channel, equally often: their variance is 1."""
    pixels = int(np.prod(shape[:-1]))
    signs = np.repeat(np.resize([1, -1], (pixels, 1)), shape[-1], axis=1)
    return (rng.permuted(signs, axis=0) + rng.integers(1, 5, shape[-1])).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 1), (64, 3), (4, 8, 8, 16), (2, 64, 64, 33)], ids=str)
def test_exact_numbers_equal_reference(shape: tuple[int, ...], dtype: type) -> None:
    """Integers, with an epsilon that makes the root 2: equal in float32, as the parts are put together in float64."""
    rng = np.random.default_rng(0)
    x, grad_y = exact(rng, shape, dtype), rng.integers(-4, 5, shape).astype(dtype)
    gamma, beta = rng.integers(-4, 5, (2, shape[-1])).astype(dtype)
    y, mean, variance = kernels.batch_normalization_train(x, gamma, beta, epsilon=3, out=nans(shape, dtype))
    expected = reference.batch_normalization_train(x, gamma, beta, epsilon=3)
    tolerance = 0 if dtype == np.float32 else 1e-14
    for actual, wanted in zip((y, mean, variance), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=tolerance)
    given = kernels.batch_normalization(x, mean, variance, gamma, beta, epsilon=3, out=nans(shape, dtype))
    np.testing.assert_array_equal(given, y)
    _, grad_gamma, grad_beta = kernels.batch_normalization_grad(grad_y, x, mean, variance, gamma, epsilon=3)
    expected = reference.batch_normalization_grad(grad_y, x, mean, variance, gamma, epsilon=3)
    np.testing.assert_allclose(grad_gamma, expected[1], rtol=0, atol=tolerance * x.size)
    np.testing.assert_array_equal(grad_beta, expected[2])
    grad_x, *_ = kernels.batch_normalization_grad(grad_y, x, mean, variance, gamma, epsilon=3, training=False)
    np.testing.assert_allclose(grad_x, grad_y * gamma / 2, rtol=0, atol=tolerance)


def test_moving_averages_move_in_place() -> None:
    x = exact(np.random.default_rng(0), (8, 8, 3), np.float32)
    moving_mean, moving_variance = np.array([8, 16, -8], np.float32), np.array([5, 9, 1], np.float32)
    before = moving_mean.copy()
    _, mean, _ = kernels.batch_normalization_train(
        x, moving_mean=moving_mean, moving_variance=moving_variance, momentum=0.75
    )
    np.testing.assert_array_equal(moving_mean, 0.75 * before + 0.25 * mean)
    np.testing.assert_array_equal(moving_variance, [4, 7, 1])


@pytest.mark.parametrize("shift", [1e4, -1e6])
def test_a_large_mean_costs_no_more_than_it_must(shift: float) -> None:
    """Squares less the squared mean would leave nothing of a variance of 1 beside a mean of a million, in float32."""
    x = (np.random.default_rng(1).standard_normal((40, 50, 20, 5)) + shift).astype(np.float32)
    y, mean, variance = kernels.batch_normalization_train(x, epsilon=0)
    expected = reference.batch_normalization_train(x, epsilon=0)
    half_a_unit = np.spacing(np.float32(abs(shift))) / 2  # of the mean, when it is float32
    np.testing.assert_allclose(mean, expected[1], rtol=0, atol=half_a_unit)
    np.testing.assert_allclose(variance, expected[2], rtol=1e-6 + half_a_unit**2)
    np.testing.assert_allclose(y, expected[0], rtol=0, atol=1e-5 + 1.1 * half_a_unit)


def test_nan_stays_in_its_channel() -> None:
    x = draw_normals(np.random.default_rng(2), (4, 5, 6, 7), np.float32)
    x[1, 2, 3, 4] = np.nan
    clean = x.copy()
    clean[..., 4] = 0
    y, mean, variance = kernels.batch_normalization_train(x)
    assert np.isnan(y[..., 4]).all()
    assert np.isnan([mean[4], variance[4]]).all()
    others = np.arange(7) != 4
    np.testing.assert_array_equal(y[..., others], kernels.batch_normalization_train(clean)[0][..., others])
    grad_x, *_ = kernels.batch_normalization_grad(x, clean, mean, variance, training=False)
    assert np.isfinite(grad_x[..., others]).all()


def test_outside_training_only_the_gradient_counts() -> None:
    """x may be infinite: what is not read cannot spoil the gradient."""
    x, grad_y = np.full((3, 2), np.inf), np.ones((3, 2))
    grad_x, _, grad_beta = kernels.batch_normalization_grad(
        grad_y, x, np.zeros(2), np.full(2, 3.0), epsilon=1, training=False
    )
    np.testing.assert_array_equal(grad_x, 0.5)
    np.testing.assert_array_equal(grad_beta, 3)


def test_empty_batches() -> None:
    empty, one = np.zeros((0, 4, 4, 3), np.float32), np.ones(3, np.float32)
    assert kernels.batch_normalization(empty, one, one).shape == empty.shape
    grads = kernels.batch_normalization_grad(empty, empty, one, one, one)
    assert [grad.tolist() for grad in grads] == [[], [0, 0, 0], [0, 0, 0]]
    with pytest.raises(
        ValueError,
        match=r"^batch_normalization_train: expected x with at least one pixel .* \(0, 4, 4, 3\); leave",
    ):
        kernels.batch_normalization_train(empty)


def test_in_place() -> None:
    rng = np.random.default_rng(3)
    x, grad_y, gamma, beta = draw(rng, (5, 6, 7), np.float32)
    y, mean, variance = kernels.batch_normalization_train(x, gamma, beta)
    grad_x, *_ = kernels.batch_normalization_grad(grad_y, x, mean, variance, gamma)
    over = x.copy()
    np.testing.assert_array_equal(kernels.batch_normalization_train(over, gamma, beta, out=over)[0], y)
    over = x.copy()
    np.testing.assert_array_equal(kernels.batch_normalization(over, mean, variance, gamma, beta, out=over), y)
    for out in (over_y := grad_y.copy(), over_x := x.copy()):
        operands = (over_y, x) if out is over_y else (grad_y, over_x)
        kernels.batch_normalization_grad(*operands, mean, variance, gamma, out=out)
        np.testing.assert_array_equal(out, grad_x)


def test_any_layout_of_the_operands() -> None:
    rng = np.random.default_rng(4)
    x, grad_y, gamma, beta = draw(rng, (3, 4, 5), np.float32)
    y, mean, variance = kernels.batch_normalization_train(x, gamma, beta)
    grads = kernels.batch_normalization_grad(grad_y, x, mean, variance, gamma)
    operands = (x, grad_y, gamma, beta, mean, variance)
    for x2, grad_y2, gamma2, beta2, mean2, variance2 in zip(*map(variants, operands), strict=True):
        np.testing.assert_array_equal(kernels.batch_normalization_train(x2, gamma2, beta2)[0], y)
        again = kernels.batch_normalization(x2, mean2, variance2, gamma2, beta2)
        np.testing.assert_array_equal(again, y)
        found = kernels.batch_normalization_grad(grad_y2, x2, mean2, variance2, gamma2)
        for a, b in zip(found, grads, strict=True):
            np.testing.assert_array_equal(a, b)


X, C = np.ones((2, 4, 4, 3), np.float32), np.ones(3, np.float32)
SHARED = np.ones(5, np.float32)


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kernels.batch_normalization(X.astype(int), C, C),
            TypeError,
            "^batch_normalization: expected x of dtype float32 or float64, got int64",
        ),
        (
            lambda: kernels.batch_normalization(np.float32(1), C, C),
            ValueError,
            r"^batch_normalization: expected x with at least one number along its last axis, got shape \(\)",
        ),
        (
            lambda: kernels.batch_normalization(X, C.astype(float), C),
            TypeError,
            "^batch_normalization: expected mean of dtype float32 as the first operand has, got float64",
        ),
        (
            lambda: kernels.batch_normalization(X, C, C[:2]),
            ValueError,
            r"^batch_normalization: expected variance of shape \(3,\), one number for each channel of x \(2, 4, 4, 3\), "
            r"got \(2,\); pass the array that belongs to it\.$",
        ),
        (
            lambda: kernels.batch_normalization_train(X, gamma=np.ones((1, 3), np.float32)),
            ValueError,
            r"^batch_normalization_train: expected gamma of shape \(3,\), one number .* got \(1, 3\)",
        ),
        (
            lambda: kernels.batch_normalization_train(X, moving_mean=C),
            ValueError,
            "^batch_normalization_train: expected moving_mean and moving_variance both or neither, got one; pass",
        ),
        (
            lambda: kernels.batch_normalization_train(X, moving_mean=C.astype(float), moving_variance=C),
            TypeError,
            r'^batch_normalization_train: expected moving_mean of dtype float32 as x has, got float64; convert .* and pass what',
        ),
        (
            lambda: kernels.batch_normalization_train(X, moving_mean=[0.0] * 3, moving_variance=C),
            TypeError,
            "^batch_normalization_train: expected moving_mean as an array that can be updated, got list; pass a NumPy",
        ),
        (
            lambda: kernels.batch_normalization_train(X, moving_mean=C.copy(), moving_variance=C[:1].copy()),
            ValueError,
            r"^batch_normalization_train: expected moving_variance of shape \(3,\), one number .* got \(1,\)",
        ),
        (
            lambda: kernels.batch_normalization_train(X, moving_mean=C.copy(), moving_variance=read_only(C)),
            ValueError,
            "^batch_normalization_train: expected moving_variance to be writeable and C-contiguous, for it is updated",
        ),
        (
            lambda: kernels.batch_normalization_train(
                X, moving_mean=C.copy(), moving_variance=np.ones(6, np.float32)[::2]
            ),
            ValueError,
            "^batch_normalization_train: expected moving_variance to be writeable and C-contiguous",
        ),
        (
            lambda: kernels.batch_normalization_train(X, moving_mean=SHARED[:3], moving_variance=SHARED[2:]),
            ValueError,
            "^batch_normalization_train: expected moving_mean to share no memory with other arrays of the call, for it is updated",
        ),
        (
            lambda: kernels.batch_normalization_train(X, SHARED[:3], moving_mean=C.copy(), moving_variance=SHARED[:3]),
            ValueError,
            "^batch_normalization_train: expected moving_variance to share no memory with",
        ),
        (
            lambda: kernels.batch_normalization_train(C, moving_mean=SHARED[:3], moving_variance=C.copy(), out=SHARED[:3]),
            ValueError,
            "^batch_normalization_train: expected moving_mean to share no memory with",
        ),
        (
            lambda: kernels.batch_normalization_train(X, momentum=1.5),
            ValueError,
            "^batch_normalization_train: expected momentum as a number from 0 to 1, got 1.5",
        ),
        (
            lambda: kernels.batch_normalization_train(X, epsilon=np.inf),
            ValueError,
            "^batch_normalization_train: expected epsilon as a finite number of at least 0, got inf",
        ),
        (
            lambda: kernels.batch_normalization_train(X, epsilon="little"),
            TypeError,
            "^batch_normalization_train: expected epsilon as a number, got 'little'; pass an int or a float",
        ),
        (
            lambda: kernels.batch_normalization_grad(X[:1], X, C, C),
            ValueError,
            r"^batch_normalization_grad: expected grad_y of shape \(2, 4, 4, 3\) as x has, got \(1, 4, 4, 3\)",
        ),
        (
            lambda: kernels.batch_normalization_grad(X.astype(float), X, C, C),
            TypeError,
            "^batch_normalization_grad: expected grad_y of dtype float32 as",
        ),
        (
            lambda: kernels.batch_normalization(X[0, 0], C, C, out=X[0, 0, ::-1]),
            ValueError,
            "^batch_normalization: expected out to be C-contiguous",
        ),
        (
            lambda: kernels.batch_normalization(X[:, :2].copy(), C, C, out=X),
            ValueError,
            r"^batch_normalization: expected out of shape \(2, 2, 4, 3\), got",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
