"""relu, relu6, leaky_relu, sigmoid, tanh, softmax and their gradients against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import DTYPES, draw_integers, draw_normals, nans, variants

import cnnlite_kernels as kernels
from cnnlite_kernels import reference

NAMES = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax")
SHAPES = ((1,), (7,), (3, 5), (2, 3, 4, 17), (70_001, 3), (5, 40_001))


def close(actual: np.ndarray, expected: np.ndarray, terms: int = 1) -> None:
    """A few roundings of numbers of at most about 10, and of a sum of `terms` of them."""
    eps = np.finfo(actual.dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=16 * eps + eps * np.sqrt(terms), atol=16 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_normals_are_close_to_reference(name: str, shape: tuple[int, ...], dtype: type) -> None:
    rng = np.random.default_rng(0)
    x, grad_y = draw_normals(rng, shape, dtype) * 3, draw_normals(rng, shape, dtype)
    y = getattr(kernels, name)(x, out=nans(shape, dtype))
    close(y, getattr(reference, name)(x), shape[-1])
    grad_x = getattr(kernels, f"{name}_grad")(grad_y, y, out=nans(shape, dtype))
    close(grad_x, getattr(reference, f"{name}_grad")(grad_y, y), shape[-1])
    assert y.dtype == grad_x.dtype == dtype


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=4), st.sampled_from(NAMES), st.integers(0, 2**32 - 1))
def test_any_shape_is_close_to_reference(shape: list[int], name: str, seed: int) -> None:
    if name == "softmax" and shape[-1] == 0:
        shape[-1] = 1
    x = draw_normals(np.random.default_rng(seed), tuple(shape), np.float32)
    close(getattr(kernels, name)(x), getattr(reference, name)(x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "sigmoid", "tanh"])
def test_infinity_nan_and_huge_numbers(name: str, dtype: type) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, -0.0], dtype)
    np.testing.assert_array_equal(getattr(kernels, name)(x), getattr(reference, name)(x).astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_neither_overflows_nor_loses_nan(dtype: type) -> None:
    x = np.array([[1000, 1000], [1000, -1000], [-np.inf, 0], [np.nan, 0], [0, np.nan]], dtype)
    np.testing.assert_array_equal(kernels.softmax(x), reference.softmax(x))


@pytest.mark.parametrize("name", NAMES)
def test_0_axes_and_empty(name: str) -> None:
    grad = getattr(kernels, f"{name}_grad")
    if name != "softmax":
        y = getattr(kernels, name)(np.array(0.5))
        assert y.shape == ()
        assert grad(y, y).shape == ()
    empty = np.empty((0, 4), np.float32)
    assert getattr(kernels, name)(empty).shape == grad(empty, empty).shape == (0, 4)


@pytest.mark.parametrize("name", NAMES)
def test_in_place(name: str) -> None:
    rng = np.random.default_rng(3)
    x, grad_y = draw_normals(rng, (5, 7), np.float32), draw_normals(rng, (5, 7), np.float32)
    forward, backward = getattr(kernels, name), getattr(kernels, f"{name}_grad")
    y = forward(x)
    assert forward(x, out=x) is x
    np.testing.assert_array_equal(x, y)
    grad_x = backward(grad_y, y)
    over_y = y.copy()
    np.testing.assert_array_equal(backward(grad_y, over_y, out=over_y), grad_x)
    np.testing.assert_array_equal(backward(grad_y, y, out=grad_y), grad_x)


@pytest.mark.parametrize("name", NAMES)
def test_any_layout_of_the_operands(name: str) -> None:
    rng = np.random.default_rng(4)
    x, grad_y = draw_normals(rng, (3, 4, 5), np.float32), draw_normals(rng, (3, 4, 5), np.float32)
    y = getattr(kernels, name)(x)
    grad_x = getattr(kernels, f"{name}_grad")(grad_y, y)
    for x2, y2, grad_y2 in zip(*map(variants, (x, y, grad_y)), strict=True):
        np.testing.assert_array_equal(getattr(kernels, name)(x2), y)
        np.testing.assert_array_equal(getattr(kernels, f"{name}_grad")(grad_y2, y2), grad_x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slope", [0, 0.25, 1, 3.0])
def test_slopes(slope: float, dtype: type) -> None:
    """Of 0 it is relu, at -infinity too; above 1 the output still has the sign of x."""
    rng = np.random.default_rng(5)
    x, grad_y = draw_integers(rng, (3, 50), dtype), draw_integers(rng, (3, 50), dtype)
    y = kernels.leaky_relu(x, slope, out=nans(x.shape, dtype))
    np.testing.assert_array_equal(y, reference.leaky_relu(x, slope))
    grad_x = kernels.leaky_relu_grad(grad_y, y, slope, out=nans(x.shape, dtype))
    np.testing.assert_array_equal(grad_x, np.where(x > 0, grad_y, slope * grad_y))
    ends = np.array([np.nan, np.inf, -np.inf], dtype)
    np.testing.assert_array_equal(kernels.leaky_relu(ends, slope), [np.nan, np.inf, -np.inf if slope else 0])


@pytest.mark.parametrize("op", ["leaky_relu", "leaky_relu_grad"])
@pytest.mark.parametrize(
    ("slope", "error", "message"),
    [
        (-0.1, ValueError, "expected negative_slope as a finite number of at least 0, got -0.1"),
        (np.inf, ValueError, "expected negative_slope as a finite number of at least 0, got inf"),
        (np.nan, ValueError, "expected negative_slope as a finite number of at least 0, got nan"),
        ("steep", TypeError, "expected negative_slope as a number, got 'steep'; pass an int or a float"),
    ],
)
def test_slopes_that_cannot_be(op: str, slope: object, error: type[Exception], message: str) -> None:
    x = np.ones(3, np.float32)
    with pytest.raises(error, match=f"^{op}: {message}"):
        getattr(kernels, op)(*[x] * (1 + op.endswith("grad")), slope)
