"""cvt and cvta: between integers, floats, and the narrow floats of tensor cores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tools.ptx.arithmetic import flush
from tools.ptx.errors import PtxError
from tools.ptx.frame import Frame, Step, Where
from tools.ptx.parser import DTYPES, Instruction
from tools.ptx.registry import instruction

TO_INTEGER: dict[str, Callable] = {"rzi": np.trunc, "rni": np.rint, "rmi": np.floor, "rpi": np.ceil}


def to_bf16(x: np.ndarray) -> np.ndarray:
    """float32 to the bits of the nearest bfloat16, ties to even; NaN becomes the canonical one.

    Adding 0x7fff, and one more where the kept part is odd, carries into it exactly where it has to be rounded up.
    """
    bits = x.view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)
    return np.where(np.isnan(x), np.uint32(0x7FFF), rounded).astype(np.uint16)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    """Bits of bfloat16 to float32: they are its upper half."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def to_tf32(x: np.ndarray) -> np.ndarray:
    """float32 to the bits of the nearest number with ten bits of mantissa, ties away from zero."""
    bits = x.view(np.uint32)
    rounded = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(x), rounded, np.where(np.isnan(x), np.uint32(0x7FFFFFFF), bits))


def saturated(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Whole floats to integers: NaN is 0, what is too large or small the nearest that there is."""
    limits = np.iinfo(dtype)
    wide = np.nan_to_num(x.astype(np.float64), nan=0.0)
    low, high = wide <= float(limits.min), wide >= float(limits.max)
    inside = np.where(low | high, 0.0, wide).astype(dtype)
    return np.where(high, dtype.type(limits.max), np.where(low, dtype.type(limits.min), inside))


@instruction("cvta", "to", "global", "shared", "local", "const")
def cvta(frame: Frame, ins: Instruction) -> Step:
    """Addresses are generic here, whatever space they are in."""
    out, source = frame.destination(ins.operands[0], "u64"), frame.source(ins.operands[1], "u64")
    return lambda where: np.copyto(out, source, where=where)


@instruction("cvt", "rn", "rz", "rna", "ftz", "sat", *TO_INTEGER)
def cvt(frame: Frame, ins: Instruction) -> Step:
    to, of = ins.types
    if to in ("bf16", "bf16x2", "f16x2", "tf32") or of == "bf16":
        return _narrow(frame, ins, to, of)
    if ins.has("rna") or (ins.has("rz") and DTYPES[to].kind == "f"):
        raise PtxError("this rounding is not known here")
    out, source = frame.destination(ins.operands[0], to), frame.source(ins.operands[1], of)
    target = DTYPES[to]
    rounding = next((TO_INTEGER[m] for m in ins.modifiers if m in TO_INTEGER), None)
    if DTYPES[of].kind == "f" and target.kind != "f" and rounding is None:
        raise PtxError("a float becomes an integer by rzi, rni, rmi or rpi")

    def step(where: Where) -> None:
        values = source
        if ins.has("ftz") and of == "f32":
            values = flush(values)
        if rounding is not None:
            values = rounding(values)
        if target.kind == "f":
            values = values.astype(target)
            if ins.has("ftz") and to == "f32":
                values = flush(values)
            if ins.has("sat"):
                values = np.nan_to_num(np.clip(values, 0, 1), nan=0.0)
        elif values.dtype.kind == "f":
            values = saturated(values, target)
        elif ins.has("sat"):
            limits = np.iinfo(target)
            low, high = (
                max(limits.min, np.iinfo(values.dtype).min),
                min(limits.max, np.iinfo(values.dtype).max),
            )
            values = np.clip(values, low, high).astype(target)
        else:
            values = values.astype(target)
        np.copyto(out, values, where=where, casting="unsafe")

    return step


def _narrow(frame: Frame, ins: Instruction, to: str, of: str) -> Step:
    """To and from bfloat16 and tf32. Of a pair the first source is the upper half."""
    wanted = {"tf32": ("rna",), "f32": ()}.get(to, ("rn",))
    if ins.modifiers != wanted or (to != "f32" and of != "f32"):
        raise PtxError("this rounding, or pair of types, is not known here")
    out = frame.destination(ins.operands[0], to)
    sources = frame.sources(ins.operands[1:], of)

    def step(where: Where) -> None:
        if to == "f32":
            result = from_bf16(sources[0])
        elif to == "tf32":
            result = to_tf32(sources[0])
        elif to == "bf16":
            result = to_bf16(sources[0])
        else:
            high, low = (
                to_bf16(x) if to == "bf16x2" else x.astype(np.float16).view(np.uint16) for x in sources
            )
            result = (high.astype(np.uint32) << np.uint32(16)) | low
        np.copyto(out, result, where=where, casting="unsafe")

    return step
