"""conv2d_transpose: the reference against Keras and by central differences, the op and its gradients against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from central_differences import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import DTYPES, draw_integers, draw_normals, nans

import cnnlite_kernels as kernels
from cnnlite_kernels import reference

# options, and what they make of 3 x 4 pixels with kernels of 3 x 2
SIZES: list[tuple[dict[str, Any], tuple[int, int]]] = [
    ({}, (5, 5)),
    ({"padding": "same"}, (3, 4)),
    ({"strides": 2}, (7, 8)),
    ({"strides": 2, "padding": "same"}, (6, 8)),
    ({"strides": (4, 3)}, (12, 12)),
    ({"strides": (4, 3), "output_padding": (1, 2)}, (12, 13)),
    ({"strides": 3, "padding": "same", "output_padding": (1, 1)}, (8, 10)),
    ({"strides": 2, "padding": ((1, 1), (0, 1))}, (5, 7)),
    ({"strides": 2, "padding": ((1, 1), (0, 1)), "output_padding": 1}, (6, 8)),
    ({"dilation": 2}, (7, 6)),
    ({"strides": (1, 3), "dilation": (3, 1), "padding": "same"}, (3, 12)),
]


def operands(draw: Any, dtype: type, seed: int = 0) -> list[np.ndarray]:
    """x, w, b."""
    rng = np.random.default_rng(seed)
    return [draw(rng, shape, dtype) for shape in ((2, 3, 4, 5), (3, 2, 7, 5), (7,))]


def plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "output_padding"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("options", "size"), SIZES, ids=str)
def test_integers_equal_reference(options: dict[str, Any], size: tuple[int, int], dtype: type) -> None:
    x, w, b = operands(draw_integers, dtype)
    shape = (2, *size, 7)
    y = kernels.conv2d_transpose(x, w, b, out=nans(shape, dtype), **options)
    np.testing.assert_array_equal(y, reference.conv2d_transpose(x, w, b, y_size=size, **plain(options)))
    np.testing.assert_array_equal(kernels.conv2d_transpose(x, w, **options), y - b)
    grad_y = draw_integers(np.random.default_rng(1), shape, dtype)
    grad_x = kernels.conv2d_transpose_grad_input(grad_y, w, out=nans(x.shape, dtype), **plain(options))
    np.testing.assert_array_equal(grad_x, reference.conv2d(grad_y, w, **plain(options)))
    grad_w = kernels.conv2d_transpose_grad_weights(
        x, grad_y, w.shape, out=nans(w.shape, dtype), **plain(options)
    )
    np.testing.assert_array_equal(grad_w, reference.conv2d_grad_weights(grad_y, x, w.shape, **plain(options)))


@pytest.mark.parametrize(("options", "size"), SIZES, ids=str)
def test_gradients_against_central_differences(options: dict[str, Any], size: tuple[int, int]) -> None:
    x, w, _ = operands(draw_normals, np.float64)
    x, w = x[:1, :, :, :2], w[:, :, :2, :2]
    grad_y = draw_normals(np.random.default_rng(2), (1, *size, 2), np.float64)

    def loss(x: np.ndarray, w: np.ndarray) -> float:
        return (reference.conv2d_transpose(x, w, y_size=size, **plain(options)) * grad_y).sum()

    assert_gradient(kernels.conv2d_transpose_grad_input(grad_y, w, **plain(options)), lambda x: loss(x, w), x)
    assert_gradient(
        kernels.conv2d_transpose_grad_weights(x, grad_y, w.shape, **plain(options)), lambda w: loss(x, w), w
    )


def test_as_keras(keras_layers: dict[str, Any]) -> None:
    for stored in keras_layers["conv2d_transpose"].values():
        x, w, b = (np.array(stored[name]) for name in ("x", "w", "b"))
        y = kernels.conv2d_transpose(x, w, b, **stored["options"])
        np.testing.assert_allclose(y, stored["y"], rtol=1e-9, atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 5)] * 2), st.tuples(*[st.integers(1, 4)] * 2), st.tuples(*[st.integers(1, 4)] * 2),
    st.sampled_from(["valid", "same"]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_any_geometry_leads_back(
    image: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int], padding: str, seed: int
) -> None:
    """<conv2d_transpose(x), y> = <x, conv2d(y)>: one is the other's transpose, of the size that Keras gives."""
    rng = np.random.default_rng(seed)
    x = draw_integers(rng, (2, *image, 3), np.float64)
    w = draw_integers(rng, (*kernel, 2, 3), np.float64)
    y = kernels.conv2d_transpose(x, w, strides=strides, padding=padding)
    for size, made, k, s in zip(image, y.shape[1:3], kernel, strides, strict=True):
        assert made == size * s + (max(k - s, 0) if padding == "valid" else 0)
    other = draw_integers(rng, y.shape, np.float64)
    back = kernels.conv2d(other, w, strides=strides, padding=padding)
    assert back.shape == x.shape
    assert (y * other).sum() == (x * back).sum()


def test_an_empty_batch() -> None:
    x, w = np.zeros((0, 3, 4, 5), np.float32), np.ones((3, 2, 7, 5), np.float32)
    assert kernels.conv2d_transpose(x, w, np.ones(7, np.float32)).shape == (0, 5, 5, 7)


X, W = np.ones((2, 3, 4, 5), np.float32), np.ones((3, 2, 7, 5), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kernels.conv2d_transpose(X[0], W),
            ValueError,
            r"^conv2d_transpose: expected x of shape \(n, h, w, cin\), got \(3, 4, 5\)",
        ),
        (
            lambda: kernels.conv2d_transpose(X, W.astype(float)),
            TypeError,
            "^conv2d_transpose: expected w of dtype float32 as",
        ),
        (
            lambda: kernels.conv2d_transpose(X, W[..., :4]),
            ValueError,
            r"^conv2d_transpose: expected x with 4 channels to match w \(3, 2, 7, 4\), got x of shape \(2, 3, 4, 5\); "
            r"pass x with 4 channels, or w of shape \(3, 2, 7, 5\)",
        ),
        (
            lambda: kernels.conv2d_transpose(X[:, :0], W),
            ValueError,
            "^conv2d_transpose: expected an image of at least 1 x 1 pixels, got 0 x 4",
        ),
        (
            lambda: kernels.conv2d_transpose(X, W, np.ones(5, np.float32)),
            ValueError,
            r"^conv2d_transpose: expected b of shape \(7,\), one number for each column of the result, got \(5,\)",
        ),
        (
            lambda: kernels.conv2d_transpose(X, W, np.ones((7, 1), np.float32)),
            ValueError,
            r"^conv2d_transpose: expected b of shape \(cout,\), got \(7, 1\)",
        ),
        (
            lambda: kernels.conv2d_transpose(X, W, output_padding=-1),
            ValueError,
            "^conv2d_transpose: expected output_padding as an int or a pair of ints of at least 0, got -1",
        ),
        (
            lambda: kernels.conv2d_transpose(X, W, strides=2, output_padding=2),
            ValueError,
            r"^conv2d_transpose: expected a result that a convolution with kernel \(3, 2\), strides \(2, 2\) and padding 'valid' "
            r"makes 3 x 4 pixels of, got 9 x 10 with output_padding 2; leave output_padding out, or pass less than the strides",
        ),
        (
            lambda: kernels.conv2d_transpose(X, W, padding="same", strides=2, output_padding=0),
            ValueError,
            "^conv2d_transpose: expected a result .* makes 3 x 4 pixels of, got 5 x 6 with output_padding 0",
        ),
        (
            lambda: kernels.conv2d_transpose(X, W, padding=((4, 4), (0, 0))),
            ValueError,
            r"^conv2d_transpose: expected padding that leaves at least 1 x 1 pixels of the result, got \(\(4, 4\), \(0, 0\)\), "
            "which leaves -3 x 5; pad less",
        ),
        (
            lambda: kernels.conv2d_transpose_grad_input(X, W),
            ValueError,
            "^conv2d: expected x with 7 channels",
        ),
    ],
)
def test_what_cannot_be(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
