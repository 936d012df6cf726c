"""matmul of float32 arrays with operands rounded to bfloat16: B is packed first, then each part rounds its rows of A and makes C."""

from __future__ import annotations

import functools

from cnnlite_kernels.cpu import bfloat16_matmul as emit
from cnnlite_kernels.cpu.bfloat16_product import WIDTH, runs_of
from cnnlite_kernels.cpu.matmul import Product
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops.activations import in_place
from cnnlite_kernels.cpu.ops.work import KEPT, MULTIPLY_ADDS, NUMBERS, Work, number_of_parts, pieces
from cnnlite_kernels.cpu.plan import Part, Plan
from cnnlite_kernels.cpu.product import tile_rows

A, B, C, BIAS, SHARED = (Pointer(base, 0) for base in (Base.X, Base.Y, Base.OUT, Base.GRADS, Base.EXTRA))
ROWS = 8  # tiles of rows that a part has at least before columns are cut instead


def _columns(n: int, parts: int) -> list[tuple[int, int]]:
    """At most so many pieces of the columns, whole blocks in each."""
    last = runs_of(n)[-1].start
    found = [piece for piece in pieces(n, parts, WIDTH) if piece[0] <= last]
    return [*found[:-1], (found[-1][0], n)]


@functools.lru_cache(KEPT)
def work(product: Product, with_bias: bool, activation: str | None) -> Work:
    """out = activation(alpha * op(x) op(y) + beta * out + grads), grads the bias."""
    m, n, k = product.m, product.n, product.k
    packs = []
    for columns in _columns(n, number_of_parts(n * k, NUMBERS)):
        packing = Plan()
        emit.add_pack(packing, product, B, SHARED, columns)
        packs.append(Part(packing))
    wanted = number_of_parts(m * n * k, MULTIPLY_ADDS)
    mr = tile_rows(m)
    row_parts = max(1, min(wanted, m // (ROWS * mr)))
    parts = []
    plans: dict[tuple, Plan] = {}
    for first, stop in pieces(m, row_parts, mr):
        for columns in _columns(n, max(1, wanted // row_parts)):
            plan = plans.get((stop - first, columns))
            if plan is None:
                plan = plans[stop - first, columns] = Plan()
                emit.add_matmul(
                    plan, product, A, SHARED, C, rows=stop - first, columns=columns,
                    bias=BIAS if with_bias else None, relu=activation == "relu",
                )  # fmt: skip
            start = first * (1 if product.transpose_a else k) * 4
            parts.append(Part(plan, {Base.X: start, Base.OUT: first * n * 4}))
    last = [] if activation in (None, "relu") else in_place(activation, m * n, 4)
    return Work([packs, parts, last], emit.packed_size(product))
