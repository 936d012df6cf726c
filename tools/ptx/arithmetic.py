"""Arithmetic, logic and shifts. Every function here binds one instruction to a frame and returns the step that executes it.

fma is rounded once. The approximate instructions (ex2, lg2, rcp, sqrt, rsqrt, sin, cos, tanh, div.approx, div.full) are computed in
float64 and rounded to float32: nearer to the truth than a GPU's, which may be a few units in the last place off.
min and max do not order -0 below +0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit
from numba.extending import intrinsic

from tools.ptx.errors import PtxError
from tools.ptx.frame import Frame, Step, Where
from tools.ptx.parser import DTYPES, Instruction
from tools.ptx.registry import instruction

FLOAT_MODIFIERS = ("rn", "ftz", "sat")


@intrinsic
def _llvm_fma(typing_context, x, y, z):
    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return x(x, y, z), generate


@njit
def _fma(x, y, z, out):
    """out = x * y + z, rounded once."""
    for t in range(out.size):
        out[t] = _llvm_fma(x[t], y[t], z[t])


def flush(x: np.ndarray) -> np.ndarray:
    """.ftz: denormals become zeros of their sign."""
    tiny = np.finfo(x.dtype).tiny
    return np.where(np.abs(x) < tiny, np.copysign(x.dtype.type(0), x), x)


def bind(frame: Frame, ins: Instruction, function: Callable, *, kind: str | None = None) -> Step:
    """The step `destination = function(*sources)`, all of one type; with .ftz and .sat where the instruction says so.

    `function` is a ufunc, or takes the same `out` and `where`.
    """
    kind = kind or ins.types[-1]
    out = frame.destination(ins.operands[0], kind)
    sources = frame.sources(ins.operands[1:], kind)
    if ins.has("ftz") or ins.has("sat"):

        def adjusted(where: Where) -> None:
            values = function(*[flush(x) if ins.has("ftz") else x for x in sources])
            if ins.has("ftz"):
                values = flush(values)
            if ins.has("sat"):  # NaN becomes 0
                values = np.nan_to_num(np.clip(values, 0, 1), nan=0.0)
            np.copyto(out, values, where=where)

        return adjusted
    if not isinstance(function, np.ufunc) or out.dtype != sources[0].dtype:
        return lambda where: np.copyto(out, function(*sources), where=where)
    return lambda where: function(*sources, out=out, where=where)


def directed(x: np.ndarray, y: np.ndarray, toward: str) -> np.ndarray:
    """x + y of float64, rounded to float32 downwards (rm), upwards (rp) or towards zero (rz).

    What the float64 sum lost is found as in Knuth's TwoSum, so that the result is right even where that sum was rounded.
    """
    total = x + y
    back = total - x
    lost = (x - (total - back)) + (y - back)
    nearest = total.astype(np.float32)
    difference = nearest.astype(np.float64) - total
    above = (difference > 0) | ((difference == 0) & (lost < 0))
    below = (difference < 0) | ((difference == 0) & (lost > 0))
    down, up = np.nextafter(nearest, np.float32(-np.inf)), np.nextafter(nearest, np.float32(np.inf))
    finite = np.isfinite(total)
    if toward == "rm":
        return np.where(above & finite, down, nearest)
    if toward == "rp":
        return np.where(below & finite, up, nearest)
    outward = np.where(nearest > 0, above, below)
    return np.where(outward & finite, np.where(nearest > 0, down, up), nearest)


def _direction(ins: Instruction) -> str | None:
    found = [m for m in ins.modifiers if m in ("rz", "rm", "rp")]
    if found and (ins.types[-1] != "f32" or ins.has("ftz") or ins.has("sat")):
        raise PtxError(f"`{ins}`: directed rounding is known for plain f32 only")
    return found[0] if found else None


def _directed_step(frame: Frame, ins: Instruction, function: Callable) -> Step:
    out = frame.destination(ins.operands[0], "f32")
    sources = frame.sources(ins.operands[1:], "f32")

    def step(where: Where) -> None:
        np.copyto(out, function(*[x.astype(np.float64) for x in sources]), where=where)

    return step


@instruction("add", *FLOAT_MODIFIERS, "rz", "rm", "rp")
def add(frame: Frame, ins: Instruction) -> Step:
    if toward := _direction(ins):
        return _directed_step(frame, ins, lambda x, y: directed(x, y, toward))
    return bind(frame, ins, np.add)


@instruction("sub", *FLOAT_MODIFIERS, "rz", "rm", "rp")
def sub(frame: Frame, ins: Instruction) -> Step:
    if toward := _direction(ins):
        return _directed_step(frame, ins, lambda x, y: directed(x, -y, toward))
    return bind(frame, ins, np.subtract)


@instruction("fma", *FLOAT_MODIFIERS, "rz", "rm", "rp")
def fma(frame: Frame, ins: Instruction) -> Step:
    """The product of two float32 is exact in float64: only the sum is rounded, once."""
    if toward := _direction(ins):
        return _directed_step(frame, ins, lambda x, y, z: directed(x * y, z, toward))
    kind = ins.types[-1]
    if kind not in ("f32", "f64"):
        raise PtxError(f"`{ins}`: fma is known for f32 and f64")
    if ins.has("ftz") or ins.has("sat"):
        return bind(frame, ins, _fused)
    out = frame.destination(ins.operands[0], kind)
    x, y, z = frame.sources(ins.operands[1:], kind)

    def step(where: Where) -> None:
        if where is True:
            _fma(x, y, z, out)
        else:
            np.copyto(out, _fused(x, y, z), where=where)

    return step


def _fused(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    _fma(x, y, z, out)
    return out


@instruction("mul", "lo", "hi", "wide", *FLOAT_MODIFIERS, "rz", "rm", "rp")
def mul(frame: Frame, ins: Instruction) -> Step:
    if ins.has("wide"):
        return _wide(frame, ins)
    if ins.has("hi"):
        return bind(frame, ins, high_product)
    if toward := _direction(ins):
        return _directed_step(frame, ins, lambda x, y: directed(x * y, np.zeros_like(x), toward))
    return bind(frame, ins, np.multiply)


@instruction("mad", "lo", "hi", "wide")
def mad(frame: Frame, ins: Instruction) -> Step:
    if ins.has("wide"):
        return _wide(frame, ins)
    if ins.has("hi"):
        return bind(frame, ins, lambda x, y, z: high_product(x, y) + z)
    return bind(frame, ins, lambda x, y, z: x * y + z)


def _wide(frame: Frame, ins: Instruction) -> Step:
    """mul.wide and mad.wide: the product, and what is added to it, has twice the bits of the factors."""
    kind = ins.types[-1]
    double = f"{kind[0]}{2 * int(kind[1:])}"
    wide = DTYPES[double]
    out = frame.destination(ins.operands[0], double)
    x, y = frame.sources(ins.operands[1:3], kind)
    if len(ins.operands) == 4:
        z = frame.source(ins.operands[3], double)
        return lambda where: np.copyto(out, np.multiply(x, y, dtype=wide) + z, where=where)
    return lambda where: np.multiply(x, y, out=out, dtype=wide, where=where)


def high_product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The upper half of the product of two integers of 32 or 64 bits.

    Of 64 bits by halves: with x = x1 * 2^32 + x0, y alike, and the partial sums none of which overflows. For signed ones, the
    unsigned product counts 2^64 * y too much where x < 0, and 2^64 * x where y < 0.
    """
    if x.dtype.itemsize == 4:
        wide = np.dtype(f"{x.dtype.kind}8")
        return ((x.astype(wide) * y.astype(wide)) >> wide.type(32)).astype(x.dtype)
    a, b = x.view(np.uint64), y.view(np.uint64)
    shift, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    a1, a0, b1, b0 = a >> shift, a & low, b >> shift, b & low
    middle = a1 * b0 + ((a0 * b0) >> shift)
    high = a1 * b1 + (middle >> shift) + ((a0 * b1 + (middle & low)) >> shift)
    if x.dtype.kind == "i":
        zero = np.uint64(0)
        high = high - np.where(x < 0, b, zero) - np.where(y < 0, a, zero)
    return high.view(x.dtype)


@instruction("div", *FLOAT_MODIFIERS, "approx", "full")
def div(frame: Frame, ins: Instruction) -> Step:
    """Integers towards zero; what division by zero gives is not specified."""
    if DTYPES[ins.types[-1]].kind == "f":
        return bind(frame, ins, np.divide)
    return bind(frame, ins, lambda x, y: (x - np.fmod(x, y)) // y)


@instruction("rem")
def rem(frame: Frame, ins: Instruction) -> Step:
    return bind(frame, ins, np.fmod)


@instruction("min", "ftz", "NaN")
def minimum(frame: Frame, ins: Instruction) -> Step:
    return bind(frame, ins, np.minimum if ins.has("NaN") or ins.types[-1][0] != "f" else np.fmin)


@instruction("max", "ftz", "NaN")
def maximum(frame: Frame, ins: Instruction) -> Step:
    return bind(frame, ins, np.maximum if ins.has("NaN") or ins.types[-1][0] != "f" else np.fmax)


@instruction("neg", "ftz")
def neg(frame: Frame, ins: Instruction) -> Step:
    return bind(frame, ins, np.negative)


@instruction("abs", "ftz")
def absolute(frame: Frame, ins: Instruction) -> Step:
    return bind(frame, ins, np.abs)


@instruction("copysign")
def copysign(frame: Frame, ins: Instruction) -> Step:
    """copysign d, a, b: the value of b with the sign of a."""
    return bind(frame, ins, lambda a, b: np.copysign(b, a))


def _in_float64(function: Callable) -> Callable:
    return lambda x: function(x.astype(np.float64)).astype(x.dtype)


APPROXIMATE: dict[str, Callable] = {
    "ex2": np.exp2,
    "lg2": np.log2,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "rsqrt": lambda x: 1 / np.sqrt(x),
}


@instruction("ex2", "approx", "ftz")
@instruction("lg2", "approx", "ftz")
@instruction("sin", "approx", "ftz")
@instruction("cos", "approx", "ftz")
@instruction("tanh", "approx", "ftz")
@instruction("rsqrt", "approx", "ftz")
def approximate(frame: Frame, ins: Instruction) -> Step:
    return bind(frame, ins, _in_float64(APPROXIMATE[ins.name]))


@instruction("rcp", "approx", "rn", "ftz")
def rcp(frame: Frame, ins: Instruction) -> Step:
    return bind(frame, ins, np.reciprocal)


@instruction("sqrt", "approx", "rn", "ftz")
def sqrt(frame: Frame, ins: Instruction) -> Step:
    return bind(frame, ins, np.sqrt)


@instruction("and")
def bitwise_and(frame: Frame, ins: Instruction) -> Step:
    return bind(frame, ins, np.bitwise_and)


@instruction("or")
def bitwise_or(frame: Frame, ins: Instruction) -> Step:
    return bind(frame, ins, np.bitwise_or)


@instruction("xor")
def bitwise_xor(frame: Frame, ins: Instruction) -> Step:
    return bind(frame, ins, np.bitwise_xor)


@instruction("not")
def bitwise_not(frame: Frame, ins: Instruction) -> Step:
    return bind(frame, ins, np.invert)
