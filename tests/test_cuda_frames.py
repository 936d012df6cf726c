"""Frames and joins on the GPU, their PTX interpreted: against the reference and NumPy, exactly."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from hypothesis import given, settings
from hypothesis import strategies as st
from interpreted import Interpreted
from op_operands import DTYPES, draw_integers, nans

import cnnlite_kernels as kernels
from cnnlite_kernels import DeviceArray, reference
from cnnlite_kernels.cuda import frames, gpu, joins
from cnnlite_kernels.cuda.plan import Plan

DEVICE = Interpreted()
Margins = tuple[tuple[int, int], tuple[int, int]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("margins", [((0, 0), (0, 0)), ((1, 2), (3, 0)), ((0, 1), (1, 1))], ids=str)
@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (0, 4, 4, 2), (2, 9, 7, 33)], ids=str)
def test_equal_to_reference(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int, int], margins: Margins, dtype: type
) -> None:
    monkeypatch.setattr(gpu, "current", lambda number=0: DEVICE)
    x = draw_integers(np.random.default_rng(0), shape, dtype)
    for name in ("zero_padding2d", "cropping2d"):
        expected = getattr(reference, name)(x, margins)
        found = getattr(kernels, name)(x, margins, out=nans(expected.shape, dtype), device="cuda")
        np.testing.assert_array_equal(found, expected)
        there = getattr(kernels, name)(kernels.to_device(x), margins)
        assert isinstance(there, DeviceArray)
        np.testing.assert_array_equal(there.copy_to_host(), expected)


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.integers(1, 5)] * 4), st.tuples(*[st.tuples(*[st.integers(-3, 3)] * 2)] * 2), st.sampled_from(DTYPES)
)  # fmt: skip
def test_any_margins_and_back(shape: tuple[int, int, int, int], margins: Margins, dtype: type) -> None:
    """Zeros on one side and cropping on another."""
    n, h, w, c = shape
    (top, bottom), (left, right) = margins
    oh, ow = h + top + bottom, w + left + right
    if min(oh, ow) < 1:
        return
    rng = np.random.default_rng(0)
    x, grad_y = draw_integers(rng, shape, dtype), draw_integers(rng, (n, oh, ow, c), dtype)
    plan, y, grad_x = Plan(DEVICE), DEVICE.empty(grad_y.size, dtype), DEVICE.empty(x.size, dtype)
    frames.add_forward(plan, margins, n, h, w, c, x.reshape(-1), y)
    frames.add_grad(plan, margins, n, h, w, c, grad_y.reshape(-1), grad_x)
    plan.run()
    # the same with three zeros on every side, and of that what the margins leave
    zeros = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
    np.testing.assert_array_equal(
        y.reshape(grad_y.shape), zeros[:, 3 - top : 3 - top + oh, 3 - left : 3 - left + ow]
    )
    whole = np.zeros(zeros.shape)
    whole[:, 3 - top : 3 - top + oh, 3 - left : 3 - left + ow] = grad_y
    np.testing.assert_array_equal(grad_x.reshape(shape), whole[:, 3 : 3 + h, 3 : 3 + w])


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 300), st.lists(st.integers(1, 12), min_size=1, max_size=3), st.sampled_from([1, 4]), st.sampled_from(DTYPES)
)  # fmt: skip
def test_joins_of_channels(pixels: int, channels: list[int], of: int, dtype: type) -> None:
    """Fours are copied at once where all begin at one."""
    channels = [of * c for c in channels]
    rng = np.random.default_rng(0)
    parts = [draw_integers(rng, (pixels, c), dtype) for c in channels]
    plan, y_c = Plan(DEVICE), sum(channels)
    y = DEVICE.empty(pixels * y_c, dtype)
    back, twice = ([part.copy() for part in parts] for _ in range(2))
    for i, (part, c) in enumerate(zip(parts, channels, strict=True)):
        first = sum(channels[:i])
        back[i][:] = np.nan
        joins.add_join(plan, part.reshape(-1), y, pixels, c, y_c, first)
        joins.add_part(plan, y, back[i].reshape(-1), pixels, c, y_c, first)
        joins.add_part(plan, y, twice[i].reshape(-1), pixels, c, y_c, first, accumulate=True)
    plan.run()
    np.testing.assert_array_equal(y.reshape(pixels, y_c), np.concatenate(parts, -1))
    for part, one, two in zip(parts, back, twice, strict=True):
        np.testing.assert_array_equal(one, part)
        np.testing.assert_array_equal(two, 2 * part)


def test_images_too_large_for_a_gpu_are_refused() -> None:
    message = (
        "^frame: expected images of at most 2147483647 pixels on a GPU, got 1 x 1 and 1 x 2147483649; work"
    )
    with pytest.raises(ValueError, match=message):
        frames.add_forward(Plan(DEVICE), ((0, 0), (0, 2**31)), 1, 1, 1, 1, None, None)
