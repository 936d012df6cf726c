"""The conv2d reference: by hand, by its formula, by central differences at every index, by adjointness."""

from __future__ import annotations

from itertools import product

import cases
import numpy as np
import pytest
from arrays import image, integers
from cases import ConvCase
from central_differences import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import conv_cases

from cnnlite_kernels import reference

SEEDS = st.integers(0, 2**32 - 1)

# Few enough numbers for differences at each of them, and every kind of geometry among them.
SMALL_ODD = [c for c in cases.ODD if np.prod(c.x_shape) + np.prod(c.w_shape) < 900 and c.groups < 10]


COUNTING = image([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
# Not the same when flipped, transposed or mirrored.
KERNEL = np.array([[1, 2], [3, 5]], dtype=np.float64).reshape(2, 2, 1, 1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[50, 61, 72], [94, 105, 116]]),
        ({"strides": 2}, [[50, 72]]),
        ({"strides": (1, 2)}, [[50, 72], [94, 116]]),
        ({"dilation": (2, 3)}, [[1 + 8 + 27 + 60]]),
        ({"padding": "same"}, [[50, 61, 72, 28], [94, 105, 116, 44], [29, 32, 35, 12]]),
        ({"padding": "same", "strides": 2}, [[50, 72], [29, 35]]),
        ({"padding": ((1, 0), (0, 0)), "strides": (3, 1)}, [[13, 21, 29]]),
        ({"padding": ((0, 0), (1, 0)), "strides": (1, 4)}, [[27], [55]]),
        ({"b": np.array([-60])}, [[-10, 1, 12], [34, 45, 56]]),
        ({"b": np.array([-60]), "activation": "relu"}, [[0, 1, 12], [34, 45, 56]]),
    ],
)
def test_conv2d_by_hand(options: dict, expected: list) -> None:
    np.testing.assert_array_equal(reference.conv2d(COUNTING, KERNEL, **options)[0, :, :, 0], expected)


def test_conv2d_sums_channels_and_groups_by_hand() -> None:
    x = np.array([[1, 2, 3, 4]]).reshape(1, 1, 1, 4)
    dense = np.arange(1, 13).reshape(1, 1, 4, 3)
    np.testing.assert_array_equal(reference.conv2d(x, dense).ravel(), [70, 80, 90])
    # Two groups of two channels, three outputs each: outputs 0-2 see the first two, outputs 3-5 the others.
    grouped = np.array([[1, 0, 1, 1, 0, 1], [0, 1, 1, 0, 1, 1]]).reshape(1, 1, 2, 6)
    np.testing.assert_array_equal(reference.conv2d(x, grouped, groups=2).ravel(), [1, 2, 3, 3, 4, 7])
    # Depth multiplier 2: outputs 2c and 2c + 1 see channel c.
    multiplied = np.array([1, 10, 1, 10, 1, 10, 1, 10]).reshape(1, 1, 1, 8)
    np.testing.assert_array_equal(
        reference.conv2d(x, multiplied, groups=4).ravel(), [1, 10, 2, 20, 3, 30, 4, 40]
    )


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_conv2d_applies_the_activation_last(activation: str) -> None:
    y = reference.conv2d(COUNTING, KERNEL, np.array([-95.0]))
    fused = reference.conv2d(COUNTING, KERNEL, np.array([-95.0]), activation=activation)
    np.testing.assert_array_equal(fused, getattr(reference, activation)(y))


def conv2d_by_formula(x: np.ndarray, w: np.ndarray, case: ConvCase) -> np.ndarray:
    """One multiply-add at a time, each pixel's place worked out anew."""
    y = np.zeros(case.y_shape)
    (top, _), (left, _) = case.window.pads(case.h, case.w)
    for (n, p, q, j), i, k, c in product(
        np.ndindex(*y.shape), range(w.shape[0]), range(w.shape[1]), range(w.shape[2])
    ):
        row = p * case.strides[0] + i * case.dilation[0] - top
        column = q * case.strides[1] + k * case.dilation[1] - left
        if 0 <= row < case.h and 0 <= column < case.w:
            channel = j // (case.cout // case.groups) * w.shape[2] + c
            y[n, p, q, j] += x[n, row, column, channel] * w[i, k, c, j]
    return y


@settings(max_examples=50, deadline=None)
@given(conv_cases(max_batch=2, max_kernel=3, max_channels=2, slack=3), SEEDS)
def test_conv2d_is_its_formula(case: ConvCase, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w = integers(rng, case.x_shape), integers(rng, case.w_shape)
    np.testing.assert_array_equal(reference.conv2d(x, w, **case.options), conv2d_by_formula(x, w, case))


def assert_adjoint(case: ConvCase, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w, grad_y = integers(rng, case.x_shape), integers(rng, case.w_shape), integers(rng, case.y_shape)
    through_y = (reference.conv2d(x, w, **case.options) * grad_y).sum()
    assert (x * reference.conv2d_grad_input(grad_y, w, case.x_shape, **case.options)).sum() == through_y
    assert (w * reference.conv2d_grad_weights(x, grad_y, case.w_shape, **case.options)).sum() == through_y


@settings(max_examples=100, deadline=None)
@given(conv_cases(), SEEDS)
def test_conv2d_and_its_gradients_are_adjoint(case: ConvCase, seed: int) -> None:
    assert_adjoint(case, seed)


@pytest.mark.parametrize("case", cases.ODD, ids=str)
def test_odd_convolutions_and_their_gradients_are_adjoint(case: ConvCase) -> None:
    assert_adjoint(case, 0)


@pytest.mark.parametrize("case", SMALL_ODD, ids=str)
def test_conv2d_gradients_against_central_differences(case: ConvCase) -> None:
    rng = np.random.default_rng(1)
    x, w, grad_y = rng.normal(size=case.x_shape), rng.normal(size=case.w_shape), rng.normal(size=case.y_shape)
    grad_x = reference.conv2d_grad_input(grad_y, w, case.x_shape, **case.options)
    grad_w = reference.conv2d_grad_weights(x, grad_y, case.w_shape, **case.options)
    assert_gradient(grad_x, lambda x: (reference.conv2d(x, w, **case.options) * grad_y).sum(), x)
    assert_gradient(grad_w, lambda w: (reference.conv2d(x, w, **case.options) * grad_y).sum(), w)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_conv2d_gradients_through_bias_and_activation(activation: str) -> None:
    rng = np.random.default_rng(2)
    x, w, b = rng.normal(size=(2, 5, 4, 2)), rng.normal(size=(3, 2, 2, 3)), rng.normal(size=3)
    y = reference.conv2d(x, w, b, activation=activation)
    grad_y = rng.normal(size=y.shape)
    grad_z = reference.activate_grad(grad_y, y, activation)

    def loss(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> float:
        return (reference.conv2d(x, w, b, activation=activation) * grad_y).sum()

    assert_gradient(reference.conv2d_grad_input(grad_z, w, x.shape), lambda x: loss(x, w, b), x, most_kinks=2)
    assert_gradient(
        reference.conv2d_grad_weights(x, grad_z, w.shape), lambda w: loss(x, w, b), w, most_kinks=2
    )
    assert_gradient(grad_z.sum(axis=(0, 1, 2)), lambda b: loss(x, w, b), b, most_kinks=1)


def test_conv2d_gradient_is_zero_where_no_window_looks() -> None:
    grad_x = reference.conv2d_grad_input(
        np.ones((1, 2, 2, 1)), np.ones((1, 1, 1, 1)), (1, 4, 4, 1), strides=2
    )
    np.testing.assert_array_equal(np.nonzero(grad_x.ravel())[0], [0, 2, 8, 10])
