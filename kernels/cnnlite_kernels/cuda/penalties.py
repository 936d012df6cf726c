"""What regularisers add to the loss, summed where the weights are, so that only the sums come down."""

from __future__ import annotations

from typing import Any

from numba import cuda, float64, uint32

from cnnlite_kernels.cuda.grid import THREADS, WARPS, blocks_of, first_of, row_sum, step_of
from cnnlite_kernels.cuda.kernel import F64, U64, Doubles, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan

MOST_SUMS = 32  # of one parameter: the host adds them up


@kernel(THREADS)
def penalty(parameters: Reals, sums: Doubles, count: U64, l1: F64, l2: F64) -> None:
    """sums[block] = l1 sum |p| + l2 sum p^2 over the block's parameters[i], i < count, in float64."""
    memory = cuda.shared.array(WARPS, float64)
    i, step = first_of(1), step_of(1)
    total = float64(0)
    while i < count:
        p = float64(parameters[i])
        total += l1 * abs(p) + l2 * (p * p)
        i += step
    total = row_sum(total, THREADS, memory)
    if uint32(cuda.threadIdx.x) == uint32(0):
        sums[uint32(cuda.blockIdx.x)] = total


def sums_of(plan: Plan, count: int) -> int:
    """How many sums `add_penalty` writes for `count` parameters."""
    return min(blocks_of(plan, count), MOST_SUMS)


def add_penalty(plan: Plan, parameters: Any, sums: Any, count: int, l1: float, l2: float) -> None:
    """Emits float64 sums (sums_of(plan, count),), which add up to l1 sum |p| + l2 sum p^2 of parameters[:count]."""
    plan.add(penalty, sums_of(plan, count), parameters, sums, count, l1, l2)
