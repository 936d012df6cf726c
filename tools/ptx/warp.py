"""Instructions of a warp: exchange between lanes, votes. A lane that reads from one that does not take part is an error."""

from __future__ import annotations

import numpy as np

from tools.ptx.counters import WARP
from tools.ptx.frame import Frame, Step, Where
from tools.ptx.parser import Instruction
from tools.ptx.registry import instruction

LANE = np.arange(WARP)


def _members(frame: Frame, ins: Instruction, mask: np.ndarray) -> None:
    """Every lane that a member mask names, and that is still running, has to execute the instruction together."""
    named = (mask >> np.tile(LANE, frame.count // WARP).astype(np.uint32)) & np.uint32(1)
    left_out = np.flatnonzero(frame.active & (named == 0))
    if left_out.size:
        raise frame.fail(ins, "a lane executes this that its member mask leaves out", int(left_out[0]))
    active = frame.warps(frame.active)
    mask_of_warp = np.where(active, frame.warps(mask), 0).max(axis=1)
    wanted = (mask_of_warp[:, None] >> LANE.astype(np.uint32)) & 1
    here = np.repeat(active.any(axis=1), WARP)
    absent = np.flatnonzero((wanted == 1).reshape(-1) & here & frame.alive & ~frame.active)
    if absent.size:
        raise frame.fail(ins, "a lane of the member mask does not take part", int(absent[0]))


@instruction("shfl", "sync", "up", "down", "bfly", "idx")
def shfl(frame: Frame, ins: Instruction) -> Step:
    """shfl.sync d|p, a, b, c, members: d = a of lane j(b); the lane's own where j leaves its segment, and p is false."""
    target, _, predicate = ins.operands[0].partition("|")
    out = frame.destination(target, "b32")
    found = frame.destination(predicate, "pred") if predicate else None
    values, by, limits, members = frame.sources(ins.operands[1:5], "b32")
    mode = next(m for m in ins.modifiers if m != "sync")

    def step(where: Where) -> None:
        _members(frame, ins, members)
        b = frame.warps(by).astype(np.int64) & 31
        c = frame.warps(limits).astype(np.int64)
        segment, clamp = (c >> 8) & 31, c & 31
        highest = (LANE & segment) | (clamp & ~segment)
        lane = {"bfly": LANE ^ b, "up": LANE - b, "down": LANE + b, "idx": (LANE & segment) | (b & ~segment)}[
            mode
        ]
        inside = lane >= highest if mode == "up" else lane <= highest
        lane = np.where(inside, lane, LANE)
        takes_part = np.take_along_axis(frame.warps(frame.active), lane, axis=1)
        bad = frame.warps(frame.active) & ~takes_part
        if bad.any():
            raise frame.fail(
                ins, "it reads from a lane that does not take part", int(bad.reshape(-1).argmax())
            )
        np.copyto(out, np.take_along_axis(frame.warps(values), lane, axis=1).reshape(-1), where=where)
        if found is not None:
            np.copyto(found, inside.reshape(-1), where=where)

    return step


@instruction("vote", "sync", "ballot", "any", "all", "uni")
def vote(frame: Frame, ins: Instruction) -> Step:
    mode = next(m for m in ins.modifiers if m != "sync")
    out = frame.destination(ins.operands[0], "b32" if mode == "ballot" else "pred")
    negated = ins.operands[1].startswith("!")
    predicate = frame.source(ins.operands[1].lstrip("!"), "pred")
    members = frame.source(ins.operands[2], "b32")

    def step(where: Where) -> None:
        _members(frame, ins, members)
        active = frame.warps(frame.active)
        yes = frame.warps(predicate) != negated
        some, all_of = (yes & active).any(axis=1), (yes | ~active).all(axis=1)
        if mode == "ballot":
            result = ((yes & active).astype(np.uint32) << LANE.astype(np.uint32)).sum(axis=1, dtype=np.uint32)
        else:
            result = {"any": some, "all": all_of, "uni": all_of | ~some}[mode]
        np.copyto(out, np.repeat(result, WARP), where=where)

    return step


@instruction("activemask")
def activemask(frame: Frame, ins: Instruction) -> Step:
    out = frame.destination(ins.operands[0], "b32")

    def step(where: Where) -> None:
        lanes = frame.warps(frame.active).astype(np.uint32) << LANE.astype(np.uint32)
        np.copyto(out, np.repeat(lanes.sum(axis=1, dtype=np.uint32), WARP), where=where)

    return step


@instruction("bar", "warp", "sync")
def warp_barrier(frame: Frame, ins: Instruction) -> Step:
    """bar.warp.sync; barriers of a block are the machine's."""
    members = frame.source(ins.operands[0], "b32")

    def step(where: Where) -> None:
        _members(frame, ins, members)
        frame.time[frame.active] += 1

    return step


@instruction("membar", "gl", "cta", "sys")
@instruction("fence", "acq_rel", "sc", "gpu", "cta", "sys", "gl", "proxy", "async")
def fence(frame: Frame, ins: Instruction) -> Step:
    """Orders nothing here: threads of different blocks that need it race, as far as this interpreter can tell."""
    return lambda where: None
