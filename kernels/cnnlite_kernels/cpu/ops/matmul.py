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
from cnnlite_kernels.cpu.ops.work import (
    KEPT,
    MULTIPLY_ADDS,
    NUMBERS,
    Work,
    aligned,
    number_of_parts,
    pieces,
)
from cnnlite_kernels.cpu.plan import Part, Plan
from cnnlite_kernels.cpu.product import block_width, tile_rows, vectors_for
from cnnlite_kernels.packed import PackedWeights

A, B, C, BIAS, SHARED = (Pointer(base, 0) for base in (Base.X, Base.Y, Base.OUT, Base.GRADS, Base.EXTRA))
MANY_ROWS = 1 << 30  # of A, for which B is packed in any case
ROWS = 8  # tiles of rows that a part has at least before columns are cut instead


def pack_weights(b: np.ndarray, transpose_b: bool) -> np.ndarray:
    """op(b) as `matmul` reads it, packed once for many calls."""
    k, n = b.shape[::-1] if transpose_b else b.shape
    product = Product(MANY_ROWS, n, k, transpose_b=transpose_b)
    packed = aligned(emit.packed_size(product, b.itemsize), b.dtype)
    if packed.size:
        _packing(product, b.itemsize).run(y=b, out=packed)
    return packed


@functools.lru_cache(KEPT)
def _packing(product: Product, item: int) -> Work:
    return Work([_packs(product, C, item)])


def matmul(
    a: np.ndarray, b: np.ndarray | PackedWeights, out: np.ndarray, k: int, transpose_a: bool, transpose_b: bool,
    alpha: float, beta: float, bias: np.ndarray | None, activation: str | None,
) -> None:  # fmt: skip
    """out = activation(alpha * op(a) op(b) + beta * out + bias)."""
    m, n = out.shape
    if isinstance(b, PackedWeights):
        product = Product(m, n, k, transpose_a and m > 1, False, alpha, beta, packed=True)
        _work(product, a.itemsize, bias is not None, activation).run(x=a, y=b.data, grads=bias, out=out)
        return
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
    size = 0 if product.packed else emit.packed_size(product, item)
    packs = _packs(product, SHARED, item) if size else []
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


def _packs(product: Product, to: Pointer, item: int) -> list[Part]:
    """The parts that pack B to `to`."""
    parts = []
    rows, multiple = (product.n, block_width(item)) if product.transpose_b else (product.k, 1)
    for piece in pieces(rows, number_of_parts(emit.packed_size(product, item), NUMBERS), multiple):
        plan = Plan(item)
        emit.add_pack(plan, product, B, to, piece)
        parts.append(Part(plan))
    return parts
