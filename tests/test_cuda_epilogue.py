"""What is done to sums before they are written, and partial sums put together, in the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from interpreted import Interpreted
from numba import cuda, uint32, uint64

from cnnlite_kernels.cuda.epilogue import ACCUMULATE, ACTIVATIONS, BIAS, WIDE, activate, write4
from cnnlite_kernels.cuda.intrinsics import load4
from cnnlite_kernels.cuda.kernel import F32, U32, U64, Floats, Kernel, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.reduce import add_reduce

EPSILON = float(np.finfo(np.float32).eps)
ACTIVATED: dict[str | None, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


def run(body: Kernel, blocks: int, *args: object) -> None:
    plan = Plan(Interpreted())
    plan.add(body, blocks, *args)
    plan.run()


@kernel(threads=32)
def write(
    y: Floats,
    x: Floats,
    bias: Floats,
    columns: U32,
    stride: U32,
    alpha: F32,
    beta: F32,
    code: U32,
    flags: U32,
) -> None:
    """y (32, stride), its first columns: write4 of x (32, 8)."""
    t = uint32(cuda.threadIdx.x)
    for first in range(uint32(0), columns, uint32(4)):
        at = uint64(t) * uint64(stride) + uint64(first)
        four = load4(x, t * uint32(8) + first)
        write4(y, at, four, columns - first, bias, uint64(first), alpha, beta, code, flags)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.booleans(), st.booleans(), st.booleans(), st.sampled_from(list(ACTIVATIONS)))
def test_the_epilogue_writes_what_it_says(
    columns: int, wide: bool, with_bias: bool, accumulate: bool, activation: str | None
) -> None:
    wide = wide and columns % 4 == 0
    flags = (WIDE if wide else 0) | (BIAS if with_bias else 0) | (ACCUMULATE if accumulate else 0)
    rng = np.random.default_rng(columns)
    x, old, bias = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((32, 8), (32, 8), (columns,)))
    y = old.copy() if accumulate else np.full((32, 8), np.nan, np.float32)
    beyond = y[:, columns:].copy()
    run(
        write, 1, y.reshape(-1), x.reshape(-1), bias if with_bias else y.reshape(-1), columns, 8, 2.0,
        -3.0 if accumulate else 0.0, ACTIVATIONS[activation], flags,
    )  # fmt: skip
    expected = 2.0 * x[:, :columns].astype(np.float64)
    if accumulate:
        expected -= 3 * old[:, :columns]
    if with_bias:
        expected += bias
    expected = ACTIVATED.get(activation, np.positive)(expected)
    rounding = 8 * EPSILON if activation in ("sigmoid", "tanh") else 0.0
    np.testing.assert_allclose(y[:, :columns], expected, rtol=rounding)
    np.testing.assert_array_equal(y[:, columns:], beyond)


@kernel(threads=32)
def activated(x: Reals, y: Reals, code: U32, count: U64) -> None:
    """y (count,) = activate(code, x)."""
    i = uint64(cuda.threadIdx.x)
    if i < count:
        y[i] = activate(code, x[i])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (None, [np.nan, -np.inf, -1000, -0.0, 0, 3, 1000, np.inf]),
        ("relu", [np.nan, 0, 0, 0, 0, 3, 1000, np.inf]),
        ("sigmoid", [np.nan, 0, 0, 0.5, 0.5, 1 / (1 + np.exp(-3.0)), 1, 1]),
        ("tanh", [np.nan, -1, -1, 0, 0, np.tanh(3.0), 1, 1]),
    ],
)
def test_activations_hold_at_the_ends(activation: str | None, expected: list[float], dtype: Any) -> None:
    x = np.array([np.nan, -np.inf, -1000, -0.0, 0, 3, 1000, np.inf], dtype)
    y = np.full(8, 666, dtype)
    run(activated, 1, x, y, ACTIVATIONS[activation], 8)
    np.testing.assert_allclose(y, np.array(expected, dtype), rtol=8 * float(np.finfo(dtype).eps))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), st.integers(1, 60), st.integers(1, 9), st.booleans(), st.booleans())
def test_partial_sums_are_put_together(
    number: int, rows: int, columns: int, with_bias: bool, accumulate: bool
) -> None:
    rng = np.random.default_rng(rows)
    count = rows * columns
    partials, old, bias = (
        rng.integers(-4, 5, n).astype(np.float32) for n in (number * count, count, columns)
    )
    device = Interpreted()
    out = old.copy() if accumulate else device.empty(count)
    plan = Plan(device)
    add_reduce(
        plan, partials, out, number, count, alpha=2, beta=-1 if accumulate else 0, bias=bias if with_bias else None,
        activation="relu",
    )  # fmt: skip
    plan.run()
    expected = 2 * partials.reshape(number, rows, columns).sum(0)
    if accumulate:
        expected -= old.reshape(rows, columns)
    if with_bias:
        expected += bias
    np.testing.assert_array_equal(out.reshape(rows, columns), np.maximum(expected, 0))


def test_partial_sums_are_added_in_their_order() -> None:
    partials = np.array([1e8, 1, -1e8, 1], np.float32)
    device = Interpreted()
    out, plan = device.empty(1), Plan(device)
    add_reduce(plan, partials, out, 4, 1)
    plan.run()
    assert out[0] == 1
