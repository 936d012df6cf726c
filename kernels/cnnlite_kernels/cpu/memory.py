"""How a kernel finds its arrays: a descriptor names each by a base and an offset.

The same descriptor serves every part of a batch and every thread. What differs between them is a small table of base
addresses that the runner hands to the kernel beside the descriptor: where this thread's workspace is, this part's images, ...
"""

from __future__ import annotations

import ctypes
import enum
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable


class Base(enum.IntEnum):
    """Rows of the table of base addresses."""

    ABSOLUTE = 0  # always 0: the offset is an address
    WORK = 1  # workspace: of the thread, or of the part where activations must outlive the run
    X = 2  # what differs from call to call and from part to part: an op's operands, a model's batch
    Y = 3
    W = 4
    GRADS = 5
    OUT = 6
    EXTRA = 7
    PART = 8  # of this part: an int64, the number of its first image in the batch, and what it tells the other parts
    KEPT = 9  # what a forward pass left in its workspace for a backward pass that runs later


BASES = len(Base)

POINTER = np.dtype([("base", np.int64), ("offset", np.int64)])
"""The field of a descriptor that names an array: bytes from a base."""


class Pointer(NamedTuple):
    """Where an array begins: `offset` bytes from bases[`base`]."""

    base: int
    offset: int

    def __add__(self, count: int) -> Pointer:  # type: ignore[override]
        """This pointer moved by `count` bytes."""
        return Pointer(self.base, self.offset + count)


NOWHERE = Pointer(Base.ABSOLUTE, 0)


def pointer_to(array: np.ndarray) -> Pointer:
    """Where an array is now. The caller keeps it alive."""
    return Pointer(Base.ABSOLUTE, array.ctypes.data)


_from_buffer: Any = (ctypes.c_char * 0).from_buffer


def address_of(array: np.ndarray) -> int:
    """Where an array is now: array.ctypes.data in a fifth of a microsecond instead of three quarters, where it is writeable."""
    try:
        return ctypes.addressof(_from_buffer(array))
    except TypeError:  # read-only
        return array.ctypes.data


@register_jitable
def address(bases, pointer):
    """In a kernel: the address that a POINTER field names."""
    return bases[pointer.base] + pointer.offset


INT64 = -8  # the ITEM of a table of int64, as INT32 of int32: 4 and 8 are floats
INT32 = -4
_NUMBERS = {1: types.uint8, INT32: types.int32, 4: types.float32, 8: types.float64, INT64: types.int64}


@intrinsic(prefer_literal=True)
def array_at(typing, where, size, ITEM):
    """In a kernel: the `size` numbers at an address as a 1-D array. ITEM, a literal, is 4 for float32, 8 for float64,
    1 for uint8, INT32 and INT64 for signed integers."""
    if not isinstance(ITEM, types.IntegerLiteral):
        return None
    array_type = types.Array(_NUMBERS[ITEM.literal_value], 1, "C")
    signature = array_type(types.int64, types.int64, ITEM)

    def codegen(context, builder, signature, arguments):
        where, size, _ = arguments
        number = context.get_data_type(array_type.dtype)
        array = context.make_array(array_type)(context, builder)
        item = ir.Constant(ir.IntType(64), abs(ITEM.literal_value))
        context.populate_array(
            array,
            data=builder.inttoptr(where, number.as_pointer()),
            shape=cgutils.pack_array(builder, [size]),
            strides=cgutils.pack_array(builder, [item]),
            itemsize=item,
            meminfo=None,
        )
        return array._getvalue()

    return signature, codegen


@intrinsic
def copy_bytes(typing, to, origin, size):
    """In a kernel: memcpy of `size` bytes between addresses; the runtime library knows the fastest way of each processor."""
    signature = types.void(types.int64, types.int64, types.int64)

    def codegen(context, builder, signature, arguments):
        pointers = [builder.inttoptr(where, ir.IntType(8).as_pointer()) for where in arguments[:2]]
        cgutils.raw_memcpy(builder, *pointers, arguments[2], 1)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def clear_bytes(typing, where, size):
    """In a kernel: zeros in `size` bytes from an address."""
    signature = types.void(types.int64, types.int64)

    def codegen(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        cgutils.memset(builder, pointer, arguments[1], 0)
        return context.get_dummy_value()

    return signature, codegen
