"""prelu and its gradients: the reference by hand and by central differences, the kernels against the reference."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from central_differences import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import DTYPES, assert_close, draw_integers, draw_normals, nans, variants

import cnnlite_kernels as kernels
from cnnlite_kernels import reference
from cnnlite_kernels.cpu import prelu
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import pointer_to
from cnnlite_kernels.cpu.plan import Job, Part, Plan

Shape = tuple[int, ...]
SHARED = tuple(product((False, True), repeat=3))


def sharing(shape: Shape, shared: tuple[bool, ...]) -> Shape:
    """The shape of slopes for x (n, h, w, c) that some axes share."""
    return tuple(1 if one else size for size, one in zip(shape[1:], shared, strict=True))


def test_by_hand() -> None:
    x = np.array([[[[1.0, -2.0], [-3.0, np.nan]]], [[[-4.0, 0.0], [np.inf, -np.inf]]]])
    alpha = np.array([[[2.0, -1.0]]])
    y = [[[[1, 2], [-6, np.nan]]], [[[-8, 0], [np.inf, np.inf]]]]
    for module in (reference, kernels):
        np.testing.assert_array_equal(module.prelu(x, alpha), y)
    grad_y = np.arange(1.0, 9).reshape(x.shape)
    x = np.nan_to_num(x, nan=5, posinf=6, neginf=-7)
    for module in (reference, kernels):
        grad_x, grad_alpha = module.prelu_grad(grad_y, x, alpha)
        np.testing.assert_array_equal(grad_x, [[[[1, -2], [6, 4]]], [[[10, -6], [7, -8]]]])
        np.testing.assert_array_equal(grad_alpha, [[[-4 * 5 - 3 * 3, -2 * 2 - 7 * 8]]])


@pytest.mark.parametrize("shared", SHARED, ids=str)
def test_gradients_against_central_differences(shared: tuple[bool, ...]) -> None:
    rng = np.random.default_rng(0)
    shape = (2, 3, 2, 2)
    x, grad_y, alpha = (rng.standard_normal(size) for size in (shape, shape, sharing(shape, shared)))
    grad_x, grad_alpha = reference.prelu_grad(grad_y, x, alpha)
    assert grad_alpha.shape == alpha.shape
    assert_gradient(grad_x, lambda x: (reference.prelu(x, alpha) * grad_y).sum(), x)
    assert_gradient(grad_alpha, lambda alpha: (reference.prelu(x, alpha) * grad_y).sum(), alpha)


def run(draw: Any, shape: Shape, alpha: Shape, dtype: type) -> list[tuple[np.ndarray, np.ndarray]]:
    """(found, expected) of the output and both gradients."""
    rng = np.random.default_rng(0)
    x, grad_y, slopes = draw(rng, shape, dtype), draw(rng, shape, dtype), draw(rng, alpha, dtype)
    out, grad_out = nans(shape, dtype), nans(shape, dtype)
    assert kernels.prelu(x, slopes, out=out) is out
    grad_x, grad_alpha = kernels.prelu_grad(grad_y, x, slopes, out=grad_out)
    assert grad_x is grad_out
    assert grad_alpha.dtype == dtype
    expected = reference.prelu(x, slopes), *reference.prelu_grad(grad_y, x, slopes)
    return list(zip((out, grad_x, grad_alpha), expected, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shared", SHARED, ids=str)
@pytest.mark.parametrize(
    "shape", [(2, 3, 4, 5), (1, 1, 1, 1), (0, 2, 3, 2), (3, 5, 6, 70), (17, 30, 20, 9), (1, 150, 40, 16)], ids=str
)  # fmt: skip
def test_integers_equal_reference(shape: Shape, shared: tuple[bool, ...], dtype: type) -> None:
    """The last two are cut: between images, and inside one."""
    for found, expected in run(draw_integers, shape, sharing(shape, shared), dtype):
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=4), st.data(), st.sampled_from(DTYPES))
def test_any_shape_is_close_to_reference(shape: list[int], data: Any, dtype: type) -> None:
    alpha = tuple(data.draw(st.sampled_from(sorted({1, size}))) for size in shape[1:])
    for found, expected in run(draw_normals, tuple(shape), alpha, dtype):
        assert_close(found, expected, int(np.prod(shape)))


@pytest.mark.parametrize("shared", SHARED, ids=str)
def test_a_part_of_the_rows_added_to_what_is_there(shared: tuple[bool, ...]) -> None:
    """What an engine asks for: images with halos, in place, the slopes' gradients accumulated or left out."""
    rng = np.random.default_rng(0)
    shape = (2, 6, 5, 3)
    x, grad_y = (draw_integers(rng, shape, np.float32) for _ in range(2))
    alpha, before = (draw_integers(rng, sharing(shape, shared), np.float32) for _ in range(2))
    padded, halo = np.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0))), ((1, 2), (0, 1))
    images = Images(pointer_to(padded), *shape, halo)
    gradient, total = grad_y.copy(), before.copy()
    where = Images(pointer_to(gradient), *shape)
    for rows in ((0, 2), (2, 6)):
        plan = Plan(4)
        prelu.add_grad(
            plan, images, pointer_to(alpha), alpha.shape, where, where, pointer_to(total), accumulate=True, rows=rows
        )  # fmt: skip
        Job([[Part(plan)]]).run()
    grad_x, grad_alpha = reference.prelu_grad(grad_y, x, alpha)
    np.testing.assert_array_equal(gradient, grad_x)
    np.testing.assert_array_equal(total, before + grad_alpha)
    plan, gradient[:] = Plan(4), grad_y
    prelu.add_grad(plan, images, pointer_to(alpha), alpha.shape, where, where)
    prelu.add_forward(plan, images, pointer_to(alpha), alpha.shape, images)
    Job([[Part(plan)]]).run()
    np.testing.assert_array_equal(gradient, grad_x)
    np.testing.assert_array_equal(padded[:, 1:-2, :-1], reference.prelu(x, alpha))


def test_in_place_and_any_layout() -> None:
    rng = np.random.default_rng(1)
    x, grad_y, alpha = (
        draw_integers(rng, shape, np.float32) for shape in ((2, 3, 4, 5), (2, 3, 4, 5), (1, 1, 5))
    )
    y, (grad_x, grad_alpha) = kernels.prelu(x, alpha), kernels.prelu_grad(grad_y, x, alpha)
    for x2, grad_y2 in zip(variants(x), variants(grad_y), strict=True):
        np.testing.assert_array_equal(kernels.prelu(x2, alpha), y)
        np.testing.assert_array_equal(kernels.prelu_grad(grad_y2, x2, alpha)[1], grad_alpha)
    for over in (grad_y.copy(), x.copy()):
        grad = grad_y if np.array_equal(over, x) else over
        of = over if np.array_equal(over, x) else x
        np.testing.assert_array_equal(kernels.prelu_grad(grad, of, alpha, out=over)[0], grad_x)
    assert kernels.prelu(x, alpha, out=x) is x
    np.testing.assert_array_equal(x, y)


X, ALPHA = np.ones((2, 3, 4, 5), np.float32), np.ones((1, 1, 5), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kernels.prelu(X.astype(int), ALPHA), TypeError, "^prelu: expected x of dtype float32 or float64, got int64"),
        (lambda: kernels.prelu(X, ALPHA.astype(float)), TypeError, "^prelu: expected alpha of dtype float32 as the first"),
        (
            lambda: kernels.prelu(X, ALPHA[0]),
            ValueError,
            r"^prelu: expected alpha of x's shape without n, \(3, 4, 5\), or with 1 where it is shared, got \(1, 5\); reshape",
        ),
        (lambda: kernels.prelu(X, ALPHA[..., :4]), ValueError, r"^prelu: expected alpha of x's shape .* got \(1, 1, 4\)"),
        (
            lambda: kernels.prelu(X[0, 0, 0], ALPHA),
            ValueError,
            r"^prelu: expected x \(n, ...\) with two to four axes, none but the first empty, got shape \(5,\); reshape it",
        ),
        (lambda: kernels.prelu_grad(X, X[:, :0], ALPHA), ValueError, r"^prelu_grad: expected x .* got shape \(2, 0, 4, 5\)"),
        (lambda: kernels.prelu_grad(X[:1], X, ALPHA), ValueError, r"^prelu_grad: expected grad_y of shape \(2, 3, 4, 5\)"),
        (lambda: kernels.prelu(X, ALPHA, out=X[:1]), ValueError, "^prelu: expected out of shape"),
    ],
)  # fmt: skip
def test_what_cannot_be(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
