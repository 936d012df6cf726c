"""Lists of the outputs that have a gradient, a vector at a time: by output channel, and by output pixel (sparse.py follows them).

Whoever is in a list stays in the order in which it was looked at: lanes that belong are moved together (compressed), the vector
is written whole where the list ends, and the end moves on by as many as belong. Lists need room for a vector past their end.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cnnlite_kernels.cpu.pack import transposed
from cnnlite_kernels.cpu.tile import BYTE, INT, Vectors

INT32 = ir.IntType(32)
COMPRESSED_BYTES = 64  # of vectors whose lanes one instruction compresses (AVX-512)


class Lists(Vectors):
    """Vectors that are put at the end of two lists side by side: int32 offsets, and gradients."""

    def int32_at(self, table, place):
        """table[place] of a table of int32, as int64."""
        return self.bl.sext(self.bl.load(self.bl.gep(self.pointer(table, INT32), [place])), INT)

    def load_bytes(self, pointer, mask=None):
        """LANES bytes; where the mask is not set 0, unread."""
        bytes_ = ir.VectorType(BYTE, self.lanes)
        pointer = self.bl.bitcast(pointer, bytes_.as_pointer())
        if mask is None:
            loaded = self.bl.load(pointer)
            loaded.align = 1
            return loaded
        arguments = [pointer.type, INT32, mask.type, bytes_]
        f = self.function(f"llvm.masked.load.v{self.lanes}i8.p0", bytes_, arguments)
        return self.bl.call(f, [pointer, INT32(1), mask, ir.Constant(bytes_, [0] * self.lanes)])

    def same(self, bytes_, number):
        """Mask of the bytes that are a number, given as an int64."""
        return self.bl.icmp_unsigned("==", bytes_, self.broadcast(self.bl.trunc(number, BYTE)))

    def append(self, offsets, gradients, mask, offsets_end, gradients_end):
        """Writes the chosen lanes where two lists end; returns how many they are."""
        if self.lanes * self.item < COMPRESSED_BYTES:
            return self._append_one_by_one(offsets, gradients, mask, offsets_end, gradients_end)
        for vector, end in ((offsets, offsets_end), (gradients, gradients_end)):
            name = f"v{self.lanes}i32" if vector.type.element == INT32 else self.name
            f = self.function(
                f"llvm.experimental.vector.compress.{name}",
                vector.type,
                [vector.type, mask.type, vector.type],
            )
            together = self.bl.call(f, [vector, mask, ir.Constant(vector.type, ir.Undefined)])
            self.bl.store(together, self.bl.bitcast(end, vector.type.as_pointer())).align = 4
        bits = ir.IntType(self.lanes)
        f = self.function(f"llvm.ctpop.i{self.lanes}", bits, [bits])
        return self.bl.zext(self.bl.call(f, [self.bl.bitcast(mask, bits)]), INT)

    def _append_one_by_one(self, offsets, gradients, mask, offsets_end, gradients_end):
        # every lane is written, and stays if the end moves on: no branch
        count = INT(0)
        for lane in range(self.lanes):
            for vector, end in ((offsets, offsets_end), (gradients, gradients_end)):
                self.bl.store(self.bl.extract_element(vector, INT32(lane)), self.bl.gep(end, [count]))
            count = self.bl.add(count, self.bl.zext(self.bl.extract_element(mask, INT32(lane)), INT))
        return count


@intrinsic(prefer_literal=True)
def list_pixel(typing, index, grad_y, which, first, step, left, offsets, gradients, LANES, ITEM, TAIL):
    """Appends the channels of one vector whose index is `which`, as offsets first + lane * step, and their gradients.

    Addresses are int64: index uint8 (LANES,), grad_y (LANES,), the ends of the lists. TAIL: there are only `left` channels.
    Returns how many were appended.
    """
    literals = (LANES, ITEM, TAIL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    lanes, item, tail = (literal.literal_value for literal in literals)
    signature = types.int64(*[types.int64] * 8, *literals)

    def codegen(context, bl, signature, arguments):
        index, grad_y, which, first, step, left, offsets, gradients = arguments[:8]
        v = Lists(bl, item, lanes)
        there = v.first_lanes(left) if tail else None
        chosen = v.same(v.load_bytes(v.pointer(index, BYTE), there), which)
        if tail:
            chosen = bl.and_(chosen, there)
        lane = ir.Constant(ir.VectorType(INT32, lanes), list(range(lanes)))
        first, step = (v.broadcast(bl.trunc(number, INT32)) for number in (first, step))
        places = bl.add(first, bl.mul(lane, step))
        found = v.load(v.pointer(grad_y, v.number), there)
        return v.append(places, found, chosen, v.pointer(offsets, INT32), v.pointer(gradients, v.number))

    return signature, codegen


@intrinsic(prefer_literal=True)
def list_channels(
    typing, index, index_at, grad_y, grad_at, places, places_row, windows, left, offsets, gradients, room, counts,
    LANES, ITEM, TAIL, POOL,
):  # fmt: skip
    """Appends LANES windows to the lists of LANES channels: for each channel the windows whose index is below POOL.

    index + index_at[i] (uint8) and grad_y + grad_at[i], tables of int32: where the channels of window i begin. places: int32, POOL
    rows places_row apart of LANES: the offset for each output of each window. Only the first `windows` windows count. The list of
    channel c begins c * room past offsets (int32) and gradients; counts int64 (LANES,): what is in it. TAIL: only `left` channels
    are read, and the lists of the others mean nothing.
    """
    literals = (LANES, ITEM, TAIL, POOL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    lanes, item, tail, pool = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 12, *literals)

    def codegen(context, bl, signature, arguments):
        (
            index,
            index_at,
            grad_y,
            grad_at,
            places,
            places_row,
            windows,
            left,
            offsets,
            gradients,
            room,
            counts,
        ) = arguments[:12]
        v = Lists(bl, item, lanes)
        there = v.first_lanes(left) if tail else None

        def at(base, type_, table, i):
            return bl.gep(v.pointer(base, type_), [v.int32_at(table, INT(i))])

        rows = range(lanes)
        which = transposed(bl, [v.load_bytes(at(index, BYTE, index_at, i), there) for i in rows])
        found = transposed(bl, [v.load(at(grad_y, v.number, grad_at, i), there) for i in rows])
        ints = ir.VectorType(INT32, lanes)
        place_of = []
        for q in range(pool):
            row = bl.gep(v.pointer(places, INT32), [bl.mul(places_row, INT(q))])
            place_of.append(bl.load(bl.bitcast(row, ints.as_pointer())))
            place_of[-1].align = 4
        counted = v.first_lanes(windows)
        for c in range(lanes):
            alive = bl.and_(
                bl.icmp_unsigned("<", which[c], ir.Constant(which[c].type, [pool] * lanes)), counted
            )
            place = place_of[0]
            for q in range(1, pool):
                place = bl.select(v.same(which[c], INT(q)), place_of[q], place)
            count_at = bl.gep(v.pointer(counts, INT), [INT(c)])
            count = bl.load(count_at)
            end = bl.add(count, bl.mul(room, INT(c)))
            ends = (
                bl.gep(v.pointer(base, type_), [end])
                for base, type_ in ((offsets, INT32), (gradients, v.number))
            )
            bl.store(bl.add(count, v.append(place, found[c], alive, *ends)), count_at)
        return context.get_dummy_value()

    return signature, codegen
