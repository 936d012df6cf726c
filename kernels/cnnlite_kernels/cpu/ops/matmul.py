"""matmul on arrays: B is packed first, then each part makes some rows (or columns) of C."""

from __future__ import annotations

import functools

import numpy as np

from cnnlite_kernels.cpu import bfloat16_pays
from cnnlite_kernels.cpu import matmul as emit
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.matmul import Product
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops import bfloat16_matmul
from cnnlite_kernels.cpu.ops.activations import in_place
from cnnlite_kernels.cpu.ops.work import KEPT, MULTIPLY_ADDS, NUMBERS, Work, number_of_parts, pieces
from cnnlite_kernels.cpu.plan import Part, Plan
from cnnlite_kernels.cpu.product import block_width, tile_rows, vectors_for

A, B, C, BIAS, SHARED = (Pointer(base, 0) for base in (Base.X, Base.Y, Base.OUT, Base.GRADS, Base.EXTRA))
ROWS = 8  # tiles of rows that a part has at least before columns are cut instead


def matmul(
    a: np.ndarray, b: np.ndarray, out: np.ndarray, k: int, transpose_a: bool, transpose_b: bool, alpha: float, beta: float,
    bias: np.ndarray | None, activation: str | None,
) -> None:  # fmt: skip
    """out = activation(alpha * op(a) op(b) + beta * out + bias)."""
    m, n = out.shape
    if n == 1 and m > 1:  # C is a column: as a row it is op(b)' op(a)'
        bias = None if bias is None else np.full(m, bias[0])
        a, b, m, n, transpose_a, transpose_b = b, a, 1, m, False, not transpose_a
    product = Product(m, n, k, transpose_a and m > 1, transpose_b, alpha, beta)
    if bfloat16_pays.asked(a.itemsize) and bfloat16_pays.matmul(product):
        work = bfloat16_matmul.work(product, bias is not None, activation)
    else:
        work = _work(product, a.itemsize, bias is not None, activation)
    work.run(x=a, y=b, grads=bias, out=out)


@functools.lru_cache(KEPT)
def _work(product: Product, item: int, with_bias: bool, activation: str | None) -> Work:
    packs = []
    width = block_width(item)
    size = emit.packed_size(product, item)
    rows_of_b, multiple = (product.n, width) if product.transpose_b else (product.k, 1)
    for piece in pieces(rows_of_b, number_of_parts(size, NUMBERS), multiple) if size else ():
        packing = Plan(item)
        emit.add_pack(packing, product, B, SHARED, piece)
        packs.append(Part(packing))
    wanted = number_of_parts(product.m * product.n * product.k, MULTIPLY_ADDS)
    mr = tile_rows(product.m)
    row_parts = max(1, min(wanted, product.m // (ROWS * mr)))
    parts = []
    plans: dict[tuple, Plan] = {}
    for rows in pieces(product.m, row_parts, mr):
        for columns in pieces(product.n, max(1, wanted // row_parts), vectors_for(mr) * host().lanes(item)):
            count = rows[1] - rows[0]
            plan = plans.get((count, columns))
            if plan is None:
                plan = plans[count, columns] = Plan(item)
                emit.add_matmul(
                    plan, product, A, SHARED if size else B, C, rows=count, columns=columns,
                    bias=BIAS if with_bias else None, relu=activation == "relu",
                )  # fmt: skip
            start = rows[0] * (1 if product.transpose_a else product.k) * item
            parts.append(Part(plan, {Base.X: start, Base.OUT: rows[0] * product.n * item}))
    last = [] if activation in (None, "relu") else in_place(activation, product.m * product.n, item)
    return Work([packs, parts, last], size * item)
