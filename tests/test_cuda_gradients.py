"""Bias gradients, regularisers and limits on the GPU, their PTX interpreted: against NumPy and the CPU's kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from hypothesis import given, settings
from hypothesis import strategies as st
from interpreted import Interpreted
from op_operands import DTYPES, assert_close, draw_integers, draw_normals

from cnnlite_kernels import reference
from cnnlite_kernels.cpu import gradients as cpu
from cnnlite_kernels.cpu import plan as cpu_plan
from cnnlite_kernels.cpu.memory import pointer_to
from cnnlite_kernels.cuda import gradients
from cnnlite_kernels.cuda.plan import Plan

DEVICE = Interpreted()
# one column, few, more than a block's; rows for one piece and for many, which a second launch adds up
SHAPES = ((1, 1), (9000, 1), (5, 3), (3001, 10), (300, 33), (2000, 70), (2, 1000))


def run(add: Callable[..., None], *arguments: Any, device: Any = DEVICE, **options: Any) -> int:
    """Runs what `add` emits; how many launches that was."""
    plan = Plan(device)
    add(plan, *arguments, **options)
    plan.run()
    return len(plan.launches)


def on_cpu(kernel: Any, grads: np.ndarray, **fields: Any) -> None:
    """Changes grads as a kernel of cpu/gradients.py does; arrays among the fields are passed by address."""
    plan = cpu_plan.Plan(grads.itemsize)
    given = {
        name: pointer_to(value) if isinstance(value, np.ndarray) else value for name, value in fields.items()
    }
    plan.add(kernel, grads.itemsize, grads=pointer_to(grads), count=grads.size, **given)
    cpu_plan.Job([[cpu_plan.Part(plan)]]).run()


def bias_grad(grad: np.ndarray) -> np.ndarray:
    grad_b = DEVICE.empty(grad.shape[1], grad.dtype)
    run(gradients.add_bias_grad, grad.reshape(-1), grad_b, *grad.shape)
    return grad_b


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bias_gradients(shape: tuple[int, int], dtype: type) -> None:
    rng = np.random.default_rng(0)
    integers = draw_integers(rng, shape, dtype)
    np.testing.assert_array_equal(bias_grad(integers), integers.sum(axis=0))
    normals = draw_normals(rng, shape, dtype)
    found = bias_grad(normals)
    assert_close(found, normals.sum(axis=0, dtype=np.float64), shape[0])
    np.testing.assert_array_equal(bias_grad(normals), found)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 600), st.integers(1, 70), st.sampled_from(DTYPES), st.integers(1, 132))
def test_bias_gradients_of_any_shape(rows: int, c: int, dtype: type, multiprocessors: int) -> None:
    device = Interpreted()
    device.multiprocessors = multiprocessors
    grad = draw_integers(np.random.default_rng(rows), (rows, c), dtype)
    grad_b = device.empty(c, dtype)
    run(gradients.add_bias_grad, grad.reshape(-1), grad_b, rows, c, device=device)
    np.testing.assert_array_equal(grad_b, grad.sum(axis=0))


def test_the_sum_over_no_rows_is_zero() -> None:
    np.testing.assert_array_equal(bias_grad(np.empty((0, 5), np.float32)), np.zeros(5))


def test_tall_sums_take_two_launches_and_all_multiprocessors() -> None:
    plan, grad = Plan(DEVICE), np.zeros(100_000 * 32, np.float32)
    gradients.add_bias_grad(plan, grad, np.zeros(32, np.float32), 100_000, 32)
    assert len(plan.launches) == 2
    assert plan.launches[0].blocks >= DEVICE.multiprocessors


def test_sums_read_each_number_once_and_without_bank_conflicts() -> None:
    device, grad = Interpreted(count=True), np.ones(4096 * 32, np.float32)
    run(gradients.add_bias_grad, grad, device.empty(32), 4096, 32, device=device)
    first, _ = device.counters
    assert first.bytes_loaded == grad.nbytes
    for access in first.global_load.values():
        assert access.passes == access.fewest
    assert all(counters.bank_conflicts == 0 for counters in device.counters)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3001, 10), (300, 33)], ids=str)
@pytest.mark.parametrize("kind", [None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh"])
def test_activation_and_bias_in_one_pass(
    kind: str | None, shape: tuple[int, int], dtype: type, in_place: bool
) -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(-1, 8, shape).astype(dtype)
    grad_y = draw_integers(rng, shape, dtype)
    if kind == "leaky_relu":
        expected, slope = reference.leaky_relu_grad(grad_y, y, 0.25).astype(dtype), {"slope": 0.25}
    else:
        grad = getattr(reference, f"{kind}_grad") if kind else reference.activate_grad
        expected, slope = grad(grad_y, y, *(() if kind else (None,))).astype(dtype), {}
    grad_x, grad_b = DEVICE.empty(y.size, dtype), DEVICE.empty(shape[1], dtype)
    if in_place:
        grad_x = grad_y.reshape(-1)
    operands = (y.reshape(-1), grad_y.reshape(-1), grad_x, grad_b)
    run(gradients.add_activation_and_bias_grad, kind, *operands, *shape, **slope)
    np.testing.assert_array_equal(grad_b, expected.sum(axis=0))
    if kind or in_place:
        np.testing.assert_array_equal(grad_x.reshape(shape), expected)
    else:
        assert np.isnan(grad_x).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("l1", "l2"), [(0.1, 0.0), (0.0, 0.01), (0.1, 0.01)])
def test_regularizers(l1: float, l2: float, dtype: type) -> None:
    rng = np.random.default_rng(2)
    grads, parameters = draw_normals(rng, (1003,), dtype), draw_normals(rng, (1003,), dtype)
    parameters[::7], parameters[3] = 0, np.nan
    expected, beyond = grads[:1000].copy(), grads[1000:].copy()
    on_cpu(cpu.regularize, expected, parameters=parameters, l1=l1, l2=l2)
    run(gradients.add_regularize, grads, parameters, 1000, l1, l2)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(grads[:1000], expected, rtol=4 * eps, atol=eps)
    np.testing.assert_array_equal(grads[1000:], beyond)


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits_of_values(dtype: type) -> None:
    grads = draw_normals(np.random.default_rng(3), (1003,), dtype)
    grads[:4] = np.nan, np.inf, -np.inf, dtype(0.3)
    expected, beyond = grads[:1000].copy(), grads[1000:].copy()
    on_cpu(cpu.clip_values, expected, limit=0.3)
    run(gradients.add_clip_values, grads, 1000, 0.3)
    np.testing.assert_array_equal(grads[:1000], expected)
    np.testing.assert_array_equal(grads[1000:], beyond)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("limit", [0.5, 1e6])
@pytest.mark.parametrize("count", [1, 255, 1000, 100_000])
def test_limits_of_norms(count: int, limit: float, dtype: type) -> None:
    """The last size would have more squares than a block has threads, were it not for the limit on them."""
    grads = draw_normals(np.random.default_rng(4), (count + 3,), dtype)
    expected, beyond, squares = grads[:count].copy(), grads[count:].copy(), np.zeros(1)
    on_cpu(cpu.sum_squares, expected, squares=squares)
    on_cpu(cpu.clip_norm, expected, squares=squares, number=1, limit=limit)
    again = grads.copy()
    run(gradients.add_clip_norm, grads, count, limit)
    # the squares are added up in float64, in another order
    tolerance = 4 * np.finfo(dtype).eps + np.finfo(np.float64).eps * np.sqrt(count)
    np.testing.assert_allclose(grads[:count], expected, rtol=tolerance)
    np.testing.assert_array_equal(grads[count:], beyond)
    if limit > 1e3:
        np.testing.assert_array_equal(grads[:count], again[:count])
    run(gradients.add_clip_norm, again, count, limit)
    np.testing.assert_array_equal(again, grads)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_norms_that_are_no_numbers(value: float) -> None:
    """A norm that is NaN limits nothing; an infinite one leaves zeros and NaNs: what the CPU does."""
    grads = np.array([1.0, value, -2.0], np.float32)
    expected, squares = grads.copy(), np.zeros(1)
    on_cpu(cpu.sum_squares, expected, squares=squares)
    on_cpu(cpu.clip_norm, expected, squares=squares, number=1, limit=0.5)
    run(gradients.add_clip_norm, grads, 3, 0.5)
    np.testing.assert_allclose(grads, expected, rtol=1e-6)


def test_nothing_to_do() -> None:
    empty = np.empty(0, np.float32)
    assert run(gradients.add_regularize, empty, empty, 0, 0.1, 0.1) == 0
    assert run(gradients.add_clip_values, empty, 0, 0.1) == 0
    assert run(gradients.add_clip_norm, empty, 0, 0.1) == 0
    assert run(gradients.add_bias_grad, empty, empty, 5, 0) == 0
