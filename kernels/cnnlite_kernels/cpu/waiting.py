"""What a thread that waits in compiled code asks for: the time, a pause, and to let somebody else run."""

from __future__ import annotations

import platform
import sys
import time

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

INT = ir.IntType(64)
X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686", "x86")
MILLISECOND = 1_000_000


@intrinsic
def pause(typing):
    """Tells the processor that this is a waiting loop: the core's other thread gets its units."""

    def codegen(context, builder, signature, arguments):
        if X86:
            _call(builder, "llvm.x86.sse2.pause", ir.VoidType())
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def offer_processor(typing):
    """Lets another thread run: with more threads than cores, the one that is waited for must get its turn."""

    def codegen(context, builder, signature, arguments):
        if sys.platform == "win32":
            _call(builder, "SwitchToThread", ir.IntType(32))
        else:
            _call(builder, "sched_yield", ir.IntType(32))
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def clock(typing):
    """Nanoseconds from some moment on, never going back; on Windows in steps of some milliseconds."""

    def codegen(context, builder, signature, arguments):
        if sys.platform == "win32":
            return builder.mul(_call(builder, "GetTickCount64", INT), INT(MILLISECOND))
        seconds_and_rest = cgutils.alloca_once(builder, ir.ArrayType(INT, 2))
        which = ir.IntType(32)(time.CLOCK_MONOTONIC)
        _call(builder, "clock_gettime", ir.IntType(32), which, seconds_and_rest)
        now = builder.load(seconds_and_rest)
        seconds = builder.mul(builder.extract_value(now, 0), INT(1_000 * MILLISECOND))
        return builder.add(seconds, builder.extract_value(now, 1))

    return types.int64(), codegen


def _call(builder, name, result, *arguments):
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)
