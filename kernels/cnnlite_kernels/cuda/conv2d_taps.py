"""The tile behind conv2d and its input gradient: products of rows of pixels with weights, summed over the taps of a window.

A window's taps are the outer loops and a tap's channels, DEPTH at a time, the inner one, which has neither a test for padding nor an
address to work out: it is where the time goes. Steps run through all taps without a pause: each fetches the next numbers from memory
while those before are multiplied from shared memory.

Indices are uint32 and sums of them are cast back (`u`): Numba makes uint64 of uint32 + uint32, which costs twice the instructions.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from numba import cuda, float32, int32, int64, uint32, uint64

from cnnlite_kernels.cuda.epilogue import ACTIVATIONS, BIAS, NONE, WIDE, write4
from cnnlite_kernels.cuda.gather import address_of, fetch4, fetch4_below
from cnnlite_kernels.cuda.intrinsics import four_of, outer_products, stage, zeros
from cnnlite_kernels.cuda.kernel import I32, I64, U32, U64, Floats, Kernel
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.reduce import add_reduce
from cnnlite_kernels.cuda.tile import DEPTH, LARGE, Tile, choose

u = uint32
NOWHERE = 0xFFFFFFFFFFFFFFFF  # the place in y of a row past the last
OUTSIDE = 0x80000000  # a row of pixels that no image has

# Every thread brings four numbers of x for a step, and a tile has twice as many threads as rows.
TILES = (LARGE, Tile("tall", 128, 64, 8, 4, 2), Tile("small", 64, 64, 8, 4, 4), Tile("tiny", 32, 32, 4, 4, 8))
GUARDED = (Tile("small", 64, 64, 8, 4, 3), Tile("tiny", 32, 32, 4, 4, 6))


@functools.cache
def taps_product(tile: Tile, transpose: bool, wide: bool) -> Kernel:
    """The kernel of a tile.

    Args:
        transpose: in w the numbers that are summed over, not the columns, follow each other in memory.
        wide: x, w, y, bias and every pixel and row of theirs begin at multiples of 16 bytes, and kc is a multiple of DEPTH; else
            numbers come one by one, with a test for each.
    """
    ROWS, COLUMNS, ACROSS = tile.rows, tile.columns, tile.across
    THREAD_ROWS, THREAD_COLUMNS = tile.thread_rows, tile.thread_columns
    ROW_GAP, COLUMN_GAP = tile.row_gap, tile.column_gap
    SUMS, GROUPS, ACROSS_GROUPS = tile.groups * 4, tile.groups, tile.across_groups
    TRANSPOSE, ALIGNED = int(transpose), int(wide)
    # Rows of 4 more than the tile's: the transposing stores of a warp, two fours of k of sixteen rows, meet 32 banks.
    X_STRIDE, W_STRIDE = ROWS + 4, COLUMNS + (4 if transpose else 0)
    X_SLICE, SLICES, BOTH = DEPTH * X_STRIDE, DEPTH * (X_STRIDE + W_STRIDE), 2 * DEPTH * (X_STRIDE + W_STRIDE)
    W_LANE = W_STRIDE if transpose else 1
    W_THREADS = COLUMNS * DEPTH // 4

    def body(
        x: Floats, w: Floats, y: Floats, bias: Floats, across: U32, down: U32, groups: U32, rows: U64, part: U32,
        rows_h: U32, rows_w: U32, x_h: U32, x_w: U32, x_c: U32, x_sh: U32, x_sw: U32, x_top: I32, x_left: I32,
        y_h: U32, y_w: U32, y_c: U32, y_sh: U32, y_sw: U32, y_top: U32, y_left: U32,
        th: U32, tw: U32, dh: U32, dw: U32, w_first: U64, w_down: I64, w_right: I64, w_step: U32, w_group: U32,
        kc: U32, nc: U32, activation: U32, flags: U32,
    ) -> None:  # fmt: skip
        """y[image, p * y_sh + y_top, q * y_sw + y_left, g * nc + j] = activation(bias[g * nc + j] + sum over i < th, k < tw, c < kc of

            x[image, p * x_sh + x_top + i * dh, q * x_sw + x_left + k * dw, g * kc + c] * W[i, k, g, c, j])

        for all images, p < rows_h, q < rows_w, groups g and j < nc, with zeros around x. A row of the product is an (image, p, q).

        Args:
            x: (n, x_h, x_w, x_c). y: (parts, n, y_h, y_w, y_c), of which part s sums over `part` c from s * part on, a multiple of
                DEPTH; all parts have as many. bias: (y_c,).
            w: W[i, k, g, c, j] = w[w_first + i * w_down + k * w_right + g * w_group + c * w_step + j]; with transpose
                w[... + c + j * w_step].
            across, down: tiles over nc, and over the n * rows_h * rows_w = `rows` rows.
            activation, flags: for write4.
        """
        slices = cuda.shared.array(BOTH, float32, alignment=16)  # of x and w, twice
        x_start = cuda.shared.array(ROWS, uint64)
        y_start = cuda.shared.array(ROWS, uint64)
        top = cuda.shared.array(ROWS, uint32)
        left = cuda.shared.array(ROWS, uint32)
        corner = cuda.shared.array(2, uint32)
        t, block = u(cuda.threadIdx.x), u(cuda.blockIdx.x)
        column0 = u(u(block % across) * u(COLUMNS))
        block = u(block // across)
        row0 = uint64(u(block % down)) * uint64(ROWS)
        block = u(block // down)
        group, s = u(block % groups), u(block // groups)
        c0 = u(s * part)
        terms = u(min(part, u(max(kc, c0) - c0)))

        # What is needed again after the loop waits in shared memory: registers are few.
        if t == u(0):
            corner[0], corner[1] = column0, u(group * nc)
        if t < u(ROWS):
            row = row0 + uint64(t)
            pixels = uint64(rows_h) * uint64(rows_w)
            image = row // pixels
            rest = row - image * pixels
            p, q = u(rest // uint64(rows_w)), u(rest % uint64(rows_w))
            h0, w0 = int32(p * x_sh) + x_top, int32(q * x_sw) + x_left
            at = ((int64(image) * int64(x_h) + int64(h0)) * int64(x_w) + int64(w0)) * int64(x_c)
            x_start[t] = address_of(x, uint64(at) + uint64(u(group * kc + c0)))
            top[t] = u(h0) if row < rows else u(OUTSIDE)
            left[t] = u(w0)
            images = rows // pixels
            at_h, at_w = uint64(u(p * y_sh + y_top)), uint64(u(q * y_sw + y_left))
            at = ((uint64(s) * images + image) * uint64(y_h) + at_h) * uint64(y_w) + at_w
            y_start[t] = at * uint64(y_c) + uint64(u(group * nc)) if row < rows else uint64(NOWHERE)
        cuda.syncthreads()

        lead, inner = u(t // u(2)), u(u(t % u(2)) * u(4))
        x_place = u(inner * u(X_STRIDE) + lead)
        if TRANSPOSE:
            column, k0 = u(column0 + lead), inner
            w_place = u(inner * u(W_STRIDE) + lead + u(X_SLICE))
            at = uint64(column) * uint64(w_step) + uint64(u(c0 + k0))
            w_move = u(DEPTH * 4)
        else:
            column, k0 = u(column0 + u(t % u(COLUMNS // 4)) * u(4)), u(t // u(COLUMNS // 4))
            w_place = u(k0 * u(W_STRIDE) + column - column0 + u(X_SLICE))
            at = uint64(u(c0 + k0)) * uint64(w_step) + uint64(column)
            w_move = u(w_step * u(DEPTH * 4))
        w_in = column < nc and t < u(W_THREADS)
        w_at = address_of(w, at + w_first + uint64(u(group * w_group)))
        row4, column4 = u(u(t // u(ACROSS)) * u(4)), u(u(t % u(ACROSS)) * u(4) + u(X_SLICE))
        sums = zeros(SUMS)
        half = u(0)
        # The first multiplication is of zeros: a test of whether there is something to multiply costs too many registers.
        nothing = (float32(0), float32(0), float32(0), float32(0))
        stage(slices, x_place, nothing, 4, 0, X_STRIDE)
        if t < u(W_THREADS):
            stage(slices, w_place, nothing, 4, 0, W_LANE)
        cuda.syncthreads()
        # w_at goes on from step to step; after a tap it moves to where the next tap's weights begin.
        i = u(0)
        while i < th:
            k = u(0)
            while k < tw:
                inside = (u(top[lead] + i * dh) < x_h) & (u(left[lead] + k * dw) < x_w)
                pixel = uint64(u(i * dh)) * uint64(x_w) + uint64(u(k * dw))
                x_at = x_start[lead] + (pixel * uint64(x_c) + uint64(inner)) * uint64(4)
                c = u(0)
                while c < part:
                    if ALIGNED:
                        next_x = fetch4(x_at, inside)
                        next_w = fetch4(w_at, w_in)
                    else:
                        next_x = fetch4_below(x_at, c + inner, terms if inside else u(0))
                        if TRANSPOSE:
                            next_w = fetch4_below(w_at, c + inner, terms if w_in else u(0))
                        else:
                            next_w = fetch4_below(w_at, column, nc if w_in and c + k0 < terms else u(0))
                    sums = outer_products(
                        sums, slices, u(half + row4), slices, u(half + column4),
                        DEPTH, THREAD_ROWS, THREAD_COLUMNS, X_STRIDE, W_STRIDE, ROW_GAP, COLUMN_GAP,
                    )  # fmt: skip
                    half = u(u(SLICES) - half)
                    stage(slices, u(half + x_place), next_x, 4, 0, X_STRIDE)
                    if t < u(W_THREADS):
                        stage(slices, u(half + w_place), next_w, 4, 0, W_LANE)
                    cuda.syncthreads()
                    x_at += uint64(DEPTH * 4)
                    w_at += uint64(w_move)
                    c = u(c + u(DEPTH))
                k = u(k + u(1))
                w_at += uint64(w_right * int64(4)) - uint64(u(part // u(DEPTH))) * uint64(w_move)
            i = u(i + u(1))
            w_at += uint64(w_down - int64(tw) * w_right) * uint64(4)
        sums = outer_products(
            sums, slices, u(half + row4), slices, u(half + column4),
            DEPTH, THREAD_ROWS, THREAD_COLUMNS, X_STRIDE, W_STRIDE, ROW_GAP, COLUMN_GAP,
        )  # fmt: skip

        column0, channel0 = corner[0], corner[1]
        row4, column4 = u(u(t // u(ACROSS)) * u(4)), u(u(t % u(ACROSS)) * u(4))
        for four in range(u(GROUPS)):
            i, j = u(four // u(ACROSS_GROUPS)), u(four % u(ACROSS_GROUPS))
            at = y_start[u(row4 + i % u(4) + i // u(4) * u(ROW_GAP))]
            column = u(column0 + column4 + j * u(COLUMN_GAP))
            if at != uint64(NOWHERE) and column < nc:
                channel = uint64(u(channel0 + column))
                write4(
                    y, at + uint64(column), four_of(sums, four), u(nc - column), bias, channel, float32(1), float32(0),
                    activation, flags,
                )  # fmt: skip

    variant = ("_transpose" if transpose else "") + ("" if wide else "_guarded")
    body.__name__ = body.__qualname__ = f"taps_product_{tile}{variant}"
    return Kernel(body, tile.threads, tile.blocks)


class Taps(NamedTuple):
    """What taps_product's kernel calls its geometry, in the order of its arguments."""

    rows_h: int
    rows_w: int
    x_h: int
    x_w: int
    x_c: int
    x_sh: int
    x_sw: int
    x_top: int
    x_left: int
    y_h: int
    y_w: int
    y_c: int
    y_sh: int
    y_sw: int
    y_top: int
    y_left: int
    th: int
    tw: int
    dh: int
    dw: int
    w_first: int
    w_down: int
    w_right: int
    w_step: int
    w_group: int
    kc: int
    nc: int


def add_taps(
    plan: Plan, pieces: Sequence[Taps], n: int, groups: int, x: Any, w: Any, y: Any, bias: Any, activation: str | None, *,
    transpose: bool, aligned: bool,
) -> None:  # fmt: skip
    """Emits a product for each of `pieces`, which together write all of y once.

    Long sums for few outputs are cut along the channels; partial sums are added in their order.

    Args:
        n: images. x, w, y: see taps_product's kernel; all pieces have the same x, y, kc and nc. bias: (y_c,) or None.
        activation: a key of epilogue.ACTIVATIONS.
    """
    any_piece = pieces[0]
    kc, nc = any_piece.kc, any_piece.nc
    wide = aligned and kc > 0 and kc % DEPTH == 0 and nc % 4 == 0
    rows = n * max(p.rows_h * p.rows_w for p in pieces)
    taps = max(p.th * p.tw for p in pieces)
    multiprocessors = plan.device.multiprocessors // groups or 1
    tile, parts, _ = choose(rows, nc, max(taps * kc, 1), multiprocessors, TILES if wide else GUARDED)
    steps = max(-(-kc // DEPTH), 1)
    parts = max(p for p in range(1, min(parts, steps) + 1) if steps % p == 0)
    part = steps // parts * DEPTH
    kernel = taps_product(tile, transpose, wide)
    flags, code, into, added = WIDE if wide else 0, NONE, y, y
    count = n * any_piece.y_h * any_piece.y_w * any_piece.y_c
    if parts > 1:
        into = added = plan.transient(parts * count)
    else:
        code = ACTIVATIONS[activation]
        if bias is not None:
            flags, added = flags | BIAS, bias
    across = -(-nc // tile.columns)
    for piece in pieces:
        rows = n * piece.rows_h * piece.rows_w
        down = -(-rows // tile.rows)
        plan.add(
            kernel, across * down * groups * parts, x, w, into, added, across, down, groups, rows, part, *piece, code, flags
        )  # fmt: skip
    if parts > 1:
        add_reduce(plan, into, y, parts, count, bias=bias, activation=activation)
