"""softmax_cross_entropy and its gradient against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import DTYPES, draw_normals, nans, variants

import cnnlite_kernels as kernels
from cnnlite_kernels import reference


def assert_close_to_reference(n: int, classes: int, dtype: type, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = draw_normals(rng, (n, classes), dtype) * 5, rng.integers(0, classes, n)
    losses, grad = kernels.softmax_cross_entropy(logits, labels, return_grad=True, out=nans((n,), dtype))
    assert losses.dtype == grad.dtype == dtype
    # a few roundings of logits up to about 25 and of a sum of `classes` exponentials
    tolerance = np.finfo(dtype).eps * (64 + np.sqrt(classes))
    np.testing.assert_allclose(
        losses, reference.softmax_cross_entropy(logits, labels), rtol=tolerance, atol=tolerance
    )
    np.testing.assert_allclose(
        grad, reference.softmax_cross_entropy_grad(logits, labels), rtol=0, atol=tolerance
    )
    np.testing.assert_array_equal(kernels.softmax_cross_entropy(logits, labels), losses)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "classes"), [(1, 1), (1, 2), (32, 10), (7, 1000), (20_000, 10)])
def test_close_to_reference(n: int, classes: int, dtype: type) -> None:
    assert_close_to_reference(n, classes, dtype)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9), st.integers(1, 40), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_any_shape_is_close_to_reference(n: int, classes: int, dtype: type, seed: int) -> None:
    assert_close_to_reference(n, classes, dtype, seed)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_overflow_and_no_logarithm_of_zero(dtype: type) -> None:
    logits = np.array([[1000, 0], [1000, 0], [-1000, 1000]], dtype)
    losses, grad = kernels.softmax_cross_entropy(logits, np.array([0, 1, 0]), return_grad=True)
    np.testing.assert_array_equal(losses, [0, 1000, 2000])
    np.testing.assert_array_equal(grad, [[0, 0], [1, -1], [-1, 1]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint64, np.int64])
def test_labels_of_any_integer_dtype(dtype: type) -> None:
    logits = np.zeros((3, 4), np.float32)
    losses = kernels.softmax_cross_entropy(logits, np.array([0, 3, 1], dtype))
    np.testing.assert_allclose(losses, np.log(4), rtol=1e-6)


def test_any_layout_of_the_operands() -> None:
    rng = np.random.default_rng(5)
    logits, labels = draw_normals(rng, (6, 5), np.float32), rng.integers(0, 5, 6)
    losses = kernels.softmax_cross_entropy(logits, labels)
    for logits2, labels2 in zip(variants(logits), variants(labels), strict=True):
        np.testing.assert_array_equal(kernels.softmax_cross_entropy(logits2, labels2), losses)
