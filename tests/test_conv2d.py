"""conv2d and its gradients on every device against the reference."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from cases import ConvCase
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import CUT_CONVS, DTYPES, assert_close, draw_integers, draw_normals, nans, variants
from strategies import conv_cases

import cnnlite_kernels as kernels
from cnnlite_kernels import reference
from cnnlite_kernels.cpu.ops.cuts import by_inputs, by_outputs
from cnnlite_kernels.window import Window2D

SMALL = (*cases.ODD, *(c.with_batch(3) for c in cases.DOCUMENTED if isinstance(c, ConvCase)))


def operands(case: ConvCase, dtype: type, draw=draw_integers, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    shapes = (case.x_shape, case.w_shape, (case.cout,), case.y_shape)
    return tuple(draw(rng, shape, dtype) for shape in shapes)


def assert_equal_to_reference(case: ConvCase, dtype: type, seed: int = 0) -> None:
    """Integers, so every sum is exact; outputs begin as NaN, so that nothing is left out."""
    x, w, b, grad_y = operands(case, dtype, seed=seed)
    y = kernels.conv2d(x, w, b, activation="relu", out=nans(case.y_shape, dtype), **case.options)
    np.testing.assert_array_equal(y, reference.conv2d(x, w, b, activation="relu", **case.options))
    grad_x = kernels.conv2d_grad_input(grad_y, w, case.x_shape, out=nans(case.x_shape, dtype), **case.options)
    np.testing.assert_array_equal(
        grad_x, reference.conv2d_grad_input(grad_y, w, case.x_shape, **case.options)
    )
    grad_w = kernels.conv2d_grad_weights(
        x, grad_y, case.w_shape, out=nans(case.w_shape, dtype), **case.options
    )
    np.testing.assert_array_equal(
        grad_w, reference.conv2d_grad_weights(x, grad_y, case.w_shape, **case.options)
    )
    assert y.dtype == grad_x.dtype == grad_w.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_integers_equal_reference(case: ConvCase, dtype: type) -> None:
    assert_equal_to_reference(case, dtype)


@pytest.mark.parametrize("case", CUT_CONVS, ids=str)
def test_integers_equal_reference_where_images_are_cut(case: ConvCase) -> None:
    assert_equal_to_reference(case, np.float32)


@settings(max_examples=80, deadline=None)
@given(conv_cases(), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_any_geometry_equals_reference(case: ConvCase, dtype: type, seed: int) -> None:
    assert_equal_to_reference(case, dtype, seed)


@settings(max_examples=25, deadline=None)
@given(conv_cases(max_channels=40, max_kernel=3, slack=3), st.integers(0, 2**32 - 1))
def test_any_channels_equal_reference(case: ConvCase, seed: int) -> None:
    assert_equal_to_reference(case, np.float32, seed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
def test_normals_are_close_to_reference(activation: str | None, dtype: type) -> None:
    case = ConvCase("normals", 2, 12, 11, 20, 37, (3, 3), padding="same")
    x, w, b, grad_y = operands(case, dtype, draw_normals)
    terms = case.kernel[0] * case.kernel[1] * case.cin
    y = kernels.conv2d(x, w, b, activation=activation, **case.options)
    assert_close(y, reference.conv2d(x, w, b, activation=activation, **case.options), terms)
    grad_x = kernels.conv2d_grad_input(grad_y, w, case.x_shape, **case.options)
    assert_close(
        grad_x, reference.conv2d_grad_input(grad_y, w, case.x_shape, **case.options), terms * case.cout
    )
    grad_w = kernels.conv2d_grad_weights(x, grad_y, case.w_shape, **case.options)
    pixels = int(np.prod(case.y_shape[:3]))
    assert_close(grad_w, reference.conv2d_grad_weights(x, grad_y, case.w_shape, **case.options), pixels)


@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_reach_exactly_the_outputs_that_see_them(value: float, groups: int) -> None:
    x = np.ones((1, 9, 9, 6), np.float32)
    x[0, 4, 5, 2] = value
    w = np.ones((3, 3, 6 // groups, 6), np.float32)
    for activation in (None, "relu"):
        y = kernels.conv2d(x, w, activation=activation, padding="same", groups=groups)
        np.testing.assert_array_equal(
            y, reference.conv2d(x, w, activation=activation, padding="same", groups=groups)
        )


@pytest.mark.parametrize(("h", "w", "cin", "cout"), [(5, 5, 0, 3), (5, 5, 3, 0)])
def test_no_channels(h: int, w: int, cin: int, cout: int) -> None:
    x, k = np.ones((2, h, w, cin), np.float32), np.ones((3, 3, cin, cout), np.float32)
    b = np.arange(cout, dtype=np.float32)
    y = kernels.conv2d(x, k, b)
    np.testing.assert_array_equal(y, reference.conv2d(x, k, b))
    np.testing.assert_array_equal(
        kernels.conv2d_grad_input(y, k, x.shape), reference.conv2d_grad_input(y, k, x.shape)
    )
    assert kernels.conv2d_grad_weights(x, y, k.shape).shape == k.shape


@pytest.mark.parametrize("case", [SMALL[5], SMALL[20]], ids=str)
def test_any_layout_of_the_operands(case: ConvCase) -> None:
    x, w, b, grad_y = operands(case, np.float32)
    y = kernels.conv2d(x, w, b, **case.options)
    grad_x = kernels.conv2d_grad_input(grad_y, w, case.x_shape, **case.options)
    grad_w = kernels.conv2d_grad_weights(x, grad_y, case.w_shape, **case.options)
    for x2, w2, b2, grad_y2 in zip(*map(variants, (x, w, b, grad_y)), strict=True):
        np.testing.assert_array_equal(kernels.conv2d(x2, w2, b2, **case.options), y)
        np.testing.assert_array_equal(
            kernels.conv2d_grad_input(grad_y2, w2, case.x_shape, **case.options), grad_x
        )
        np.testing.assert_array_equal(
            kernels.conv2d_grad_weights(x2, grad_y2, case.w_shape, **case.options), grad_w
        )


def test_out_is_returned() -> None:
    x, w = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 5), np.float32)
    out = np.empty((1, 2, 2, 5), np.float32)
    assert kernels.conv2d(x, w, out=out) is out
    assert kernels.conv2d_grad_weights(x, out, w.shape, out=w) is w
    assert kernels.conv2d_grad_input(out, np.ones_like(w), x.shape, out=x, device="cpu") is x


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("parts", [1, 2, 7, 16])
@pytest.mark.parametrize(
    ("kernel", "strides", "padding"), [(3, 1, "same"), (3, 2, "valid"), (2, 3, ((1, 0), (1, 1)))]
)
def test_cuts_make_every_pixel_once(n: int, parts: int, kernel: int, strides: int, padding) -> None:
    window = Window2D.of(kernel, strides, padding=padding)
    h, w = 23, 9
    oh, _ = window.output_size(h, w)
    made = [
        (c.image + i, c.y_row + r)
        for c in by_outputs(window, n, h, w, parts)
        for i in range(c.n)
        for r in range(c.window.output_size(c.h, w)[0])
    ]
    assert sorted(made) == [(i, r) for i in range(n) for r in range(oh)]
    made = [
        (c.image + i, c.x_row + r)
        for c in by_inputs(window, n, h, w, parts)
        for i in range(c.n)
        for r in range(c.h)
    ]
    assert sorted(made) == [(i, r) for i in range(n) for r in range(h)]
