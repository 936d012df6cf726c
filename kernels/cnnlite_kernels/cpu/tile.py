"""The microkernel: a block of C, MR rows by NV vectors, kept in registers while a sum runs over taps and k.

    C[i, j] (+)= sum over t < taps, k < k_len of  A[rows_a[i] + taps_a[t] + k * a_step] * B[taps_b[t] + k * b_step + j]

With tables for the rows and the taps this one loop is a matrix product, a convolution, and both of its gradients:

    pass           row i of C              column j   tap t            k
    matmul         row of A                column     block of k       within the block
    conv2d         output pixel            cout       kernel row       kw * cin, contiguous in x and w
    grad_input     input pixel             cin        kernel row       kw * cout, contiguous in grad_y and flipped w
    grad_weights   (kh, kw, cin)           cout       row of grad_y    its pixels

The intrinsic emits LLVM vectors, so the register blocking is what is written here, not what the auto-vectoriser made of it.
MR, NV, LANES, ITEM, PACKED, TAIL and POOL are literals: each combination is its own machine code.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# flags of a tile, known when it runs
ACCUMULATE = 1  # start from what C holds, not from zero
BIAS = 2  # add bias[j] at the end
RELU = 4  # then max(0, .), NaN passes
INDEX = 8  # with POOL: also write which row of each group was the maximum

UNROLL = 4  # steps of k in one turn of the packed loop: the loop's own instructions disappear behind 4 * MR * NV FMAs
INT = ir.IntType(64)
BYTE = ir.IntType(8)


class Vectors:
    """Loads, stores and arithmetic on vectors of LANES numbers at integer addresses."""

    def __init__(self, builder: ir.IRBuilder, item: int, lanes: int) -> None:
        self.bl, self.item, self.lanes = builder, item, lanes
        self.number = ir.FloatType() if item == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.number, lanes)
        self.name = f"v{lanes}f{8 * item}"
        self.zero = ir.Constant(self.vector, [0.0] * lanes)

    def pointer(self, address, type_):
        return self.bl.inttoptr(address, type_.as_pointer())

    def integer(self, base, index):
        """base[index] of a table of int64."""
        return self.bl.load(self.bl.gep(self.pointer(base, INT), [index]))

    def function(self, name, result, arguments):
        return cgutils.get_or_insert_function(self.bl.module, ir.FunctionType(result, arguments), name)

    def load(self, pointer, mask=None):
        pointer = self.bl.bitcast(pointer, self.vector.as_pointer())
        if mask is None:
            loaded = self.bl.load(pointer)
            loaded.align = self.item
            return loaded
        f = self.function(
            f"llvm.masked.load.{self.name}.p0",
            self.vector,
            [pointer.type, ir.IntType(32), mask.type, self.vector],
        )
        return self.bl.call(f, [pointer, ir.IntType(32)(self.item), mask, self.zero])

    def store(self, value, pointer, mask=None):
        pointer = self.bl.bitcast(pointer, value.type.as_pointer())
        element = value.type.element
        align = element.width // 8 if isinstance(element, ir.IntType) else self.item
        if mask is None:
            self.bl.store(value, pointer).align = align
            return
        name = f"v{self.lanes}{element}" if isinstance(element, ir.IntType) else self.name
        f = self.function(
            f"llvm.masked.store.{name}.p0",
            ir.VoidType(),
            [value.type, pointer.type, ir.IntType(32), mask.type],
        )
        self.bl.call(f, [value, pointer, ir.IntType(32)(align), mask])

    def broadcast(self, scalar):
        one = self.bl.insert_element(
            ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined), scalar, ir.IntType(32)(0)
        )
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.bl.shuffle_vector(one, ir.Constant(one.type, ir.Undefined), lanes)

    def multiply_add(self, x, y, z):
        """x * y + z; fmuladd and not fma, which without an FMA unit calls a library function per lane."""
        f = self.function(f"llvm.fmuladd.{self.name}", self.vector, [self.vector] * 3)
        return self.bl.call(f, [x, y, z])

    def relu(self, x):
        """0 where x < 0, else x: a NaN is not less than 0 and passes."""
        return self.bl.select(self.bl.fcmp_ordered("<", x, self.zero), self.zero, x)

    def first_maximum(self, values):
        """The maximum of some vectors lane by lane, and (as uint8) which of them it is: the first one, a NaN before any number."""
        best = values[0]
        place = ir.Constant(ir.VectorType(BYTE, self.lanes), [0] * self.lanes)
        for q, value in enumerate(values[1:], start=1):
            larger = self.bl.fcmp_unordered(">", value, best)  # also where either is NaN
            larger = self.bl.and_(larger, self.bl.fcmp_ordered("ord", best, best))
            best = self.bl.select(larger, value, best)
            place = self.bl.select(larger, ir.Constant(place.type, [q] * self.lanes), place)
        return best, place

    def has(self, flags, flag):
        return self.bl.icmp_signed("!=", self.bl.and_(flags, INT(flag)), INT(0))

    def first_lanes(self, count):
        """Mask of the lanes below `count`."""
        lane = ir.Constant(ir.VectorType(INT, self.lanes), list(range(self.lanes)))
        return self.bl.icmp_signed("<", lane, self.broadcast(count))


def write(v: Vectors, acc, c_rows, places, bias, flags, masks, finish=None) -> None:
    """What comes after the sums, as `flags` say: bias, pooling, relu, and the stores.

    acc[i][j] holds a vector of sums; c_rows are pointers to the rows of C, each made of len(acc) / len(c_rows) rows of sums; places
    the addresses of the rows that INDEX writes; masks[j] the mask of vectors j. finish: what is done to a vector before it is stored.
    """
    bl, pool = v.bl, len(acc) // len(c_rows)
    with bl.if_then(v.has(flags, BIAS)):
        for j, mask in enumerate(masks):
            b_j = v.load(bl.gep(v.pointer(bias, v.number), [INT(j * v.lanes)]), mask)
            for row in acc:
                bl.store(bl.fadd(bl.load(row[j]), b_j), row[j])
    for g, c_row in enumerate(c_rows):
        for j, mask in enumerate(masks):
            best, place = v.first_maximum([bl.load(row[j]) for row in acc[g * pool : (g + 1) * pool]])
            y = bl.select(v.has(flags, RELU), v.relu(best), best)
            v.store(finish(y) if finish else y, bl.gep(c_row, [INT(j * v.lanes)]), mask)
            if pool > 1:
                with bl.if_then(v.has(flags, INDEX)):
                    # like relu's gradient elsewhere, which is where y > 0: not where y is NaN
                    dead = bl.and_(v.broadcast(v.has(flags, RELU)), bl.fcmp_unordered("<=", best, v.zero))
                    place = bl.select(dead, ir.Constant(place.type, [pool] * v.lanes), place)
                    v.store(place, bl.gep(v.pointer(places[g], BYTE), [INT(j * v.lanes)]), mask)


@intrinsic(prefer_literal=True)
def tile(
    typing, a, rows_a, taps_a, b, taps_b, c, rows_c, index, bias, taps, k_len, a_step, b_step, tail_lanes, flags,
    MR, NV, LANES, ITEM, PACKED, TAIL, POOL,
):  # fmt: skip
    """One tile. Addresses are int64; tables hold int64 counts of numbers, not bytes.

    a, b, c, bias, index: addresses of the first element; rows_a, rows_c: tables of MR (rows_c: MR / POOL) offsets;
    taps_a, taps_b: tables of `taps` offsets. PACKED: a_step is 1 and b_step NV * LANES, known when compiling, and k is unrolled.
    TAIL: the last vector has only `tail_lanes` columns (B is masked unless PACKED, where it is padded).
    POOL > 1: each group of POOL rows becomes one, their maximum; the first maximum wins, NaN wins over numbers. With INDEX its
    place in the group is written as uint8 at index[rows_c[g] + j], or POOL itself when RELU left nothing of it.
    """
    literals = (MR, NV, LANES, ITEM, PACKED, TAIL, POOL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    mr, nv, lanes, item, packed, tail, pool = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 15, *literals)

    def codegen(context, bl, signature, arguments):
        (
            a, rows_a, taps_a, b, taps_b, c, rows_c, index, bias, taps, k_len, a_step, b_step, tail_lanes, flags,
        ) = arguments[:15]  # fmt: skip
        v = Vectors(bl, item, lanes)
        mask = v.first_lanes(tail_lanes) if tail else None
        masks = [None] * (nv - 1) + [mask]
        if packed:
            a_step, b_step = INT(1), INT(nv * lanes)

        def at(base, offset):
            return bl.gep(base, [offset])

        # setup: one pointer a row, zero or C in the accumulators
        a_row = [at(v.pointer(a, v.number), v.integer(rows_a, INT(i))) for i in range(mr)]
        c_row = [at(v.pointer(c, v.number), v.integer(rows_c, INT(i))) for i in range(mr // pool)]
        acc = [[cgutils.alloca_once_value(bl, v.zero) for _ in range(nv)] for _ in range(mr)]
        if pool == 1:
            with bl.if_then(v.has(flags, ACCUMULATE)):
                for i in range(mr):
                    for j in range(nv):
                        bl.store(v.load(at(c_row[i], INT(j * lanes)), masks[j]), acc[i][j])

        # loop
        def step(a_offset, b_pointer):
            b_vectors = [
                v.load(at(b_pointer, INT(j * lanes)), None if packed else masks[j]) for j in range(nv)
            ]
            for i in range(mr):
                x = v.broadcast(bl.load(at(a_row[i], a_offset)))
                for j in range(nv):
                    bl.store(v.multiply_add(x, b_vectors[j], bl.load(acc[i][j])), acc[i][j])

        with cgutils.for_range(bl, taps) as tap:
            a_tap = v.integer(taps_a, tap.index)
            b_tap = at(v.pointer(b, v.number), v.integer(taps_b, tap.index))
            done = INT(0)
            if packed:
                turns = bl.sdiv(k_len, INT(UNROLL))
                done = bl.mul(turns, INT(UNROLL))
                with cgutils.for_range(bl, turns) as turn:
                    k = bl.mul(turn.index, INT(UNROLL))
                    b_turn = at(b_tap, bl.mul(k, b_step))
                    for u in range(UNROLL):
                        step(bl.add(bl.add(a_tap, k), INT(u)), at(b_turn, INT(u * nv * lanes)))
            with cgutils.for_range(bl, bl.sub(k_len, done)) as rest:
                k = bl.add(rest.index, done)
                step(bl.add(a_tap, bl.mul(k, a_step)), at(b_tap, bl.mul(k, b_step)))

        places = [bl.add(index, v.integer(rows_c, INT(g))) for g in range(mr // pool)]
        write(v, acc, c_row, places, bias, flags, masks)
        return context.get_dummy_value()

    return signature, codegen
