"""Atomic integers at an address, for threads that run compiled code and so cannot take a Python lock."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

INT = ir.IntType(64)


def _pointer(builder, address):
    return builder.inttoptr(address, INT.as_pointer())


@intrinsic
def atomic_add(typing, address, value):
    """Adds to the int64 at an address; returns what it was before. Sequentially consistent, like all here."""

    def codegen(context, builder, signature, arguments):
        return builder.atomic_rmw("add", _pointer(builder, arguments[0]), arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def atomic_load(typing, address):
    """The int64 at an address."""

    def codegen(context, builder, signature, arguments):
        return builder.load_atomic(_pointer(builder, arguments[0]), "seq_cst", 8)

    return types.int64(types.int64), codegen


@intrinsic
def atomic_store(typing, address, value):
    """Sets the int64 at an address."""

    def codegen(context, builder, signature, arguments):
        builder.store_atomic(arguments[1], _pointer(builder, arguments[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def call_kernel(typing, function, bases, descriptor):
    """Calls a compiled kernel: the addresses of its code, of the table of bases and of its descriptor."""

    def codegen(context, builder, signature, arguments):
        byte = ir.IntType(8).as_pointer()
        function_type = ir.FunctionType(ir.VoidType(), [byte, byte])
        function, bases, descriptor = arguments
        builder.call(
            builder.inttoptr(function, function_type.as_pointer()),
            [builder.inttoptr(bases, byte), builder.inttoptr(descriptor, byte)],
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen
