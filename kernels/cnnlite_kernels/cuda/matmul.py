"""Matrix products: block tiles, each the sum of outer products of slices in shared memory; long sums of small results are split."""

from __future__ import annotations

import functools
from typing import Any

from numba import cuda, float32, uint32, uint64

from cnnlite_kernels.cuda import tensor_matmul
from cnnlite_kernels.cuda.epilogue import ACCUMULATE, ACTIVATIONS, BIAS, NONE, WIDE, write4
from cnnlite_kernels.cuda.intrinsics import (
    advance,
    four_of,
    gather,
    gather_below,
    outer_products,
    row_offsets,
    stage,
    zeros,
)
from cnnlite_kernels.cuda.kernel import F32, U32, Floats, Kernel
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.reduce import add_reduce
from cnnlite_kernels.cuda.tile import (
    DEPTH,
    FEW_COLUMNS,
    FEW_ROWS,
    SMALL,
    TILES,
    TINY,
    Staging,
    Tile,
    choose,
    lanes_of,
)

# Tiles for operands that 128-bit loads cannot read: a thread keeps four times as many offsets, and fewer blocks find room.
GUARDED = tuple(tile._replace(blocks=tile.blocks * 2 // 3) for tile in (SMALL, TINY, FEW_ROWS, FEW_COLUMNS))

u = uint32
ANY = 0xFFFFFFFF  # a row past which none is: what is limited otherwise


@functools.cache
def matmul(tile: Tile, transpose_a: bool, transpose_b: bool, wide: bool) -> Kernel:
    """The kernel of a tile.

    Args:
        wide: A, B and their rows begin at multiples of 16 bytes.
    """
    in_a = Staging(tile.rows, not transpose_a, lanes_of(tile, tile.rows, wide), tile.threads)
    in_b = Staging(tile.columns, transpose_b, lanes_of(tile, tile.columns, wide), tile.threads)
    ROWS, COLUMNS, ACROSS = tile.rows, tile.columns, tile.across
    THREAD_ROWS, THREAD_COLUMNS, SUMS = tile.thread_rows, tile.thread_columns, tile.groups * 4
    GROUPS, ACROSS_GROUPS = tile.groups, tile.across_groups
    ROW_GAP, COLUMN_GAP = tile.row_gap, tile.column_gap
    A_ALONG_K, A_LANES, A_PIECES, A_PER_ROW, A_STEP, A_K_STEP = (
        in_a.along_k, in_a.lanes, in_a.pieces, in_a.per_row, in_a.step, in_a.k_step
    )  # fmt: skip
    B_ALONG_K, B_LANES, B_PIECES, B_PER_ROW, B_STEP, B_K_STEP = (
        in_b.along_k, in_b.lanes, in_b.pieces, in_b.per_row, in_b.step, in_b.k_step
    )  # fmt: skip
    A_STRIDE, A_SIZE, A_BOTH, A_LEAD, A_INNER, A_PIECE = (
        in_a.stride, in_a.size, 2 * in_a.size, in_a.lead_place, in_a.inner_place, in_a.piece_place
    )  # fmt: skip
    B_STRIDE, B_SIZE, B_BOTH, B_LEAD, B_INNER, B_PIECE = (
        in_b.stride, in_b.size, 2 * in_b.size, in_b.lead_place, in_b.inner_place, in_b.piece_place
    )  # fmt: skip

    def body(
        a: Floats, b: Floats, c: Floats, bias: Floats, m: U32, n: U32, k: U32, part: U32, alpha: F32, beta: F32,
        activation: U32, flags: U32,
    ) -> None:  # fmt: skip
        """c[i, j] = activation(alpha * sum over k of A[i, k] B[k, j] + beta * c[i, j] + bias[j]); see add_matmul.

        Args:
            a: (m, k), or (k, m) with transpose_a. b: (k, n), or (n, k) with transpose_b. c: (parts, m, n), of which part p is the
                sum over k from p * part on. bias: (n,).
            part: terms of a part, a multiple of DEPTH.
            flags: for write4.
        """
        a_s = cuda.shared.array(A_BOTH, float32, alignment=16)
        b_s = cuda.shared.array(B_BOTH, float32, alignment=16)
        t, block = u(cuda.threadIdx.x), u(cuda.blockIdx.x)
        across = (n + u(COLUMNS - 1)) // u(COLUMNS)
        down = (m + u(ROWS - 1)) // u(ROWS)
        row0, column0 = block // across % down * u(ROWS), block % across * u(COLUMNS)
        p = block // across // down
        begin = p * part
        terms = min(part, k - begin)
        # The first step takes what is left over, so that the others are whole and have no tests.
        steps = (max(terms, u(1)) + u(DEPTH - 1)) // u(DEPTH)
        first = terms - (steps - u(1)) * u(DEPTH)

        lead, inner = t // u(A_PER_ROW), t % u(A_PER_ROW) * u(A_LANES)
        a_place = lead * u(A_LEAD) + inner * u(A_INNER)
        if A_ALONG_K:
            a_at = row_offsets(A_PIECES, row0 + lead, A_STEP, m - u(1), k, begin + inner)
            a_k, a_row = inner, uint64(1)
        else:
            inside = min(row0 + inner, m - u(A_LANES))
            a_at = row_offsets(A_PIECES, begin + lead, A_STEP, u(ANY), m, inside)
            a_k, a_row = lead, uint64(m)
        lead, inner = t // u(B_PER_ROW), t % u(B_PER_ROW) * u(B_LANES)
        b_place = lead * u(B_LEAD) + inner * u(B_INNER)
        if B_ALONG_K:
            b_at = row_offsets(B_PIECES, column0 + lead, B_STEP, n - u(1), k, begin + inner)
            b_k, b_row = inner, uint64(1)
        else:
            inside = min(column0 + inner, n - u(B_LANES))
            b_at = row_offsets(B_PIECES, begin + lead, B_STEP, u(ANY), n, inside)
            b_k, b_row = lead, uint64(n)

        stage(a_s, a_place, gather_below(a, a_at, A_LANES, a_k, A_K_STEP, first), A_LANES, A_PIECE, A_INNER)
        stage(b_s, b_place, gather_below(b, b_at, B_LANES, b_k, B_K_STEP, first), B_LANES, B_PIECE, B_INNER)
        cuda.syncthreads()
        a_at, b_at = advance(a_at, first * a_row), advance(b_at, first * b_row)

        row4, column4 = t // u(ACROSS) * u(4), t % u(ACROSS) * u(4)
        sums = zeros(SUMS)
        half = u(0)
        while steps > u(1):
            next_a, next_b = gather(a, a_at, A_LANES), gather(b, b_at, B_LANES)
            a_at, b_at = advance(a_at, u(DEPTH) * a_row), advance(b_at, u(DEPTH) * b_row)
            sums = outer_products(
                sums, a_s, half * u(A_SIZE) + row4, b_s, half * u(B_SIZE) + column4,
                DEPTH, THREAD_ROWS, THREAD_COLUMNS, A_STRIDE, B_STRIDE, ROW_GAP, COLUMN_GAP,
            )  # fmt: skip
            half ^= u(1)
            stage(a_s, half * u(A_SIZE) + a_place, next_a, A_LANES, A_PIECE, A_INNER)
            stage(b_s, half * u(B_SIZE) + b_place, next_b, B_LANES, B_PIECE, B_INNER)
            cuda.syncthreads()
            steps -= u(1)
        sums = outer_products(
            sums, a_s, half * u(A_SIZE) + row4, b_s, half * u(B_SIZE) + column4,
            DEPTH, THREAD_ROWS, THREAD_COLUMNS, A_STRIDE, B_STRIDE, ROW_GAP, COLUMN_GAP,
        )  # fmt: skip

        for group in range(u(GROUPS)):
            i, j = group // u(ACROSS_GROUPS), group % u(ACROSS_GROUPS)
            row = row0 + row4 + i % u(4) + i // u(4) * u(ROW_GAP)
            column = column0 + column4 + j * u(COLUMN_GAP)
            if row < m and column < n:
                at = (uint64(p) * uint64(m) + uint64(row)) * uint64(n) + uint64(column)
                four = four_of(sums, group)
                write4(c, at, four, n - column, bias, uint64(column), alpha, beta, activation, flags)

    # The name that profilers and the compiler's messages show.
    body.__name__ = f"matmul_{'nt'[transpose_a]}{'nt'[transpose_b]}_{tile}{'' if wide else '_guarded'}"
    return Kernel(body, tile.threads, tile.blocks)


def add_matmul(
    plan: Plan, a: Any, b: Any, c: Any, m: int, n: int, k: int, *, transpose_a: bool = False, transpose_b: bool = False,
    alpha: float = 1.0, beta: float = 0.0, bias: Any = None, activation: str | None = None, aligned: bool = True,
) -> None:  # fmt: skip
    """Emits c = activation(alpha * op(A) op(B) + beta * c + bias), float32; by tensor cores where the precision that is set allows.

    Args:
        a: (m, k), or (k, m) with transpose_a. b: (k, n), or (n, k) with transpose_b. All flat, in C order.
        c: (m, n); not read where beta is 0.
        bias: (n,), added to each row, or None.
        activation: a key of epilogue.ACTIVATIONS.
        aligned: a, b, c and bias begin at multiples of 16 bytes.
    """
    if not (m and n):
        return
    if tensor_matmul.takes(plan, m, n, k):
        tensor_matmul.add_matmul(
            plan, a, b, c, m, n, k, transpose_a=transpose_a, transpose_b=transpose_b, alpha=alpha, beta=beta, bias=bias,
            activation=activation, aligned=aligned,
        )  # fmt: skip
        return
    wide = aligned and not (m if transpose_a else k) % 4 and not (k if transpose_b else n) % 4
    tile, parts, terms = choose(m, n, k, plan.device.multiprocessors, TILES if wide else GUARDED)
    kernel = matmul(tile, transpose_a, transpose_b, wide)
    blocks = -(-m // tile.rows) * -(-n // tile.columns) * parts
    if parts > 1:
        partials = plan.transient(parts * m * n)
        flags = 0 if n % 4 else WIDE
        plan.add(kernel, blocks, a, b, partials, partials, m, n, k, terms, 1.0, 0.0, NONE, flags)
        add_reduce(plan, partials, c, parts, m * n, alpha=alpha, beta=beta, bias=bias, activation=activation)
        return
    flags = (
        (0 if bias is None else BIAS) | (ACCUMULATE if beta else 0) | (WIDE if aligned and not n % 4 else 0)
    )
    plan.add(
        kernel, blocks, a, b, c, c if bias is None else bias, m, n, k, terms, alpha, beta, ACTIVATIONS[activation], flags
    )  # fmt: skip
