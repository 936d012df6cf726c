"""Activations on the GPU, their PTX interpreted: against the reference and the CPU's kernels; sums and constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from hypothesis import given, settings
from hypothesis import strategies as st
from interpreted import Interpreted
from op_operands import DTYPES, draw_normals

import cnnlite_kernels as kernels
from cnnlite_kernels import reference
from cnnlite_kernels.cuda import activations
from cnnlite_kernels.cuda.plan import Plan

NAMES = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax")
# one number; four and a rest; rows of a thread, of a warp, of a block; more than a turn of each thread
SHAPES = ((1, 1), (1, 7), (70, 3), (70, 5), (3, 33), (2, 1025), (3, 40_001))
DEVICE = Interpreted()


def slope_of(name: str | None) -> dict[str, float]:
    """The slope that the reference and the ops have, if they have one."""
    return {"slope": 0.2} if name == "leaky_relu" else {}


def run(add: Callable[..., None], *arguments: Any, **options: Any) -> None:
    plan = Plan(DEVICE)
    add(plan, *arguments, **options)
    plan.run()


def forward(name: str | None, x: np.ndarray, **options: Any) -> np.ndarray:
    y = DEVICE.empty(x.size, x.dtype)
    run(activations.add_forward, name, x.reshape(-1), y, *x.shape, **slope_of(name), **options)
    return y.reshape(x.shape)


def gradient(name: str | None, grad_y: np.ndarray, y: np.ndarray, **options: Any) -> np.ndarray:
    grad_x = DEVICE.empty(y.size, y.dtype)
    operands = (y.reshape(-1), grad_y.reshape(-1), grad_x)
    run(activations.add_grad, name, *operands, *y.shape, **slope_of(name), **options)
    return grad_x.reshape(y.shape)


def close(actual: np.ndarray, expected: np.ndarray, terms: int = 1) -> None:
    """A few roundings of numbers of at most about 10, and of a sum of `terms` of them."""
    eps = np.finfo(actual.dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=16 * eps + eps * np.sqrt(terms), atol=16 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_normals_are_close_to_reference_and_cpu(name: str, shape: tuple[int, int], dtype: type) -> None:
    rng = np.random.default_rng(0)
    x, grad_y = draw_normals(rng, shape, dtype) * dtype(3), draw_normals(rng, shape, dtype)
    y = forward(name, x)
    close(y, getattr(reference, name)(x), shape[-1])
    close(y, getattr(kernels, name)(x), shape[-1])
    grad_x = gradient(name, grad_y, y)
    close(grad_x, getattr(reference, f"{name}_grad")(grad_y, y), shape[-1])
    np.testing.assert_array_equal(forward(name, x), y)
    np.testing.assert_array_equal(gradient(name, grad_y, y), grad_x)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.sampled_from(NAMES), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1)
)  # fmt: skip
def test_any_shape_is_close_to_reference(rows: int, c: int, name: str, dtype: type, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, grad_y = draw_normals(rng, (rows, c), dtype), draw_normals(rng, (rows, c), dtype)
    y = forward(name, x)
    close(y, getattr(reference, name)(x), c)
    close(gradient(name, grad_y, y), getattr(reference, f"{name}_grad")(grad_y, y), c)


@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "sigmoid", "tanh"])
def test_arrays_that_are_not_aligned(name: str) -> None:
    """With aligned=False no access is wider than a number, and the bits are the same."""
    rng = np.random.default_rng(1)
    x, grad_y = (draw_normals(rng, (1, 1030), np.float32)[:, 1:] for _ in range(2))
    y = forward(name, x.copy())
    np.testing.assert_array_equal(forward(name, x, aligned=False), y)
    grad_x = gradient(name, grad_y.copy(), y)
    np.testing.assert_array_equal(gradient(name, grad_y, y, aligned=False), grad_x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "sigmoid", "tanh"])
def test_infinity_nan_and_huge_numbers(name: str, dtype: type) -> None:
    x = np.array([[np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, -0.0]], dtype)
    np.testing.assert_array_equal(forward(name, x), getattr(reference, name)(x).astype(dtype))


def test_a_slope_of_0_is_relu() -> None:
    x = np.array([[np.nan, -np.inf, -2, 3]], np.float32)
    run(activations.add_forward, "leaky_relu", x.reshape(-1), x.reshape(-1), 1, 4, slope=0)
    np.testing.assert_array_equal(x, [[np.nan, 0, 0, 3]])


@pytest.mark.parametrize("c", [2, 7, 2000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_neither_overflows_nor_loses_nan(dtype: type, c: int) -> None:
    special = [
        [1000, 1000],
        [1000, -1000],
        [-np.inf, 0],
        [np.nan, 0],
        [0, np.nan],
        [-np.inf, -np.inf],
        [np.inf, 0],
    ]
    x = np.full((len(special), c), -np.inf, dtype)
    x[:, [0, -1]] = special
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(forward("softmax", x), reference.softmax(x))
        np.testing.assert_array_equal(forward("softmax", x), kernels.softmax(x))


@pytest.mark.parametrize("c", [3, 10, 1030])
@pytest.mark.parametrize("name", NAMES)
def test_in_place(name: str, c: int) -> None:
    rng = np.random.default_rng(3)
    x, grad_y = draw_normals(rng, (5, c), np.float32), draw_normals(rng, (5, c), np.float32)
    y = forward(name, x)
    run(activations.add_forward, name, x.reshape(-1), x.reshape(-1), *x.shape, **slope_of(name))
    np.testing.assert_array_equal(x, y)
    grad_x = gradient(name, grad_y, y)
    for over in (grad_y.copy(), y.copy()):
        grad, output = (over, y) if np.array_equal(over, grad_y) else (grad_y, over)
        flat = over.reshape(-1)
        operands = (output.reshape(-1), grad.reshape(-1), flat)
        run(activations.add_grad, name, *operands, *y.shape, **slope_of(name))
        np.testing.assert_array_equal(over, grad_x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_activation_copies(dtype: type) -> None:
    x = draw_normals(np.random.default_rng(4), (7, 9), dtype)
    np.testing.assert_array_equal(forward(None, x), x)
    np.testing.assert_array_equal(gradient(None, x, np.ones_like(x)), x)
    plan = Plan(DEVICE)
    activations.add_grad(plan, None, x, x, x, 7, 9)
    assert not plan.launches


@pytest.mark.parametrize("name", [None, *NAMES])
def test_nothing_to_do(name: str | None) -> None:
    empty, plan = np.empty(0, np.float32), Plan(DEVICE)
    for rows, c in ((0, 5), (5, 0)):
        activations.add_forward(plan, name, empty, empty, rows, c)
        activations.add_grad(plan, name, empty, empty, empty, rows, c)
    activations.add_sum(plan, empty, empty, 0)
    activations.add_fill(plan, empty, 0, 1.0)
    assert not plan.launches


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 3, 4, 5, 1023, 5000])
def test_sums_and_constants(count: int, dtype: type) -> None:
    """Numbers beyond `count` stay as they are."""
    rng = np.random.default_rng(5)
    source, into = draw_normals(rng, (count + 3,), dtype), draw_normals(rng, (count + 3,), dtype)
    expected = into.copy()
    expected[:count] += source[:count]
    run(activations.add_sum, source, into, count)
    np.testing.assert_array_equal(into, expected)
    expected[:count] = dtype(0.1)
    run(activations.add_fill, into, count, 0.1)
    np.testing.assert_array_equal(into, expected)


def test_wide_kernels_move_128_bits_and_nothing_twice() -> None:
    device = Interpreted(count=True)
    x = draw_normals(np.random.default_rng(6), (4096,), np.float32)
    plan = Plan(device)
    activations.add_forward(plan, "relu", x, device.empty(x.size), 1, x.size)
    activations.add_grad(plan, "relu", x, x, device.empty(x.size), 1, x.size)
    activations.add_sum(plan, x, device.empty(x.size), x.size)
    plan.run()
    for counters, arrays in zip(device.counters, (2, 3, 3), strict=True):
        assert counters.bytes_loaded + counters.bytes_stored == arrays * x.nbytes
        for access in (*counters.global_load.values(), *counters.global_store.values()):
            assert access.bytes == 0 or access.bytes == 16 * 32 * access.requests
            assert access.passes == access.fewest
