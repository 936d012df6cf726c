"""What regularisers add to the loss, summed on the GPU, its PTX interpreted: against Regularizer.value."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from hypothesis import given, settings
from hypothesis import strategies as st
from interpreted import Interpreted
from op_operands import DTYPES

from cnnlite.regularizers import L1L2
from cnnlite_kernels.cuda import penalties
from cnnlite_kernels.cuda.plan import Plan

DEVICE = Interpreted()


def penalty(parameters: np.ndarray, l1: float, l2: float) -> float:
    plan = Plan(DEVICE)
    sums = DEVICE.empty(penalties.sums_of(plan, parameters.size), np.float64)
    penalties.add_penalty(plan, parameters, sums, parameters.size, l1, l2)
    plan.run()
    return float(sums.sum())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 255, 257, 20_000])
def test_integers_are_exact(count: int, dtype: type) -> None:
    parameters = np.random.default_rng(count).integers(-9, 10, count).astype(dtype)
    assert penalty(parameters, 0.5, 0.25) == L1L2(0.5, 0.25).value(parameters)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3000), st.sampled_from([(0.0, 0.1), (0.1, 0.0), (0.01, 1.0)]))
def test_normals_are_close(count: int, factors: tuple[float, float]) -> None:
    parameters = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    assert penalty(parameters, *factors) == pytest.approx(L1L2(*factors).value(parameters), rel=1e-12)


def test_a_nan_is_seen_and_no_parameters_have_no_penalty() -> None:
    assert np.isnan(penalty(np.array([1, np.nan], np.float32), 1.0, 1.0))
    assert penalty(np.zeros(0, np.float32), 1.0, 1.0) == 0
    assert penalties.sums_of(Plan(DEVICE), 10**9) == penalties.MOST_SUMS
