"""What the PTX interpreter finds wrong with accesses to memory, and what it lets through."""

from __future__ import annotations

import numpy as np
import pytest
from ptx_snippets import run

from tools.ptx.errors import PtxError
from tools.ptx.memory import Buffer

SHARED = ".shared .align 16 .b8 s[256];"
# %rd20 = argument 0 + 4 * thread; %r10 = address of s; %r11 = s + 4 * thread.
MINE = "mul.wide.u32 %rd21, %r0, 4; add.s64 %rd20, %rd0, %rd21;"
SLOT = "mov.u32 %r10, s; shl.b32 %r12, %r0, 2; add.u32 %r11, %r10, %r12;"


def words(count: int = 64) -> np.ndarray:
    return np.arange(count, dtype=np.uint32)


@pytest.mark.parametrize(
    ("kind", "size"),
    [("u8", 1), ("u16", 2), ("b32", 4), ("f32", 4), ("v2.b32", 8), ("b64", 8), ("v4.f32", 16)],
)
def test_every_byte_up_to_the_ends_and_no_further(kind: str, size: int) -> None:
    register = {"u8": "%h1", "u16": "%h1", "b32": "%r1", "f32": "%f1", "b64": "%rd9"}.get(kind)
    register = register or {"v2.b32": "{%r1, %r2}", "v4.f32": "{%f1, %f2, %f3, %f4}"}[kind]
    for text in (
        f"ld.global.{kind} {register}, [%rd0+OFFSET];",
        f"st.global.{kind} [%rd0+OFFSET], {register};",
    ):
        x = words(8)
        run(text.replace("OFFSET", "0"), 1, x)
        run(text.replace("OFFSET", str(32 - size)), 1, x)
        for outside in (-size, 32):
            with pytest.raises(
                PtxError, match=r"(load|store) outside argument 0, by thread \(0, 0, 0\) of block"
            ):
                run(text.replace("OFFSET", str(outside)), 1, x)


def test_an_array_ends_where_it_ends_whatever_lies_behind() -> None:
    big = words(8)
    with pytest.raises(PtxError, match="load outside argument 0"):
        run("ld.global.u32 %r1, [%rd0+16];", 1, big[:4])


@pytest.mark.parametrize(
    "text", ["ld.global.b64 %rd9, [%rd0+4];", "st.global.v4.f32 [%rd0+8], {%f1, %f2, %f3, %f4};"]
)
def test_misaligned(text: str) -> None:
    with pytest.raises(PtxError, match=r"misaligned (load of 8|store of 16) bytes in argument 0"):
        run(text, 1, words())


def test_a_slice_is_aligned_as_it_lies() -> None:
    x = words()
    run("ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd0];", 1, x[4:])
    run("ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd0+12];", 1, x[1:])
    with pytest.raises(PtxError, match="misaligned load of 16 bytes"):
        run("ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd0];", 1, x[1:])
    run("ld.global.b64 %rd9, [%rd0+4]; st.global.b64 [%rd0+12], %rd9;", 1, x[1:6])
    assert x[:8].tolist() == [0, 1, 2, 3, 2, 3, 6, 7]


def test_no_address_and_the_wrong_space() -> None:
    with pytest.raises(PtxError, match="load at 0x0, an address of nothing"):
        run("mov.u64 %rd9, 0; ld.global.u32 %r1, [%rd9];", 1)
    with pytest.raises(PtxError, match="load at 0x90000000000, an address of nothing"):
        run("mov.u64 %rd9, 9895604649984; ld.global.u32 %r1, [%rd9];", 1)
    with pytest.raises(PtxError, match="an address in global memory"):
        run("st.shared.u32 [%rd0], 1;", 1, words())
    with pytest.raises(PtxError, match="an address in shared memory"):
        run("mov.u64 %rd9, s; ld.global.u32 %r1, [%rd9];", 1, arrays=SHARED)
    with pytest.raises(PtxError, match="store outside shared memory"):
        run("mov.u32 %r1, s; st.shared.u32 [%r1+256], 1;", 1, arrays=SHARED)


def test_generic_addresses_may_be_of_several_memories() -> None:
    x, y = words(4), np.zeros(4, np.uint32)
    text = f"""{SLOT} {MINE} add.u32 %r1, %r0, 100; st.shared.u32 [%r11], %r1; cvt.u64.u32 %rd22, %r11;
    and.b32 %r2, %r0, 1; setp.eq.u32 %p1, %r2, 0; selp.b64 %rd23, %rd20, %rd22, %p1;
    ld.u32 %r3, [%rd23]; add.s64 %rd24, %rd1, %rd21; st.u32 [%rd24], %r3;"""
    run(text, 4, x, y, arrays=SHARED)
    assert y.tolist() == [0, 101, 2, 103]


def test_stores_of_narrow_types_and_signs() -> None:
    x, y = np.array([200, 3, 255, 128], np.uint8), np.zeros(4, np.int32)
    text = """cvt.u64.u32 %rd8, %r0; add.s64 %rd9, %rd0, %rd8; ld.global.s8 %r1, [%rd9]; shl.b64 %rd8, %rd8, 2;
    add.s64 %rd8, %rd1, %rd8; st.global.u32 [%rd8], %r1; ld.global.u8 %h1, [%rd9]; st.global.u8 [%rd9], %h1;"""
    run(text, 4, x, y)
    assert y.tolist() == x.view(np.int8).tolist()


def test_read_only_arguments() -> None:
    x = words()
    with pytest.raises(PtxError, match="store to x, which is read-only"):
        run("st.global.u32 [%rd0], 1;", 1, Buffer(x, "x", readonly=True))
    x.flags.writeable = False
    with pytest.raises(PtxError, match="store to argument 0, which is read-only"):
        run("st.global.u32 [%rd0], 1;", 1, x)


def test_arguments_that_share_memory() -> None:
    x = words()
    run(f"{MINE} ld.global.u32 %r1, [%rd20]; sub.s64 %rd9, %rd20, %rd0; add.s64 %rd9, %rd9, %rd1; st.global.u32 [%rd9], 7;",
        8, x[:8], x[:8])  # fmt: skip
    assert x[:9].tolist() == [7] * 8 + [8]
    with pytest.raises(PtxError, match="race in argument 0"):
        run("setp.eq.u32 %p1, %r0, 0; @%p1 st.global.u32 [%rd0], 7; ld.global.u32 %r1, [%rd1];", 2, x, x)
    with pytest.raises(ValueError, match="argument 1 overlaps another argument in part"):
        run("", 1, x[:8], x[4:])
    run("", 1, x[:8], x[8:])
    with pytest.raises(ValueError, match="expected a C-contiguous array, got strides"):
        run("", 1, x[::2])


class TestUninitialised:
    def test_shared(self) -> None:
        with pytest.raises(PtxError, match="load of uninitialised shared memory"):
            run(f"{SLOT} ld.shared.u32 %r1, [%r11];", 4, arrays=SHARED)
        run(f"{SLOT} ld.shared.u32 %r1, [%r11];", 4, arrays=SHARED, check=False)

    def test_shared_is_fresh_for_every_block(self) -> None:
        text = f"{SLOT} mov.u32 %r1, %ctaid.x; setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [%r11], 1; ld.shared.u32 %r2, [%r11];"
        run(text, 4, arrays=SHARED, blocks=1)
        for threads in (4, 64):
            with pytest.raises(
                PtxError, match=r"uninitialised shared memory, by thread \(0, 0, 0\) of block \(1, 0, 0\)"
            ):
                run(text, 4, arrays=SHARED, blocks=2, threads=threads)

    def test_global_over_launches(self) -> None:
        x = Buffer(np.zeros(8, np.float32), "scratch", uninitialised=True)
        run(f"{MINE} st.global.f32 [%rd20], 0f3F800000;", 4, x)
        run(f"{MINE} ld.global.f32 %f1, [%rd20];", 4, x)
        with pytest.raises(PtxError, match=r"load of uninitialised scratch, by thread \(4, 0, 0\)"):
            run(f"{MINE} ld.global.f32 %f1, [%rd20];", 5, x)
        assert x.array[:5].tolist() == [1, 1, 1, 1, 0]


class TestRaces:
    """Shared memory: between barriers. Global memory: in a launch, and in a block between barriers."""

    NEIGHBOUR = "xor.b32 %r13, %r12, 4; add.u32 %r13, %r13, %r10; xor.b32 %r14, %r0, 1;"

    def test_write_then_read(self) -> None:
        text = f"{SLOT} {self.NEIGHBOUR} st.shared.u32 [%r11], 1; {{}} ld.shared.u32 %r1, [%r13];"
        run(text.format("bar.sync 0;"), 64, arrays=SHARED)
        with pytest.raises(PtxError, match="race in shared memory: this load and another thread's access"):
            run(text.format(""), 64, arrays=SHARED)
        run(text.format(""), 64, arrays=SHARED, check=False)

    def test_read_then_write(self) -> None:
        begin = f"{SLOT} {self.NEIGHBOUR} st.shared.u32 [%r11], 1; bar.sync 0;"
        text = f"{begin} ld.shared.u32 %r1, [%r13]; {{}} st.shared.u32 [%r11], 2;"
        run(text.format("bar.sync 0;"), 64, arrays=SHARED)
        with pytest.raises(PtxError, match="race in shared memory: this store"):
            run(text.format(""), 64, arrays=SHARED)

    def test_many_readers_then_one_of_them_writes(self) -> None:
        begin = "mov.u32 %r10, s; setp.eq.u32 %p1, %r0, 0; @%p1 st.shared.u32 [%r10], 1; bar.sync 0;"
        text = f"{begin} ld.shared.u32 %r1, [%r10]; {{}} @%p1 st.shared.u32 [%r10], 2;"
        run(text.format("bar.sync 0;"), 64, arrays=SHARED)
        with pytest.raises(PtxError, match="race in shared memory: this store"):
            run(text.format(""), 64, arrays=SHARED)

    def test_two_threads_write_one_cell_at_once(self) -> None:
        with pytest.raises(PtxError, match=r"race in shared memory: this store .* by thread \(1, 0, 0\)"):
            run("mov.u32 %r10, s; st.shared.u32 [%r10], 1;", 2, arrays=SHARED)
        with pytest.raises(PtxError, match="race in argument 0: this store"):
            run("st.global.u32 [%rd0], 1;", 2, words())

    def test_bytes_side_by_side_are_no_race(self) -> None:
        run(
            "mov.u32 %r10, s; add.u32 %r10, %r10, %r0; mov.u16 %h1, 1; st.shared.u8 [%r10], %h1;",
            64,
            arrays=SHARED,
        )
        x = np.zeros(64, np.uint8)
        run(
            "cvt.u64.u32 %rd9, %r0; add.s64 %rd9, %rd9, %rd0; mov.u16 %h1, 1; st.global.u8 [%rd9], %h1;",
            64,
            x,
        )
        assert x.all()

    @pytest.mark.parametrize("threads", [64, 4096])
    def test_blocks_of_one_launch_are_never_ordered(self, threads: int) -> None:
        """Whether the interpreter runs them together or one after the other."""
        block = "mov.u32 %r1, %ctaid.x; setp.eq.u32 %p1, %r1, 0;"
        for text in (
            f"{block} bar.sync 0; {MINE} @%p1 st.global.u32 [%rd20], 1; bar.sync 0; @!%p1 ld.global.u32 %r2, [%rd20];",
            f"{block} bar.sync 0; {MINE} @%p1 ld.global.u32 %r2, [%rd20]; bar.sync 0; @!%p1 st.global.u32 [%rd20], 1;",
            f"{MINE} st.global.u32 [%rd20], 1;",
        ):
            with pytest.raises(PtxError, match=r"race in argument 0: .* of block \(1, 0, 0\)"):
                run(text, 64, words(), blocks=2, threads=threads)

    def test_a_barrier_orders_a_blocks_accesses_to_global_memory(self) -> None:
        text = f"{MINE} st.global.u32 [%rd20], 1; {{}} xor.b32 %r1, %r0, 1; mul.wide.u32 %rd21, %r1, 4; add.s64 %rd21, %rd21, %rd0;"
        text += "ld.global.u32 %r2, [%rd21];"
        run(text.format("bar.sync 0;"), 64, words())
        with pytest.raises(PtxError, match="race in argument 0: this load"):
            run(text.format(""), 64, words())

    def test_launches_are_ordered(self) -> None:
        x = words()
        run(f"{MINE} st.global.u32 [%rd20], 1;", 64, x)
        run("ld.global.u32 %r1, [%rd0];", 64, x)


class TestAtomics:
    def test_counts(self) -> None:
        x = np.array([5, 9], np.uint32)
        run("atom.global.add.u32 %r1, [%rd0], %r0; red.global.max.u32 [%rd0+4], %r0;", 64, x, blocks=2)
        assert x.tolist() == [5 + 2 * sum(range(64)), 63]

    def test_exchange_and_compare(self) -> None:
        x, y = np.array([3], np.int32), np.zeros(1, np.int32)
        run(
            "atom.global.cas.b32 %r1, [%rd0], 3, 8; atom.global.exch.b32 %r2, [%rd0], 4; st.global.u32 [%rd1], %r2;",
            1,
            x,
            y,
        )
        assert (x[0], y[0]) == (4, 8)
        run("atom.global.min.s32 %r1, [%rd0], -2;", 1, x)
        assert x[0] == -2

    def test_in_shared_memory_and_then_read_after_a_barrier(self) -> None:
        y = np.zeros(1, np.uint32)
        text = "mov.u32 %r10, s; setp.eq.u32 %p1, %r0, 0; @%p1 st.shared.u32 [%r10], 0; bar.sync 0;"
        text += "atom.shared.add.u32 %r1, [%r10], 1; {} ld.shared.u32 %r2, [%r10]; @%p1 st.global.u32 [%rd0], %r2;"
        run(text.format("bar.sync 0;"), 64, y, arrays=SHARED)
        assert y[0] == 64
        with pytest.raises(PtxError, match="race in shared memory: this load"):
            run(text.format(""), 64, y, arrays=SHARED)

    def test_they_race_with_plain_accesses(self) -> None:
        for text in (
            "setp.eq.u32 %p1, %r0, 0; @%p1 st.global.u32 [%rd0], 1; red.global.add.u32 [%rd0], 1;",
            "ld.global.u32 %r1, [%rd0]; red.global.add.u32 [%rd0], 1;",
            "red.global.add.u32 [%rd0], 1; ld.global.u32 %r1, [%rd0];",
        ):
            with pytest.raises(PtxError, match="race in argument 0"):
                run(text, 2, words())

    def test_of_floats_are_refused(self) -> None:
        with pytest.raises(PtxError, match="atomics of floats give other sums in other orders"):
            run("red.global.add.f32 [%rd0], %f1;", 1, words())


def test_local_memory_is_each_threads_own() -> None:
    y = words(8) * 0
    text = (
        ".local .align 4 .b8 d[16]; mov.u64 %rd8, d; cvta.local.u64 %rd8, %rd8; st.local.u32 [%rd8+4], %r0;"
    )
    run(f"{text} {MINE} ld.u32 %r1, [%rd8+4]; st.global.u32 [%rd20], %r1;", 8, y)
    assert y.tolist() == list(range(8))
    with pytest.raises(PtxError, match="load outside local memory"):
        run(f"{text} ld.local.u32 %r1, [%rd8+16];", 8)


def test_arrays_of_the_module() -> None:
    y = words(4) * 0
    text = f"{MINE} mov.u64 %rd8, t; add.s64 %rd8, %rd8, %rd21; ld.global.u32 %r1, [%rd8]; st.global.u32 [%rd20], %r1;"
    run(text, 4, y, arrays=".global .align 4 .u32 t[4] = {10, 20, 0x1E, -1};")
    assert y.tolist() == [10, 20, 30, 2**32 - 1]
    with pytest.raises(PtxError, match="store to t, which is read-only"):
        run("mov.u64 %rd8, t; st.global.u32 [%rd8], 1;", 1, arrays=".const .align 4 .b8 t[4] = {1, 2, 3, 4};")
