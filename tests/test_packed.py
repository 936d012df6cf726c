"""Weights packed before: the same bits as without, and every misuse has its message."""

from __future__ import annotations

import copy
import pickle

import cases
import numpy as np
import pytest
from cases import ConvCase, MatmulCase
from op_operands import DTYPES, draw_integers, draw_normals, nans

import cnnlite_kernels as kernels
from cnnlite_kernels import reference

LAYERS = (
    *cases.ODD,
    ConvCase("pieces", 1, 7, 7, 256, 288, (3, 3), padding="same"),
    ConvCase("columns", 1, 14, 14, 130, 96, (3, 3), (2, 2), "same"),
)
PRODUCTS = (
    *cases.ODD_MATMULS,
    MatmulCase("blocks", 60, 45, 1100),
    MatmulCase("blocks_transposed", 60, 45, 1100, True, True),
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_conv2d_gives_the_bits_of_plain_weights(case: ConvCase, dtype: type) -> None:
    rng = np.random.default_rng(0)
    x, w, b = (draw_normals(rng, shape, dtype) for shape in (case.x_shape, case.w_shape, (case.cout,)))
    packed = kernels.pack_conv2d_weights(w, groups=case.groups)
    for bias, activation in ((b, "relu"), (None, None), (b, "tanh")):
        plain = kernels.conv2d(x, w, bias, activation=activation, **case.options)
        out = nans(case.y_shape, dtype)
        again = kernels.conv2d(x, packed, bias, activation=activation, out=out, **case.options)
        np.testing.assert_array_equal(again, plain)


@pytest.mark.parametrize("case", PRODUCTS, ids=str)
def test_matmul_equals_reference(case: MatmulCase) -> None:
    rng = np.random.default_rng(0)
    a, b, bias = (draw_integers(rng, shape, np.float32) for shape in (case.a_shape, case.b_shape, (case.n,)))
    packed = kernels.pack_matmul_weights(b, transpose_b=case.transpose_b)
    assert packed.shape == (case.k, case.n)
    c = kernels.matmul(a, packed, bias=bias, transpose_a=case.transpose_a, out=nans(case.y_shape, np.float32))
    np.testing.assert_array_equal(c, reference.matmul(a, b, bias=bias, **case.options))
    expected = reference.matmul(a, b, alpha=2, beta=3, out=c.copy(), **case.options)
    kernels.matmul(a, packed, alpha=2, beta=3, out=c, transpose_a=case.transpose_a)
    np.testing.assert_array_equal(c, expected)


def test_it_is_a_copy_that_cannot_be_changed() -> None:
    w = np.ones((3, 3, 4, 6), np.float32)
    packed = kernels.pack_conv2d_weights(w, groups=2)
    w[...] = 7
    y = kernels.conv2d(np.ones((1, 3, 3, 8), np.float32), packed, groups=2, device="auto")
    assert y.reshape(-1).tolist() == [36.0] * 6
    assert (packed.shape, packed.ndim, packed.size, packed.groups) == ((3, 3, 4, 6), 4, 216, 2)
    assert packed.dtype == np.float32
    assert packed.nbytes == packed.data.nbytes >= w.nbytes
    assert repr(packed) == "PackedWeights(conv2d, shape=(3, 3, 4, 6), dtype=float32, groups=2, form='direct')"
    with pytest.raises(ValueError, match="read-only"):
        packed.data[0] = 1
    with pytest.raises(
        AttributeError, match="expected shape to stay as it is, got 3; pack the weights again"
    ):
        packed.shape = 3
    for away in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="expected no copy and no pickle"):
            away(packed)


X, W = np.ones((1, 5, 5, 4), np.float32), np.ones((3, 3, 4, 6), np.float32)
CONV, MATRIX = kernels.pack_conv2d_weights(W), kernels.pack_matmul_weights(np.ones((4, 6), np.float32))
ROWS = np.ones((2, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kernels.conv2d(X, MATRIX), ValueError,
            "conv2d: expected w packed by pack_conv2d_weights, got weights packed for matmul; pack the array for conv2d.",
        ),
        (
            lambda: kernels.matmul(ROWS, CONV), ValueError,
            "matmul: expected b packed by pack_matmul_weights, got weights packed for conv2d; pack the array for matmul.",
        ),
        (
            lambda: kernels.conv2d(X.astype(float), CONV), TypeError,
            "conv2d: expected w packed from an array of dtype float64 as the first operand has, got float32; pack w.astype",
        ),
        (
            lambda: kernels.conv2d(X, CONV, groups=2), ValueError,
            "conv2d: expected groups=1 as w was packed with, got 2; pass the same, or pack again.",
        ),
        (
            lambda: kernels.conv2d(X, CONV, algorithm="winograd"), ValueError,
            "conv2d: expected algorithm='direct', for which w is packed, got 'winograd'; pass the array for others.",
        ),
        (
            lambda: kernels.conv2d(X[..., :3], CONV), ValueError, r"conv2d: expected x with 4 channels to match w \(3, 3, 4, 6\)",
        ),
        (
            lambda: kernels.matmul(ROWS, MATRIX, transpose_b=True), ValueError,
            r"matmul: expected packed b as \(k, n\), got transpose_b=True; give it to pack_matmul_weights instead.",
        ),
        (
            lambda: kernels.conv2d_grad_input(np.ones((1, 3, 3, 6), np.float32), CONV, X.shape), TypeError,
            r"conv2d_grad_input: expected w as an array of numbers, got PackedWeights \(it is packed for conv2d alone; pass the array",
        ),
        (
            lambda: kernels.relu(CONV), TypeError, "relu: expected x as an array of numbers, got PackedWeights",
        ),
        (
            lambda: kernels.pack_conv2d_weights(W, groups=4), ValueError,
            "pack_conv2d_weights: expected the 6 output channels of w .* to be a multiple of groups=4",
        ),
        (
            lambda: kernels.pack_conv2d_weights(W, groups=0), ValueError, "expected groups as an int of at least 1, got 0",
        ),
        (
            lambda: kernels.pack_conv2d_weights(W[0]), ValueError, r"pack_conv2d_weights: expected w of shape \(kh, kw,",
        ),
        (
            lambda: kernels.pack_matmul_weights(np.ones((2, 2), int)), TypeError, "pack_matmul_weights: expected b of dtype float32",
        ),
    ],
)  # fmt: skip
def test_misuse(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_gpu_takes_the_array() -> None:
    from cnnlite_kernels import checks

    with pytest.raises(
        ValueError, match=r"conv2d: expected packed w on the CPU.*; pass the array that w was packed from"
    ):
        checks.packed("conv2d", "w", CONV, "cuda", X)
