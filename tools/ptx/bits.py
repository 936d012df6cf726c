"""Shifts, bit fields, permutations, moves and selections, and comparisons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tools.ptx.arithmetic import flush
from tools.ptx.errors import PtxError
from tools.ptx.frame import Frame, Step, Where
from tools.ptx.parser import DTYPES, Instruction, vector
from tools.ptx.registry import instruction


def _shifted(function: Callable, x: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Shifts by as many bits as there are, or more, leave zeros, or the sign."""
    bits = 8 * x.dtype.itemsize
    within = np.minimum(by, np.uint32(bits - 1)).astype(x.dtype)
    one_more = np.where(by >= bits, 1, 0).astype(x.dtype)
    return function(function(x, within), one_more)


def _shift(frame: Frame, ins: Instruction, function: Callable) -> Step:
    kind = ins.types[-1]
    out = frame.destination(ins.operands[0], kind)
    x = frame.source(ins.operands[1], kind)
    amount = ins.operands[2]
    if amount.isdigit() and int(amount) < 8 * x.dtype.itemsize:
        by = frame.source(amount, kind)
        return lambda where: function(x, by, out=out, where=where)
    by = frame.source(amount, "u32")
    return lambda where: np.copyto(out, _shifted(function, x, by), where=where)


@instruction("shl")
def shl(frame: Frame, ins: Instruction) -> Step:
    return _shift(frame, ins, np.left_shift)


@instruction("shr")
def shr(frame: Frame, ins: Instruction) -> Step:
    return _shift(frame, ins, np.right_shift)


@instruction("shf", "l", "r", "wrap", "clamp")
def shf(frame: Frame, ins: Instruction) -> Step:
    """Funnel shift of the 64 bits high:low: the high word of a left shift, the low word of a right shift."""
    out = frame.destination(ins.operands[0], "b32")
    low, high, by = frame.sources(ins.operands[1:], "b32")

    def step(where: Where) -> None:
        n = (by & np.uint32(31) if ins.has("wrap") else np.minimum(by, np.uint32(32))).astype(np.uint64)
        both = (high.astype(np.uint64) << np.uint64(32)) | low
        result = (both << n) >> np.uint64(32) if ins.has("l") else both >> n
        np.copyto(out, result.astype(np.uint32), where=where)

    return step


@instruction("bfe")
def bfe(frame: Frame, ins: Instruction) -> Step:
    """Extracts `length` bits from bit `start`; signed types repeat the field's top bit, or the word's if the field ends beyond."""
    kind = ins.types[-1]
    out = frame.destination(ins.operands[0], kind)
    x = frame.source(ins.operands[1], kind)
    start, length = frame.sources(ins.operands[2:], "u32")
    bits = 8 * x.dtype.itemsize

    def step(where: Where) -> None:
        first, count = start & np.uint32(255), length & np.uint32(255)
        # Down to bit 0, then up to the top and down again; arithmetic shifts repeat the top bit, as they do in `x`.
        up = (bits - np.clip(count, 1, bits)).astype(x.dtype)
        field = (_shifted(np.right_shift, x, first) << up) >> up
        np.copyto(out, np.where(count == 0, x.dtype.type(0), field), where=where)

    return step


@instruction("bfi")
def bfi(frame: Frame, ins: Instruction) -> Step:
    """bfi f, a, b, start, length: b with the lowest `length` bits of a put at bit `start`."""
    kind = ins.types[-1]
    out = frame.destination(ins.operands[0], kind)
    a, b = frame.sources(ins.operands[1:3], kind)
    start, length = frame.sources(ins.operands[3:], "u32")
    bits = 8 * a.dtype.itemsize

    def step(where: Where) -> None:
        first, count = start & np.uint32(255), length & np.uint32(255)
        ones = ~_shifted(np.left_shift, np.full_like(a, 2**bits - 1), count)
        mask = _shifted(np.left_shift, ones, first)
        np.copyto(out, (b & ~mask) | (_shifted(np.left_shift, a, first) & mask), where=where)

    return step


@instruction("popc")
def popc(frame: Frame, ins: Instruction) -> Step:
    kind = ins.types[-1]
    out, x = frame.destination(ins.operands[0], "u32"), frame.source(ins.operands[1], kind)
    return lambda where: np.copyto(out, _bits_of(x).sum(axis=1), where=where, casting="unsafe")


@instruction("clz")
def clz(frame: Frame, ins: Instruction) -> Step:
    """Zeros above the highest one."""
    kind = ins.types[-1]
    out, x = frame.destination(ins.operands[0], "u32"), frame.source(ins.operands[1], kind)

    def step(where: Where) -> None:
        ones = _bits_of(x)[:, ::-1]
        zeros = np.where(ones.any(axis=1), ones.argmax(axis=1), ones.shape[1])
        np.copyto(out, zeros, where=where, casting="unsafe")

    return step


@instruction("brev")
def brev(frame: Frame, ins: Instruction) -> Step:
    """The bits in reverse order."""
    kind = ins.types[-1]
    out, x = frame.destination(ins.operands[0], kind), frame.source(ins.operands[1], kind)

    def step(where: Where) -> None:
        packed = np.packbits(_bits_of(x)[:, ::-1], axis=1, bitorder="little")
        np.copyto(out, packed.view(x.dtype).reshape(-1), where=where)

    return step


def _bits_of(x: np.ndarray) -> np.ndarray:
    """One row a thread, lowest bit first."""
    return np.unpackbits(
        np.ascontiguousarray(x).view(np.uint8).reshape(x.size, -1), axis=1, bitorder="little"
    )


@instruction("lop3")
def lop3(frame: Frame, ins: Instruction) -> Step:
    """Any function of three bits: bit (4 a + 2 b + c) of the table is the result."""
    out = frame.destination(ins.operands[0], "b32")
    words = frame.sources(ins.operands[1:4], "b32")
    table = int(ins.operands[4], 0)

    def step(where: Where) -> None:
        result = np.zeros_like(words[0])
        for row in range(8):
            if table >> row & 1:
                chosen = [word if row >> (2 - i) & 1 else ~word for i, word in enumerate(words)]
                result |= chosen[0] & chosen[1] & chosen[2]
        np.copyto(out, result, where=where)

    return step


@instruction("prmt")
def prmt(frame: Frame, ins: Instruction) -> Step:
    """Each byte of the result is one of the eight bytes of b:a, or that byte's sign repeated where the selector's bit 3 is set."""
    out = frame.destination(ins.operands[0], "b32")
    a, b, selector = frame.sources(ins.operands[1:], "b32")

    def step(where: Where) -> None:
        both = (b.astype(np.uint64) << np.uint64(32)) | a
        result = np.zeros_like(a)
        for i in range(4):
            choice = selector >> np.uint32(4 * i)
            byte = (both >> (np.uint64(8) * (choice & np.uint32(7)))).astype(np.uint32) & np.uint32(255)
            sign = np.where(byte & np.uint32(128), np.uint32(255), np.uint32(0))
            result |= np.where(choice & np.uint32(8), sign, byte) << np.uint32(8 * i)
        np.copyto(out, result, where=where)

    return step


@instruction("mov")
def mov(frame: Frame, ins: Instruction) -> Step:
    """A copy; or words joined to a wider one, {low, high}; or one taken apart."""
    kind = ins.types[-1]
    dtype = DTYPES[kind]
    target, value = ins.operands
    if target.startswith("{"):
        return _unpack(frame, vector(target), value, kind)
    if value.startswith("{"):
        parts = vector(value)
        part = f"b{8 * dtype.itemsize // len(parts)}"
        out = frame.destination(target, kind)
        sources = frame.sources(parts, part)

        def pack(where: Where) -> None:
            joined = np.stack(sources, axis=1).view(out.dtype).reshape(-1)
            np.copyto(out, joined, where=where)

        return pack
    out, source = frame.destination(target, kind), frame.source(value, kind)
    return lambda where: np.copyto(out, source, where=where)


def _unpack(frame: Frame, targets: tuple[str, ...], value: str, kind: str) -> Step:
    bits = 8 * DTYPES[kind].itemsize // len(targets)
    outs = [frame.destination(target, f"b{bits}") for target in targets]
    source = frame.source(value, f"b{8 * DTYPES[kind].itemsize}")

    def unpack(where: Where) -> None:
        words = np.ascontiguousarray(source).view(f"u{bits // 8}").reshape(-1, len(outs)).copy()
        for i, out in enumerate(outs):
            np.copyto(out, words[:, i], where=where, casting="unsafe")

    return unpack


@instruction("selp")
def selp(frame: Frame, ins: Instruction) -> Step:
    kind = ins.types[-1]
    out = frame.destination(ins.operands[0], kind)
    a, b = frame.sources(ins.operands[1:3], kind)
    chosen = frame.source(ins.operands[3], "pred")
    return lambda where: np.copyto(out, np.where(chosen, a, b), where=where)


COMPARISONS: dict[str, np.ufunc] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
COMBINATIONS: dict[str, np.ufunc] = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


def comparison(name: str, kind: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The function of a setp. Of floats: `ne` is false where an operand is NaN, and `equ`, `neu`, `ltu`... are true there."""
    if kind[0] != "f":
        return COMPARISONS[UNSIGNED.get(name, name)]
    if name in ("num", "nan"):
        return lambda x, y: (np.isnan(x) | np.isnan(y)) == (name == "nan")
    if name == "ne":
        return lambda x, y: (x != y) & ~(np.isnan(x) | np.isnan(y))
    if name == "neu":
        return np.not_equal
    if name in COMPARISONS:
        return COMPARISONS[name]
    compare = COMPARISONS[name[:-1]]
    return lambda x, y: compare(x, y) | np.isnan(x) | np.isnan(y)


@instruction(
    "setp",
    "ftz",
    *COMPARISONS,
    *UNSIGNED,
    "equ",
    "neu",
    "ltu",
    "leu",
    "gtu",
    "geu",
    "num",
    "nan",
    *COMBINATIONS,
)
def setp(frame: Frame, ins: Instruction) -> Step:
    """setp.lt.and p|q, a, b, c: p = (a < b) and c, q = not (a < b) and c."""
    kind = ins.types[-1]
    names = [m for m in ins.modifiers if m != "ftz"]
    compare = comparison(names[0], kind)
    combine = COMBINATIONS[names[1]] if len(names) > 1 else None
    if (combine is None) != (len(ins.operands) == 3):
        raise PtxError("expected three operands, or four and how to combine")
    p, _, q = ins.operands[0].partition("|")
    outs = [frame.destination(name, "pred") for name in (p, q) if name]
    x, y = frame.sources(ins.operands[1:3], kind)
    if combine is None and len(outs) == 1 and isinstance(compare, np.ufunc) and not ins.has("ftz"):
        return lambda where: compare(x, y, out=outs[0], where=where)
    negated = combine is not None and ins.operands[3].startswith("!")
    other = frame.source(ins.operands[3].lstrip("!"), "pred") if combine is not None else None

    def step(where: Where) -> None:
        result = compare(flush(x), flush(y)) if ins.has("ftz") else compare(x, y)
        for out, value in zip(outs, (result, ~result), strict=False):
            if combine is not None and other is not None:
                value = combine(value, ~other if negated else other)
            np.copyto(out, value, where=where)

    return step
