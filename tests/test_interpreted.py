"""The device that runs launches in the PTX interpreter."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda compiles these kernels")

from interpreted import Interpreted
from numba import cuda, uint32

from cnnlite_kernels.cuda.kernel import U32, Real, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan
from tools.ptx.errors import PtxError

u = uint32


@kernel(threads=64)
def scale(x: Reals, y: Reals, by: Real, n: U32) -> None:
    """y = by * x."""
    i = u(cuda.blockIdx.x) * u(64) + u(cuda.threadIdx.x)
    if i < n:
        y[i] = by * x[i]


@kernel(threads=64)
def mean_of_pairs(x: Reals, n: U32) -> None:
    """Wrong on purpose: x[i] = (x[i] + x[i + 1]) / 2 in place."""
    i = u(cuda.threadIdx.x)
    if i + u(1) < n:
        x[i] = x[i] + x[i + u(1)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_plan_runs(dtype: type) -> None:
    device = Interpreted(count=True)
    plan = Plan(device)
    x, y = device.empty(100, dtype), device.empty(100, dtype)
    device.upload(np.arange(100, dtype=dtype).reshape(10, 10), x)
    plan.add(scale, 2, x, y, 0.5, 100)
    plan.add(scale, 1, y[10:20], y[10:20], -2.0, 10)
    for _ in range(2):
        plan.run()
    device.synchronize()
    got = device.host(100, dtype)
    device.download(y, got)
    expected = np.arange(100, dtype=dtype) / 2
    expected[10:20] *= -2
    np.testing.assert_array_equal(got, expected)
    assert [launch.blocks for launch in device.launches] == [2, 1, 2, 1]
    assert device.counters[0].bytes_loaded == 100 * np.dtype(dtype).itemsize


def test_what_nobody_wrote_is_seen() -> None:
    device = Interpreted()
    assert np.isnan(device.empty(3)).all()
    assert np.isnan(device.empty(3, np.float64)).all()
    assert device.empty(2, np.int32).tolist() == [-1, -1]
    assert device.counters == []


def test_checks_can_be_left_out() -> None:
    for check in (True, False):
        device = Interpreted((9, 0), check=check)
        plan = Plan(device)
        x = device.empty(64)
        device.upload(np.ones(64, np.float32), x)
        plan.add(mean_of_pairs, 1, x, 64)
        if check:
            with pytest.raises(PtxError, match=r"mean_of_pairs: race in argument 0 \(x\)"):
                plan.run()
        else:
            plan.run()
            assert x[:3].tolist() == [2, 2, 2]
