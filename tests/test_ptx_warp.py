"""Shuffles, votes and barriers of a warp in the PTX interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from ptx_snippets import evaluate, run

from tools.ptx.errors import PtxError

LANES = np.arange(64, dtype=np.uint32)
VALUES = LANES * 10
ADDRESS = "mul.wide.u32 %rd20, %r0, 4; add.s64 %rd20, %rd20, %rd0;"


def source_of(lane: int, mode: str, by: int, width: int = 32) -> int:
    """The lane that CUDA's documentation names, in segments of `width`."""
    first = lane // width * width
    target = {"up": lane - by, "down": lane + by, "bfly": lane ^ by, "idx": first + by % width}[mode]
    return target if first <= target < first + width else lane


@pytest.mark.parametrize("mode", ["up", "down", "bfly", "idx"])
@pytest.mark.parametrize(("width", "by"), [(32, 1), (32, 16), (32, 5), (8, 1), (8, 3), (16, 4)])
def test_shuffles(mode: str, width: int, by: int) -> None:
    clamp = (32 - width) << 8 | (0 if mode == "up" else 31)
    y = evaluate(f"shfl.sync.{mode}.b32 %y|%p1, %a, {by}, {clamp}, -1;", "b32", a=VALUES)
    assert y.tolist() == [
        VALUES[lane // 32 * 32 + source_of(lane % 32, mode, by, width)] for lane in range(64)
    ]


def test_a_shuffle_tells_who_left_the_segment() -> None:
    y = evaluate("shfl.sync.down.b32 %r1|%p1, %a, 4, 31, -1; selp.b32 %y, 1, 0, %p1;", "b32", a=VALUES)
    assert y.tolist() == ([1] * 28 + [0] * 4) * 2


def test_votes() -> None:
    text = "setp.lt.u32 %p1, %a, 30; {}"
    ballot = evaluate(text.format("vote.sync.ballot.b32 %y, %p1, -1;"), "b32", a=VALUES)
    assert ballot.tolist() == [7] * 32 + [0] * 32
    for mode, first, second in (("any", 1, 0), ("all", 0, 0), ("uni", 0, 1)):
        y = evaluate(
            text.format(f"vote.sync.{mode}.pred %p2, %p1, -1; selp.b32 %y, 1, 0, %p2;"), "b32", a=VALUES
        )
        assert y.tolist() == [first] * 32 + [second] * 32
    y = evaluate(text.format("vote.sync.all.pred %p2, !%p1, -1; selp.b32 %y, 1, 0, %p2;"), "b32", a=VALUES)
    assert y.tolist() == [0] * 32 + [1] * 32


def test_lanes_of_half_a_warp() -> None:
    """With the rest of the warp gone elsewhere, or not there at all."""
    y = np.zeros(32, np.uint32)
    text = "setp.ge.u32 %p1, %r0, 16; @%p1 bra $end; activemask.b32 %r1; shfl.sync.bfly.b32 %r2, %r0, 1, 31, 0xffff;"
    text += f"add.u32 %r1, %r1, %r2; {ADDRESS} st.global.u32 [%rd20], %r1; $end:"
    run(text, 32, y)
    assert y.tolist() == [0xFFFF + (lane ^ 1) for lane in range(16)] + [0] * 16
    assert evaluate("vote.sync.ballot.b32 %y, 1, -1;", "b32", a=VALUES[:5]).tolist() == [31] * 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "@%p1 bra $end; shfl.sync.bfly.b32 %r2, %r0, 1, 31, -1; $end:",
            "a lane of the member mask does not take part",
        ),
        (
            "@%p1 bra $end; shfl.sync.bfly.b32 %r2, %r0, 16, 31, 0xffff; $end:",
            "it reads from a lane that does not take",
        ),
        (
            "@%p1 bra $end; vote.sync.any.pred %p2, %p1, -1; $end:",
            "a lane of the member mask does not take part",
        ),
        ("vote.sync.any.pred %p2, %p1, 0xffff;", "a lane executes this that its member mask leaves out"),
        ("@%p1 bra $end; bar.warp.sync -1; $end:", "a lane of the member mask does not take part"),
    ],
)
def test_lanes_that_are_missing(text: str, message: str) -> None:
    with pytest.raises(PtxError, match=message):
        run(f"setp.ge.u32 %p1, %r0, 16; {text}", 32)


SHARED = ".shared .align 4 .b8 s[1024];"
EXCHANGE = """mov.u32 %r10, s; shl.b32 %r1, %r0, 2; add.u32 %r2, %r10, %r1; st.shared.u32 [%r2], %r0; {}
xor.b32 %r3, %r0, {}; shl.b32 %r3, %r3, 2; add.u32 %r3, %r10, %r3; ld.shared.u32 %r4, [%r3];"""


def test_a_barrier_of_a_warp_orders_its_lanes_and_no_others() -> None:
    run(EXCHANGE.format("bar.warp.sync -1;", 1), 64, arrays=SHARED)
    with pytest.raises(PtxError, match="race in shared memory: this load"):
        run(EXCHANGE.format("", 1), 64, arrays=SHARED)
    with pytest.raises(PtxError, match="race in shared memory: this load"):
        run(EXCHANGE.format("bar.warp.sync -1;", 32), 64, arrays=SHARED)
    run(EXCHANGE.format("bar.sync 0;", 32), 64, arrays=SHARED)
