"""matmul against the reference."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from cases import MatmulCase
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import DTYPES, assert_close, draw_integers, draw_normals, nans, variants
from strategies import matmul_cases

import cnnlite_kernels as kernels
from cnnlite_kernels import reference

SMALL = (*cases.ODD_MATMULS, *(c for c in cases.DOCUMENTED if isinstance(c, MatmulCase)))
# Every way through cpu/matmul.py: sums in blocks, rows a page apart, transposes, few rows, rows and columns cut into parts.
LARGE = (
    MatmulCase("two_blocks_of_k", 60, 70, 1025),
    MatmulCase("rows_a_page_apart", 130, 200, 1024),
    MatmulCase("rows_a_page_apart_few_columns", 130, 40, 1024),
    MatmulCase("transpose_a", 150, 130, 700, transpose_a=True),
    MatmulCase("transpose_a_few_rows", 20, 130, 700, transpose_a=True),
    MatmulCase("transpose_b", 150, 131, 700, transpose_b=True),
    MatmulCase("transpose_both", 129, 131, 701, True, True),
    MatmulCase("few_rows", 5, 515, 300),
    MatmulCase("two_rows", 2, 515, 300),
    MatmulCase("many_parts", 500, 500, 64),
    MatmulCase("wide_parts", 50, 3000, 64),
    MatmulCase("row_of_dots", 1, 203, 517, transpose_b=True),
    MatmulCase("row", 1, 517, 203),
    MatmulCase("row_of_transposed", 1, 517, 203, transpose_a=True),
    MatmulCase("column", 203, 1, 517),
    MatmulCase("column_transpose_a", 203, 1, 517, transpose_a=True),
    MatmulCase("column_transpose_b", 203, 1, 517, transpose_b=True),
    MatmulCase("column_transpose_both", 203, 1, 517, True, True),
)


def operands(case: MatmulCase, dtype: type, draw=draw_integers, seed: int = 0) -> tuple[np.ndarray, ...]:
    """a, b, bias and the old C."""
    rng = np.random.default_rng(seed)
    return tuple(draw(rng, shape, dtype) for shape in (case.a_shape, case.b_shape, (case.n,), case.y_shape))


def assert_equal_to_reference(case: MatmulCase, dtype: type, seed: int = 0) -> None:
    a, b, bias, c = operands(case, dtype, seed=seed)
    plain = kernels.matmul(a, b, out=nans(case.y_shape, dtype), **case.options)
    np.testing.assert_array_equal(plain, reference.matmul(a, b, **case.options))
    for options in (
        {"alpha": 2, "bias": bias},
        {"beta": 1, "out": c},
        {"alpha": -3, "beta": 2, "out": c, "bias": bias, "activation": "relu"},
    ):
        expected = reference.matmul(a, b, **case.options, **options)
        got = kernels.matmul(
            a, b, **case.options, **options | ({"out": c.copy()} if "out" in options else {})
        )
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_integers_equal_reference(case: MatmulCase, dtype: type) -> None:
    assert_equal_to_reference(case, dtype)


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_integers_equal_reference_in_blocks_and_parts(case: MatmulCase) -> None:
    assert_equal_to_reference(case, np.float32)


@settings(max_examples=60, deadline=None)
@given(matmul_cases(), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_any_shape_equals_reference(case: MatmulCase, dtype: type, seed: int) -> None:
    assert_equal_to_reference(case, dtype, seed)


@settings(max_examples=20, deadline=None)
@given(matmul_cases(max_size=150), st.integers(0, 2**32 - 1))
def test_any_larger_shape_equals_reference(case: MatmulCase, seed: int) -> None:
    assert_equal_to_reference(case, np.float32, seed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize(
    "case", [MatmulCase("normals", 65, 77, 600), MatmulCase("normals_column", 65, 1, 600)], ids=str
)
def test_normals_are_close_to_reference(case: MatmulCase, activation: str | None, dtype: type) -> None:
    a, b, bias, c = operands(case, dtype, draw_normals)
    options = {"alpha": 0.3, "beta": -1.7, "bias": bias, "activation": activation}
    expected = reference.matmul(a, b, out=c, **options)
    assert_close(kernels.matmul(a, b, out=c, **options), expected, case.k)


@pytest.mark.parametrize("shape", [(3, 40), (60, 40), (1, 40), (60, 1)])
def test_beta_0_never_reads_out(shape: tuple[int, int]) -> None:
    a, b = np.ones((shape[0], 5), np.float32), np.ones((5, shape[1]), np.float32)
    for options in ({}, {"transpose_b": True}):
        right = np.ascontiguousarray(b.T) if options else b
        np.testing.assert_array_equal(
            kernels.matmul(a, right, beta=0, out=nans(shape, np.float32), **options), np.full(shape, 5)
        )


@pytest.mark.parametrize("shape", [(3, 40), (60, 40), (1, 40), (60, 1)])
def test_nan_reaches_exactly_what_it_should(shape: tuple[int, int]) -> None:
    a, b = np.ones((shape[0], 70), np.float32), np.ones((70, shape[1]), np.float32)
    a[-1, 3] = np.nan
    expected = reference.matmul(a, b, activation="relu")
    np.testing.assert_array_equal(kernels.matmul(a, b, activation="relu"), expected)
    np.testing.assert_array_equal(
        kernels.matmul(a, b.T.copy(), transpose_b=True, activation="relu"), expected
    )


def test_any_layout_of_the_operands() -> None:
    case = MatmulCase("layouts", 17, 33, 20)
    a, b, bias, _ = operands(case, np.float32)
    c = kernels.matmul(a, b, bias=bias)
    for a2, b2, bias2 in zip(*map(variants, (a, b, bias)), strict=True):
        np.testing.assert_array_equal(kernels.matmul(a2, b2, bias=bias2), c)
        np.testing.assert_array_equal(
            kernels.matmul(a2.T, b2.T, bias=bias2, transpose_a=True, transpose_b=True), c
        )


def test_out_is_returned() -> None:
    a = np.eye(3, dtype=np.float32)
    out = np.empty((3, 3), np.float32)
    assert kernels.matmul(a, a.copy(), out=out) is out
