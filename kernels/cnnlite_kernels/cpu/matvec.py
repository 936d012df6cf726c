"""A matrix times a vector where the matrix's rows lie along the sum: dot products, limited by how fast memory is read."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import NOWHERE, POINTER, Pointer, address, array_at
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.tile import INT, Vectors

ROWS = 8  # dot products at once: as many FMAs are in flight while one takes four cycles and two begin in each


@intrinsic(prefer_literal=True)
def dots(typing, a, b, b_row, k, y, MR, LANES, ITEM):
    """y[i] = sum over j < k of a[j] * b[i * b_row + j] for MR rows, at addresses; LANES partial sums in each."""
    literals = (MR, LANES, ITEM)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    mr, lanes, item = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 5, *literals)

    def codegen(context, bl, signature, arguments):
        a, b, b_row, k, y = arguments[:5]
        v = Vectors(bl, item, lanes)
        acc = [cgutils.alloca_once_value(bl, v.zero) for _ in range(mr)]
        rows = [bl.gep(v.pointer(b, v.number), [bl.mul(b_row, INT(i))]) for i in range(mr)]

        def step(offset, mask=None):
            x = v.load(bl.gep(v.pointer(a, v.number), [offset]), mask)
            for i in range(mr):
                row = v.load(bl.gep(rows[i], [offset]), mask)
                bl.store(v.multiply_add(x, row, bl.load(acc[i])), acc[i])

        turns = bl.sdiv(k, INT(lanes))
        with cgutils.for_range(bl, turns) as turn:
            step(bl.mul(turn.index, INT(lanes)))
        whole = bl.mul(turns, INT(lanes))
        with bl.if_then(bl.icmp_signed("<", whole, k)):
            step(whole, v.first_lanes(bl.sub(k, whole)))
        for i in range(mr):
            total, half = bl.load(acc[i]), lanes // 2
            while half:
                order = ir.Constant(
                    ir.VectorType(ir.IntType(32), lanes), [(j + half) % lanes for j in range(lanes)]
                )
                total, half = bl.fadd(total, bl.shuffle_vector(total, total, order)), half // 2
            bl.store(bl.extract_element(total, ir.IntType(32)(0)), bl.gep(v.pointer(y, v.number), [INT(i)]))
        return context.get_dummy_value()

    return signature, codegen


MATVEC = np.dtype(
    [(name, POINTER) for name in ("a", "b", "bias", "y")]
    + [(name, np.int64) for name in ("n", "k", "with_bias", "relu")]
    + [(name, np.float64) for name in ("alpha", "beta")]
)


@kernel(MATVEC)
def matvec(item, lanes):
    """y[j] = alpha * sum over i of a[i] * b[j, i] + beta * y[j] + bias[j], then relu; a (k,), b (n, k), y and bias (n,)."""

    def body(bases, d):
        d = carray(d, 1)[0]
        a, b = address(bases, d.a), address(bases, d.b)
        y = array_at(address(bases, d.y), d.n, item)
        bias = array_at(address(bases, d.bias), d.n * d.with_bias, item)
        sums = np.empty(ROWS, y.dtype)
        zero, alpha, beta = y.dtype.type(0), y.dtype.type(d.alpha), y.dtype.type(d.beta)
        for first in range(0, d.n, ROWS):
            stop = min(first + ROWS, d.n)
            if stop - first == ROWS:
                dots(a, b + first * d.k * item, d.k, d.k, sums.ctypes.data, ROWS, lanes, item)
            else:
                for j in range(first, stop):
                    dots(
                        a, b + j * d.k * item, d.k, d.k, sums.ctypes.data + (j - first) * item, 1, lanes, item
                    )
            for j in range(first, stop):
                total = alpha * sums[j - first]
                if beta != zero:
                    total += beta * y[j]
                if d.with_bias:
                    total += bias[j]
                y[j] = zero if d.relu and total < zero else total

    return body


def add_matvec(
    plan: Plan, a: Pointer, b: Pointer, y: Pointer, n: int, k: int, *,
    alpha: float = 1, beta: float = 0, bias: Pointer | None = None, relu: bool = False,
) -> None:  # fmt: skip
    """Emits y = alpha * b a + beta * y + bias, then relu, for b (n, k) in C order."""
    plan.add(
        matvec, plan.item, host().lanes(plan.item), a=a, b=b, y=y, n=n, k=k, alpha=alpha, beta=beta,
        bias=NOWHERE if bias is None else bias, with_bias=int(bias is not None), relu=int(relu),
    )  # fmt: skip
