"""Packing for bfloat16_tile.py: numbers are rounded, and pairs of k stand together.

Rounding is to nearest even by AVX512-BF16's own instruction: NaN stays NaN, what is too large becomes infinite, and denormals become
zeros of their sign, as which VDPBF16PS would take them.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from cnnlite_kernels.cpu.bfloat16_tile import LANES, PAIRS, SHORT, rounded
from cnnlite_kernels.cpu.images import HALO
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import INT64, POINTER, address, array_at, clear_bytes
from cnnlite_kernels.cpu.pack import transposed
from cnnlite_kernels.cpu.tile import INT, Vectors

SHORTS = ir.VectorType(SHORT, LANES)
PAIRS_AT_ONCE = 4  # of rows of x that are read side by side: their blocks of columns are 512 bytes of y each


class Rounding(Vectors):
    """Loads of 16 numbers, float32 (ITEM 4) or bfloat16 (2), as bits of bfloat16."""

    def __init__(self, builder: ir.IRBuilder, item: int, scale) -> None:
        super().__init__(builder, 4, LANES)
        self.source, self.scale = item, self.broadcast(scale)

    def first_lanes(self, count):
        """Mask of the lanes below `count` <= 16, made in one register of integers: here masks are as many as loads."""
        ones = self.bl.sub(self.bl.shl(INT(1), count), INT(1))
        return self.bl.bitcast(self.bl.trunc(ones, SHORT), ir.VectorType(ir.IntType(1), LANES))

    def bits(self, address, count):
        """The first `count` of 16 numbers at an address, then zeros; only those are read."""
        mask = self.first_lanes(count)
        if self.source == 4:
            numbers = self.load(self.pointer(address, self.number), mask)
            return rounded(self, self.bl.fmul(numbers, self.scale))
        pointer = self.pointer(address, SHORTS)
        f = self.function(
            "llvm.masked.load.v16i16.p0", SHORTS, [pointer.type, ir.IntType(32), mask.type, SHORTS]
        )
        return self.bl.call(f, [pointer, ir.IntType(32)(2), mask, ir.Constant(SHORTS, [0] * LANES)])

    def side_by_side(self, low, high):
        """Two vectors of bits, one after the other, as pairs."""
        order = ir.Constant(ir.VectorType(ir.IntType(32), 2 * LANES), list(range(2 * LANES)))
        return self.bl.bitcast(self.bl.shuffle_vector(low, high, order), PAIRS)

    def interleaved(self, low, high):
        """Lane by lane a pair of both."""
        wide = self.bl.shl(self.bl.zext(high, PAIRS), ir.Constant(PAIRS, [16] * LANES))
        return self.bl.or_(self.bl.zext(low, PAIRS), wide)

    def between(self, count, least=0, most=LANES):
        low = self.bl.select(self.bl.icmp_signed("<", count, INT(least)), INT(least), count)
        return self.bl.select(self.bl.icmp_signed(">", low, INT(most)), INT(most), low)


@intrinsic(prefer_literal=True)
def pair_rows(typing, x, step, rows, count, scale, y, ITEM):
    """y[j] = (x[j], x[step + j]) for 16 lanes, at addresses; zeros from lane `count` on, and for row 1 if rows is 1."""
    if not isinstance(ITEM, types.IntegerLiteral):
        return None
    item = ITEM.literal_value
    signature = types.void(*[types.int64] * 4, types.float32, types.int64, ITEM)

    def codegen(context, bl, signature, arguments):
        x, step, rows, count, scale, y = arguments[:6]
        v = Rounding(bl, item, scale)
        second = bl.select(bl.icmp_signed(">", rows, INT(1)), count, INT(0))
        low = v.bits(x, count)
        high = v.bits(bl.add(x, bl.mul(step, INT(item))), second)
        v.store(v.interleaved(low, high), v.pointer(y, PAIRS))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def pair_columns(typing, x, step, columns, count, scale, y, y_row, ITEM):
    """y[p, j] = (x[j * step + 2p], x[j * step + 2p + 1]) for 16 columns j and the pairs of `count` <= 32 numbers, at addresses.

    Rows of y are y_row pairs apart; only ceil(count / 2) are written. Zeros from column `columns` on and past `count`.
    """
    if not isinstance(ITEM, types.IntegerLiteral):
        return None
    item = ITEM.literal_value
    signature = types.void(*[types.int64] * 4, types.float32, types.int64, types.int64, ITEM)

    def codegen(context, bl, signature, arguments):
        x, step, columns, count, scale, y, y_row = arguments[:7]
        v = Rounding(bl, item, scale)
        rows = []
        for j in range(LANES):
            here = bl.select(bl.icmp_signed("<", INT(j), columns), count, INT(0))
            row = bl.add(x, bl.mul(step, INT(j * item)))
            low = v.bits(row, v.between(here))
            high = v.bits(bl.add(row, INT(LANES * item)), v.between(bl.sub(here, INT(LANES))))
            rows.append(v.side_by_side(low, high))
        rows = transposed(bl, rows)
        for p, row in enumerate(rows):
            mask = v.first_lanes(bl.select(bl.icmp_signed("<", INT(2 * p), count), INT(LANES), INT(0)))
            v.store(row, bl.gep(v.pointer(y, ir.IntType(32)), [bl.mul(y_row, INT(p))]), mask)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def turn_pixels(typing, x, step, pixels, channels, y, y_row, ITEM):
    """y[j, i] = x[i * step + j] as bfloat16 for `channels` <= 16 j and `pixels` <= 32 i, at addresses; rows of y are y_row numbers apart.

    Where `pixels` is odd a zero is written after the last one.
    """
    if not isinstance(ITEM, types.IntegerLiteral):
        return None
    item = ITEM.literal_value
    signature = types.void(*[types.int64] * 6, ITEM)

    def codegen(context, bl, signature, arguments):
        x, step, pixels, channels, y, y_row = arguments[:6]
        v = Rounding(bl, item, ir.FloatType()(1.0))

        def row(i):
            here = bl.select(bl.icmp_signed("<", INT(i), pixels), channels, INT(0))
            return v.bits(bl.add(x, bl.mul(step, INT(i * item))), here)

        rows = [v.interleaved(row(2 * p), row(2 * p + 1)) for p in range(LANES)]
        rows = transposed(bl, rows)
        pairs = bl.sdiv(bl.add(pixels, INT(1)), INT(2))
        for j, vector in enumerate(rows):
            mask = v.first_lanes(bl.select(bl.icmp_signed("<", INT(j), channels), pairs, INT(0)))
            pointer = v.pointer(bl.add(y, bl.mul(y_row, INT(2 * j))), PAIRS)
            name = "llvm.masked.store.v16i32.p0"
            f = v.function(name, ir.VoidType(), [PAIRS, pointer.type, ir.IntType(32), mask.type])
            bl.call(f, [vector, pointer, ir.IntType(32)(2), mask])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def round_vector(typing, x, y, count):
    """y[j] = x[j] as bfloat16 for `count` <= 16 floats at addresses."""
    signature = types.void(types.int64, types.int64, types.int64)

    def codegen(context, bl, signature, arguments):
        x, y, count = arguments
        v = Rounding(bl, 4, ir.FloatType()(1.0))
        v.store(v.bits(x, count), v.pointer(y, SHORTS), v.first_lanes(count))
        return context.get_dummy_value()

    return signature, codegen


PACK = np.dtype(
    [(name, POINTER) for name in ("x", "y", "taps")]
    + [
        (name, np.int64)
        for name in ("count", "k_len", "depth", "first", "fill", "k_step", "column_step", "start", "columns")
    ]
    + [("scale", np.float64)]
)


@kernel(PACK)
def pack_pairs(vectors, item):
    """B in the order bfloat16_tile.py reads it: blocks of `width` columns, in each (tap, pair, column, 2) without gaps.

    y[block, first + t * ceil(k_len / 2) + p, j, q] = scale * x[taps[t] + (2p + q) * k_step + (start + block * width + j) * column_step]

    for the numbers x of `item` bytes, and 0 past `k_len` and `columns`; width = 16 * vectors. There are `depth` pairs in a block of y,
    the last `fill` of which become zeros.
    k_step or column_step is 1.
    """
    width = vectors * LANES

    def body(bases, d):
        d = carray(d, 1)[0]
        taps = array_at(address(bases, d.taps), d.count, INT64)
        xs, ys = address(bases, d.x), address(bases, d.y)
        blocks = -(-(d.columns - d.start) // width)
        pairs = (d.k_len + 1) // 2
        scale = np.float32(d.scale)
        step = PAIRS_AT_ONCE if d.column_step == 1 else LANES
        for t in range(d.count):
            for p in range(0, pairs, step):
                for block in range(blocks):
                    for v in range(0, width, LANES):
                        column = d.start + block * width + v
                        here = min(LANES, max(0, d.columns - column))
                        x = xs + (taps[t] + 2 * p * d.k_step + column * d.column_step) * item
                        y = ys + ((block * d.depth + d.first + t * pairs + p) * width + v) * 4
                        left = d.k_len - 2 * p
                        if d.column_step == 1:
                            for q in range(min(step, pairs - p)):
                                pair_rows(
                                    x + 2 * q * d.k_step * item, d.k_step, left - 2 * q, here, scale, y + q * width * 4, item
                                )  # fmt: skip
                        else:
                            pair_columns(x, d.column_step, here, min(left, 2 * LANES), scale, y, width, item)
        if d.fill > 0:
            for block in range(blocks):
                clear_bytes(ys + ((block + 1) * d.depth - d.fill) * width * 4, d.fill * width * 4)

    return body


@kernel(HALO)
def round_with_halo():
    """Rounds images of float32 at x, rows x_row and images x_image apart, to bfloat16 at y with a halo of zeros."""

    def body(bases, d):
        d = carray(d, 1)[0]
        pitch = d.left + d.row + d.right
        image = (d.top + d.h + d.bottom) * pitch
        for n in range(d.n):
            to, origin = address(bases, d.y) + n * image * 2, address(bases, d.x) + n * d.x_image * 4
            clear_bytes(to, (d.top * pitch + d.left) * 2)
            for r in range(d.h):
                x, y = origin + r * d.x_row * 4, to + ((d.top + r) * pitch + d.left) * 2
                for j in range(0, d.row, LANES):
                    round_vector(x + j * 4, y + j * 2, min(LANES, d.row - j))
                if r < d.h - 1:
                    clear_bytes(y + d.row * 2, (d.right + d.left) * 2)
            last = (d.top + d.h) * pitch - d.right
            clear_bytes(to + last * 2, (image - last) * 2)

    return body


TURN = np.dtype(
    [(name, POINTER) for name in ("x", "y")]
    + [
        (name, np.int64)
        for name in (
            "n",
            "rows",
            "w",
            "c",
            "x_image",
            "x_row",
            "x_pixel",
            "y_image",
            "y_row",
            "left",
            "pitch",
            "clear",
        )
    ]
)


@kernel(TURN)
def turn_images(item):
    """y[n, r, c, left + i] = x[n, r, i, c] as bfloat16, for the numbers x of `item` bytes: pixels side by side, channels pitch apart.

    Rows are y_row apart, images y_image, pixels of x x_pixel. `clear` numbers from the beginning of a row of y are zeros before. An odd
    number of pixels is followed by a zero, for which there has to be room.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        for n in range(d.n):
            for r in range(d.rows):
                x = address(bases, d.x) + (n * d.x_image + r * d.x_row) * item
                y = address(bases, d.y) + (n * d.y_image + r * d.y_row) * 2
                clear_bytes(y, d.clear * 2)
                for c in range(0, d.c, LANES):
                    for i in range(0, d.w, 2 * LANES):
                        turn_pixels(
                            x + (i * d.x_pixel + c) * item, d.x_pixel, min(2 * LANES, d.w - i), min(LANES, d.c - c),
                            y + (c * d.pitch + d.left + i) * 2, d.pitch, item,
                        )  # fmt: skip

    return body
