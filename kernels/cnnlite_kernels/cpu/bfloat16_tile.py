"""The microkernel with operands of bfloat16: as tile.py's, but each step takes a pair of k, and sums stay float32.

    C[i, j] (+)= sum over t < taps, p < pairs of  A[rows_a[i] + taps_a[t] + 2p] * B[t, p, j, 0] + A[.. + 2p + 1] * B[t, p, j, 1]

AVX512-BF16's VDPBF16PS multiplies and adds 16 such pairs: twice the work of a float32 FMA in the same time. It adds the odd product of
a pair first, each rounded to nearest even, and takes denormals, of operands and of sums, for zeros. A is bfloat16 where it lies, k
contiguous; B is packed by bfloat16_pack.py. An odd k_len ends with half a pair of A, the other half zero as in B.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnnlite_kernels.cpu.tile import ACCUMULATE, INT, UNROLL, Vectors, write

LANES = 16  # pairs of B, and sums, in a vector
PAIR_BYTES = 4
SHORT, PAIR = ir.IntType(16), ir.IntType(32)


class BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


SINGLES = ir.VectorType(ir.FloatType(), LANES)
PAIRS = ir.VectorType(PAIR, LANES)
BFLOATS = ir.VectorType(BFloat(), LANES)
BFLOAT_PAIRS = ir.VectorType(BFloat(), 2 * LANES)


def rounded(v: Vectors, singles):
    """16 floats as bits of bfloat16, to nearest even; a NaN stays one, denormals become zeros."""
    f = v.function("llvm.x86.avx512bf16.cvtneps2bf16.512", BFLOATS, [SINGLES])
    return v.bl.bitcast(v.bl.call(f, [singles]), ir.VectorType(SHORT, LANES))


@intrinsic(prefer_literal=True)
def bfloat16_tile(
    typing, a, rows_a, taps_a, b, c, rows_c, index, bias, taps, k_len, tail_lanes, flags, MR, NV, ITEM, TAIL, POOL
):  # fmt: skip
    """One tile. Addresses are int64; tables hold int64 counts of numbers, not bytes.

    As tile.py's `tile` where PACKED, with one B for all taps: (taps, ceil(k_len / 2), NV * 16, 2). ITEM: bytes of C's numbers, 4 for
    float32, 2 for bfloat16, to which the sums are rounded when they are whole: not with ACCUMULATE.
    """
    literals = (MR, NV, ITEM, TAIL, POOL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    mr, nv, item, tail, pool = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 12, *literals)

    def codegen(context, bl, signature, arguments):
        a, rows_a, taps_a, b, c, rows_c, index, bias, taps, k_len, tail_lanes, flags = arguments[:12]
        v = Vectors(bl, 4, LANES)
        dot = v.function("llvm.x86.avx512bf16.dpbf16ps.512", SINGLES, [SINGLES, BFLOAT_PAIRS, BFLOAT_PAIRS])
        masks = [None] * (nv - 1) + [v.first_lanes(tail_lanes) if tail else None]
        number = v.number if item == 4 else SHORT

        # setup: one pointer a row, zero or C in the accumulators
        a_row = [bl.gep(v.pointer(a, SHORT), [v.integer(rows_a, INT(i))]) for i in range(mr)]
        c_row = [bl.gep(v.pointer(c, number), [v.integer(rows_c, INT(i))]) for i in range(mr // pool)]
        acc = [[cgutils.alloca_once_value(bl, v.zero) for _ in range(nv)] for _ in range(mr)]
        if pool == 1 and item == 4:
            with bl.if_then(v.has(flags, ACCUMULATE)):
                for i in range(mr):
                    for j in range(nv):
                        bl.store(v.load(bl.gep(c_row[i], [INT(j * LANES)]), masks[j]), acc[i][j])

        # loop
        def step(a_offset, b_pair, half):
            b_vectors = [bl.load(bl.gep(b_pair, [INT(j)])) for j in range(nv)]
            for vector in b_vectors:
                vector.align = PAIR_BYTES
            for i in range(mr):
                where = bl.gep(a_row[i], [a_offset])
                if half:
                    pair = bl.zext(bl.load(where), PAIR)
                else:
                    pair = bl.load(bl.bitcast(where, PAIR.as_pointer()))
                    pair.align = 2
                x = bl.bitcast(v.broadcast(pair), BFLOAT_PAIRS)
                for j in range(nv):
                    bl.store(bl.call(dot, [bl.load(acc[i][j]), x, b_vectors[j]]), acc[i][j])

        pairs = bl.sdiv(k_len, INT(2))
        odd = bl.and_(k_len, INT(1))
        turns = bl.sdiv(pairs, INT(UNROLL))
        done = bl.mul(turns, INT(UNROLL))
        b_tap_vectors = bl.mul(bl.add(pairs, odd), INT(nv))
        b_all = v.pointer(b, BFLOAT_PAIRS)
        with cgutils.for_range(bl, taps) as tap:
            a_tap = v.integer(taps_a, tap.index)
            b_tap = bl.gep(b_all, [bl.mul(tap.index, b_tap_vectors)])
            with cgutils.for_range(bl, turns) as turn:
                p = bl.mul(turn.index, INT(UNROLL))
                a_turn = bl.add(a_tap, bl.mul(p, INT(2)))
                b_turn = bl.gep(b_tap, [bl.mul(p, INT(nv))])
                for u in range(UNROLL):
                    step(bl.add(a_turn, INT(2 * u)), bl.gep(b_turn, [INT(u * nv)]), half=False)
            with cgutils.for_range(bl, bl.sub(pairs, done)) as rest:
                p = bl.add(rest.index, done)
                step(bl.add(a_tap, bl.mul(p, INT(2))), bl.gep(b_tap, [bl.mul(p, INT(nv))]), half=False)
            with bl.if_then(bl.icmp_signed("!=", odd, INT(0))):
                a_last = bl.add(a_tap, bl.mul(pairs, INT(2)))
                step(a_last, bl.gep(b_tap, [bl.mul(pairs, INT(nv))]), half=True)

        places = [bl.add(index, v.integer(rows_c, INT(g))) for g in range(mr // pool)]
        write(v, acc, c_row, places, bias, flags, masks, None if item == 4 else lambda y: rounded(v, y))
        return context.get_dummy_value()

    return signature, codegen
