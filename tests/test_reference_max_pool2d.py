"""The max_pool2d reference: by hand, by its formula, by central differences at every index."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from arrays import image, integers
from cases import PoolCase
from central_differences import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import pool_cases

from cnnlite_kernels import reference

SEEDS = st.integers(0, 2**32 - 1)

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("rows", "pool_size", "options", "expected", "indices"),
    [
        ([[1, 2, 3, 4], [5, 6, 7, 8]], 2, {}, [[6, 8]], [[3, 3]]),
        ([[1, 5, 2], [4, 3, 9]], 2, {}, [[5]], [[1]]),
        ([[1, 5, 2], [4, 3, 9]], 2, {"padding": "same"}, [[5, 9]], [[1, 2]]),
        ([[1, 5, 2], [4, 3, 9]], 2, {"strides": 1}, [[5, 9]], [[1, 3]]),
        ([[1, 5, 2], [4, 3, 9]], (1, 3), {}, [[5], [9]], [[1], [2]]),
        ([[7, 7], [7, 7]], 2, {}, [[7]], [[0]]),
        ([[3, 7], [7, 7]], 2, {}, [[7]], [[1]]),
        ([[-0.0, 0.0]], (1, 2), {}, [[0]], [[0]]),
        ([[9, NAN], [NAN, 10]], 2, {}, [[NAN]], [[1]]),
        ([[INF, 1], [1, NAN]], 2, {}, [[NAN]], [[3]]),
        ([[-INF, -INF], [-INF, -5]], 2, {}, [[-5]], [[3]]),
        ([[-INF, -INF], [-INF, -INF]], 2, {}, [[-INF]], [[0]]),
        ([[-INF]], 3, {"padding": ((1, 1), (1, 1)), "strides": 1}, [[-INF]], [[4]]),
        ([[-INF, -INF]], 2, {"padding": ((1, 0), (1, 0))}, [[-INF]], [[3]]),
        ([[-3, -2]], 2, {"padding": ((1, 0), (1, 1))}, [[-3, -2]], [[3, 2]]),
        ([[NAN]], 2, {"padding": ((1, 0), (1, 0))}, [[NAN]], [[3]]),
    ],
)
def test_max_pool2d_by_hand(
    rows: list, pool_size: object, options: dict, expected: list, indices: list
) -> None:
    y, found = reference.max_pool2d(image(rows), pool_size, return_indices=True, **options)
    np.testing.assert_array_equal(y[0, :, :, 0], expected)
    np.testing.assert_array_equal(found[0, :, :, 0], indices)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(reference.max_pool2d(image(rows), pool_size, **options), y)


def test_max_pool2d_gradient_by_hand() -> None:
    x = image([[1, 5, 2], [4, 3, 9]])
    overlapping = reference.max_pool2d_grad(np.array([10, 20]).reshape(1, 1, 2, 1), x, 2, strides=1)
    np.testing.assert_array_equal(overlapping[0, :, :, 0], [[0, 10, 0], [0, 0, 20]])
    shared = reference.max_pool2d_grad(
        np.array([10, 20]).reshape(1, 1, 2, 1), image([[1, 7, 2], [4, 3, 6]]), 2, strides=1
    )
    np.testing.assert_array_equal(shared[0, :, :, 0], [[0, 30, 0], [0, 0, 0]])
    ties = reference.max_pool2d_grad(np.array([10]).reshape(1, 1, 1, 1), image([[7, 7], [7, 7]]), 2)
    np.testing.assert_array_equal(ties[0, :, :, 0], [[10, 0], [0, 0]])
    padded = reference.max_pool2d_grad(
        np.array([10]).reshape(1, 1, 1, 1), image([[-INF]]), 3, strides=1, padding=((1, 1), (1, 1))
    )
    np.testing.assert_array_equal(padded, [[[[10]]]])


def max_pool2d_by_formula(x: np.ndarray, case: PoolCase) -> tuple[np.ndarray, np.ndarray]:
    """A window at a time: its real pixels in a list, and Python picks the winner."""
    y, indices = np.zeros(case.y_shape), np.zeros(case.y_shape, np.int32)
    window = case.window
    (top, _), (left, _) = window.pads(case.h, case.w)
    for n, p, q, c in np.ndindex(*y.shape):
        pixels = []
        for position, (i, k) in enumerate(np.ndindex(*window.kernel)):
            row, column = p * window.strides[0] + i - top, q * window.strides[1] + k - left
            if 0 <= row < case.h and 0 <= column < case.w:
                value = x[n, row, column, c]
                pixels.append((np.isnan(value), 0.0 if np.isnan(value) else value, -position, value))
        *_, negative, y[n, p, q, c] = max(pixels, key=lambda pixel: pixel[:3])
        indices[n, p, q, c] = -negative
    return y, indices


@settings(max_examples=50, deadline=None)
@given(pool_cases(max_batch=2, max_channels=2, slack=3), SEEDS)
def test_max_pool2d_is_its_formula(case: PoolCase, seed: int) -> None:
    x = np.random.default_rng(seed).choice([-INF, -1.0, 0.0, 1.0, 2.0, INF, NAN], size=case.x_shape)
    y, indices = reference.max_pool2d(x, case.pool_size, return_indices=True, **case.options)
    expected_y, expected_indices = max_pool2d_by_formula(x, case)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(indices, expected_indices)


@pytest.mark.parametrize("case", cases.ODD_POOLS, ids=str)
def test_max_pool2d_gradient_against_central_differences(case: PoolCase) -> None:
    rng = np.random.default_rng(3)
    # All pixels a whole step apart, so that no index is near a tie.
    x = rng.permutation(np.arange(np.prod(case.x_shape), dtype=np.float64)).reshape(case.x_shape)
    grad_y = rng.normal(size=case.y_shape)
    grad_x = reference.max_pool2d_grad(grad_y, x, case.pool_size, **case.options)
    # Rounding of sums near 1e4 over a step of 1e-2 stays far under the tolerance.
    assert_gradient(
        grad_x,
        lambda x: (reference.max_pool2d(x, case.pool_size, **case.options) * grad_y).sum(),
        x,
        eps=1e-2,
    )


@settings(max_examples=50, deadline=None)
@given(pool_cases(), SEEDS)
def test_max_pool2d_gradient_goes_somewhere(case: PoolCase, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, grad_y = integers(rng, case.x_shape), integers(rng, case.y_shape)
    grad_x = reference.max_pool2d_grad(grad_y, x, case.pool_size, **case.options)
    assert grad_x.sum() == grad_y.sum()
    assert (grad_x * x).sum() == (grad_y * reference.max_pool2d(x, case.pool_size, **case.options)).sum()


@pytest.mark.parametrize("padding", [((2, 0), (0, 0)), ((0, 0), (0, 3))])
def test_max_pool2d_refuses_padding_as_large_as_the_pool(padding: object) -> None:
    with pytest.raises(
        ValueError, match=r"^max_pool2d: expected padding smaller than the pool size \(2, 3\).* got"
    ):
        reference.max_pool2d(np.zeros((1, 4, 4, 1)), (2, 3), padding=padding)
