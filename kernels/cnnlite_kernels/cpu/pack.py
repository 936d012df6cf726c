"""Packing: the right-hand side of a product in the order a tile reads it, and matrices copied or transposed on the way."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import INT64, POINTER, Pointer, address, array_at
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.tile import INT, Vectors

ROWS_AT_ONCE = 8  # rows of x that are read side by side: their blocks of columns are 1 KB of y each


@intrinsic(prefer_literal=True)
def move(typing, x, y, scale, count, LANES, ITEM, TAIL):
    """y[j] = scale * x[j] for one vector of LANES numbers at addresses; with TAIL 0 from x[count] on, which is not read."""
    literals = (LANES, ITEM, TAIL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    lanes, item, tail = (literal.literal_value for literal in literals)
    signature = types.void(types.int64, types.int64, scale, types.int64, *literals)

    def codegen(context, bl, signature, arguments):
        x, y, scale, count = arguments[:4]
        v = Vectors(bl, item, lanes)
        loaded = v.load(v.pointer(x, v.number), v.first_lanes(count) if tail else None)
        v.store(bl.fmul(loaded, v.broadcast(scale)), v.pointer(y, v.number))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def move_block(typing, x, x_row, y, scale, ROWS, NV, LANES, ITEM):
    """y[i, j] = scale * x[i * x_row + j] for ROWS rows of NV vectors at addresses; y without gaps."""
    literals = (ROWS, NV, LANES, ITEM)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    rows, nv, lanes, item = (literal.literal_value for literal in literals)
    signature = types.void(types.int64, types.int64, types.int64, scale, *literals)

    def codegen(context, bl, signature, arguments):
        x, x_row, y, scale = arguments[:4]
        v = Vectors(bl, item, lanes)
        factor = v.broadcast(scale)
        to = v.pointer(y, v.number)
        for i in range(rows):
            row = bl.gep(v.pointer(x, v.number), [bl.mul(x_row, INT(i))])
            for j in range(nv):
                loaded = v.load(bl.gep(row, [INT(j * lanes)]))
                v.store(bl.fmul(loaded, factor), bl.gep(to, [INT((i * nv + j) * lanes)]))
        return context.get_dummy_value()

    return signature, codegen


def transposed(bl: ir.IRBuilder, rows: list) -> list:
    """The columns of as many vectors as each has lanes.

    Bit by bit of the indices: each stage exchanges bit s of the row for bit s of the lane in all pairs of vectors.
    """
    rows, lanes, bit = list(rows), len(rows), 1
    while bit < lanes:
        # lane j of the lower row: its own where bit is 0 in j, else the upper row's lane j - bit; the upper row likewise
        low = [j if not j & bit else lanes + j - bit for j in range(lanes)]
        high = [j + bit if not j & bit else lanes + j for j in range(lanes)]
        for i in range(lanes):
            if not i & bit:
                pair = rows[i], rows[i | bit]
                rows[i], rows[i | bit] = (
                    bl.shuffle_vector(*pair, ir.Constant(ir.VectorType(ir.IntType(32), lanes), order))
                    for order in (low, high)
                )
        bit *= 2
    return rows


@intrinsic(prefer_literal=True)
def transpose(typing, x, x_row, y, y_row, scale, LANES, ITEM):
    """y[k, j] = scale * x[j, k] for LANES x LANES numbers at addresses, rows x_row and y_row numbers apart."""
    literals = (LANES, ITEM)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    lanes, item = (literal.literal_value for literal in literals)
    signature = types.void(types.int64, types.int64, types.int64, types.int64, scale, *literals)

    def codegen(context, bl, signature, arguments):
        x, x_row, y, y_row, scale = arguments[:5]
        v = Vectors(bl, item, lanes)
        factor = v.broadcast(scale)

        def row(start, step, i):
            return bl.gep(v.pointer(start, v.number), [bl.mul(step, INT(i))])

        rows = [bl.fmul(v.load(row(x, x_row, i)), factor) for i in range(lanes)]
        for i, vector in enumerate(transposed(bl, rows)):
            v.store(vector, row(y, y_row, i))
        return context.get_dummy_value()

    return signature, codegen


PACK = np.dtype(
    [(name, POINTER) for name in ("x", "y", "taps")]
    + [(name, np.int64) for name in ("count", "k_len", "depth", "k_step", "column_step", "start", "columns")]
    + [("scale", np.float64)]
)


@kernel(PACK)
def pack(item, lanes, vectors):
    """B in the order a tile reads it: blocks of `width` columns, in each (tap, k, column) without gaps, zeros past `columns`.

    y[block, t, k, j] = scale * x[taps[t] + k * k_step + (start + block * width + j) * column_step]

    There are `depth` rows from one block of y to the next; width = vectors * lanes.
    """
    width = vectors * lanes

    def body(bases, d):
        d = carray(d, 1)[0]
        taps = array_at(address(bases, d.taps), d.count, INT64)
        blocks = -(-(d.columns - d.start) // width)
        y = array_at(address(bases, d.y), blocks * d.depth * width, item)
        x = array_at(address(bases, d.x), 1, item)
        scale = x.dtype.type(d.scale)
        if d.column_step == 1:
            for t in range(d.count):
                for k in range(0, d.k_len, ROWS_AT_ONCE):
                    stop = min(k + ROWS_AT_ONCE, d.k_len)
                    for block in range(blocks):
                        to = (block * d.depth + t * d.k_len + k) * width
                        first = d.start + block * width
                        xs = x.ctypes.data + (taps[t] + k * d.k_step + first) * item
                        ys = y.ctypes.data + to * item
                        if stop - k == ROWS_AT_ONCE and d.columns - first >= width:
                            move_block(xs, d.k_step, ys, scale, ROWS_AT_ONCE, vectors, lanes, item)
                            continue
                        for v in range(0, width, lanes):
                            here = min(lanes, d.columns - first - v)
                            for i in range(stop - k):
                                x_row, y_row = xs + (i * d.k_step + v) * item, ys + (i * width + v) * item
                                if here == lanes:
                                    move(x_row, y_row, scale, here, lanes, item, 0)
                                else:
                                    move(x_row, y_row, scale, here, lanes, item, 1)
            return
        # column after column, so that few rows of x are read side by side
        for block in range(blocks):
            for v in range(0, width, lanes):
                first = d.start + block * width + v
                here = min(lanes, d.columns - first)
                for t in range(d.count):
                    for k in range(0, d.k_len, lanes):
                        stop = min(k + lanes, d.k_len)
                        base = taps[t] + k * d.k_step + first * d.column_step
                        into = (block * d.depth + t * d.k_len + k) * width + v
                        if d.k_step == 1 and here == lanes and stop - k == lanes:
                            xs, ys = x.ctypes.data + base * item, y.ctypes.data + into * item
                            transpose(xs, d.column_step, ys, width, scale, lanes, item)
                            continue
                        for j in range(lanes):
                            for i in range(stop - k):
                                number = x.dtype.type(0)
                                if j < here:
                                    number = scale * x[base + i * d.k_step + j * d.column_step]
                                y[into + i * width + j] = number

    return body


MATRIX = np.dtype(
    [(name, POINTER) for name in ("x", "y")]
    + [(name, np.int64) for name in ("rows", "columns", "x_row", "x_column", "y_row")]
    + [("scale", np.float64)]
)


@kernel(MATRIX)
def copy(item, lanes):
    """y[i, j] = scale * x[i * x_row + j * x_column]; y (rows, columns), rows y_row apart; x_row or x_column is 1."""

    def body(bases, d):
        d = carray(d, 1)[0]
        xs, ys = address(bases, d.x), address(bases, d.y)
        x, y = array_at(xs, 1, item), array_at(ys, 1, item)
        scale = x.dtype.type(d.scale)
        if d.x_column == 1:
            whole = d.columns // lanes * lanes
            for i in range(d.rows):
                for j in range(0, whole, lanes):
                    move(
                        xs + (i * d.x_row + j) * item,
                        ys + (i * d.y_row + j) * item,
                        scale,
                        lanes,
                        lanes,
                        item,
                        0,
                    )
                for j in range(whole, d.columns):
                    y[i * d.y_row + j] = scale * x[i * d.x_row + j]
            return
        for i in range(0, d.rows, lanes):
            for j in range(0, d.columns, lanes):
                from_, to = i * d.x_row + j * d.x_column, i * d.y_row + j
                if d.rows - i >= lanes and d.columns - j >= lanes:
                    transpose(xs + from_ * item, d.x_column, ys + to * item, d.y_row, scale, lanes, item)
                else:
                    for p in range(min(lanes, d.rows - i)):
                        for q in range(min(lanes, d.columns - j)):
                            y[to + p * d.y_row + q] = scale * x[from_ + p * d.x_row + q * d.x_column]

    return body


@kernel(MATRIX)
def rescale(item):
    """y[i, j] *= scale; y (rows, columns), rows y_row apart."""

    def body(bases, d):
        d = carray(d, 1)[0]
        y = array_at(address(bases, d.y), 1, item)
        scale = y.dtype.type(d.scale)
        for i in range(d.rows):
            for j in range(d.columns):
                y[i * d.y_row + j] *= scale

    return body


def add_turn(plan: Plan, x: Pointer, y: Pointer, rows: int, columns: int) -> None:
    """Emits y (rows, columns) from x (columns, rows)."""
    plan.add(
        copy, plan.item, host().lanes(plan.item),
        x=x, y=y, rows=rows, columns=columns, x_row=1, x_column=rows, y_row=columns, scale=1.0,
    )  # fmt: skip
