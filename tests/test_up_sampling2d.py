"""up_sampling2d and its gradient: the reference by hand, against Keras and by central differences, the kernels against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arrays import image
from central_differences import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import DTYPES, assert_close, draw_integers, draw_normals, nans, variants

import cnnlite_kernels as kernels
from cnnlite_kernels import reference

HOW = ("nearest", "bilinear")
Shape = tuple[int, int, int, int]
SHAPES: tuple[Shape, ...] = (
    (1, 1, 1, 1),
    (2, 3, 4, 5),
    (1, 5, 1, 3),
    (3, 2, 7, 33),
    (0, 2, 2, 3),
    (2, 7, 7, 64),
)
CUT: tuple[Shape, ...] = ((17, 30, 20, 33), (1, 100, 60, 16), (3, 40, 40, 24), (2, 150, 100, 1))


@pytest.mark.parametrize(
    ("rows", "size", "nearest", "bilinear"),
    [
        ([[5]], 2, [[5, 5], [5, 5]], [[5, 5], [5, 5]]),
        ([[8, 16]], (1, 2), [[8, 8, 16, 16]], [[8, 10, 14, 16]]),
        ([[6], [12]], (3, 1), [[6], [6], [6], [12], [12], [12]], [[6], [6], [8], [10], [12], [12]]),
        ([[0, 16], [32, 0]], 2, None, [[0, 4, 12, 16], [8, 9, 11, 12], [24, 19, 9, 4], [32, 24, 8, 0]]),
        ([[1, 2], [3, 4]], 1, [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
    ],
)
def test_by_hand(rows: list, size: Any, nearest: list | None, bilinear: list) -> None:
    for how, expected in (("nearest", nearest), ("bilinear", bilinear)):
        if expected is not None:
            for module in (reference, kernels):
                y = module.up_sampling2d(image(rows), size, interpolation=how)
                np.testing.assert_allclose(y[0, :, :, 0], expected, rtol=1e-15)


@pytest.mark.parametrize("how", HOW)
def test_as_keras(keras_layers: dict[str, Any], how: str) -> None:
    stored = keras_layers["up_sampling2d"]
    x, grad_y = np.array(stored["x"]), np.array(stored["grad_y"])
    y = reference.up_sampling2d(x, (2, 3), interpolation=how)
    grad_x = reference.up_sampling2d_grad(grad_y, (2, 3), interpolation=how)
    # Keras computes bilinear weights in float32
    tolerance = 1e-10 if how == "nearest" else 2e-6
    np.testing.assert_allclose(y, stored[how], rtol=0, atol=tolerance)
    np.testing.assert_allclose(grad_x, stored[f"{how}_grad"], rtol=0, atol=4 * tolerance)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("size", [(2, 3), (4, 1)])
def test_gradient_against_central_differences(size: tuple[int, int], how: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 2, 2))
    grad_y = rng.standard_normal((2, 3 * size[0], 2 * size[1], 2))
    grad_x = reference.up_sampling2d_grad(grad_y, size, interpolation=how)
    assert_gradient(grad_x, lambda x: (reference.up_sampling2d(x, size, interpolation=how) * grad_y).sum(), x)


def run(
    draw: Any, shape: Shape, size: tuple[int, int], how: str, dtype: type, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(found, expected) of both passes."""
    rng = np.random.default_rng(seed)
    n, h, w, c = shape
    y_shape = n, h * size[0], w * size[1], c
    x, grad_y = draw(rng, shape, dtype), draw(rng, y_shape, dtype)
    out, grad_out = nans(y_shape, dtype), nans(shape, dtype)
    assert kernels.up_sampling2d(x, size, interpolation=how, out=out) is out
    assert kernels.up_sampling2d_grad(grad_y, size, interpolation=how, out=grad_out) is grad_out
    expected = reference.up_sampling2d(x, size, interpolation=how)
    expected_grad = reference.up_sampling2d_grad(grad_y, size, interpolation=how)
    return [(out, expected), (grad_out, expected_grad)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("how", HOW)
def test_integers_equal_reference(how: str, factor: int, dtype: type) -> None:
    """Factors that are powers of two have exact weights."""
    for shape in SHAPES:
        for size in ((factor, factor), (2, factor)):
            for found, expected in run(draw_integers, shape, size, how, dtype, 0):
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("shape", CUT, ids=str)
def test_integers_equal_reference_where_images_are_cut(shape: Shape, how: str) -> None:
    for found, expected in run(draw_integers, shape, (2, 2), how, np.float32, 0):
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 5)] * 4), st.tuples(*[st.integers(1, 5)] * 2), st.sampled_from(HOW), st.sampled_from(DTYPES),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_any_geometry_is_close_to_reference(
    shape: Shape, size: tuple[int, int], how: str, dtype: type, seed: int
) -> None:
    for found, expected in run(draw_normals, shape, size, how, dtype, seed):
        assert_close(found, expected, 4 * size[0] * size[1])


@pytest.mark.parametrize("how", HOW)
def test_nan_reaches_only_what_is_made_of_it(how: str) -> None:
    x = np.zeros((1, 4, 4, 2), np.float32)
    x[0, 1, 2, 0] = np.nan
    x[0, 1, 2, 1] = np.inf
    rows, columns = np.arange(12), np.arange(8)
    y = kernels.up_sampling2d(x, (3, 2), interpolation=how)
    if how == "nearest":
        touched = (rows[:, None] // 3 == 1) & (columns // 2 == 2)
    else:  # less than one old pixel away
        touched = (np.abs((rows[:, None] + 0.5) / 3 - 1.5) < 1) & (np.abs((columns + 0.5) / 2 - 2.5) < 1)
    np.testing.assert_array_equal(np.isnan(y[0, :, :, 0]), touched)
    np.testing.assert_array_equal(y[0, :, :, 1] == np.inf, touched)


def test_any_layout_of_the_operands() -> None:
    rng = np.random.default_rng(1)
    x, grad_y = draw_integers(rng, (2, 3, 4, 5), np.float32), draw_integers(rng, (2, 6, 8, 5), np.float32)
    y, grad_x = kernels.up_sampling2d(x), kernels.up_sampling2d_grad(grad_y)
    for x2, grad_y2 in zip(*map(variants, (x, grad_y)), strict=True):
        np.testing.assert_array_equal(kernels.up_sampling2d(x2), y)
        np.testing.assert_array_equal(kernels.up_sampling2d_grad(grad_y2), grad_x)


X = np.ones((2, 4, 4, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kernels.up_sampling2d(X.astype(int)),
            TypeError,
            "^up_sampling2d: expected x of dtype float32 or float64, got int64",
        ),
        (
            lambda: kernels.up_sampling2d(X[0]),
            ValueError,
            r"^up_sampling2d: expected x of shape \(n, h, w, c\), got \(4, 4, 3\)",
        ),
        (
            lambda: kernels.up_sampling2d(X, 0),
            ValueError,
            "^up_sampling2d: expected size as an int or a pair of ints of at least 1, got 0; pass, say, size=2",
        ),
        (
            lambda: kernels.up_sampling2d(X, 1.5),
            ValueError,
            "^up_sampling2d: expected size as an int .* got 1.5",
        ),
        (
            lambda: kernels.up_sampling2d(X, interpolation="cubic"),
            ValueError,
            '^up_sampling2d: expected interpolation "nearest" or "bilinear", got \'cubic\'',
        ),
        (
            lambda: kernels.up_sampling2d(X[:, :0]),
            ValueError,
            "^up_sampling2d: expected an image of at least 1 x 1 pixels, got 0 x 4; leave",
        ),
        (
            lambda: kernels.up_sampling2d(X, 1, out=X),
            ValueError,
            "^up_sampling2d: expected out to share no memory",
        ),
        (
            lambda: kernels.up_sampling2d_grad(X, 3),
            ValueError,
            r"^up_sampling2d_grad: expected grad_y of a multiple of 3 x 3 pixels for size \(3, 3\), got 4 x 4; pass the",
        ),
        (
            lambda: kernels.up_sampling2d_grad(X, interpolation=None),
            ValueError,
            "^up_sampling2d_grad: expected interpolation .* got None",
        ),
    ],
)
def test_what_cannot_be(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
