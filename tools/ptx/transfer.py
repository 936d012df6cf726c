"""Loads, stores, atomics and asynchronous copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tools.ptx import tracking
from tools.ptx.access import Accesses
from tools.ptx.errors import PtxError
from tools.ptx.frame import Frame, Step, Where
from tools.ptx.parser import DTYPES, Instruction, vector
from tools.ptx.registry import instruction

SPACES = ("global", "shared", "shared:cta", "local", "param", "const")
VECTORS = {"v2": 2, "v4": 4, "v8": 8}
# How long a value stays in a cache, or who may see it when, changes no value here.
HINTS = (
    "nc",
    "volatile",
    "relaxed",
    "weak",
    "acquire",
    "release",
    "acq_rel",
    "gpu",
    "cta",
    "sys",
    "ca",
    "cg",
    "cs",
    "cv",
    "wb",
)


def space_of(ins: Instruction) -> str | None:
    found = next((m for m in ins.modifiers if m in SPACES), None)
    return {"const": "global", "shared:cta": "shared"}.get(found or "", found)


def _width(ins: Instruction) -> int:
    return next((VECTORS[m] for m in ins.modifiers if m in VECTORS), 1)


def _unsigned(values: np.ndarray) -> np.ndarray:
    return values.view(f"u{values.dtype.itemsize}")


@instruction("ld", *SPACES, *VECTORS, *HINTS)
def ld(frame: Frame, ins: Instruction) -> Step:
    """Of narrow types into wider registers: extended by zeros, or by the sign for s8, s16 and s32."""
    kind = ins.types[-1]
    space = space_of(ins)
    if space == "param":
        return _ld_param(frame, ins, kind)
    targets = vector(ins.operands[0])
    if len(targets) != _width(ins):
        raise PtxError(f"expected {_width(ins)} registers")
    outs = [frame.destination(target, kind) for target in targets]
    address = frame.address(ins.operands[1])
    dtype = DTYPES[kind]
    size = dtype.itemsize
    accesses = Accesses(frame, ins, "load", space, size * len(outs))
    direct = outs[0].dtype.itemsize == size
    staging = np.zeros(frame.count, dtype)

    def step(where: Where) -> None:
        for region, offset, active in accesses.resolve(address()):
            data = region.view(dtype)
            for j, out in enumerate(outs):
                place = offset + j * size if j else offset
                if direct:
                    tracking.gather(data, place, active, _unsigned(out))
                else:
                    tracking.gather(data, place, active, _unsigned(staging))
                    np.copyto(out, staging, where=active, casting="unsafe")

    return step


def _ld_param(frame: Frame, ins: Instruction, kind: str) -> Step:
    name = ins.operands[1].strip("[] ")
    if name not in frame.kernel.parameters:
        raise PtxError(f"`{name}` is no parameter")
    out = frame.destination(ins.operands[0], kind)
    if DTYPES[frame.kernel.parameters[name]].itemsize != DTYPES[kind].itemsize:
        raise PtxError(f"parameter of type {frame.kernel.parameters[name]} is read as {kind}")
    return lambda where: np.copyto(
        out, frame.parameters[name].view(DTYPES[kind]), where=where, casting="unsafe"
    )


@instruction("st", *SPACES, *VECTORS, *HINTS)
def st(frame: Frame, ins: Instruction) -> Step:
    kind = ins.types[-1]
    sources = frame.sources(vector(ins.operands[1]), kind)
    if len(sources) != _width(ins):
        raise PtxError(f"expected {_width(ins)} registers")
    address = frame.address(ins.operands[0])
    dtype = DTYPES[kind]
    size = dtype.itemsize
    accesses = Accesses(frame, ins, "store", space_of(ins), size * len(sources))

    def step(where: Where) -> None:
        for region, offset, active in accesses.resolve(address()):
            data = region.view(dtype)
            for j, source in enumerate(sources):
                place = offset + j * size if j else offset
                tracking.scatter(data, place, active, _unsigned(np.ascontiguousarray(source)))

    return step


# new = f(old, operand, operand of a cas)
UPDATES: dict[str, Callable] = {
    "add": lambda old, b, c: old + b,
    "min": lambda old, b, c: min(old, b),
    "max": lambda old, b, c: max(old, b),
    "and": lambda old, b, c: old & b,
    "or": lambda old, b, c: old | b,
    "xor": lambda old, b, c: old ^ b,
    "exch": lambda old, b, c: b,
    "cas": lambda old, b, c: c if old == b else old,
}


@instruction("atom", *SPACES, *HINTS, *UPDATES)
def atom(frame: Frame, ins: Instruction) -> Step:
    return _atomic(frame, ins, ins.operands)


@instruction("red", *SPACES, *HINTS, *UPDATES)
def red(frame: Frame, ins: Instruction) -> Step:
    return _atomic(frame, ins, ("_", *ins.operands))


def _atomic(frame: Frame, ins: Instruction, operands: tuple[str, ...]) -> Step:
    """Thread after thread. Of integers only: sums of floats would depend on that order."""
    kind = ins.types[-1]
    dtype = DTYPES[kind]
    if dtype.kind == "f":
        raise PtxError("atomics of floats give other sums in other orders: they are not known here")
    update = next(UPDATES[m] for m in ins.modifiers if m in UPDATES)
    out = frame.destination(operands[0], kind)
    address = frame.address(operands[1])
    values = frame.source(operands[2], kind)
    others = frame.source(operands[3], kind) if len(operands) > 3 else values
    accesses = Accesses(frame, ins, "atomic", space_of(ins), dtype.itemsize)

    def step(where: Where) -> None:
        for region, offset, active in accesses.resolve(address()):
            data = region.data.view(dtype)
            for t in np.flatnonzero(active):
                place = offset[t] // dtype.itemsize
                old = data[place]
                data[place] = update(old, values[t], others[t])
                out[t] = old

    return step


@dataclass(slots=True)
class Copy:
    """A cp.async that has not been waited for, of the threads that `waiting` names."""

    accesses: Accesses
    waiting: np.ndarray
    group: np.ndarray
    offset: np.ndarray
    values: np.ndarray


@instruction(
    "cp", "async", "ca", "cg", "shared", "shared:cta", "global", "L2:64B", "L2:128B", "L2:256B",
    "commit_group", "wait_group", "wait_all",
)  # fmt: skip
def cp_async(frame: Frame, ins: Instruction) -> Step:
    """cp.async [shared], [global], size, source size: bytes beyond the source size are zeros.

    The bytes arrive when the thread waits for the group that they were committed to, not earlier: until then they are
    poison, and who touches them is told.
    """
    if ins.has("commit_group"):
        return lambda where: _commit(frame)
    if ins.has("wait_group"):
        newest = int(ins.operands[0])
        return lambda where: _arrive(frame, newest)
    if ins.has("wait_all"):
        return lambda where: _arrive(frame, None)
    size = int(ins.operands[2])
    if size not in ((16,) if ins.has("cg") else (4, 8, 16)):
        raise PtxError(f"cp.async of {size} bytes")
    target, origin = frame.address(ins.operands[0]), frame.address(ins.operands[1])
    wanted = (
        frame.source(ins.operands[3], "u32")
        if len(ins.operands) > 3
        else np.full(frame.count, size, np.uint32)
    )
    loads = Accesses(frame, ins, "load", "global", size)
    stores = Accesses(frame, ins, "store", "shared", size)

    def step(where: Where) -> None:
        everyone = frame.active
        values = np.zeros((frame.count, size), np.uint8)
        count = np.minimum(wanted, np.uint32(size)).astype(np.int64)
        address = origin()
        for bytes_read in np.unique(count[everyone]):
            if bytes_read == 0:
                continue
            frame.active = everyone & (count == bytes_read)
            for region, offset, active in loads.resolve(address, int(bytes_read)):
                tracking.copy_out(region.data, offset, active, count, values)
        frame.active = everyone
        for region, offset, active in stores.resolve(target()):
            poison = np.full_like(values, 0xFF)
            tracking.copy_in(region.data, offset, active, poison)
            tracking.mark(offset, active, size, frame.cell, frame.in_flight, True)
            frame.copies.append(Copy(stores, active.copy(), frame.copy_group.copy(), offset.copy(), values))

    return step


def _commit(frame: Frame) -> None:
    frame.copy_group[frame.active] += 1


def _arrive(frame: Frame, newest: int | None) -> None:
    """Copies land that the active threads wait for: all, or those of all but the `newest` groups committed."""
    for copy in frame.copies:
        landing = copy.waiting & frame.active
        if newest is not None:
            landing &= copy.group < frame.copy_group - newest
        if not landing.any():
            continue
        size = copy.values.shape[1]
        tracking.copy_in(frame.shared.data, copy.offset, landing, copy.values)
        tracking.mark(copy.offset, landing, size, frame.cell, frame.in_flight, False)
        copy.accesses.check(frame.shared, copy.offset, landing, size)
        copy.waiting &= ~landing
    frame.copies = [copy for copy in frame.copies if copy.waiting.any()]
