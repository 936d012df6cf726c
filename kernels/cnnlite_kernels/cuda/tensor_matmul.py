"""Matrix products on tensor cores, and the kernel that convolutions share with them."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, uint32, uint64

from cnnlite_kernels import precision as precisions
from cnnlite_kernels.cuda import tensor_cores
from cnnlite_kernels.cuda.convert import Rows, add_pack_columns, add_pack_rows, chunks_of, kind_of
from cnnlite_kernels.cuda.epilogue import ACCUMULATE, ACTIVATIONS, BIAS, NONE, WIDE, write4
from cnnlite_kernels.cuda.intrinsics import zeros
from cnnlite_kernels.cuda.kernel import F32, U32, U64, Floats, Kernel
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.reduce import add_reduce
from cnnlite_kernels.cuda.tensor_intrinsics import (
    BF16,
    CHUNK,
    LONG,
    ROW,
    address_of,
    commit_copies,
    copy_chunk,
    get_sums,
    multiply,
    put_sums,
    wait_copies,
)
from cnnlite_kernels.cuda.tensor_tile import (
    QUARTERS,
    SUMS_PITCH,
    SUMS_ROWS,
    WARP,
    Tile,
    Words,
    choose,
    lane_long,
    place,
    split,
    walk,
)

u = uint32


@functools.cache
def product(precision: int, tile: Tile) -> Kernel:
    """The kernel of a tile: see its body."""
    ROWS, COLUMNS, THREADS = tile.rows, tile.columns, tile.threads
    WARP_ROWS, WARP_COLUMNS, ACROSS = tile.warp_rows, tile.warp_columns, tile.columns // tile.warp_columns
    TILE_ROWS, TILE_COLUMNS = tile.warp_rows // 16, tile.warp_columns // 8
    SUMS = 4 * TILE_ROWS * TILE_COLUMNS
    STAGES, STAGE, PENDING, WORDS = tile.stages, tile.stage, tile.stages - 2, tile.words
    APART = tile.threads // QUARTERS  # rows from a thread's first to its second
    TWO = int(tile.columns > APART)  # B's slice has rows for a thread's second copy
    NO_PITCH = 0

    def body(
        a: Words, b: Words, c: Floats, bias: Floats, m: U32, n: U32, chunks: U32, width: U32, height: U32,
        a_x: U32, a_y: U32, a_image: U32, tap_chunks: U32, taps_across: U32, tap_x: U32, tap_y: U32,
        c_x: U64, c_y: U64, c_image: U64, part: U32, c_part: U64, alpha: F32, beta: F32, activation: U32, flags: U32,
    ) -> None:  # fmt: skip
        """c[row, j] = activation(alpha * sum over k of A[row, k] B[k, j] + beta * c[row, j] + bias[j]).

        Rows are pixels: row = (image * height + y) * width + x. The sum runs over taps and their channels, in chunks of 16 bytes:
        k = (tap_row * taps_across + tap_column) * tap_chunks + q. A matrix is an image of one row of m pixels, with one tap.

        Args:
            a: packed, the chunk of a row and k at image * a_image + y * a_y + x * a_x + tap_row * tap_y + tap_column * tap_x + q.
            b: packed, (n, chunks).
            c: (m, n), a row at image * c_image + y * c_y + x * c_x; or parts of it, part p from p * c_part on, of which each is the
                sum over `part` steps of 64 bytes. bias: (n,).
            flags: for write4.
        """
        shared = cuda.shared.array(WORDS, uint32, alignment=128)
        base = address_of(shared)
        t, block = u(cuda.threadIdx.x), u(cuda.blockIdx.x)
        across, down = u((n + u(COLUMNS - 1)) // u(COLUMNS)), u((m + u(ROWS - 1)) // u(ROWS))
        row0, column0 = u(u(block // across) % down * u(ROWS)), u(block % across * u(COLUMNS))
        p = u(u(block // across) // down)
        first = u(p * part)
        steps = u(min(part, u((chunks + u(QUARTERS - 1)) // u(QUARTERS)) - first))

        # A thread copies a quarter of a step of two rows of A and of one or two of B, and past the last row that one again.
        # Beyond the part's last chunk it copies zeros.
        line, k = u(t // u(QUARTERS)), u(t % u(QUARTERS))
        to = u(base + line * u(ROW) + (k ^ (line // u(2) % u(4))) * u(CHUNK))
        _, _, a_0 = place(u(min(row0 + line, m - u(1))), width, height, a_x, a_y, a_image)
        _, _, a_1 = place(u(min(row0 + line + u(APART), m - u(1))), width, height, a_x, a_y, a_image)
        b_0 = u(min(column0 + line, n - u(1)) * chunks)
        b_1 = u(min(column0 + line + u(APART), n - u(1)) * chunks)
        k = u(k + first * u(QUARTERS))
        end = u(min(u((first + steps) * u(QUARTERS)), chunks))
        i, j, by = place(k, tap_chunks, taps_across, u(1), tap_x, tap_y)
        a_0, a_1 = u(a_0 + by), u(a_1 + by)
        on = place(u(QUARTERS), tap_chunks, taps_across, u(1), tap_x, tap_y)
        carry, carry_row = u(tap_x - tap_chunks), u(tap_y - taps_across * tap_x)

        lane, warp = u(t % u(WARP)), u(t // u(WARP))
        warp_row, warp_column = u(warp // u(ACROSS) * u(WARP_ROWS)), u(warp % u(ACROSS) * u(WARP_COLUMNS))
        from_a = u(base + lane_long(warp_row, lane, u(1)))
        from_b = u(base + u(ROWS * ROW) + lane_long(warp_column, lane, u(2)))
        sums = zeros(SUMS)
        ahead, now = u(0), u(0)
        for _ in range(u(STAGES - 1)):
            size = u(CHUNK) if k < end else u(0)
            copy_chunk(u(to + ahead), a, a_0, size)
            copy_chunk(u(to + ahead + u(APART * ROW)), a, a_1, size)
            copy_chunk(u(to + ahead + u(ROWS * ROW)), b, u(b_0 + k), size)
            if TWO:
                copy_chunk(u(to + ahead + u(ROWS * ROW + APART * ROW)), b, u(b_1 + k), size)
            commit_copies()
            i, j, by = walk(i, j, u(0), tap_chunks, taps_across, on, carry, carry_row)
            a_0, a_1, k = u(a_0 + by), u(a_1 + by), u(k + u(QUARTERS))
            ahead = u(ahead + u(STAGE)) if ahead < u(STAGE * (STAGES - 1)) else u(0)
        while steps > u(0):
            wait_copies(PENDING)
            cuda.syncthreads()
            size = u(CHUNK) if k < end else u(0)
            copy_chunk(u(to + ahead), a, a_0, size)
            copy_chunk(u(to + ahead + u(APART * ROW)), a, a_1, size)
            copy_chunk(u(to + ahead + u(ROWS * ROW)), b, u(b_0 + k), size)
            if TWO:
                copy_chunk(u(to + ahead + u(ROWS * ROW + APART * ROW)), b, u(b_1 + k), size)
            commit_copies()
            i, j, by = walk(i, j, u(0), tap_chunks, taps_across, on, carry, carry_row)
            a_0, a_1, k = u(a_0 + by), u(a_1 + by), u(k + u(QUARTERS))
            ahead = u(ahead + u(STAGE)) if ahead < u(STAGE * (STAGES - 1)) else u(0)
            sums = multiply(
                sums, u(from_a + now), u(from_b + now), precision, LONG, TILE_ROWS, TILE_COLUMNS, NO_PITCH, NO_PITCH
            )  # fmt: skip
            now = u(now + u(STAGE)) if now < u(STAGE * (STAGES - 1)) else u(0)
            steps = u(steps - u(1))
        wait_copies(0)

        # Results go through shared memory, so that eight lanes write 128 contiguous bytes of a row.
        mine = u(base + warp * u(SUMS_ROWS * SUMS_PITCH))
        put = u(mine + lane // u(4) * u(SUMS_PITCH) + lane % u(4) * u(8))
        get = u(mine + lane // u(8) * u(SUMS_PITCH) + lane % u(8) * u(16))
        row, column = u(row0 + warp_row + lane // u(8)), u(column0 + warp_column + lane % u(8) * u(4))
        i, j, at = place(row, width, height, c_x, c_y, c_image)
        at += uint64(p) * c_part
        four_on = place(u(4), width, height, c_x, c_y, c_image)
        carry_x, carry_y = c_y - width * c_x, c_image - height * c_y
        for pair in range(u(TILE_ROWS // 2)):
            cuda.syncthreads()
            put_sums(sums, put, pair, TILE_COLUMNS, SUMS_PITCH)
            cuda.syncthreads()
            for line in range(u(SUMS_ROWS // 4)):
                if row < m and column < n:
                    four = get_sums(u(get + line * u(4 * SUMS_PITCH)))
                    columns = u(n - column)
                    write4(
                        c, at + column, four, columns, bias, uint64(column), alpha, beta, activation, flags
                    )
                i, j, at = walk(i, j, at, width, height, four_on, carry_x, carry_y)
                row = u(row + u(4))

    body.__name__ = f"tensor_product_{'bf16' if precision == BF16 else 'tf32'}_{tile}"
    return Kernel(body, THREADS, tile.blocks)


def takes(plan: Plan, m: int, n: int, k: int) -> bool:
    """Whether add_matmul here takes a product of (m, k) and (k, n): see tensor_cores.takes."""
    return tensor_cores.takes(plan.device.capability, m, n, k)


def add_matmul(
    plan: Plan, a: Any, b: Any, c: Any, m: int, n: int, k: int, *, transpose_a: bool = False, transpose_b: bool = False,
    alpha: float = 1.0, beta: float = 0.0, bias: Any = None, activation: str | None = None, aligned: bool = True,
    precision: str | None = None,
) -> None:  # fmt: skip
    """Emits c = activation(alpha * op(A) op(B) + beta * c + bias), operands rounded to `precision`, sums float32.

    Args:
        precision: "tf32" or "bfloat16"; None for the one that is set. The others are matmul.add_matmul's.
    """
    precision = precision or precisions.get_matmul_precision()
    if not (m and n):
        return
    chunks = chunks_of(k, precision)
    packed = plan.transient(4 * chunks * (m + n), np.uint32)
    left, right = packed[: 4 * chunks * m], packed[4 * chunks * m :]
    _add_pack(plan, a, left, m, k, transpose_a, precision, aligned)
    _add_pack(plan, b, right, n, k, not transpose_b, precision, aligned)
    rows = Pixels(
        width=m, height=1, x=chunks, y=0, image=0, tap_chunks=max(chunks, 1), taps_across=1, tap_x=0, tap_y=0
    )
    add_product(
        plan, precision, left, right, c, m, n, chunks, rows, (n, 0, 0), alpha=alpha, beta=beta, bias=bias,
        activation=activation, aligned=aligned,
    )  # fmt: skip


def _add_pack(
    plan: Plan, source: Any, out: Any, rows: int, k: int, transposed: bool, precision: str, aligned: bool
) -> None:
    """Packs (rows, k), or (k, rows) if transposed."""
    if transposed:
        add_pack_columns(plan, source, out, 1, k, rows, precision)
    else:
        add_pack_rows(plan, source, out, Rows(1, 1, rows, k, 0, 0, k, 1, rows), precision, aligned)


class Pixels(NamedTuple):
    """How the rows of A and the sum run over a packed operand: `product`'s arguments from width to tap_y."""

    width: int
    height: int
    x: int
    y: int
    image: int
    tap_chunks: int
    taps_across: int
    tap_x: int
    tap_y: int


def add_product(
    plan: Plan, precision: str, a: Any, b: Any, c: Any, m: int, n: int, chunks: int, rows: Pixels,
    c_steps: tuple[int, int, int], *, alpha: float = 1.0, beta: float = 0.0, bias: Any = None, activation: str | None = None,
    aligned: bool = True,
) -> None:  # fmt: skip
    """Emits a product of packed operands.

    Args:
        a, b: uint32, see `product`. chunks: of the sum.
        c: float32. c_steps: numbers from a row of C to the next along x, y and the images. With gaps the sum is not split.
        aligned: c and bias begin at multiples of 16 bytes.
    """
    tile = choose(m, n, plan.device.multiprocessors)
    blocks, steps = -(-m // tile.rows) * -(-n // tile.columns), -(-chunks // QUARTERS)
    kernel = product(kind_of(precision), tile)
    wide = WIDE if not n % 4 else 0
    parts, part = split(blocks, steps, tile.blocks * plan.device.multiprocessors)
    without_gaps = (n, n * rows.width, n * rows.width * rows.height)
    counts = (rows.width, rows.height, m // (rows.width * rows.height))
    if parts > 1 and all(
        step == whole or count == 1 for step, whole, count in zip(c_steps, without_gaps, counts, strict=True)
    ):
        partials = plan.transient(parts * m * n)
        plan.add(
            kernel, blocks * parts, a, b, partials, partials, m, n, chunks, *rows, *without_gaps, part, m * n, 1.0, 0.0,
            NONE, wide,
        )  # fmt: skip
        add_reduce(plan, partials, c, parts, m * n, alpha=alpha, beta=beta, bias=bias, activation=activation)
        return
    flags = (BIAS if bias is not None else 0) | (ACCUMULATE if beta else 0)
    flags |= wide if aligned and not any(step % 4 for step in c_steps) else 0
    plan.add(
        kernel, blocks, a, b, c, c if bias is None else bias, m, n, chunks, *rows, *c_steps, max(steps, 1), 0, alpha, beta,
        ACTIVATIONS[activation], flags,
    )  # fmt: skip
