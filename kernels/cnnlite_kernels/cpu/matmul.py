"""Matrix products: K is cut into blocks, B is packed block by block, and rows of A and columns of B go through the sweep."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.matvec import add_matvec
from cnnlite_kernels.cpu.memory import NOWHERE, Pointer
from cnnlite_kernels.cpu.pack import copy, rescale
from cnnlite_kernels.cpu.plan import LINE, Plan
from cnnlite_kernels.cpu.product import Rows, add_product, block_width, padded_columns
from cnnlite_kernels.cpu.product import add_pack as add_pack_block
from cnnlite_kernels.cpu.tile import ACCUMULATE, BIAS, RELU

K_BLOCK = 512  # terms of the sum in one pass: 14 rows of A are 28 KB, which L1 holds while B streams by
DIRECT_ROWS = 42  # rows of A up to which packing B costs more than it saves
# The same where B's rows lie multiples of COLLISION numbers apart, on few places in L1 and L2.
DIRECT_ROWS_COLLIDING = 28
COLLISION = 1024
# Rows of B that are read side by side where it is not packed: L1 and L2 hold few at the same place.
DIRECT_K_BLOCK = 64
PAGE = 4096  # bytes; rows of A that lie multiples of it apart fall on the same places in L1
FEW_BLOCKS = 2  # blocks of columns, for which it does not pay to copy such rows


class Product(NamedTuple):
    """C (m, n) = alpha * op(A) op(B) + beta * C with A (m, k) and B (k, n) in C order, or their transposes.

    packed: B was packed before, without alpha.
    """

    m: int
    n: int
    k: int
    transpose_a: bool = False
    transpose_b: bool = False
    alpha: float = 1
    beta: float = 0
    packed: bool = False

    @property
    def direct(self) -> bool:
        """Whether B is read where it lies."""
        most = DIRECT_ROWS if self.n % COLLISION else DIRECT_ROWS_COLLIDING
        return not (self.transpose_b or self.packed) and self.m <= most

    @property
    def dots(self) -> bool:
        """Whether C is a row of dot products of rows in memory."""
        return self.transpose_b and self.m == 1

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """(first, stop) of the blocks of K, as even as can be."""
        count = -(-self.k // K_BLOCK)
        return [(i * self.k // count, (i + 1) * self.k // count) for i in range(count)]


def packed_size(product: Product, item: int) -> int:
    """Numbers that packed B takes, 0 where it is read as it lies."""
    return 0 if product.direct or product.dots else product.k * padded_columns(product.n, item)


def add_pack(
    plan: Plan, product: Product, b: Pointer, packed: Pointer, rows: tuple[int, int] | None = None
) -> None:
    """Emits the packing of alpha * op(B), or only of what `rows` (first, stop) of B make.

    With transpose_b the rows of B are columns of op(B), and have to be whole blocks.
    """
    size = padded_columns(product.n, plan.item)
    for first, stop in product.blocks:
        if product.transpose_b:
            add_pack_block(
                plan, b + first * plan.item, packed + first * size * plan.item,
                taps=[0], k_len=stop - first, k_step=1, columns=product.n, column_step=product.k,
                scale=product.alpha, within=rows,
            )  # fmt: skip
            continue
        begin, end = (first, stop) if rows is None else (max(first, rows[0]), min(stop, rows[1]))
        if begin < end:
            add_pack_block(
                plan, b + begin * product.n * plan.item, packed + first * size * plan.item,
                taps=[0], k_len=end - begin, k_step=product.n, columns=product.n, column_step=1,
                scale=product.alpha, packed_rows=(begin - first, stop - first),
            )  # fmt: skip


def add_matmul(
    plan: Plan, product: Product, a: Pointer, b: Pointer, c: Pointer, *, rows: int, columns: tuple[int, int],
    bias: Pointer | None = None, relu: bool = False,
) -> None:  # fmt: skip
    """Emits `rows` rows of C, the first of which `a` and `c` point to, and its `columns`; then bias and relu.

    b is B as `add_pack` left it, or B itself where it is read as it lies.
    """
    item, n, k = plan.item, product.n, product.k
    first_column, width = columns[0], columns[1] - columns[0]
    c += first_column * item
    if bias is not None:
        bias += first_column * item
    if product.dots:
        b += first_column * k * item
        add_matvec(plan, a, b, c, width, k, alpha=product.alpha, beta=product.beta, bias=bias, relu=relu)
        return
    if product.beta not in (0, 1):
        plan.add(rescale, item, y=c, rows=rows, columns=width, y_row=n, scale=product.beta)
    flags = 0 if product.beta == 0 else ACCUMULATE
    last = (BIAS if bias is not None else 0) | (RELU if relu else 0)
    bias = NOWHERE if bias is None else bias
    c_rows = np.arange(rows) * n
    if product.direct:
        a, a_row = _copied(plan, product, a, rows, 0, k, product.alpha)
        b += first_column * item
        whole, rest = divmod(k, DIRECT_K_BLOCK)
        for taps, first, k_len in ((whole, 0, DIRECT_K_BLOCK), (int(rest > 0), whole * DIRECT_K_BLOCK, rest)):
            if taps or k_len == k == 0:
                starts = first + np.arange(taps) * k_len
                ends = last if first + taps * k_len == k else 0
                add_product(
                    plan, a, b, c, Rows(np.arange(rows) * a_row, c_rows), width, starts, k_len,
                    taps_b=starts * n, b_step=n, bias=bias, flags=flags | ends,
                )  # fmt: skip
                flags = ACCUMULATE
        return
    scratch = plan.mark()
    for first, stop in product.blocks or [(0, 0)]:
        plan.free(scratch)
        scale = product.alpha if product.packed else 1
        if product.transpose_a or scale != 1 or width > FEW_BLOCKS * block_width(item):
            a_block, a_row = _copied(plan, product, a, rows, first, stop, scale)
        else:
            a_block, a_row = a + first * item, k
        start = first * padded_columns(n, item) + first_column * (stop - first)
        add_product(
            plan, a_block, b + start * item, c, Rows(np.arange(rows) * a_row, c_rows), width, [0], stop - first,
            bias=bias, flags=flags | (last if stop == k else 0),
        )  # fmt: skip
        flags = ACCUMULATE


def _copied(
    plan: Plan, product: Product, a: Pointer, rows: int, first: int, stop: int, scale: float
) -> tuple[Pointer, int]:
    """`rows` rows of scale * op(A) and their columns from first to stop: (where, numbers from row to row), copied if need be."""
    item, k = plan.item, stop - first
    if not product.transpose_a:
        a += first * item
        if scale == 1 and (rows == 1 or product.k * item % PAGE):
            return a, product.k
    else:
        a += first * product.m * item
    x_row, x_column = (1, product.m) if product.transpose_a else (product.k, 1)
    row = k + (LINE // item if k * item % PAGE == 0 else 0)
    to = plan.scratch(rows * row * item)
    plan.add(
        copy,
        item,
        host().lanes(item),
        x=a,
        y=to,
        rows=rows,
        columns=k,
        x_row=x_row,
        x_column=x_column,
        y_row=row,
        scale=scale,
    )
    return to, row
