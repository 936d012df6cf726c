"""PReLU on the GPU, its PTX interpreted: against the reference."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from interpreted import Interpreted
from op_operands import DTYPES, assert_close, draw_integers, draw_normals

import cnnlite_kernels as kernels
from cnnlite_kernels import DeviceArray, reference
from cnnlite_kernels.cuda import gpu, prelu
from cnnlite_kernels.cuda.plan import Plan

DEVICE = Interpreted()
SHARED = tuple(product((False, True), repeat=3))
Shape = tuple[int, int, int, int]


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter stands for the machine's GPU."""
    monkeypatch.setattr(gpu, "current", lambda number=0: DEVICE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shared", SHARED, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 4, 5), (0, 2, 3, 2), (3, 2, 40, 33)], ids=str)
def test_integers_equal_reference(shape: Shape, shared: tuple[bool, ...], dtype: type) -> None:
    rng = np.random.default_rng(0)
    slopes = tuple(1 if one else size for size, one in zip(shape[1:], shared, strict=True))
    x, grad_y, alpha = (draw_integers(rng, size, dtype) for size in (shape, shape, slopes))
    np.testing.assert_array_equal(kernels.prelu(x, alpha, device="cuda"), reference.prelu(x, alpha))
    there = kernels.prelu_grad(*(kernels.to_device(array) for array in (grad_y, x, alpha)))
    for found, expected in zip(there, reference.prelu_grad(grad_y, x, alpha), strict=True):
        assert isinstance(found, DeviceArray)
        np.testing.assert_array_equal(found.copy_to_host(), expected)


def test_nan_and_infinity_are_as_on_the_cpu() -> None:
    x = np.array([[np.nan, np.inf, -np.inf, -0.0, 0.0]], np.float32)
    for alpha in (np.array([0.5], np.float32), np.array([0], np.float32)):
        np.testing.assert_array_equal(kernels.prelu(x, alpha, device="cuda"), kernels.prelu(x, alpha))


def test_in_place_and_without_the_slopes_gradient() -> None:
    rng = np.random.default_rng(1)
    x, grad_y, alpha = (draw_normals(rng, shape, np.float32) for shape in ((6, 5), (6, 5), (5,)))
    wanted = reference.prelu_grad(grad_y, x, alpha)[0], reference.prelu(x, alpha)
    plan, gradient, flat = Plan(DEVICE), grad_y.reshape(-1).copy(), x.reshape(-1).copy()
    prelu.add_grad(plan, 6, 1, 1, 5, flat, alpha, (1, 1, 5), gradient, gradient)
    prelu.add_forward(plan, 6, 1, 1, 5, flat, alpha, (1, 1, 5), flat)
    plan.run()
    for found, expected in zip((gradient, flat), wanted, strict=True):
        assert_close(found.reshape(6, 5), expected, 1)
