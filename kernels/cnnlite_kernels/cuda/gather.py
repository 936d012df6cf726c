"""Loads that a convolution needs: four numbers from an address, zeros where the image or the channels end, without a branch."""

from __future__ import annotations

from llvmlite import ir
from numba.cuda import cgutils, types
from numba.cuda.extending import intrinsic

from cnnlite_kernels.cuda.intrinsics import F32, I32, I64, _at


def _load_if(builder, inside, address, lanes: int):
    """One or four floats from `address`, zeros without a load unless `inside`: predicated, as a branch would hold up the compiler."""
    results = [f"${v}" for v in range(lanes)]
    load = f"ld.global.v4.f32 {{{', '.join(results)}}}" if lanes == 4 else f"ld.global.f32 {results[0]}"
    lines = (
        "{ .reg .pred %inside;",
        f"setp.ne.u32 %inside, ${lanes + 1}, 0;",
        *(f"mov.f32 {result}, 0f00000000;" for result in results),
        f"@%inside {load}, [${lanes}]; }}",
    )
    returned = ir.LiteralStructType([F32] * lanes) if lanes > 1 else F32
    constraints = ",".join(["=&f"] * lanes + ["l", "r"])
    assembly = ir.InlineAsm(
        ir.FunctionType(returned, [I64, I32]), "\n".join(lines), constraints, side_effect=False
    )
    loaded = builder.call(assembly, [address, builder.zext(inside, I32)])
    return [builder.extract_value(loaded, v) for v in range(lanes)] if lanes > 1 else [loaded]


@intrinsic
def address_of(typing, array, offset):
    """Where array[offset] lies in memory, in bytes, as uint64. The offset may wrap around: -1 is the element before the first."""

    def generate(context, builder, signature, args):
        return builder.ptrtoint(_at(context, builder, signature.args[0], args[0], args[1]), I64)

    return types.uint64(array, types.uint64), generate


@intrinsic
def fetch4(typing, address, inside):
    """The four float32 at `address`, in bytes and a multiple of 16, in one instruction; four zeros if not `inside`. A tuple."""

    def generate(context, builder, signature, args):
        return cgutils.pack_array(builder, _load_if(builder, args[1], args[0], 4))

    return types.UniTuple(types.float32, 4)(types.uint64, types.boolean), generate


@intrinsic
def fetch1(typing, address, inside):
    """The float32 at `address`, in bytes; 0 if not `inside`."""

    def generate(context, builder, signature, args):
        return _load_if(builder, args[1], args[0], 1)[0]

    return types.float32(types.uint64, types.boolean), generate


@intrinsic
def fetch4_below(typing, address, at, end):
    """The four float32 at `address`, in bytes, of which number v is there if at + v < end, else 0; a tuple. at, end: uint32."""

    def generate(context, builder, signature, args):
        address, at, end = args
        values = []
        for v in range(4):
            inside = builder.icmp_unsigned("<", builder.add(at, I32(v)), end)
            values += _load_if(builder, inside, builder.add(address, I64(4 * v)), 1)
        return cgutils.pack_array(builder, values)

    return types.UniTuple(types.float32, 4)(types.uint64, types.uint32, types.uint32), generate
