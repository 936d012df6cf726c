"""Matrix products with operands of bfloat16 and sums of float32: matmul.py's blocks of K for bfloat16_product.py.

alpha goes into B before it is rounded.
"""

from __future__ import annotations

import itertools

import numpy as np

from cnnlite_kernels.cpu.amx_tile import STEP
from cnnlite_kernels.cpu.bfloat16_pack import round_with_halo, turn_images
from cnnlite_kernels.cpu.bfloat16_product import add_pack as add_pack_block
from cnnlite_kernels.cpu.bfloat16_product import add_product, packed_bytes
from cnnlite_kernels.cpu.matmul import PAGE, Product
from cnnlite_kernels.cpu.memory import NOWHERE, Pointer
from cnnlite_kernels.cpu.pack import rescale
from cnnlite_kernels.cpu.plan import LINE, Plan
from cnnlite_kernels.cpu.product import Rows
from cnnlite_kernels.cpu.tile import ACCUMULATE, BIAS, RELU

K_BLOCK = 1024  # terms of the sum in one pass: 14 rows of A are 28 KB, which L1 holds while B streams by


def blocks(product: Product) -> list[tuple[int, int]]:
    """(first, stop) of the blocks of K, as even as can be; all but the last of whole steps (of amx_tile.py)."""
    count = -(-product.k // K_BLOCK)
    edges = (
        [min(product.k, -(-i * product.k // count // STEP) * STEP) for i in range(count + 1)] if count else []
    )
    return list(itertools.pairwise(edges))


def packed_size(product: Product) -> int:
    """Bytes that packed B takes."""
    return packed_bytes(1, product.k, product.n)


def add_pack(
    plan: Plan, product: Product, b: Pointer, packed: Pointer, columns: tuple[int, int] | None = None
) -> None:
    """Emits the rounding and packing of alpha * op(B), float32; columns=(first, stop), multiples of WIDTH: only the blocks that begin
    there."""
    k_step, column_step = (1, product.k) if product.transpose_b else (product.n, 1)
    for first, stop in blocks(product):
        add_pack_block(
            plan, b + first * k_step * 4, packed + packed_bytes(1, first, product.n), [0], stop - first, k_step,
            product.n, column_step, scale=product.alpha, within=columns,
        )  # fmt: skip


def add_matmul(
    plan: Plan, product: Product, a: Pointer, packed: Pointer, c: Pointer, *, rows: int, columns: tuple[int, int] | None = None,
    bias: Pointer | None = None, relu: bool = False,
) -> None:  # fmt: skip
    """Emits `rows` rows of C, the first of which the float32 `a` and `c` point to, or its blocks of `columns`; then bias and relu.

    Block by block of K a piece of op(A) is rounded into scratch. The old C is scaled by beta and added to.
    """
    n, k = product.n, product.k
    first_column, last_column = columns or (0, n)
    if product.beta not in (0, 1):
        plan.add(
            rescale, 4, y=c + first_column * 4, rows=rows, columns=min(last_column, n) - first_column, y_row=n, scale=product.beta
        )  # fmt: skip
    flags = 0 if product.beta == 0 else ACCUMULATE
    last = (BIAS if bias is not None else 0) | (RELU if relu else 0)
    scratch = plan.mark()
    for first, stop in blocks(product) or [(0, 0)]:
        plan.free(scratch)
        rounded, row = _rounded(plan, product, a, rows, first, stop)
        add_product(
            plan, rounded, packed + packed_bytes(1, first, n), c, Rows(np.arange(rows) * row, np.arange(rows) * n), n,
            [0] if stop > first else [], stop - first, bias=NOWHERE if bias is None else bias,
            flags=flags | (last if stop == k else 0), within=columns,
        )  # fmt: skip
        flags = ACCUMULATE


def _rounded(
    plan: Plan, product: Product, a: Pointer, rows: int, first: int, stop: int
) -> tuple[Pointer, int]:
    """`rows` rows of op(A) and their columns from first to stop as bfloat16 in scratch: (where, numbers from row to row)."""
    count = stop - first
    row = -(-(count + 1) // 2) * 2
    row += (
        LINE // 2 if row * 2 % PAGE < LINE else 0
    )  # rows that lie multiples of it apart fall on the same places in L1
    to = plan.scratch(rows * row * 2)
    if product.transpose_a:
        plan.add(
            turn_images, 4, x=a + first * product.m * 4, y=to, n=1, rows=1, w=count, c=rows, x_pixel=product.m, pitch=row
        )  # fmt: skip
    else:
        plan.add(
            round_with_halo, x=a + first * 4, y=to, n=1, h=rows, row=count, x_row=product.k, right=row - count
        )
    return to, row
