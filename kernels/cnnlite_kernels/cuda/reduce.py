"""Partial sums put together: in a fixed order, so that results repeat to the bit."""

from __future__ import annotations

from typing import Any

from numba import cuda, uint32, uint64

from cnnlite_kernels.cuda.epilogue import ACCUMULATE, ACTIVATIONS, BIAS, activate
from cnnlite_kernels.cuda.grid import THREADS
from cnnlite_kernels.cuda.kernel import F32, U32, U64, Floats, kernel
from cnnlite_kernels.cuda.plan import Plan


@kernel(threads=THREADS)
def reduce(
    partials: Floats, out: Floats, bias: Floats, number: U32, count: U64, columns: U32, alpha: F32, beta: F32,
    activation: U32, flags: U32,
) -> None:  # fmt: skip
    """out[i] = activation(alpha * sum over p of partials[p, i] + beta * out[i] + bias[i % columns]), p from 0 on.

    Args:
        partials: (number, count). out: (count,). bias: (columns,), read if flags has BIAS.
        flags: BIAS, ACCUMULATE; without ACCUMULATE out is not read.
    """
    i = uint64(cuda.blockIdx.x) * uint64(THREADS) + uint64(cuda.threadIdx.x)
    if i >= count:
        return
    at = i
    total = partials[at]
    for _ in range(uint32(1), number):
        at += count
        total += partials[at]
    total *= alpha
    if flags & uint32(ACCUMULATE) != uint32(0):
        total += beta * out[i]
    if flags & uint32(BIAS) != uint32(0):
        total += bias[i % uint64(columns)]
    out[i] = activate(activation, total)


def add_reduce(
    plan: Plan, partials: Any, out: Any, number: int, count: int, *, alpha: float = 1.0, beta: float = 0.0,
    bias: Any = None, activation: str | None = None,
) -> None:  # fmt: skip
    """out (count,) = activation(alpha * sum of the `number` rows of partials (number, count) + beta * out + bias).

    Args:
        bias: float32, repeated along out, count a multiple of its length; None for none.
        activation: a key of epilogue.ACTIVATIONS.
    """
    flags = (ACCUMULATE if beta else 0) | (BIAS if bias is not None else 0)
    columns = 1 if bias is None else bias.size
    plan.add(
        reduce, -(-count // THREADS), partials, out, out if bias is None else bias, number, count, columns, alpha, beta,
        ACTIVATIONS[activation], flags,
    )  # fmt: skip
