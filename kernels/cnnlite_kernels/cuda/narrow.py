"""Convolutions of few input channels, such as a network's first: the sum runs over taps and channels as one index.

A step of DEPTH channels of one tap, as in conv2d_taps, would be mostly empty. Where a term lies is looked up in a table.
"""

from __future__ import annotations

import functools
from typing import Any

from numba import cuda, float32, int32, int64, uint32, uint64

from cnnlite_kernels.cuda.conv2d_taps import OUTSIDE
from cnnlite_kernels.cuda.epilogue import ACTIVATIONS, BIAS, WIDE, write4
from cnnlite_kernels.cuda.gather import address_of, fetch1, fetch4, fetch4_below
from cnnlite_kernels.cuda.geometry import Geometry
from cnnlite_kernels.cuda.intrinsics import four_of, outer_products, stage, zeros
from cnnlite_kernels.cuda.kernel import U32, U64, Floats, Kernel
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.tile import DEPTH, Tile

u = uint32
TERMS = 512  # the most taps times channels: the table has 12 bytes for each
SLIM = Tile("slim", 64, 32, 4, 4, 6)
SMALL = Tile("small", 64, 64, 8, 4, 4)
TALL = Tile("tall", 128, 64, 8, 4, 2)


@functools.cache
def terms_product(tile: Tile, wide: bool) -> Kernel:
    """The kernel of a tile. wide: w, y and bias, and every row of theirs, begin at multiples of 16 bytes."""
    ROWS, COLUMNS, ACROSS, THREADS = tile.rows, tile.columns, tile.across, tile.threads
    THREAD_ROWS, THREAD_COLUMNS = tile.thread_rows, tile.thread_columns
    ROW_GAP, COLUMN_GAP = tile.row_gap, tile.column_gap
    SUMS, GROUPS, ACROSS_GROUPS, ALIGNED = tile.groups * 4, tile.groups, tile.across_groups, int(wide)
    X_STRIDE, X_SLICE = ROWS + 4, DEPTH * (ROWS + 4)
    SLICES, BOTH, W_THREADS = X_SLICE + DEPTH * COLUMNS, 2 * (X_SLICE + DEPTH * COLUMNS), DEPTH * COLUMNS // 4

    def body(
        x: Floats, w: Floats, y: Floats, bias: Floats, across: U32, rows: U64, h: U32, width: U32, cin: U32, oh: U32, ow: U32,
        cout: U32, kw: U32, sh: U32, sw: U32, dh: U32, dw: U32, top: U32, left: U32, terms: U32, activation: U32, flags: U32,
    ) -> None:  # fmt: skip
        """y[n, p, q, j] = activation(bias[j] + sum over e < terms of xp[n, p * sh + i * dh, q * sw + k * dw, c] * w[e, j])

        with e = (i * kw + k) * cin + c, and zeros around x. A row of the product is a pixel (n, p, q).

        Args:
            x: (n, h, width, cin). w: (terms, cout). y: (rows, cout). bias: (cout,).
            across: tiles over cout.
            terms: kh * kw * cin, at most TERMS.
        """
        slices = cuda.shared.array(BOTH, float32, alignment=16)  # of x and w, twice
        term_h = cuda.shared.array(TERMS, uint32)
        term_w = cuda.shared.array(TERMS, uint32)
        term_at = cuda.shared.array(TERMS, uint32)
        t, block = u(cuda.threadIdx.x), u(cuda.blockIdx.x)
        column0, row0 = u(u(block % across) * u(COLUMNS)), uint64(u(block // across)) * uint64(ROWS)
        e = t
        while e < terms:
            tap = u(e // cin)
            term_h[e], term_w[e] = u(u(tap // kw) * dh), u(u(tap % kw) * dw)
            term_at[e] = u(u(u(u(tap // kw) * dh) * width + u(u(tap % kw) * dw)) * cin + u(e % cin))
            e = u(e + u(THREADS))
        cuda.syncthreads()

        lead, inner = u(t // u(2)), u(u(t % u(2)) * u(4))
        row = row0 + uint64(lead)
        image = row // (uint64(oh) * uint64(ow))
        rest = row - image * (uint64(oh) * uint64(ow))
        h0, w0 = u(u(rest // uint64(ow)) * sh - top), u(u(rest % uint64(ow)) * sw - left)
        at = ((int64(image) * int64(h) + int64(int32(h0))) * int64(width) + int64(int32(w0))) * int64(cin)
        x_at = address_of(x, uint64(at))
        if row >= rows:
            h0 = u(OUTSIDE)
        k0, column = u(t // u(COLUMNS // 4)), u(column0 + u(t % u(COLUMNS // 4)) * u(4))
        w_at = address_of(w, uint64(k0) * uint64(cout) + uint64(column))
        w_in = column < cout and t < u(W_THREADS)
        x_place, w_place = u(inner * u(X_STRIDE) + lead), u(u(X_SLICE) + k0 * u(COLUMNS) + column - column0)

        row4, column4 = u(u(t // u(ACROSS)) * u(4)), u(u(t % u(ACROSS)) * u(4) + u(X_SLICE))
        sums = zeros(SUMS)
        half = u(0)
        e = u(0)
        while e < terms:
            f = u(e + inner)
            next_x = (
                term(x_at, f, terms, h0, w0, h, width, term_h, term_w, term_at),
                term(x_at, u(f + u(1)), terms, h0, w0, h, width, term_h, term_w, term_at),
                term(x_at, u(f + u(2)), terms, h0, w0, h, width, term_h, term_w, term_at),
                term(x_at, u(f + u(3)), terms, h0, w0, h, width, term_h, term_w, term_at),
            )
            if ALIGNED:
                next_w = fetch4(w_at, w_in and u(e + k0) < terms)
            else:
                next_w = fetch4_below(w_at, column, cout if w_in and u(e + k0) < terms else u(0))
            w_at += uint64(cout) * uint64(DEPTH * 4)
            if e > u(0):
                sums = outer_products(
                    sums, slices, u(half + row4), slices, u(half + column4),
                    DEPTH, THREAD_ROWS, THREAD_COLUMNS, X_STRIDE, COLUMNS, ROW_GAP, COLUMN_GAP,
                )  # fmt: skip
            half = u(u(SLICES) - half)
            stage(slices, u(half + x_place), next_x, 4, 0, X_STRIDE)
            if t < u(W_THREADS):
                stage(slices, u(half + w_place), next_w, 4, 0, 1)
            cuda.syncthreads()
            e = u(e + u(DEPTH))
        sums = outer_products(
            sums, slices, u(half + row4), slices, u(half + column4),
            DEPTH, THREAD_ROWS, THREAD_COLUMNS, X_STRIDE, COLUMNS, ROW_GAP, COLUMN_GAP,
        )  # fmt: skip

        for four in range(u(GROUPS)):
            i, j = u(four // u(ACROSS_GROUPS)), u(four % u(ACROSS_GROUPS))
            row = row0 + uint64(u(row4 + i % u(4) + i // u(4) * u(ROW_GAP)))
            column = u(column0 + column4 - u(X_SLICE) + j * u(COLUMN_GAP))
            if row < rows and column < cout:
                write4(
                    y, row * uint64(cout) + uint64(column), four_of(sums, four), u(cout - column), bias, uint64(column),
                    float32(1), float32(0), activation, flags,
                )  # fmt: skip

    body.__name__ = body.__qualname__ = f"terms_product_{tile}{'' if wide else '_guarded'}"
    return Kernel(body, THREADS, tile.blocks)


@cuda.jit(device=True, inline="always")
def term(start, e, terms, h0, w0, h, width, term_h, term_w, term_at):
    """x at term e of the window that begins at pixel (h0, w0), whose address is `start`; 0 outside of the image."""
    f = min(e, terms - u(1))
    inside = e < terms and u(h0 + term_h[f]) < h and u(w0 + term_w[f]) < width
    return fetch1(start + uint64(term_at[f]) * uint64(4), inside)


def takes(g: Geometry) -> bool:
    """Whether this is the kernel for a forward pass: the table has room, and holds offsets within a window in 32 bits."""
    last = ((g.kh - 1) * g.dh * g.w + (g.kw - 1) * g.dw) * g.cin
    return g.groups == 1 and 0 < g.cin < DEPTH and g.taps * g.cin <= TERMS and last < 2**31


def add_forward(
    plan: Plan, g: Geometry, x: Any, w: Any, bias: Any, y: Any, activation: str | None, aligned: bool
) -> None:
    """conv2d.add_forward where `takes`."""
    wide = aligned and g.cout % 4 == 0
    tile = SLIM if g.cout <= SLIM.columns else TALL
    across = -(-g.cout // tile.columns)
    if tile is TALL and across * -(-g.pixels // TALL.rows) < plan.device.multiprocessors:
        tile = SMALL
    flags = (BIAS if bias is not None else 0) | (WIDE if wide else 0)
    plan.add(
        terms_product(tile, wide), across * -(-g.pixels // tile.rows), x, w, y, y if bias is None else bias, across, g.pixels,
        g.h, g.w, g.cin, g.oh, g.ow, g.cout, g.kw, g.sh, g.sw, g.dh, g.dw, g.top, g.left, g.taps * g.cin,
        ACTIVATIONS[activation], flags,
    )  # fmt: skip
