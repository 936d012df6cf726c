"""The references of matmul, activations and losses, and what all references have in common."""

from __future__ import annotations

from itertools import product
from typing import Any

import cases
import numpy as np
import pytest
from arrays import integers
from cases import MatmulCase
from central_differences import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import matmul_cases

from cnnlite_kernels import reference

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = [np.float64, np.float32, np.int64, np.uint8]
NAN, INF = np.nan, np.inf

A, B, C = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, 0], [2, 1], [0, 3]]), np.array([[10, 20], [30, 40]])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[5, 11], [14, 23]]),
        ({"alpha": -2}, [[-10, -22], [-28, -46]]),
        ({"beta": 0.5, "out": C}, [[10, 21], [29, 43]]),
        ({"alpha": 0, "beta": 1, "out": C}, [[10, 20], [30, 40]]),
        ({"bias": np.array([100, -15])}, [[105, -4], [114, 8]]),
        ({"bias": np.array([100, -15]), "activation": "relu"}, [[105, 0], [114, 8]]),
        (
            {"alpha": -1, "beta": 1, "out": C, "bias": np.array([-6, 1]), "activation": "relu"},
            [[0, 10], [10, 18]],
        ),
    ],
)
def test_matmul_by_hand(options: dict, expected: list) -> None:
    np.testing.assert_array_equal(reference.matmul(A, B, **options), expected)
    np.testing.assert_array_equal(reference.matmul(A.T, B, transpose_a=True, **options), expected)
    np.testing.assert_array_equal(reference.matmul(A, B.T, transpose_b=True, **options), expected)
    np.testing.assert_array_equal(
        reference.matmul(A.T, B.T, transpose_a=True, transpose_b=True, **options), expected
    )


def test_matmul_reads_out_only_for_beta_and_never_writes_it() -> None:
    out = np.full((2, 2), np.nan)
    np.testing.assert_array_equal(reference.matmul(A, B, out=out), [[5, 11], [14, 23]])
    assert np.isnan(out).all()
    assert np.isnan(reference.matmul(A, B, beta=1, out=out)).all()
    with pytest.raises(
        ValueError, match="matmul: expected out to hold the matrix that beta=2 scales, got None"
    ):
        reference.matmul(A, B, beta=2)


@settings(max_examples=50, deadline=None)
@given(matmul_cases(max_size=6), SEEDS)
def test_matmul_is_its_formula(case: MatmulCase, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = integers(rng, case.a_shape), integers(rng, case.b_shape)
    expected = np.zeros(case.y_shape)
    for i, j, k in product(range(case.m), range(case.n), range(case.k)):
        expected[i, j] += (a[k, i] if case.transpose_a else a[i, k]) * (
            b[j, k] if case.transpose_b else b[k, j]
        )
    np.testing.assert_array_equal(reference.matmul(a, b, **case.options), expected)


@pytest.mark.parametrize("case", cases.ODD_MATMULS, ids=str)
def test_odd_matmuls_have_their_shape(case: MatmulCase) -> None:
    y = reference.matmul(
        np.ones(case.a_shape), np.ones(case.b_shape), bias=np.full(case.n, 0.5), **case.options
    )
    np.testing.assert_array_equal(y, np.full(case.y_shape, case.k + 0.5))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", [0, 0, 0, 2, 1e300, INF, NAN]),
        ("relu6", [0, 0, 0, 2, 6, 6, NAN]),
        ("leaky_relu", [-INF, -0.2 * 1e300, 0, 2, 1e300, INF, NAN]),
        ("sigmoid", [0, 0, 0.5, 1 / (1 + np.exp(-2.0)), 1, 1, NAN]),
        ("tanh", [-1, -1, 0, np.tanh(2.0), 1, 1, NAN]),
    ],
)
def test_activations_at_their_extremes(name: str, expected: list[float]) -> None:
    x = np.array([-INF, -1e300, 0, 2, 1e300, INF, NAN])
    np.testing.assert_allclose(getattr(reference, name)(x), np.array(expected), rtol=1e-15)
    if name not in ("leaky_relu", "relu6"):
        np.testing.assert_array_equal(reference.activate(x, name), getattr(reference, name)(x))


def test_sigmoid_of_very_negative_numbers_does_not_round_to_zero() -> None:
    np.testing.assert_allclose(reference.sigmoid(np.array([-700.0])), np.exp([-700.0]), rtol=1e-14)


@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax"])
def test_activation_gradients_against_central_differences(name: str) -> None:
    rng = np.random.default_rng(4)
    x, grad_y = rng.normal(size=(4, 6)) * 2, rng.normal(size=(4, 6))
    f = getattr(reference, name)
    grad_x = getattr(reference, f"{name}_grad")(grad_y, f(x))
    assert_gradient(grad_x, lambda x: (f(x) * grad_y).sum(), x)


def test_relu_gradient_is_zero_at_zero() -> None:
    np.testing.assert_array_equal(
        reference.relu_grad(np.ones(3), reference.relu(np.array([-1, 0, 1]))), [0, 0, 1]
    )


def test_no_activation_changes_nothing() -> None:
    x = np.array([-1.0, 2.0])
    np.testing.assert_array_equal(reference.activate(x, None), x)
    np.testing.assert_array_equal(reference.activate_grad(x, x, None), x)


def test_softmax_is_a_distribution_along_the_last_axis() -> None:
    x = np.array([[[0, np.log(3)]], [[1e300, 1e300]], [[-1e4, 1e4]]])
    np.testing.assert_allclose(reference.softmax(x), [[[0.25, 0.75]], [[0.5, 0.5]], [[0.0, 1.0]]], rtol=1e-15)
    assert reference.softmax(np.zeros((0, 10))).shape == (0, 10)


def test_softmax_cross_entropy_is_its_formula() -> None:
    rng = np.random.default_rng(5)
    logits, labels = rng.normal(size=(6, 4)), np.array([0, 1, 2, 3, 0, 1])
    losses = reference.softmax_cross_entropy(logits, labels)
    np.testing.assert_allclose(losses, -np.log(reference.softmax(logits)[np.arange(6), labels]), rtol=1e-14)
    grad = reference.softmax_cross_entropy_grad(logits, labels)
    np.testing.assert_array_equal(grad, reference.softmax(logits) - np.eye(4)[labels])
    assert_gradient(grad, lambda z: reference.softmax_cross_entropy(z, labels).sum(), logits)


def test_softmax_cross_entropy_survives_extremes_and_empty_batches() -> None:
    logits = np.array([[1e4, -1e4], [1e4, -1e4]])
    np.testing.assert_array_equal(reference.softmax_cross_entropy(logits, np.array([0, 1])), [0, 2e4])
    np.testing.assert_array_equal(
        reference.softmax_cross_entropy_grad(logits, np.array([0, 1])), [[0, 0], [1, -1]]
    )
    empty, none = np.zeros((0, 10)), np.zeros(0, np.int64)
    assert reference.softmax_cross_entropy(empty, none).shape == (0,)
    assert reference.softmax_cross_entropy_grad(empty, none).shape == (0, 10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_everything_comes_out_in_float64(dtype: Any) -> None:
    shapes = ((1, 3, 3, 1), (2, 2, 1, 1), (1,), (1, 2, 2, 1))
    x, w, b, grad_y = (np.ones(shape, dtype=dtype) for shape in shapes)
    for result in (
        reference.conv2d(x, w, b, activation="relu"),
        reference.conv2d_grad_input(grad_y, w, x.shape),
        reference.conv2d_grad_weights(x, grad_y, w.shape),
        reference.batch_normalization(x, b, b, b, b),
        *reference.batch_normalization_train(x, b, b),
        *reference.batch_normalization_grad(x, x, b, b, b),
        reference.up_sampling2d(x),
        reference.up_sampling2d_grad(grad_y),
        reference.conv2d_transpose(grad_y, w, b, y_size=(3, 3)),
        reference.zero_padding2d(x),
        reference.prelu(x, b),
        *reference.prelu_grad(x, x, x[0]),
        reference.cropping2d(x, 1),
        reference.average_pool2d(x, 2, strides=1),
        reference.average_pool2d_grad(grad_y, x.shape, 2, strides=1),
        reference.global_average_pool2d(x),
        reference.global_max_pool2d(x),
        reference.max_pool2d(x, 2, strides=1),
        reference.max_pool2d_grad(grad_y, x, 2, strides=1),
        reference.min_pool2d(x, 2, strides=1),
        reference.min_pool2d_grad(grad_y, x, 2, strides=1),
        reference.matmul(x[0, :, :, 0], x[0, :, :, 0], beta=1, out=x[0, :, :, 0], bias=np.ones(3, dtype)),
        *(
            getattr(reference, name)(x)
            for name in ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax")
        ),
        *(
            getattr(reference, name)(x, x)
            for name in ("relu_grad", "leaky_relu_grad", "sigmoid_grad", "tanh_grad", "softmax_grad")
        ),
        *(reference.activate_grad(x, x, name) for name in (None, "relu", "sigmoid", "tanh")),
        reference.softmax_cross_entropy(x[0, :, :, 0], np.zeros(3, np.int32)),
        reference.softmax_cross_entropy_grad(x[0, :, :, 0], np.zeros(3, np.uint8)),
    ):
        assert result.dtype == np.float64


def test_sums_do_not_round_or_wrap_as_the_input_type_would() -> None:
    x = np.full((1, 1, 1, 300), 255, np.uint8)
    assert reference.conv2d(x, np.full((1, 1, 300, 1), 255, np.uint8)).item() == 300 * 255 * 255
    a = np.array([[1, 2**-30]], np.float32)
    assert reference.matmul(a, np.ones((2, 1), np.float32)).item() == 1 + 2**-30
