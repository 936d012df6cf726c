"""The batch_normalization reference: by hand, against figures of Keras, by central differences at every index."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from central_differences import assert_gradient

from cnnlite_kernels import reference

SHAPES = ((6, 1), (2, 3, 2, 4), (3,))


def test_by_hand() -> None:
    x = np.array([[1, 10], [5, 10]])
    with np.errstate(invalid="ignore"):
        y, mean, variance = reference.batch_normalization_train(
            x, np.array([3, 2]), np.array([1, 7]), epsilon=0.0
        )
    np.testing.assert_array_equal(mean, [3, 10])
    np.testing.assert_array_equal(variance, [4, 0])
    np.testing.assert_array_equal(y[:, 0], [-2, 4])
    assert np.isnan(y[:, 1]).all()  # nothing keeps the root from zero
    y, *_ = reference.batch_normalization_train(x, np.array([3, 2]), np.array([1, 7]), epsilon=12)
    np.testing.assert_array_equal(y, [[-0.5, 7], [2.5, 7]])
    y = reference.batch_normalization(x, np.array([1, 8]), np.array([3, 15]), epsilon=1)
    np.testing.assert_array_equal(y, [[0, 0.5], [2, 0.5]])


def test_as_keras(keras_layers: dict[str, Any]) -> None:
    """A layer in training, its moving averages behind it, and then outside training."""
    stored = keras_layers["batch_normalization"]
    x, gamma, beta = (np.array(stored[name]) for name in ("x", "gamma", "beta"))
    y, mean, variance = reference.batch_normalization_train(x, gamma, beta)
    np.testing.assert_allclose(y, stored["y"], rtol=1e-9)
    moving = 0.01 * mean, 0.99 + 0.01 * variance
    np.testing.assert_allclose(moving, stored["moving"], rtol=1e-6)  # kept by Keras in float32
    y = reference.batch_normalization(x, *moving, gamma, beta)
    np.testing.assert_allclose(y, stored["y_after"], rtol=1e-5)
    grads = reference.batch_normalization_grad(np.array(stored["grad_y"]), x, mean, variance, gamma)
    for grad, name in zip(grads, ("grad_x", "grad_gamma", "grad_beta"), strict=True):
        np.testing.assert_allclose(grad, stored[name], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_against_central_differences(shape: tuple[int, ...], training: bool) -> None:
    rng = np.random.default_rng(0)
    x, grad_y, gamma, beta = (rng.standard_normal(s) for s in (shape, shape, shape[-1:], shape[-1:]))
    mean, variance = rng.standard_normal(shape[-1:]), rng.uniform(1, 2, shape[-1:])

    def forward(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> float:
        if training:
            y, *_ = reference.batch_normalization_train(x, gamma, beta, epsilon=0.1)
        else:
            y = reference.batch_normalization(x, mean, variance, gamma, beta, epsilon=0.1)
        return (y * grad_y).sum()

    if training:
        _, mean, variance = reference.batch_normalization_train(x)
    grads = reference.batch_normalization_grad(
        grad_y, x, mean, variance, gamma, epsilon=0.1, training=training
    )
    assert_gradient(grads[0], lambda x: forward(x, gamma, beta), x)
    assert_gradient(grads[1], lambda gamma: forward(x, gamma, beta), gamma)
    assert_gradient(grads[2], lambda beta: forward(x, gamma, beta), beta)


def test_gamma_is_one_and_beta_zero_where_there_are_none() -> None:
    rng = np.random.default_rng(1)
    x, grad_y = rng.standard_normal((2, 5, 3))
    one, zero = np.ones(3), np.zeros(3)
    for ours, theirs in (
        (reference.batch_normalization_train(x), reference.batch_normalization_train(x, one, zero)),
        (
            reference.batch_normalization_grad(grad_y, x, zero, one),
            reference.batch_normalization_grad(grad_y, x, zero, one, one),
        ),
    ):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_empty_batch_has_gradients_of_zero() -> None:
    empty = np.zeros((0, 4, 4, 3))
    grad_x, *others = reference.batch_normalization_grad(empty, empty, np.zeros(3), np.ones(3))
    assert grad_x.shape == empty.shape
    np.testing.assert_array_equal(others, np.zeros((2, 3)))
