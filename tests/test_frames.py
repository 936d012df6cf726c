"""zero_padding2d and cropping2d: the reference by hand and by central differences, the kernels against it; joins of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arrays import image
from central_differences import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import DTYPES, draw_integers, nans, variants

import cnnlite_kernels as kernels
from cnnlite_kernels import reference
from cnnlite_kernels.cpu import frames, joins
from cnnlite_kernels.cpu.images import NO_HALO, Images
from cnnlite_kernels.cpu.memory import pointer_to
from cnnlite_kernels.cpu.plan import Job, Part, Plan

Margins = tuple[tuple[int, int], tuple[int, int]]
Shape = tuple[int, int, int, int]
MARGINS: tuple[Margins, ...] = (((0, 0), (0, 0)), ((1, 2), (3, 0)), ((0, 1), (1, 1)), ((2, 0), (0, 2)))


@pytest.mark.parametrize("module", [reference, kernels])
def test_by_hand(module: Any) -> None:
    rows = [[1, 2, 3], [4, 5, 6]]
    x = image(rows)
    padded = [[0, 0, 0, 0], [1, 2, 3, 0], [4, 5, 6, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(module.zero_padding2d(x, (1, (0, 1)))[0, :, :, 0], padded)
    np.testing.assert_array_equal(module.cropping2d(x, ((1, 0), (1, 0)))[0, :, :, 0], [[5, 6]])
    assert module.zero_padding2d(x).shape == (1, 4, 5, 1)
    assert module.zero_padding2d(x, (3, 0)).shape == (1, 8, 3, 1)
    np.testing.assert_array_equal(module.cropping2d(x)[0, :, :, 0], rows)


def test_each_is_the_others_gradient() -> None:
    rng = np.random.default_rng(0)
    margins = ((1, 0), (2, 1))
    x, grad_y = rng.standard_normal((2, 3, 4, 2)), rng.standard_normal((2, 4, 7, 2))
    assert_gradient(
        reference.cropping2d(grad_y, margins),
        lambda x: (reference.zero_padding2d(x, margins) * grad_y).sum(),
        x,
    )
    assert_gradient(
        reference.zero_padding2d(x, margins),
        lambda grad_y: (reference.cropping2d(grad_y, margins) * x).sum(),
        grad_y,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("margins", MARGINS, ids=str)
@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (0, 4, 4, 2), (1, 150, 60, 16), (17, 30, 20, 9)], ids=str)
def test_equal_to_reference(shape: Shape, margins: Margins, dtype: type) -> None:
    """Some of them are cut into parts."""
    x = draw_integers(np.random.default_rng(0), shape, dtype)
    for name in ("zero_padding2d", "cropping2d"):
        expected = getattr(reference, name)(x, margins)
        out = nans(expected.shape, dtype)
        assert getattr(kernels, name)(x, margins, out=out) is out
        np.testing.assert_array_equal(out, expected)


def at(array: np.ndarray, halo: Margins) -> Images:
    """The pixels of an array that has a halo around them."""
    n, h, w, c = array.shape
    (top, bottom), (left, right) = halo
    return Images(pointer_to(array), n, h - top - bottom, w - left - right, c, halo)


def run(add: Any, *arguments: Any, dtype: Any, **options: Any) -> None:
    plan = Plan(np.dtype(dtype).itemsize)
    add(plan, *arguments, **options)
    Job([[Part(plan)]]).run()


MARGIN = st.tuples(*[st.tuples(*[st.integers(-3, 3)] * 2)] * 2)
HALO = st.sampled_from([NO_HALO, ((1, 2), (0, 1))])


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 5)] * 4), MARGIN, HALO, HALO, st.sampled_from(DTYPES))
def test_any_margins_of_images_with_halos(
    shape: Shape, margins: Margins, halo: Margins, y_halo: Margins, dtype: type
) -> None:
    """Zeros on one side and cropping on another, and the gradient back; halos and what is around y stay as they are."""
    n, h, w, c = shape
    (top, bottom), (left, right) = margins
    oh, ow = h + top + bottom, w + left + right
    if min(oh, ow) < 1:
        return
    rng = np.random.default_rng(0)
    rows, columns = (np.arange(size) for size in (oh, ow))
    inside = ((rows >= top) & (rows < top + h))[:, None] & ((columns >= left) & (columns < left + w))
    expected = np.zeros((n, oh, ow, c))
    large = draw_integers(rng, (n, h + 6, w + 6, c), dtype)
    x = large[:, 3 : 3 + h, 3 : 3 + w]
    expected[:, inside] = large[:, 3 - top : 3 - top + oh, 3 - left : 3 - left + ow][:, inside]
    there, made = (np.pad(array, ((0, 0), *around, (0, 0)), constant_values=7)
                   for array, around in ((x, halo), (np.full((n, oh, ow, c), np.nan, dtype), y_halo)))  # fmt: skip
    run(frames.add_forward, margins, at(there, halo), at(made, y_halo), dtype=dtype)
    np.testing.assert_array_equal(made, np.pad(expected, ((0, 0), *y_halo, (0, 0)), constant_values=7))
    grad_y = draw_integers(rng, (n, oh, ow, c), dtype)
    grad_x = nans(shape, dtype)
    run(frames.add_grad, margins, at(grad_y, NO_HALO), at(grad_x, NO_HALO), dtype=dtype)
    whole = np.zeros(large.shape)
    whole[:, 3 - top : 3 - top + oh, 3 - left : 3 - left + ow] = grad_y
    np.testing.assert_array_equal(grad_x, whole[:, 3 : 3 + h, 3 : 3 + w])


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(0, 4)] * 3), st.lists(st.integers(1, 9), min_size=1, max_size=3), HALO, HALO,
    st.sampled_from(DTYPES),
)  # fmt: skip
def test_joins_of_channels(
    images: tuple[int, int, int], channels: list[int], halo: Margins, y_halo: Margins, dtype: type
) -> None:
    rng = np.random.default_rng(0)
    parts = [draw_integers(rng, (*images, c), dtype) for c in channels]
    around = ((0, 0), *y_halo, (0, 0))
    y = np.pad(nans((*images, sum(channels)), dtype), around, constant_values=7)
    firsts = [sum(channels[:i]) for i in range(len(channels))]
    for part, first in zip(parts, firsts, strict=True):
        x = np.pad(part, ((0, 0), *halo, (0, 0)), constant_values=7)
        run(joins.add_join, at(x, halo), at(y, y_halo), first, dtype=dtype)
    np.testing.assert_array_equal(y, np.pad(np.concatenate(parts, -1), around, constant_values=7))
    for part, first in zip(parts, firsts, strict=True):
        x = np.pad(nans(part.shape, dtype), ((0, 0), *halo, (0, 0)), constant_values=7)
        run(joins.add_part, at(y, y_halo), at(x, halo), first, dtype=dtype)
        np.testing.assert_array_equal(x, np.pad(part, ((0, 0), *halo, (0, 0)), constant_values=7))
        run(joins.add_part, at(y, y_halo), at(x, halo), first, accumulate=True, dtype=dtype)
        np.testing.assert_array_equal(x, np.pad(2 * part, ((0, 0), *halo, (0, 0)), constant_values=7))


def test_any_layout_of_the_operand() -> None:
    x = draw_integers(np.random.default_rng(1), (2, 3, 4, 5), np.float32)
    for other in variants(x):
        np.testing.assert_array_equal(kernels.zero_padding2d(other), reference.zero_padding2d(x))
        np.testing.assert_array_equal(kernels.cropping2d(other, 1), reference.cropping2d(x, 1))


X = np.ones((2, 4, 3, 1), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kernels.zero_padding2d(X.astype(int)),
            TypeError,
            "^zero_padding2d: expected x of dtype float32 or float64, got int64",
        ),
        (lambda: kernels.cropping2d(X[0]), ValueError, r"^cropping2d: expected x of shape \(n, h, w, c\), got"),
        (
            lambda: kernels.zero_padding2d(X, (1, -1)),
            ValueError,
            r"^zero_padding2d: expected padding as an int, \(rows, columns\) or \(\(top, bottom\), \(left, right\)\) of ints of "
            r"at least 0, got \(1, -1\); pass, say, padding=1",
        ),
        (
            lambda: kernels.zero_padding2d(X, (1, 2, 3)),
            ValueError,
            r"^zero_padding2d: expected padding as an int, .* got \(1, 2, 3\)",
        ),
        (lambda: kernels.cropping2d(X, "same"), ValueError, "^cropping2d: expected cropping as an int, .* got 'same'"),
        (lambda: kernels.cropping2d(X, ((1, 1, 1), 0)), ValueError, "^cropping2d: expected cropping as an int"),
        (
            lambda: kernels.cropping2d(X, ((2, 1), (2, 1))),
            ValueError,
            r"^cropping2d: expected cropping that leaves at least 1 x 1 of 4 x 3 pixels, got \(\(2, 1\), \(2, 1\)\); crop less",
        ),
        (
            lambda: kernels.zero_padding2d(X[:, :0]),
            ValueError,
            "^zero_padding2d: expected an image of at least 1 x 1 pixels, got 0 x 3; leave empty",
        ),
        (lambda: kernels.cropping2d(X, out=X), ValueError, "^cropping2d: expected out to share no memory"),
    ],
)  # fmt: skip
def test_what_cannot_be(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
