"""The tile of bfloat16 products on AMX: 32 x 32 sums in four tile registers, 32 terms a step.

    C[i, j] = sum over s < steps, q < 32 of  A[i, 32 s + q] * B[s, q // 2, j, q % 2]

A tile register holds 16 rows of 64 bytes: 16 sums, 32 numbers of A, or 16 pairs of 16 columns of B, as bfloat16_pack.py leaves them.
Four loads feed four products, so loads and products take the same time. The epilogue is tile.py's, from a buffer of 4 KB that the
tiles are stored to.

EMULATED replaces the tile instructions by arrays and plain arithmetic on the same addresses: what processors without AMX can test.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnnlite_kernels.cpu.bfloat16_tile import LANES, PAIR, PAIRS, SHORT, SINGLES, rounded
from cnnlite_kernels.cpu.tile import ACCUMULATE, BYTE, INT, Vectors, write

ROWS = 16  # of a tile register
TILE_ROWS = 2 * ROWS  # of A in a step
ROW_BYTES = 64
STEP = 32  # terms of the sum in one step
BUFFER_ROW = 2 * ROW_BYTES  # bytes of a row of 32 sums
C_TILES, A_TILES, B_TILES = ((0, 1), (2, 3)), (4, 5), (6, 7)


class TileRegisters:
    """The instructions."""

    def __init__(self, v: Vectors) -> None:
        self.v = v

    def _call(self, name, *arguments):
        f = self.v.function(f"llvm.x86.{name}", ir.VoidType(), [argument.type for argument in arguments])
        self.v.bl.call(f, arguments)

    def configure(self):
        """Palette 1, all eight registers of 16 rows of 64 bytes."""
        config = bytes([1, *[0] * 15, *[ROW_BYTES, 0] * 8, *[0] * 16, *[ROWS] * 8, *[0] * 8])
        constant = ir.Constant(ir.ArrayType(BYTE, len(config)), bytearray(config))
        where = cgutils.alloca_once_value(self.v.bl, constant)
        self._call("ldtilecfg", self.v.bl.bitcast(where, BYTE.as_pointer()))

    def release(self):
        self._call("tilerelease")

    def zero(self, tile):
        self._call("tilezero", BYTE(tile))

    def load(self, tile, address, row):
        self._call("tileloadd64", BYTE(tile), self.v.pointer(address, BYTE), row)

    def store(self, tile, address, row):
        self._call("tilestored64", BYTE(tile), self.v.pointer(address, BYTE), row)

    def dot(self, c, a, b):
        self._call("tdpbf16ps", BYTE(c), BYTE(a), BYTE(b))


class TileArrays:
    """The same on arrays in memory: each register 16 vectors of 16 words."""

    def __init__(self, v: Vectors) -> None:
        self.v = v
        kind = ir.ArrayType(PAIRS, ROWS)
        self.tiles = [cgutils.alloca_once(v.bl, kind) for _ in range(8)]

    def configure(self): ...

    def release(self): ...

    def _row(self, tile, i):
        return self.v.bl.gep(self.tiles[tile], [INT(0), i])

    def _each_row(self):
        return cgutils.for_range(self.v.bl, INT(ROWS))

    def zero(self, tile):
        with self._each_row() as loop:
            self.v.bl.store(ir.Constant(PAIRS, [0] * LANES), self._row(tile, loop.index))

    def _move(self, tile, address, row, storing):
        bl = self.v.bl
        with self._each_row() as loop:
            there = self.v.pointer(bl.add(address, bl.mul(loop.index, row)), PAIRS)
            here = self._row(tile, loop.index)
            if storing:
                bl.store(bl.load(here), there).align = 4
            else:
                words = bl.load(there)
                words.align = 2
                bl.store(words, here)

    def load(self, tile, address, row):
        self._move(tile, address, row, storing=False)

    def store(self, tile, address, row):
        self._move(tile, address, row, storing=True)

    def _halves(self, pairs):
        bl, shift = self.v.bl, ir.Constant(PAIRS, [16] * LANES)
        high = bl.and_(pairs, ir.Constant(PAIRS, [0xFFFF0000] * LANES))
        return [bl.bitcast(half, SINGLES) for half in (bl.shl(pairs, shift), high)]

    def dot(self, c, a, b):
        v, bl = self.v, self.v.bl
        with self._each_row() as i:
            to = self._row(c, i.index)
            numbers = bl.bitcast(self._row(a, i.index), PAIR.as_pointer())
            with self._each_row() as p:
                left = self._halves(v.broadcast(bl.load(bl.gep(numbers, [p.index]))))
                right = self._halves(bl.load(self._row(b, p.index)))
                sums = bl.bitcast(bl.load(to), SINGLES)
                for x, y in zip(left, right, strict=True):
                    sums = v.multiply_add(x, y, sums)
                bl.store(bl.bitcast(sums, PAIRS), to)


def tiles_of(bl, emulated: int):
    v = Vectors(bl, 4, LANES)
    return TileArrays(v) if emulated else TileRegisters(v)


@intrinsic(prefer_literal=True)
def configure_tiles(typing, EMULATED):
    """Before the first amx_tile of a thread."""
    if not isinstance(EMULATED, types.IntegerLiteral):
        return None

    def codegen(context, bl, signature, arguments):
        tiles_of(bl, EMULATED.literal_value).configure()
        return context.get_dummy_value()

    return types.void(EMULATED), codegen


@intrinsic(prefer_literal=True)
def release_tiles(typing, EMULATED):
    """After the last one: a thread that holds tiles is slower to switch."""
    if not isinstance(EMULATED, types.IntegerLiteral):
        return None

    def codegen(context, bl, signature, arguments):
        tiles_of(bl, EMULATED.literal_value).release()
        return context.get_dummy_value()

    return types.void(EMULATED), codegen


@intrinsic(prefer_literal=True)
def amx_tile(typing, a, a_row, a_step, taps, tap_steps, starts, b, buffer, NV, EMULATED):
    """buffer (32, 32) = A * B, NV = 1 or 2 vectors of columns wide. Addresses and strides in bytes.

    A: 32 rows a_row apart; terms 32 s on lie a_step * s further within each of `taps` taps, which have tap_steps steps each and begin at
    2 * starts[t] (int64). b: (taps * tap_steps, 16, NV * 16, 2) without gaps.
    """
    literals = (NV, EMULATED)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    nv, emulated = (literal.literal_value for literal in literals)

    def codegen(context, bl, signature, arguments):
        a, a_row, a_step, taps, tap_steps, starts, b, buffer = arguments[:8]
        tiles = tiles_of(bl, emulated)
        b_row = nv * ROW_BYTES
        for row in C_TILES:
            for c in row[:nv]:
                tiles.zero(c)
        with cgutils.for_range(bl, taps) as tap:
            a_tap = bl.add(a, bl.mul(INT(2), tiles.v.integer(starts, tap.index)))
            b_tap = bl.add(b, bl.mul(bl.mul(tap.index, tap_steps), INT(ROWS * b_row)))
            with cgutils.for_range(bl, tap_steps) as step:
                a_here = bl.add(a_tap, bl.mul(step.index, a_step))
                b_here = bl.add(b_tap, bl.mul(step.index, INT(ROWS * b_row)))
                tiles.load(A_TILES[0], a_here, a_row)
                tiles.load(A_TILES[1], bl.add(a_here, bl.mul(a_row, INT(ROWS))), a_row)
                for j in range(nv):
                    tiles.load(B_TILES[j], bl.add(b_here, INT(j * ROW_BYTES)), INT(b_row))
                for i in range(2):
                    for j in range(nv):
                        tiles.dot(C_TILES[i][j], A_TILES[i], B_TILES[j])
        for i in range(2):
            for j in range(nv):
                to = bl.add(buffer, INT(i * ROWS * BUFFER_ROW + j * ROW_BYTES))
                tiles.store(C_TILES[i][j], to, INT(BUFFER_ROW))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8, *literals), codegen


@intrinsic(prefer_literal=True)
def amx_finish(typing, buffer, c, row_c, index, bias, tail_lanes, flags, NV, ITEM, TAIL, POOL):
    """One row of C, at offset row_c, from POOL rows of the buffer: bfloat16_tile.py's epilogue."""
    literals = (NV, ITEM, TAIL, POOL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    nv, item, tail, pool = (literal.literal_value for literal in literals)

    def codegen(context, bl, signature, arguments):
        buffer, c, row_c, index, bias, tail_lanes, flags = arguments[:7]
        v = Vectors(bl, 4, LANES)
        masks = [None] * (nv - 1) + [v.first_lanes(tail_lanes) if tail else None]
        c_row = bl.gep(v.pointer(c, v.number if item == 4 else SHORT), [row_c])
        acc = []
        for i in range(pool):
            row = [v.pointer(bl.add(buffer, INT(i * BUFFER_ROW + j * ROW_BYTES)), SINGLES) for j in range(nv)]
            acc.append([cgutils.alloca_once_value(bl, v.load(pointer)) for pointer in row])
        if pool == 1 and item == 4:
            with bl.if_then(v.has(flags, ACCUMULATE)):
                for j, sums in enumerate(acc[0]):
                    old = v.load(bl.gep(c_row, [INT(j * LANES)]), masks[j])
                    bl.store(bl.fadd(old, bl.load(sums)), sums)
        write(
            v,
            acc,
            [c_row],
            [bl.add(index, row_c)],
            bias,
            flags,
            masks,
            None if item == 4 else lambda y: rounded(v, y),
        )
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7, *literals), codegen
