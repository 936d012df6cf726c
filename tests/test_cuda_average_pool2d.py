"""Average pooling and pooling over whole images on the GPU, the PTX interpreted: against the reference."""

from __future__ import annotations

from typing import Any

import cases
import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from cases import PoolCase
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreted import Interpreted
from op_operands import DTYPES, assert_close, draw_integers, draw_normals
from strategies import pool_cases

import cnnlite_kernels as kernels
from cnnlite_kernels import reference
from cnnlite_kernels.cuda import gpu

DEVICE = Interpreted()


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter stands for the machine's GPU."""
    monkeypatch.setattr(gpu, "current", lambda number=0: DEVICE)


def run(draw: Any, case: PoolCase, dtype: type, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(found, expected) of both passes."""
    rng = np.random.default_rng(seed)
    x, grad_y = draw(rng, case.x_shape, dtype), draw(rng, case.y_shape, dtype)
    y = kernels.average_pool2d(x, case.pool_size, device="cuda", **case.options)
    there = kernels.to_device(grad_y)
    grad_x = kernels.average_pool2d_grad(there, x.shape, case.pool_size, **case.options).copy_to_host()
    expected = reference.average_pool2d(x, case.pool_size, **case.options)
    expected_grad = reference.average_pool2d_grad(grad_y, x.shape, case.pool_size, **case.options)
    return [(y, expected), (grad_x, expected_grad)]


def multiples(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Integers that everything up to 4 x 4 pixels divides: means and shares are exact."""
    return draw_integers(rng, shape, dtype) * dtype(144)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", cases.ODD_POOLS, ids=str)
def test_integers_equal_reference(case: PoolCase, dtype: type) -> None:
    for found, expected in run(multiples, case, dtype, 0):
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=20, deadline=None)
@given(pool_cases(), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_any_geometry_is_close_to_reference(case: PoolCase, dtype: type, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gpu, "current", lambda number=0: DEVICE)
        results = run(draw_normals, case, dtype, seed)
    for found, expected in results:
        assert_close(found, expected, case.pool_size[0] * case.pool_size[1])


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 4, 2, 5), (0, 2, 2, 3), (2, 4, 8, 70)], ids=str)
def test_whole_images(shape: tuple[int, int, int, int]) -> None:
    rng = np.random.default_rng(1)
    n, _, _, c = shape
    x, grad_y = draw_integers(rng, shape, np.float32), draw_integers(rng, (n, c), np.float32)
    up = kernels.to_device
    for here, there, expected in (
        (
            kernels.global_average_pool2d(x, device="cuda"),
            kernels.global_average_pool2d(up(x)),
            reference.global_average_pool2d(x),
        ),
        (
            kernels.global_average_pool2d_grad(grad_y, shape, device="cuda"),
            kernels.global_average_pool2d_grad(up(grad_y), shape),
            reference.global_average_pool2d_grad(grad_y, shape),
        ),
        (
            kernels.global_max_pool2d(x, device="cuda"),
            kernels.global_max_pool2d(up(x)),
            reference.global_max_pool2d(x),
        ),
        (
            kernels.global_max_pool2d_grad(grad_y, x, device="cuda"),
            kernels.global_max_pool2d_grad(up(grad_y), x),
            reference.global_max_pool2d_grad(grad_y, x),
        ),
    ):
        np.testing.assert_array_equal(here, expected)
        np.testing.assert_array_equal(there.copy_to_host(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_means_of_many_pixels_keep_their_digits(dtype: type) -> None:
    """One sum in float32 of so many numbers of one sign would be off by 1 in 10,000, and by more for larger images."""
    x = np.full((1, 100, 90, 3), dtype(0.1))
    x[..., 2] = -7
    x[0, 99, 89, 1] = np.inf
    mean = kernels.global_average_pool2d(x, device="cuda")[0]
    np.testing.assert_allclose(mean, [dtype(0.1), np.inf, -7], rtol=64 * np.finfo(dtype).eps)
