"""The gradient checker can fail: wrong gradients are found, and kinks are told from curves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from central_differences import assert_gradient, differences, numeric_gradient

from cnnlite_kernels import reference

RNG_SEED = 7
X_SHAPE, W_SHAPE = (2, 6, 5, 2), (3, 3, 2, 3)


@pytest.fixture
def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, w and grad_y of a small convolution with 'same' padding."""
    rng = np.random.default_rng(RNG_SEED)
    return rng.normal(size=X_SHAPE), rng.normal(size=W_SHAPE), rng.normal(size=(2, 6, 5, 3))


def one_tap_off(w: np.ndarray) -> np.ndarray:
    return np.roll(w, 1, axis=1)


def flipped(w: np.ndarray) -> np.ndarray:
    return w[::-1, ::-1]


def one_percent_large(w: np.ndarray) -> np.ndarray:
    return 1.01 * w


def one_channel_missing(w: np.ndarray) -> np.ndarray:
    return w * (np.arange(w.shape[3]) < w.shape[3] - 1)


def one_tap_not_a_number(w: np.ndarray) -> np.ndarray:
    return np.where(np.arange(w.size).reshape(w.shape) == 4, np.nan, w)


MISTAKES = [one_tap_off, flipped, one_percent_large, one_channel_missing, one_tap_not_a_number]


def test_right_gradients_pass(problem: tuple[np.ndarray, ...]) -> None:
    x, w, grad_y = problem
    grad_x = reference.conv2d_grad_input(grad_y, w, X_SHAPE, padding="same")
    assert assert_gradient(grad_x, lambda x: (reference.conv2d(x, w, padding="same") * grad_y).sum(), x) == 0


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_input_gradient_is_found(
    problem: tuple[np.ndarray, ...], mistake: Callable[[np.ndarray], np.ndarray]
) -> None:
    x, w, grad_y = problem
    grad_x = reference.conv2d_grad_input(grad_y, mistake(w), X_SHAPE, padding="same")
    with pytest.raises(AssertionError, match="wrong gradient at"):
        assert_gradient(grad_x, lambda x: (reference.conv2d(x, w, padding="same") * grad_y).sum(), x)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_weight_gradient_is_found(
    problem: tuple[np.ndarray, ...], mistake: Callable[[np.ndarray], np.ndarray]
) -> None:
    x, w, grad_y = problem
    grad_w = mistake(reference.conv2d_grad_weights(x, grad_y, W_SHAPE, padding="same"))
    with pytest.raises(AssertionError, match="wrong gradient at"):
        assert_gradient(grad_w, lambda w: (reference.conv2d(x, w, padding="same") * grad_y).sum(), w)


@pytest.mark.parametrize("error", [1e-4, -1e-4, np.nan])
def test_one_wrong_index_is_named(error: float) -> None:
    x = np.arange(12.0).reshape(3, 4)
    gradient = np.cos(x)
    gradient[2, 1] += error
    with pytest.raises(AssertionError, match=r"wrong gradient at 1 of 12 indices; at \(2, 1\)"):
        assert_gradient(gradient, lambda x: np.sin(x).sum(), x)


def test_a_gradient_of_another_shape_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"expected a gradient of shape \(3,\), got \(3, 1\)"):
        assert_gradient(np.ones((3, 1)), lambda x: x.sum(), np.zeros(3))


@pytest.mark.parametrize("f", [np.exp, np.sin, np.tanh, np.square])
def test_curves_are_no_kinks(f: Callable[[np.ndarray], np.ndarray]) -> None:
    x = np.linspace(-2, 2, 9)
    found = differences(lambda x: f(x).sum(), x)
    assert not found.kinks.any()
    np.testing.assert_allclose(found.gradient, numeric_gradient(lambda x: f(x).sum(), x), rtol=0, atol=0)


@pytest.mark.parametrize("eps", [1e-4, 1e-3])
def test_a_kink_anywhere_within_the_step_is_found_or_does_no_harm(eps: float) -> None:
    # Around the kink of ReLU at 0, at distances from none to just beyond the step.
    x = np.linspace(-1.1, 1.1, 111) * eps
    found = differences(lambda x: reference.relu(x).sum(), x, eps)
    error = np.abs(found.gradient - (x > 0))
    assert (error[~found.kinks] <= 3e-6).all()
    assert found.kinks[np.abs(x) < 0.45 * eps].all()
    assert not found.kinks[np.abs(x) > 1.01 * eps].any()


def test_kinks_are_counted_and_too_many_are_refused() -> None:
    x = np.array([-1.0, 0.0, 1.0, 1e-5])
    gradient = np.array([0.0, 99.0, 1.0, 99.0])
    assert assert_gradient(gradient, lambda x: reference.relu(x).sum(), x, most_kinks=2) == 2
    with pytest.raises(AssertionError, match="expected at most 1 kinks, found 2"):
        assert_gradient(gradient, lambda x: reference.relu(x).sum(), x, most_kinks=1)


def test_a_tie_in_a_pool_is_a_kink() -> None:
    x = np.array([[5.0, 5.0], [1.0, 2.0]]).reshape(1, 2, 2, 1)
    found = differences(lambda x: reference.max_pool2d(x, 2).sum(), x)
    assert found.kinks.ravel().tolist() == [True, True, False, False]


def test_the_array_checked_is_left_alone() -> None:
    x = np.array([1.0, 2.0])
    numeric_gradient(lambda x: (x * x).sum(), x)
    assert x.tolist() == [1.0, 2.0]
