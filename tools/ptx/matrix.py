"""Tensor cores: ldmatrix and mma.sync. How the elements of a matrix lie in the lanes of a warp is the PTX manual's,
"Matrix Fragments for mma.m16n8k8" and its neighbours. Lane l is group l // 4, and l % 4 within it.
"""

from __future__ import annotations

import numpy as np

from tools.ptx import counters, tracking
from tools.ptx.access import Accesses
from tools.ptx.convert import from_bf16
from tools.ptx.counters import WARP
from tools.ptx.errors import PtxError
from tools.ptx.frame import Frame, Step, Where
from tools.ptx.parser import Instruction, vector
from tools.ptx.registry import instruction

GROUP, IN_GROUP = np.arange(WARP) // 4, np.arange(WARP) % 4
SPLIT_K = ("m16n8k16", "m16n8k8")


class MatrixRows(Accesses):
    """Loads of rows of 16 bytes, which conflict with those of their own matrix only."""

    def count_shared(self, offset: np.ndarray, active: np.ndarray) -> None:
        if self.frame.counters is not None:
            self.frame.counters.add("shared_load", self.ins.number, counters.matrix_rows(offset, active))


def whole_warps(frame: Frame, ins: Instruction) -> np.ndarray:
    """Which warps execute an instruction that all 32 lanes have to execute together."""
    lanes = np.count_nonzero(frame.warps(frame.active), axis=1)
    if ((lanes > 0) & (lanes < WARP)).any():
        raise frame.fail(ins, "only a part of a warp takes part", int(frame.active.argmax()))
    return lanes == WARP


@instruction("ldmatrix", "sync", "aligned", "m8n8", "x1", "x2", "x4", "trans", "shared", "shared:cta")
def ldmatrix(frame: Frame, ins: Instruction) -> Step:
    """Matrix i of 8 x 8 halves: lane 8 i + r has the address of row r; lane l gets elements 2 (l % 4) and the next of row l // 4.

    With .trans it is the transposed matrix that is distributed.
    """
    outs = [frame.destination(target, "b32") for target in vector(ins.operands[0])]
    address = frame.address(ins.operands[1])
    number = next(int(m[1]) for m in ins.modifiers if m in ("x1", "x2", "x4"))
    if len(outs) != number:
        raise PtxError(f"expected {number} registers")
    accesses = MatrixRows(frame, ins, "load", "shared", 16)
    gives_rows = np.tile(np.arange(WARP) < 8 * number, frame.count // WARP)
    size = np.full(frame.count, 16)

    def step(where: Where) -> None:
        whole = whole_warps(frame, ins)
        everyone = frame.active
        rows = np.zeros((frame.count, 16), np.uint8)
        frame.active = everyone & gives_rows
        for region, offset, active in accesses.resolve(address()):
            tracking.copy_out(region.data, offset, active, size, rows)
        frame.active = everyone
        halves = rows.view(np.uint16).reshape(-1, 4, 8, 8)  # warp, matrix, row, column
        if ins.has("trans"):
            halves = halves.transpose(0, 1, 3, 2)
        words = np.ascontiguousarray(halves).view(np.uint32).reshape(-1, 4, WARP)
        for i, out in enumerate(outs):
            frame.warps(out)[whole] = words[whole, i]

    return step


def _elements(registers: list[np.ndarray], kind: str) -> np.ndarray:
    """(warps, lanes, registers, elements of one register) as float64, so that products are exact."""
    words = np.stack(registers, axis=1).reshape(-1, WARP, len(registers))
    if kind == "tf32":  # the lowest 13 bits are not looked at
        return (words & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)[..., None]
    halves = words[..., None].view(np.uint16)
    return (from_bf16(halves) if kind == "bf16" else halves.view(np.float16)).astype(np.float64)


@instruction("mma", "sync", "aligned", *SPLIT_K, "row", "col")
def mma(frame: Frame, ins: Instruction) -> Step:
    """D = A B + C: A 16 x k, B k x 8, C and D 16 x 8 of float32. Products and sums are of float64, rounded once at the end.

    With e elements a register (2 halves, or 1 of tf32), register i of A holds row group + 8 (i % 2), columns from
    e (in_group + 4 (i // 2)); register i of B rows from e (in_group + 4 i) of column group; register i of C and D row
    group + 8 (i // 2), column 2 in_group + i % 2.
    """
    shape = next(m for m in ins.modifiers if m in SPLIT_K)
    k = int(shape.rpartition("k")[2])
    to, kind, kind_b, of = ins.types
    each = 1 if kind == "tf32" else 2
    if to != "f32" or of != "f32" or kind != kind_b or kind not in ("f16", "bf16", "tf32"):
        raise PtxError("expected f32 += f16 * f16, bf16 * bf16 or tf32 * tf32")
    outs = [frame.destination(target, "f32") for target in vector(ins.operands[0])]
    a, b = (frame.sources(vector(operand), "b32") for operand in ins.operands[1:3])
    c = frame.sources(vector(ins.operands[3]), "f32")
    if (2 * each * len(a), 4 * each * len(b), len(c), len(outs)) != (k, k, 4, 4):
        raise PtxError(f"{len(a)} + {len(b)} registers do not hold the matrices of {shape}")

    def step(where: Where) -> None:
        whole = whole_warps(frame, ins)
        warps = len(whole)
        left, right = np.zeros((warps, 16, k)), np.zeros((warps, k, 8))
        of_a, of_b = _elements(a, kind), _elements(b, kind)
        for e in range(each):
            for i in range(len(a)):
                left[:, GROUP + 8 * (i % 2), each * (IN_GROUP + 4 * (i // 2)) + e] = of_a[:, :, i, e]
            for i in range(len(b)):
                right[:, each * (IN_GROUP + 4 * i) + e, GROUP] = of_b[:, :, i, e]
        product = left @ right
        for i in range(4):
            term = product[:, GROUP + 8 * (i // 2), 2 * IN_GROUP + i % 2]
            np.copyto(outs[i], (term.reshape(-1) + c[i]).astype(np.float32), where=where)
        if frame.counters is not None:
            frame.counters.mma += int(whole.sum()) * 16 * 8 * k

    return step
