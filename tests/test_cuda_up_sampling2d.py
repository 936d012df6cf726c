"""Enlarging on the GPU, its PTX interpreted: against the reference, exact where the weights are."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from hypothesis import given, settings
from hypothesis import strategies as st
from interpreted import Interpreted
from op_operands import DTYPES, assert_close, draw_integers, draw_normals

import cnnlite_kernels as kernels
from cnnlite_kernels import DeviceArray, reference
from cnnlite_kernels.cuda import gpu

HOW = ("nearest", "bilinear")
DEVICE = Interpreted()


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter stands for the machine's GPU."""
    monkeypatch.setattr(gpu, "current", lambda number=0: DEVICE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("size", [(1, 2), (2, 2), (4, 8)])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 4, 5), (2, 3, 3, 33)], ids=str)
def test_integers_equal_reference(
    shape: tuple[int, int, int, int], size: tuple[int, int], how: str, dtype: type
) -> None:
    """Factors that are powers of two have exact weights; results on the device are the same bits."""
    rng = np.random.default_rng(0)
    x = draw_integers(rng, shape, dtype)
    expected = reference.up_sampling2d(x, size, interpolation=how)
    y = kernels.up_sampling2d(x, size, interpolation=how, device="cuda")
    np.testing.assert_array_equal(y, expected)
    there = kernels.up_sampling2d(kernels.to_device(x), size, interpolation=how)
    assert isinstance(there, DeviceArray)
    np.testing.assert_array_equal(there.copy_to_host(), expected)
    grad_y = draw_integers(rng, y.shape, dtype)
    grad_x = kernels.up_sampling2d_grad(kernels.to_device(grad_y), size, interpolation=how)
    np.testing.assert_array_equal(
        grad_x.copy_to_host(), reference.up_sampling2d_grad(grad_y, size, interpolation=how)
    )


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.integers(1, 5)] * 4), st.tuples(*[st.integers(1, 5)] * 2), st.sampled_from(HOW), st.sampled_from(DTYPES),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_any_geometry_is_close_to_reference(
    shape: tuple[int, int, int, int], size: tuple[int, int], how: str, dtype: type, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gpu, "current", lambda number=0: DEVICE)
        x = draw_normals(rng, shape, dtype)
        y = kernels.up_sampling2d(x, size, interpolation=how, device="cuda")
        grad_y = draw_normals(rng, y.shape, dtype)
        grad_x = kernels.up_sampling2d_grad(grad_y, size, interpolation=how, device="cuda")
    assert_close(y, reference.up_sampling2d(x, size, interpolation=how), 4)
    assert_close(grad_x, reference.up_sampling2d_grad(grad_y, size, interpolation=how), 4 * size[0] * size[1])


@pytest.mark.parametrize("how", HOW)
def test_nan_and_infinity_reach_what_they_reach_on_the_cpu(how: str) -> None:
    x = np.zeros((1, 4, 4, 2), np.float32)
    x[0, 1, 2] = np.nan, np.inf
    for size in (1, 2, 3):
        y = kernels.up_sampling2d(x, size, interpolation=how, device="cuda")
        np.testing.assert_array_equal(y, kernels.up_sampling2d(x, size, interpolation=how))
