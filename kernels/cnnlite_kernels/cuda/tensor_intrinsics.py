"""Tensor cores and asynchronous copies, as PTX: what the kernels of `set_matmul_precision` need of llvmlite.

Shared memory is addressed in bytes (`address_of`), memory in chunks of 16 bytes: 8 bf16 or 4 tf32 numbers. With operands that are
contiguous along the sum, a chunk is a chunk: which of the two it holds matters to `mma` alone. Needs compute capability 8.0.
"""

from __future__ import annotations

import itertools

from llvmlite import ir
from numba.cuda import cgutils, types
from numba.cuda.extending import intrinsic
from numba.cuda.np.arrayobj import make_array

F32, I8, I32, I64, VOID = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.VoidType()
TF32, BF16 = range(2)
CHUNK = 16  # bytes: of one cp.async, and of a row of one ldmatrix
ROW = 64  # bytes of a row in shared memory that is contiguous along the sum
LONG, CROSS = range(2)  # how a slice lies in shared memory, see `multiply`
MMA = {
    TF32: "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
    BF16: "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
}


def _asm(builder, result, text: str, constraints: str, args, *, pure: bool = False):
    """Inline PTX. What is not pure stays in its order, and memory is neither kept in registers across it nor moved."""
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(ir.InlineAsm(kind, text, constraints, side_effect=not pure), args)


def _literals(*numbers) -> bool:
    return all(isinstance(number, types.IntegerLiteral) for number in numbers)


def _chunk_at(context, builder, array_type, array, chunk):
    """The address of a chunk of an array in memory: chunks count from 0, unsigned."""
    data = builder.bitcast(make_array(array_type)(context, builder, array).data, I8.as_pointer())
    return builder.gep(data, [builder.mul(builder.zext(chunk, I64), I64(CHUNK))])


@intrinsic
def address_of(typing, shared):
    """Where an array in shared memory begins, in bytes, uint32."""

    def generate(context, builder, signature, args):
        data = make_array(signature.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(builder.addrspacecast(data, ir.PointerType(I8, 3)), I32)

    return types.uint32(shared), generate


@intrinsic
def copy_chunk(typing, to, array, chunk, size):
    """Starts to copy a chunk of an array to shared memory at byte `to`: `size` bytes (16 or 0) and then zeros, all uint32.

    With size 0 nothing is read, wherever chunk points to. A thread's copies that were started before `commit_copies` are a group.
    """

    def generate(context, builder, signature, args):
        source = builder.ptrtoint(_chunk_at(context, builder, signature.args[1], args[1], args[2]), I64)
        text = f"cp.async.cg.shared.global [$0], [$1], {CHUNK}, $2;"
        _asm(builder, VOID, text, "r,l,r,~{memory}", [args[0], source, args[3]])
        return context.get_dummy_value()

    return types.void(types.uint32, array, types.uint32, types.uint32), generate


@intrinsic
def commit_copies(typing):
    """Ends a group of copies; an empty one counts too."""

    def generate(context, builder, signature, args):
        _asm(builder, VOID, "cp.async.commit_group;", "~{memory}", [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def wait_copies(typing, pending):
    """Waits until at most `pending` (a literal) of this thread's groups of copies are under way: the youngest."""
    if not _literals(pending):
        return None
    count = pending.literal_value

    def generate(context, builder, signature, args):
        _asm(builder, VOID, f"cp.async.wait_group {count};", "~{memory}", [])
        return context.get_dummy_value()

    return types.void(pending), generate


def _plus(builder, address, offset: int):
    return builder.add(address, I32(offset)) if offset else address


def _flip(builder, address, bits: int):
    return builder.xor(address, I32(bits)) if bits else address


def _ldmatrix4(builder, address, transposed: bool):
    """Four 8 x 8 matrices of 16-bit numbers; lane l gives the address of row l % 8 of matrix l // 8."""
    text = (
        f"ldmatrix.sync.aligned.m8n8.x4{'.trans' if transposed else ''}.shared.b16 {{$0, $1, $2, $3}}, [$4];"
    )
    four = ir.LiteralStructType([I32] * 4)
    loaded = _asm(builder, four, text, "=r,=r,=r,=r,r,~{memory}", [address])
    return [builder.extract_value(loaded, i) for i in range(4)]


def _word(builder, address):
    """32 bits of shared memory."""
    return builder.load(builder.inttoptr(address, ir.PointerType(I32, 3)), align=4)


def _long(builder, a, b, half: int, rows: int, columns: int):
    """Fragments of a half step where both slices are rows of ROW bytes: [rows][4 registers], [columns][2 registers]."""
    a, b = _flip(builder, a, 2 * CHUNK * half), _flip(builder, b, 2 * CHUNK * half)
    left = [_ldmatrix4(builder, _plus(builder, a, i * 16 * ROW), False) for i in range(rows)]
    right = [_ldmatrix4(builder, _plus(builder, b, j * 16 * ROW), False) for j in range(columns // 2)]
    return left, [four[i : i + 2] for four in right for i in (0, 2)]


def _cross_bf16(builder, a, b, half: int, rows: int, columns: int, a_pitch: int, b_pitch: int):
    """As _long, where the rows of both slices are terms of the sum: ldmatrix transposes."""
    a, b = _plus(builder, a, half * 16 * a_pitch), _plus(builder, b, half * 16 * b_pitch)
    left = [_ldmatrix4(builder, _flip(builder, a, 2 * CHUNK * i), True) for i in range(rows)]
    right = [_ldmatrix4(builder, _flip(builder, b, 2 * CHUNK * j), True) for j in range(columns // 2)]
    return left, [four[i : i + 2] for four in right for i in (0, 2)]


def _cross_tf32(builder, a, b, half: int, rows: int, columns: int, a_pitch: int, b_pitch: int):
    """As _cross_bf16, word by word: ldmatrix transposes 16-bit numbers only."""

    def column(base, pitch: int, eight: int, k: int):
        """The word at 8 * eight numbers along the row and at term 8 * half + k; 128 bytes hold four times eight numbers."""
        at = _plus(
            builder, _flip(builder, base, 32 * (eight % 4)), 128 * (eight // 4) + (8 * half + k) * pitch
        )
        return _word(builder, at)

    left = [[column(a, a_pitch, 2 * i + e, k) for k in (0, 4) for e in (0, 1)] for i in range(rows)]
    right = [[column(b, b_pitch, j, k) for k in (0, 4)] for j in range(columns)]
    return left, right


@intrinsic
def multiply(typing, sums, a, b, precision, layout, rows, columns, a_pitch, b_pitch):
    """A warp's share of a block's product of two slices in shared memory: two steps of `mma`, unrolled.

    sums holds rows x columns tiles of 16 x 8 results, four numbers a lane each: lane l has, of tile (i, j), at
    4 * (columns * i + j), the numbers (l // 4, l % 4 * 2), its right neighbour, and the two 8 rows below. Added to them is the
    product of the warp's 16 * rows rows of A and 8 * columns columns of B over 64 bytes of the sum: 32 terms in bf16, 16 in tf32.

    Args:
        a, b: byte addresses from which the lane loads, uint32, see tensor_tile.lane_long and lane_cross.
        precision: TF32 or BF16, as stored in both slices.
        layout: LONG: rows of A and columns of B are ROW contiguous bytes. CROSS: each term of the sum is `pitch` bytes, in which A's
            rows (B's columns) are contiguous.
    """
    if not _literals(precision, layout, rows, columns, a_pitch, b_pitch):
        return None
    kind, how, n_i, n_j, pitch_a, pitch_b = (
        x.literal_value for x in (precision, layout, rows, columns, a_pitch, b_pitch)
    )

    def generate(context, builder, signature, args):
        total = [builder.extract_value(args[0], i) for i in range(4 * n_i * n_j)]
        for half in range(2):
            if how == LONG:
                left, right = _long(builder, args[1], args[2], half, n_i, n_j)
            else:
                load = _cross_bf16 if kind == BF16 else _cross_tf32
                left, right = load(builder, args[1], args[2], half, n_i, n_j, pitch_a, pitch_b)
            for i in range(n_i):
                for j in range(n_j):
                    at = 4 * (n_j * i + j)
                    total[at : at + 4] = _mma(builder, kind, left[i], right[j], total[at : at + 4])
        return cgutils.pack_array(builder, total)

    return sums(
        sums, types.uint32, types.uint32, precision, layout, rows, columns, a_pitch, b_pitch
    ), generate


def _mma(builder, kind: int, a, b, c):
    """The four numbers of a lane in A B + C; A is 16 x k in four registers, B k x 8 in two."""
    text = MMA[kind] + " {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
    four = ir.LiteralStructType([F32] * 4)
    result = _asm(builder, four, text, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", [*a, *b, *c], pure=True)
    return [builder.extract_value(result, i) for i in range(4)]


@intrinsic
def put_sums(typing, sums, to, pair, columns, pitch):
    """Stores 32 rows of results, tiles 2 * pair and 2 * pair + 1 down, of `multiply`'s sums to shared memory, two numbers at a time.

    Args:
        to: the byte address of this lane's first number, uint32. pair: uint32; a switch over the pairs, so that the code that writes
            them to memory is there once. columns: of tiles, a literal. pitch: bytes from one row of results to the next, a literal.
    """
    if not _literals(columns, pitch):
        return None
    n_j, bytes_ = columns.literal_value, pitch.literal_value
    pairs = sums.count // (8 * n_j)

    def generate(context, builder, signature, args):
        after = builder.append_basic_block("after")
        cases = [builder.append_basic_block(f"pair{i}") for i in range(pairs)]
        switch = builder.switch(args[2], cases[-1])
        for i, case in enumerate(cases):
            if i < pairs - 1:
                switch.add_case(ir.Constant(args[2].type, i), case)
            builder.position_at_end(case)
            _put_pair(builder, args[0], args[1], i, n_j, bytes_)
            builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(sums, types.uint32, types.uint32, columns, pitch), generate


def _put_pair(builder, sums, to, pair: int, columns: int, pitch: int) -> None:
    two = ir.VectorType(F32, 2)
    for i, j, below in itertools.product(range(2), range(columns), range(2)):
        value = ir.Constant(two, ir.Undefined)
        for lane in range(2):
            number = builder.extract_value(sums, 4 * (columns * (2 * pair + i) + j) + 2 * below + lane)
            value = builder.insert_element(value, number, I32(lane))
        at = _plus(builder, to, (16 * i + 8 * below) * pitch + 32 * j)
        builder.store(value, builder.inttoptr(at, ir.PointerType(two, 3)), align=8)


@intrinsic
def get_sums(typing, at):
    """Four float32 from shared memory at byte `at`, a multiple of 16, as a tuple."""

    def generate(context, builder, signature, args):
        four = ir.VectorType(F32, 4)
        loaded = builder.load(builder.inttoptr(args[0], ir.PointerType(four, 3)), align=16)
        return cgutils.pack_array(builder, [builder.extract_element(loaded, I32(lane)) for lane in range(4)])

    return types.UniTuple(types.float32, 4)(types.uint32), generate


@intrinsic
def store_words(typing, array, place, words):
    """Stores a tuple of two or four uint32 at array[place * n : (place + 1) * n], n being their number, in one instruction.

    The array begins at a multiple of 16 bytes, and place is uint32.
    """
    count = words.count

    def generate(context, builder, signature, args):
        vector = ir.VectorType(I32, count)
        value = ir.Constant(vector, ir.Undefined)
        for lane in range(count):
            value = builder.insert_element(value, builder.extract_value(args[2], lane), I32(lane))
        data = make_array(signature.args[0])(context, builder, args[0]).data
        at = builder.gep(builder.bitcast(data, vector.as_pointer()), [builder.zext(args[1], I64)])
        builder.store(value, at, align=4 * count)
        return context.get_dummy_value()

    return types.void(array, types.uint32, words), generate


@intrinsic
def bf16_pair(typing, low, high):
    """Two float32 as bf16, rounded to nearest even, in the halves of a uint32. Infinities stay, and NaN stays NaN."""

    def generate(context, builder, signature, args):
        return _asm(builder, I32, "cvt.rn.bf16x2.f32 $0, $1, $2;", "=r,f,f", [args[1], args[0]], pure=True)

    return types.uint32(types.float32, types.float32), generate


@intrinsic
def tf32(typing, x):
    """A float32 rounded to tf32, 10 bits of fraction, halves away from zero, as its 32 bits. Infinities stay, and NaN stays NaN."""

    def generate(context, builder, signature, args):
        return _asm(builder, I32, "cvt.rna.tf32.f32 $0, $1;", "=r,f", [args[0]], pure=True)

    return types.uint32(types.float32), generate
