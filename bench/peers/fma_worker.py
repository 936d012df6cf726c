"""The most fused multiply-adds a core does in a second: a loop over registers that touches no memory.

Written apart from the library's own kernels, whose share of this peak it measures.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from peers.protocol import Measurement, Request, serve

# A multiply-add takes 4 or 5 cycles and two start in each: 10 sums hide that. 12 and the two factors fit 16
# registers.
SUMS = 12
FEATURES = llvmlite.binding.get_host_cpu_features()
LANES = 16 if FEATURES.get("avx512f") else 8 if FEATURES.get("avx") else 4
STEPS = 1_000_000
FLOPS_A_CALL = 2 * SUMS * LANES * STEPS


def _multiply_adds(typingctx: Any, steps: Any, factor: Any, addend: Any) -> Any:
    """`steps` times sum = sum * factor + addend, for SUMS vectors of LANES float32; a lane of their total."""
    signature = types.float32(types.intp, types.float32, types.float32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        steps_value, factor_value, addend_value = arguments
        vector = ir.VectorType(ir.FloatType(), LANES)

        def splat(value: Any) -> Any:
            found: Any = ir.Constant(vector, ir.Undefined)
            for lane in range(LANES):
                found = builder.insert_element(found, value, ir.Constant(ir.IntType(32), lane))
            return found

        factors, addends = splat(factor_value), splat(addend_value)
        multiply_add = get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{LANES}f32"
        )
        before, loop = builder.block, builder.append_basic_block("loop")
        after = builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(steps_value.type)
        sums = [builder.phi(vector) for _ in range(SUMS)]
        stepped = builder.add(step, ir.Constant(step.type, 1))
        summed = [builder.call(multiply_add, [value, factors, addends]) for value in sums]
        step.add_incoming(ir.Constant(step.type, 0), before)
        step.add_incoming(stepped, loop)
        for i, (value, result) in enumerate(zip(sums, summed, strict=True)):
            # Different starts, or LLVM sees that all sums are one.
            value.add_incoming(ir.Constant(vector, [float(i)] * LANES), before)
            value.add_incoming(result, loop)
        builder.cbranch(builder.icmp_signed("<", stepped, steps_value), loop, after)
        builder.position_at_end(after)
        total = summed[0]
        for result in summed[1:]:
            total = builder.fadd(total, result)
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return signature, generate


multiply_adds: Any = intrinsic(_multiply_adds)


@numba.njit(nogil=True)
def register_loop(steps: int, factor: float, addend: float) -> float:
    """The loop as a function; factors come in as arguments so that nothing is known when it is compiled."""
    return multiply_adds(steps, numba.float32(factor), numba.float32(addend))


def peak(request: Request) -> Measurement:
    """Seconds a floating-point operation."""
    return Measurement(lambda: register_loop(STEPS, 0.5, 1.0), FLOPS_A_CALL, note=f"{LANES} lanes")


if __name__ == "__main__":
    serve(lambda: {"numba": numba.__version__}, {"peak": peak})
