"""Launches in the PTX interpreter: grids, control flow, barriers, arguments."""

from __future__ import annotations

import numpy as np
import pytest
from ptx_snippets import module, run

from tools.ptx.errors import PtxError
from tools.ptx.machine import Machine
from tools.ptx.memory import Sparse

MINE = "mul.wide.u32 %rd21, %r0, 4; add.s64 %rd20, %rd0, %rd21;"
SHARED = ".shared .align 4 .b8 s[1024];"


def test_threads_and_blocks_of_three_dimensions() -> None:
    y = np.zeros((2, 3, 2, 2, 3, 5), np.uint32)  # blocks z, y, x, threads z, y, x
    lines = ["mov.u32 %r1, 0;"]
    for register in ("ctaid.z", "ctaid.y", "ctaid.x", "tid.z", "tid.y", "tid.x"):
        lines.append(f"mov.u32 %r2, %n{register};")
        lines.append(f"mov.u32 %r3, %{register}; mad.lo.s32 %r1, %r1, %r2, %r3;")
    lines.append("ld.param.u64 %rd0, [p]; mad.wide.u32 %rd1, %r1, 4, %rd0; st.global.u32 [%rd1], %r1; ret;")
    Machine(module("\n".join(lines), ".param .u64 p")).launch((2, 3, 2), (5, 3, 2), y, pointers=True)
    np.testing.assert_array_equal(y.reshape(-1), np.arange(y.size))


@pytest.mark.parametrize("threads", [1, 40, 200, 10**6])
def test_any_number_of_blocks_at_a_time(threads: int) -> None:
    y = np.zeros(280, np.uint32)
    text = "mov.u32 %r1, %ctaid.x; mad.lo.u32 %r1, %r1, 40, %r0; mad.wide.u32 %rd9, %r1, 4, %rd0; st.global.u32 [%rd9], %r1;"
    run(text, 40, y, blocks=7, threads=threads)
    np.testing.assert_array_equal(y, np.arange(280))


def test_only_some_blocks() -> None:
    y = np.zeros(100, np.uint32)
    text = "mov.u32 %r1, %ctaid.x; mad.wide.u32 %rd9, %r1, 4, %rd0; st.global.u32 [%rd9], 1;"
    machine = Machine(module(f"ld.param.u64 %rd0, [p]; {text} ret;", ".param .u64 p"))
    machine.launch(2**31 - 1, 1, y, pointers=True, blocks=[3, 99, 50])
    assert np.flatnonzero(y).tolist() == [3, 50, 99]
    machine.launch(2**31 - 1, 1, y, pointers=True, blocks=[])
    with pytest.raises(
        PtxError, match=r"store outside argument 0, by thread \(0, 0, 0\) of block \(2147483646, 0, 0\)"
    ):
        machine.launch(2**31 - 1, 1, y, pointers=True, blocks=[2**31 - 2])


def test_loops_of_different_lengths_meet_again() -> None:
    """Thread t adds up 1 to t; then all threads vote together."""
    y = np.zeros(64, np.uint32)
    text = f"""mov.u32 %r1, 0; mov.u32 %r2, %r0; setp.eq.u32 %p1, %r2, 0; @%p1 bra $done;
    $loop: add.u32 %r1, %r1, %r2; sub.u32 %r2, %r2, 1; setp.ne.u32 %p1, %r2, 0; @%p1 bra $loop;
    $done: vote.sync.ballot.b32 %r3, 1, -1; setp.eq.u32 %p2, %r3, -1; selp.b32 %r1, %r1, 0, %p2;
    {MINE} st.global.u32 [%rd20], %r1;"""
    run(text, 64, y)
    assert y.tolist() == [t * (t + 1) // 2 for t in range(64)]


def test_both_ways_of_a_branch() -> None:
    y = np.zeros(64, np.uint32)
    text = f"""and.b32 %r1, %r0, 1; setp.eq.u32 %p1, %r1, 0; @!%p1 bra $odd; mov.u32 %r2, 7; bra.uni $end;
    $odd: mov.u32 %r2, 9; $end: {MINE} st.global.u32 [%rd20], %r2;"""
    run(text, 64, y)
    assert y.tolist() == [7, 9] * 32


def test_a_uniform_loop_is_counted_once_a_warp() -> None:
    text = "mov.u32 %r1, 0; $loop: fma.rn.f32 %f1, %f1, %f1, %f1; add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 10; @%p1 bra $loop;"
    counters = run(text, 64, count=True)
    assert (counters.fma, counters.opcodes["fma.rn.f32"], counters.opcodes["bra"]) == (640, 20, 20)


def test_a_kernel_may_leave_early_or_end_without_ret() -> None:
    y = np.zeros(64, np.uint32)
    run(f"setp.gt.u32 %p1, %r0, 9; @%p1 exit; {MINE} st.global.u32 [%rd20], 1;", 64, y)
    assert y.sum() == 10
    Machine(module("mov.u32 %r1, 1;")).launch(1, 32)


class TestBarriers:
    def test_deadlock(self) -> None:
        with pytest.raises(
            PtxError, match="deadlock: it waits at a barrier that 4 threads of its block left without"
        ):
            run("setp.lt.u32 %p1, %r0, 4; @%p1 bra $end; bar.sync 0; $end:", 64, blocks=3)

    def test_one_block_of_several_takes_a_barrier_more(self) -> None:
        text = "mov.u32 %r1, %ctaid.x; setp.eq.u32 %p1, %r1, 1; @%p1 bra $end; bar.sync 0; $end: bar.sync 0;"
        run(text, 64, blocks=3)

    def test_different_barriers(self) -> None:
        text = "setp.lt.u32 %p1, %r0, 32; @%p1 bra $other; bar.sync 0; bra $end; $other: bar.sync 0; $end:"
        with pytest.raises(PtxError, match="threads of one block wait at different barriers"):
            run(text, 64)

    def test_other_kinds_are_not_known(self) -> None:
        run("barrier.sync 0;", 40)
        for text in (
            "bar.sync 1;",
            "bar.sync 0, 32;",
            "bar.red.popc.u32 %r1, 0, %p1;",
            "barrier.cta.arrive 0;",
        ):
            with pytest.raises(PtxError, match="is no barrier known here"):
                run(text, 32)
        with pytest.raises(PtxError, match="is no branch known here"):
            run("bra $nowhere;", 32)

    def test_shared_memory_is_passed_on_over_many_steps(self) -> None:
        """A sum of 256 numbers by halves."""
        y = np.zeros(1, np.uint32)
        text = """mov.u32 %r10, s; shl.b32 %r1, %r0, 2; add.u32 %r11, %r10, %r1; st.shared.u32 [%r11], %r0; bar.sync 0;
        mov.u32 %r2, 128;
        $loop: setp.ge.u32 %p1, %r0, %r2; @%p1 bra $skip;
        shl.b32 %r3, %r2, 2; add.u32 %r12, %r11, %r3; ld.shared.u32 %r4, [%r12]; ld.shared.u32 %r5, [%r11];
        add.u32 %r4, %r4, %r5; st.shared.u32 [%r11], %r4;
        $skip: bar.sync 0; shr.u32 %r2, %r2, 1; setp.ne.u32 %p2, %r2, 0; @%p2 bra $loop;
        setp.eq.u32 %p3, %r0, 0; @%p3 st.global.u32 [%rd0], %r4;"""
        run(text, 256, y, arrays=SHARED)
        assert y[0] == 255 * 128
        with pytest.raises(PtxError, match="race in shared memory"):
            run(text.replace("$skip: bar.sync 0;", "$skip:"), 256, y, arrays=SHARED)


def test_dynamic_shared_memory_follows_the_static() -> None:
    y = np.zeros(2, np.uint32)
    text = """mov.u32 %r1, dynamic; mov.u32 %r2, s; sub.u32 %r3, %r1, %r2; st.global.u32 [%rd0], %r3;
    mov.u32 %r4, %dynamic_smem_size; st.global.u32 [%rd0+4], %r4; st.shared.u32 [%r1+60], 1;"""
    arrays = f".extern .shared .align 16 .b8 dynamic[]; {SHARED}"
    run(text, 1, y, arrays=arrays, shared=64)
    assert y.tolist() == [1024, 64]
    with pytest.raises(PtxError, match="store outside shared memory"):
        run(text, 1, y, arrays=arrays, shared=60)


class TestArguments:
    PARAMETERS = ".param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d, .param .u64 e, .param .u64 f, .param .u64 g"

    def test_arrays_as_numba_passes_them(self) -> None:
        text = "ld.param.u64 %rd0, [e]; ld.param.u64 %rd1, [{}]; st.global.u64 [%rd0], %rd1; ret;"
        for name, value in (("a", 0), ("c", 5), ("d", 8), ("f", 5), ("g", 8)):
            x = np.zeros(5, np.uint64)
            Machine(module(text.format(name), self.PARAMETERS)).launch(1, 1, x)
            assert x[0] == value

    def test_sparse_arrays_alike(self) -> None:
        x = Sparse(2**34, np.uint64)
        text = "ld.param.u64 %rd0, [e]; ld.param.u64 %rd1, [f]; st.global.u64 [%rd0], %rd1; ret;"
        Machine(module(text, self.PARAMETERS)).launch(1, 1, x)
        assert x[0] == 2**34
        with pytest.raises(ValueError, match=r"argument 0: expected at most 2\^39 bytes"):
            Machine(module(text, self.PARAMETERS)).launch(1, 1, Sparse(2**37, np.uint64))

    def test_numbers(self) -> None:
        y = np.zeros(2, np.float64)
        text = "ld.param.u64 %rd0, [p]; ld.param.f32 %f1, [f]; cvt.f64.f32 %fd1, %f1; st.global.f64 [%rd0], %fd1;"
        text += "ld.param.u32 %r1, [i]; cvt.rn.f64.s32 %fd1, %r1; st.global.f64 [%rd0+8], %fd1; ret;"
        machine = Machine(module(text, ".param .u64 p, .param .f32 f, .param .u32 i"))
        machine.launch(1, 1, y, 0.1, -3, pointers=True)
        assert y.tolist() == [float(np.float32(0.1)), -3]
        for value in (2**32, -(2**31) - 1, 1.5):
            with pytest.raises(ValueError, match="is no integer of 32 bits, for parameter i"):
                machine.launch(1, 1, y, 0.1, value, pointers=True)
        with pytest.raises(ValueError, match="expected 3 parameters, got 2 from 2 arguments"):
            machine.launch(1, 1, y, 0.1, pointers=True)

    @pytest.mark.parametrize(("grid", "block"), [(0, 32), (1, 0), (1, 1025), (1, (32, 33))])
    def test_launches_that_no_gpu_would_run(self, grid: int, block: int) -> None:
        with pytest.raises(ValueError, match="expected 1 to 1024 threads a block and a block"):
            Machine(module("ret;")).launch(grid, block)


def test_one_machine_runs_many_shapes() -> None:
    machine = Machine(
        module(
            f"ld.param.u64 %rd0, [p]; mov.u32 %r0, %tid.x; {MINE} st.global.u32 [%rd20], %r0; ret;",
            ".param .u64 p",
        )
    )
    for threads in (1, 32, 33, 1000, 1):
        y = np.full(threads, 77, np.uint32)
        machine.launch(1, threads, y, pointers=True)
        np.testing.assert_array_equal(y, np.arange(threads))
