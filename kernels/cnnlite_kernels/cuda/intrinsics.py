"""What Numba has no Python for: 128-bit loads and stores, and what a block tile repeats, unrolled, as LLVM instructions.

Every use of llvmlite by the float32 kernels is in this file. Offsets count elements and are unsigned; addresses of 128-bit accesses
must be multiples of 16 bytes. Numbers of pieces, lanes and steps are literals: ints that the kernel closes over.
"""

from __future__ import annotations

from llvmlite import ir
from numba.cuda import cgutils, types
from numba.cuda.extending import intrinsic
from numba.cuda.np.arrayobj import make_array

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FOUR = ir.VectorType(F32, 4)


def _literals(*numbers) -> bool:
    return all(isinstance(number, types.IntegerLiteral) for number in numbers)


def _wide(builder, offset):
    """An unsigned integer in 64 bits."""
    return builder.zext(offset, I64) if offset.type.width < 64 else offset


def _at(context, builder, array_type, array, offset):
    """The address of an element."""
    data = make_array(array_type)(context, builder, array).data
    return builder.gep(data, [_wide(builder, offset)])


def _vector_at(builder, address, elements: int):
    return builder.bitcast(builder.gep(address, [I64(elements)]), FOUR.as_pointer())


def _load4(builder, address, elements: int = 0):
    loaded = builder.load(_vector_at(builder, address, elements), align=16)
    return [builder.extract_element(loaded, I32(lane)) for lane in range(4)]


def _store4(builder, values, address, elements: int = 0) -> None:
    vector = ir.Constant(FOUR, ir.Undefined)
    for lane, value in enumerate(values):
        vector = builder.insert_element(vector, value, I32(lane))
    builder.store(vector, _vector_at(builder, address, elements), align=16)


def _load(builder, address, lanes: int):
    """One float, or four in one instruction."""
    return _load4(builder, address) if lanes == 4 else [builder.load(address)]


def _unpack(builder, values, count: int):
    return [builder.extract_value(values, i) for i in range(count)]


@intrinsic
def load4(typing, array, offset):
    """array[offset : offset + 4] of float32 as a tuple, in one instruction."""

    def generate(context, builder, signature, args):
        address = _at(context, builder, signature.args[0], args[0], args[1])
        return cgutils.pack_array(builder, _load4(builder, address))

    return types.UniTuple(types.float32, 4)(array, offset), generate


@intrinsic
def store4(typing, array, offset, values):
    """array[offset : offset + 4] = values, four float32, in one instruction."""

    def generate(context, builder, signature, args):
        address = _at(context, builder, signature.args[0], args[0], args[1])
        _store4(builder, _unpack(builder, args[2], 4), address)
        return context.get_dummy_value()

    return types.void(array, offset, types.UniTuple(types.float32, 4)), generate


@intrinsic
def zeros(typing, count):
    """A tuple of `count` float32 zeros: accumulators."""
    if not _literals(count):
        return None
    size = count.literal_value

    def generate(context, builder, signature, args):
        return cgutils.pack_array(builder, [F32(0.0)] * size)

    return types.UniTuple(types.float32, size)(count), generate


@intrinsic
def four_of(typing, accumulators, group):
    """accumulators[4 * group : 4 * group + 4] as a tuple. A switch over the groups: no tuple is put in memory for it.

    A thread's write loop stays a loop: its code, activation included, is there once and not for each group of four.
    """
    groups = accumulators.count // 4

    def generate(context, builder, signature, args):
        after = builder.append_basic_block("after")
        cases = [builder.append_basic_block(f"group{i}") for i in range(groups)]
        switch = builder.switch(args[1], cases[-1])
        chosen = []
        for i, case in enumerate(cases):
            if i < groups - 1:
                switch.add_case(ir.Constant(args[1].type, i), case)
            builder.position_at_end(case)
            chosen.append([builder.extract_value(args[0], 4 * i + lane) for lane in range(4)])
            builder.branch(after)
        builder.position_at_end(after)
        lanes = [builder.phi(F32) for _ in range(4)]
        for values, case in zip(chosen, cases, strict=True):
            for lane, value in zip(lanes, values, strict=True):
                lane.add_incoming(value, case)
        return cgutils.pack_array(builder, lanes)

    return types.UniTuple(types.float32, 4)(accumulators, group), generate


@intrinsic
def row_offsets(typing, count, first, step, last, stride, start):
    """Where a thread's pieces begin: min(first + p * step, last) * stride + start for p < count, as uint64.

    Past the last row stands the last one again: what is read there counts for nothing, and no address is out of bounds.

    Args:
        count, step: literals.
        first, last, stride, start: uint32 or uint64.
    """
    if not _literals(count, step):
        return None
    pieces, apart = count.literal_value, step.literal_value

    def generate(context, builder, signature, args):
        _, first, _, last, stride, start = args
        first, last, stride, start = (_wide(builder, x) for x in (first, last, stride, start))
        offsets = []
        for p in range(pieces):
            row = builder.add(first, I64(p * apart))
            row = builder.select(builder.icmp_unsigned("<", row, last), row, last)
            offsets.append(builder.add(builder.mul(row, stride), start))
        return cgutils.pack_array(builder, offsets)

    return types.UniTuple(types.uint64, pieces)(count, first, step, last, stride, start), generate


@intrinsic
def advance(typing, offsets, by):
    """offsets[p] + by, for all p."""

    def generate(context, builder, signature, args):
        by = _wide(builder, args[1])
        return cgutils.pack_array(
            builder, [builder.add(x, by) for x in _unpack(builder, args[0], offsets.count)]
        )

    return offsets(offsets, by), generate


@intrinsic
def gather(typing, array, offsets, lanes):
    """`lanes` numbers (a literal, 1 or 4) from each of `offsets`: array[offsets[p] + v] at p * lanes + v of a tuple."""
    if not _literals(lanes):
        return None
    pieces, width = offsets.count, lanes.literal_value

    def generate(context, builder, signature, args):
        values = []
        for offset in _unpack(builder, args[1], pieces):
            values += _load(builder, _at(context, builder, signature.args[0], args[0], offset), width)
        return cgutils.pack_array(builder, values)

    return types.UniTuple(types.float32, pieces * width)(array, offsets, lanes), generate


@intrinsic
def gather_below(typing, array, offsets, lanes, at, step, limit):
    """As `gather`, with zeros, and no access to memory, for each piece p where at + p * step >= limit (step a literal)."""
    if not _literals(lanes, step):
        return None
    pieces, width, apart = offsets.count, lanes.literal_value, step.literal_value

    def generate(context, builder, signature, args):
        values = []
        for p, offset in enumerate(_unpack(builder, args[1], pieces)):
            inside = builder.icmp_unsigned("<", builder.add(args[3], args[3].type(p * apart)), args[5])
            before = builder.block
            with builder.if_then(inside):
                loaded = _load(builder, _at(context, builder, signature.args[0], args[0], offset), width)
                within = builder.block
            for value in loaded:
                phi = builder.phi(F32)
                phi.add_incoming(F32(0.0), before)
                phi.add_incoming(value, within)
                values.append(phi)
        return cgutils.pack_array(builder, values)

    # `at` and `limit` are compared as uint32, whatever integers they come as.
    u32 = types.uint32
    result = types.UniTuple(types.float32, pieces * width)
    return result(array, offsets, lanes, u32, step, u32), generate


@intrinsic
def stage(typing, shared, offset, values, lanes, piece_step, lane_step):
    """shared[offset + p * piece_step + v * lane_step] = values[p * lanes + v]; one instruction for four lanes side by side.

    With lane_step the length of a row of `shared`, four numbers that follow each other in memory go to a column: a transpose.
    """
    if not _literals(lanes, piece_step, lane_step):
        return None
    width, apart, step = lanes.literal_value, piece_step.literal_value, lane_step.literal_value

    def generate(context, builder, signature, args):
        start = _at(context, builder, signature.args[0], args[0], args[1])
        unpacked = _unpack(builder, args[2], values.count)
        for p in range(values.count // width):
            piece = unpacked[p * width : (p + 1) * width]
            if width == 4 and step == 1:
                _store4(builder, piece, start, p * apart)
                continue
            for v, value in enumerate(piece):
                builder.store(value, builder.gep(start, [I64(p * apart + v * step)]))
        return context.get_dummy_value()

    return types.void(shared, offset, values, lanes, piece_step, lane_step), generate


@intrinsic
def outer_products(
    typing, accumulators, a, a_offset, b, b_offset, depth, rows, columns, a_stride, b_stride, a_gap, b_gap
):
    """A thread's share of a block's product of two slices in shared memory, unrolled.

    accumulators[i * columns + j] += sum over k < depth of
        a[k * a_stride + a_offset + row(i)] * b[k * b_stride + b_offset + column(j)]

    A thread has its rows and columns in groups of four, which one 128-bit load brings: row(i) = i % 4 + (i // 4) * a_gap, and
    columns alike. With neighbours' groups side by side a warp's loads touch every bank once; a thread with eight columns in a
    row would meet its neighbour's banks.

    Args:
        a, b: float32 in shared memory; a_offset, b_offset: where this thread's first row and column is, multiples of 4.
        depth, rows, columns, a_stride, b_stride, a_gap, b_gap: literals; rows and columns are multiples of 4.
    """
    sizes = (depth, rows, columns, a_stride, b_stride, a_gap, b_gap)
    if not _literals(*sizes):
        return None
    n_k, n_i, n_j, stride_a, stride_b, gap_a, gap_b = (size.literal_value for size in sizes)

    def generate(context, builder, signature, args):
        sums = _unpack(builder, args[0], n_i * n_j)
        a_start = _at(context, builder, signature.args[1], args[1], args[2])
        b_start = _at(context, builder, signature.args[3], args[3], args[4])
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(F32, [F32] * 3), "llvm.fma.f32")
        for k in range(n_k):
            column = [x for q in range(n_i // 4) for x in _load4(builder, a_start, k * stride_a + q * gap_a)]
            row = [x for q in range(n_j // 4) for x in _load4(builder, b_start, k * stride_b + q * gap_b)]
            for i in range(n_i):
                for j in range(n_j):
                    sums[i * n_j + j] = builder.call(fma, [column[i], row[j], sums[i * n_j + j]])
        return cgutils.pack_array(builder, sums)

    return accumulators(accumulators, a, a_offset, b, b_offset, *sizes), generate
