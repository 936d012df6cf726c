"""The gradient of a convolution with respect to its weights: a product over all output pixels, cut into parts added in their order."""

from __future__ import annotations

import functools
from typing import Any

from numba import cuda, float32, int32, int64, uint32, uint64

from cnnlite_kernels.cuda import depthwise, tensor_conv2d
from cnnlite_kernels.cuda.conv2d_taps import GUARDED, OUTSIDE, TILES
from cnnlite_kernels.cuda.epilogue import NONE, WIDE, write4
from cnnlite_kernels.cuda.gather import address_of, fetch1, fetch4, fetch4_below
from cnnlite_kernels.cuda.geometry import Geometry
from cnnlite_kernels.cuda.intrinsics import four_of, outer_products, stage, zeros
from cnnlite_kernels.cuda.kernel import I64, U32, U64, Floats, Kernel
from cnnlite_kernels.cuda.matmul import add_matmul
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.reduce import add_reduce
from cnnlite_kernels.cuda.tile import DEPTH, Tile, choose

u = uint32
MOST = 2**31  # pixels of a part: they are counted in 32 bits


@functools.cache
def pixels_product(tile: Tile, wide: bool) -> Kernel:
    """The kernel of a tile.

    Args:
        wide: x, grad_y, grad_w and every pixel and row of theirs, and of every group, begin at multiples of 16 bytes; else numbers
            come one by one, with a test for each.
    """
    ROWS, COLUMNS, ACROSS, THREADS = tile.rows, tile.columns, tile.across, tile.threads
    THREAD_ROWS, THREAD_COLUMNS = tile.thread_rows, tile.thread_columns
    ROW_GAP, COLUMN_GAP = tile.row_gap, tile.column_gap
    SUMS, GROUPS, ACROSS_GROUPS, ALIGNED = tile.groups * 4, tile.groups, tile.across_groups, int(wide)
    X_SLICE, SLICES, BOTH = DEPTH * ROWS, DEPTH * (ROWS + COLUMNS), 2 * DEPTH * (ROWS + COLUMNS)
    Y_THREADS = COLUMNS * DEPTH // 4

    def body(
        x: Floats, grad_y: Floats, grad_w: Floats, across: U32, down: U32, groups: U32, pixels: U64, part: U32,
        h: U32, w: U32, cin: U32, oh: U32, ow: U32, cout: U32, kw: U32, sh: U32, sw: U32, dh: U32, dw: U32, top: U32, left: U32,
        cin_group: U32, cout_group: U32, rows: U32, step_x: U32, step_y: U32, step: U64, wrap_x: I64, wrap_y: I64, flags: U32,
    ) -> None:  # fmt: skip
        """grad_w[s, i, k, c, g * cout_group + j] = sum over pixels r of part s, each an (image, p, q), of

            xp[image, p * sh + i * dh - top, q * sw + k * dw - left, g * cin_group + c] * grad_y[r, g * cout_group + j]

        with zeros around x. A row of the product is an (i, k, c), `rows` in all.

        A step takes DEPTH pixels, and a thread the same numbers of one of them. Its pixel moves on by DEPTH: by step_y rows and
        step_x columns of the output, which may carry over to the next row and image.

        Args:
            x: (n, h, w, cin). grad_y: (pixels, cout). grad_w: (parts, rows, cout), of which part s has `part` pixels from s * part
                on, a multiple of DEPTH.
            across, down: tiles over cout_group and over the rows.
            step, wrap_x, wrap_y: bytes that the place in x moves on by in a step, and besides when a row or an image has ended.
            flags: for write4.
        """
        slices = cuda.shared.array(BOTH, float32, alignment=16)  # of x and grad_y, twice
        row_h = cuda.shared.array(ROWS, uint32)
        row_w = cuda.shared.array(ROWS, uint32)
        row_c = cuda.shared.array(ROWS, uint32)
        corner = cuda.shared.array(4, uint32)
        t, block = u(cuda.threadIdx.x), u(cuda.blockIdx.x)
        column0 = u(u(block % across) * u(COLUMNS))
        block = u(block // across)
        row0 = u(u(block % down) * u(ROWS))
        block = u(block // down)
        group, s = u(block % groups), u(block // groups)
        begin = uint64(s) * uint64(part)
        terms = u(min(uint64(part), pixels - begin))
        # What is needed again after the loop waits in shared memory: registers are few.
        if t == u(0):
            corner[0], corner[1], corner[2], corner[3] = row0, column0, group, s
        k0, lead = u(t // u(ROWS // 4)), u(u(t % u(ROWS // 4)) * u(4))
        x_place = u(k0 * u(ROWS) + lead)
        pixel = begin + uint64(k0)
        image = pixel // (uint64(oh) * uint64(ow))
        rest = pixel - image * (uint64(oh) * uint64(ow))
        p, q = u(rest // uint64(ow)), u(rest % uint64(ow))
        # Where the thread's rows look from its pixel: its four rows are of one tap, or each is looked up.
        row = u(row0 + (lead if ALIGNED else t))
        tap = u(row // cin_group)
        down_h = u(u(tap // kw) * dh - top) if row < rows else u(OUTSIDE)
        right_w = u(u(tap % kw) * dw - left)
        channel = u(group * cin_group + row % cin_group)
        if ALIGNED:
            at_h, at_w = int32(p * sh + down_h), int32(q * sw + right_w)
        else:
            at_h, at_w = int32(p * sh), int32(q * sw)
            if t < u(ROWS):
                row_h[t], row_w[t], row_c[t] = down_h, right_w, channel
            channel = u(0)
        at = ((int64(image) * int64(h) + int64(at_h)) * int64(w) + int64(at_w)) * int64(cin)
        x_at = address_of(x, uint64(at) + uint64(channel))

        y_k0, column = u(t // u(COLUMNS // 4)), u(column0 + u(t % u(COLUMNS // 4)) * u(4))
        y_place = u(u(X_SLICE) + y_k0 * u(COLUMNS) + column - column0)
        # This thread's pixels are among the terms while `done` is below these.
        x_end = u(max(terms, k0) - k0)
        y_end = u(max(terms, y_k0) - y_k0) if column < cout_group and t < u(Y_THREADS) else u(0)
        at = (begin + uint64(y_k0)) * uint64(cout) + uint64(u(group * cout_group + column))
        y_at = address_of(grad_y, at)
        y_step = uint64(cout) * uint64(DEPTH * 4)

        row4, column4 = u(u(t // u(ACROSS)) * u(4)), u(u(t % u(ACROSS)) * u(4) + u(X_SLICE))
        sums = zeros(SUMS)
        half = u(0)
        # The first multiplication is of zeros, as in taps_product.
        nothing = (float32(0), float32(0), float32(0), float32(0))
        stage(slices, x_place, nothing, 4, 0, 1)
        if t < u(Y_THREADS):
            stage(slices, y_place, nothing, 4, 0, 1)
        cuda.syncthreads()
        done = u(0)
        while done < terms:
            if ALIGNED:
                inside = (u(p * sh + down_h) < h) & (u(q * sw + right_w) < w) & (done < x_end)
                next_x = fetch4(x_at, inside)
                next_y = fetch4(y_at, done < y_end)
            else:
                next_x = gather4(x_at, p * sh, q * sw, h, w, cin, row_h, row_w, row_c, lead, done < x_end)
                next_y = fetch4_below(y_at, column, cout_group if done < y_end else u(0))
            sums = outer_products(
                sums, slices, u(half + row4), slices, u(half + column4),
                DEPTH, THREAD_ROWS, THREAD_COLUMNS, ROWS, COLUMNS, ROW_GAP, COLUMN_GAP,
            )  # fmt: skip
            half = u(u(SLICES) - half)
            stage(slices, u(half + x_place), next_x, 4, 0, 1)
            if t < u(Y_THREADS):
                stage(slices, u(half + y_place), next_y, 4, 0, 1)
            cuda.syncthreads()
            done = u(done + u(DEPTH))
            q, p = u(q + step_x), u(p + step_y)
            x_at, y_at = x_at + step, y_at + y_step
            if q >= ow:
                q, p = u(q - ow), u(p + u(1))
                x_at += uint64(wrap_x)
            if p >= oh:
                p = u(p - oh)
                x_at += uint64(wrap_y)
        sums = outer_products(
            sums, slices, u(half + row4), slices, u(half + column4),
            DEPTH, THREAD_ROWS, THREAD_COLUMNS, ROWS, COLUMNS, ROW_GAP, COLUMN_GAP,
        )  # fmt: skip

        row0, column0, group, s = corner[0], corner[1], corner[2], corner[3]
        row4, column4 = u(u(t // u(ACROSS)) * u(4)), u(u(t % u(ACROSS)) * u(4))
        for four in range(u(GROUPS)):
            i, j = u(four // u(ACROSS_GROUPS)), u(four % u(ACROSS_GROUPS))
            row = u(row0 + row4 + i % u(4) + i // u(4) * u(ROW_GAP))
            column = u(column0 + column4 + j * u(COLUMN_GAP))
            if row < rows and column < cout_group:
                line = uint64(s) * uint64(rows) + uint64(row)
                at = line * uint64(cout) + uint64(u(group * cout_group + column))
                write4(
                    grad_w, at, four_of(sums, four), u(cout_group - column), grad_w, uint64(0), float32(1), float32(0),
                    u(NONE), flags,
                )  # fmt: skip

    body.__name__ = body.__qualname__ = f"pixels_product_{tile}{'' if wide else '_guarded'}"
    return Kernel(body, THREADS, tile.blocks)


@cuda.jit(device=True, inline="always")
def gather4(start, down, right, h, w, cin, row_h, row_w, row_c, lead, there):
    """x[down + row_h[r], right + row_w[r], row_c[r]] for the four rows r from `lead`, 0 outside of the image or if not `there`.

    start: where channel 0 of pixel (down, right) of the image lies, in bytes.
    """
    return (
        _one(start, down, right, h, w, cin, row_h, row_w, row_c, u(lead), there),
        _one(start, down, right, h, w, cin, row_h, row_w, row_c, u(lead + u(1)), there),
        _one(start, down, right, h, w, cin, row_h, row_w, row_c, u(lead + u(2)), there),
        _one(start, down, right, h, w, cin, row_h, row_w, row_c, u(lead + u(3)), there),
    )


@cuda.jit(device=True, inline="always")
def _one(start, down, right, h, w, cin, row_h, row_w, row_c, r, there):
    inside = there and u(down + row_h[r]) < h and u(right + row_w[r]) < w
    pixel = int64(int32(row_h[r])) * int64(w) + int64(int32(row_w[r]))
    return fetch1(start + uint64((pixel * int64(cin) + int64(row_c[r])) * int64(4)), inside)


def add_grad_weights(plan: Plan, g: Geometry, x: Any, grad_y: Any, grad_w: Any, aligned: bool = True) -> None:
    """Emits grad_w[i, k, c, j] = sum over n, p, q of xp[n, p * sh + i * dh, q * sw + k * dw, c] * grad_y[n, p, q, j].

    xp is x with zeros around it; with groups c counts from the first input channel of output channel j's group. The sum over pixels
    is cut into parts by sizes alone, and the parts are added in their order: the same bits every time.

    Args:
        x: (n, h, w, cin). grad_y: (n, oh, ow, cout). grad_w: (kh, kw, cin // groups, cout), overwritten. All flat, float32.
        aligned: all arrays begin at multiples of 16 bytes.
    """
    rows = g.taps * g.cin_group
    if not (rows and g.cout):
        return
    if g.is_product:
        add_matmul(plan, x, grad_y, grad_w, g.cin, g.cout, g.pixels, transpose_a=True, aligned=aligned)
        return
    if tensor_conv2d.takes(plan, g):
        tensor_conv2d.add_grad_weights(plan, g, x, grad_y, grad_w, aligned)
        return
    if g.is_depthwise:
        depthwise.add_grad_weights(plan, g, x, grad_y, grad_w, aligned)
        return
    wide = aligned and g.cin_group % 4 == 0 and g.cout_group % 4 == 0
    multiprocessors = plan.device.multiprocessors // g.groups or 1
    tiles = TILES if wide else GUARDED
    tile, parts, part = choose(rows, g.cout_group, max(g.pixels, 1), multiprocessors, tiles)
    if part > MOST:
        part, parts = MOST, -(-g.pixels // MOST)
    across, down = -(-g.cout_group // tile.columns), -(-rows // tile.rows)
    rest, step_x = divmod(DEPTH, g.ow)
    images, step_y = divmod(rest, g.oh)
    to_column, to_row, to_image = 4 * g.sw * g.cin, 4 * g.sh * g.w * g.cin, 4 * g.h * g.w * g.cin
    into = plan.transient(parts * rows * g.cout) if parts > 1 else grad_w
    plan.add(
        pixels_product(tile, wide), across * down * g.groups * parts, x, grad_y, into, across, down, g.groups, g.pixels, part,
        g.h, g.w, g.cin, g.oh, g.ow, g.cout, g.kw, g.sh, g.sw, g.dh, g.dw, g.top, g.left, g.cin_group, g.cout_group, rows,
        step_x, step_y, step_x * to_column + step_y * to_row + images * to_image, to_row - g.ow * to_column,
        to_image - g.oh * to_row, WIDE if wide else 0,
    )  # fmt: skip
    if parts > 1:
        add_reduce(plan, into, grad_w, parts, rows * g.cout)
