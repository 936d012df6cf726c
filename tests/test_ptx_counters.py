"""Counters of the PTX interpreter on accesses whose cost is known by hand, and against a slow count of the same definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ptx_snippets import run

from tools.ptx import counters
from tools.ptx.counters import Access, Counters, total

SHARED = ".shared .align 16 .b8 s[32768];"


def counted(text: str, threads: int, *args: np.ndarray, blocks: int = 1) -> Counters:
    result = run(text, threads, *args, arrays=SHARED, blocks=blocks, count=True, check=False)
    assert isinstance(result, Counters)
    return result


def global_load(text: str, threads: int, x: np.ndarray) -> Access:
    return total(counted(text, threads, x).global_load)


@pytest.mark.parametrize(("stride", "sectors"), [(4, 4), (8, 8), (0, 1), (32, 32), (12, 12), (64, 32)])
def test_sectors_of_a_warp(stride: int, sectors: int) -> None:
    x = np.zeros(1024, np.float32)
    load = global_load(f"mad.wide.u32 %rd9, %r0, {stride}, %rd0; ld.global.f32 %f1, [%rd9];", 32, x)
    assert load == Access(requests=1, bytes=128, passes=sectors, fewest=1 if stride == 0 else 4)


def test_wide_loads_and_a_misaligned_start() -> None:
    x = np.zeros(1024, np.float32)
    text = "mad.wide.u32 %rd9, %r0, 16, %rd0; ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd9];"
    assert global_load(text, 64, x) == Access(requests=2, bytes=1024, passes=32, fewest=32)
    text = "mad.wide.u32 %rd9, %r0, 4, %rd0; ld.global.f32 %f1, [%rd9];"
    assert global_load(text, 32, x[1:]) == Access(requests=1, bytes=128, passes=5, fewest=4)


def test_only_active_lanes_count() -> None:
    x = np.zeros(64, np.float32)
    text = "mad.wide.u32 %rd9, %r0, 4, %rd0; setp.lt.u32 %p1, %r0, 3; @%p1 st.global.f32 [%rd9], %f1;"
    result = counted(text, 64, x, blocks=1)
    assert total(result.global_store) == Access(requests=1, bytes=12, passes=1, fewest=1)
    assert (result.bytes_loaded, result.bytes_stored) == (0, 12)
    assert total(result.global_store).ratio == total(result.global_load).ratio == 1.0


@pytest.mark.parametrize(
    ("stride", "passes"), [(4, 1), (8, 2), (12, 1), (128, 32), (132, 1), (0, 1), (64, 16)]
)
def test_banks_of_single_words(stride: int, passes: int) -> None:
    text = f"mov.u32 %r10, s; mad.lo.u32 %r11, %r0, {stride}, %r10; ld.shared.f32 %f1, [%r11];"
    result = counted(text, 32)
    assert total(result.shared_load) == Access(requests=1, bytes=128, passes=passes, fewest=1)
    assert result.bank_conflicts == passes - 1


@pytest.mark.parametrize(
    ("kind", "registers", "size", "fewest"),
    [("v2.f32", "{%f1, %f2}", 8, 2), ("v4.f32", "{%f1, %f2, %f3, %f4}", 16, 4), ("b64", "%rd9", 8, 2)],
)
def test_banks_of_wide_accesses(kind: str, registers: str, size: int, fewest: int) -> None:
    """Side by side there are no conflicts; two rows of 128 bytes apart, every lane of a part hits the same banks."""
    text = f"mov.u32 %r10, s; mad.lo.u32 %r11, %r0, STRIDE, %r10; st.shared.{kind} [%r11], {registers};"
    store = total(counted(text.replace("STRIDE", str(size)), 32).shared_store)
    assert store == Access(requests=1, bytes=32 * size, passes=fewest, fewest=fewest)
    store = total(counted(text.replace("STRIDE", "128"), 32).shared_store)
    assert store == Access(requests=1, bytes=32 * size, passes=32, fewest=fewest)


def test_halves_of_one_word_do_not_conflict() -> None:
    text = "mov.u32 %r10, s; mad.lo.u32 %r11, %r0, 2, %r10; ld.shared.u16 %h1, [%r11];"
    assert total(counted(text, 32).shared_load) == Access(requests=1, bytes=64, passes=1, fewest=1)


@pytest.mark.parametrize(("stride", "passes"), [(16, 4), (128, 32), (144, 4), (64, 16), (80, 4)])
def test_rows_of_matrices(stride: int, passes: int) -> None:
    """Eight rows make a matrix: side by side, or 16 bytes of padding apart, they take one pass."""
    text = f"mov.u32 %r10, s; mad.lo.u32 %r11, %r0, {stride}, %r10;"
    text += "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%r11];"
    assert total(counted(text, 32).shared_load) == Access(requests=1, bytes=512, passes=passes, fewest=4)


def test_asynchronous_copies_load_and_store() -> None:
    x = np.zeros(128, np.float32)
    text = "mov.u32 %r10, s; shl.b32 %r11, %r0, 4; cvt.u64.u32 %rd8, %r11; add.s64 %rd9, %rd0, %rd8; add.u32 %r11, %r10, %r11;"
    result = counted(f"{text} cp.async.cg.shared.global [%r11], [%rd9], 16; cp.async.wait_all;", 32, x)
    assert total(result.global_load) == Access(1, 512, 16, 16)
    assert total(result.shared_store) == Access(1, 512, 4, 4)
    result = counted(f"{text} cp.async.cg.shared.global [%r11], [%rd9], 16, 0; cp.async.wait_all;", 32, x)
    assert total(result.global_load) == Access()


def test_multiply_adds_and_instructions() -> None:
    text = "setp.lt.u32 %p1, %r0, 40; @!%p1 bra $end; fma.rn.f32 %f1, %f2, %f3, %f1; $end: fma.rn.f64 %fd1, %fd1, %fd1, %fd1;"
    result = counted(text, 64, blocks=3)
    assert result.fma == 3 * (40 + 64)
    assert result.opcodes["fma.rn.f32"] == 3 * 2
    assert result.opcodes["bra"] == 3 * 2
    result = counted("setp.lt.u32 %p1, %r0, 10; @%p1 fma.rn.f32 %f1, %f2, %f3, %f1;", 64)
    assert (result.fma, result.opcodes["fma.rn.f32"]) == (10, 1)
    mma = "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
    mma += " {%f5, %f6, %f7, %f8}, {%r1, %r2, %r3, %r4}, {%r5, %r6}, {%f1, %f2, %f3, %f4};"
    result = counted(mma, 64)
    assert (result.fma, result.mma) == (0, 2 * 16 * 8 * 16)


def test_instructions_are_told_apart() -> None:
    """A hot loop's conflicts from the epilogue's."""
    text = "mov.u32 %r10, s; shl.b32 %r11, %r0, 7; add.u32 %r11, %r11, %r10; shl.b32 %r12, %r0, 2; add.u32 %r12, %r12, %r10;"
    result = counted(f"{text} st.shared.f32 [%r12], %f1; st.shared.f32 [%r11], %f1;", 32)
    good, bad = sorted(result.shared_store)
    assert total(result.shared_store, [good]).conflicts == 0
    assert total(result.shared_store, [bad]).conflicts == 31
    assert total(result.shared_store, range(1000)).conflicts == 31


def test_launches_add_up() -> None:
    x = np.zeros(64, np.float32)
    text = "mad.wide.u32 %rd9, %r0, 4, %rd0; st.global.f32 [%rd9], %f1; fma.rn.f32 %f1, %f1, %f1, %f1;"
    one = counted(text, 32, x)
    both = one + counted(text, 64, x)
    assert both.fma == 96
    assert total(both.global_store) == Access(3, 384, 12, 12)
    assert both.opcodes["st.global.f32"] == 3
    assert total(one.global_store).requests == 1
    assert run(text, 32, x) is None


ADDRESSES = st.lists(st.integers(0, 60), min_size=64, max_size=64)
ACTIVE = st.lists(st.booleans(), min_size=64, max_size=64)


@given(ADDRESSES, ACTIVE, st.sampled_from([1, 2, 4, 8, 16]))
@settings(max_examples=60, deadline=None)
def test_against_a_slow_count(places: list[int], active: list[bool], item: int) -> None:
    address = np.array(places, np.int64) * item
    expected_global, expected_shared = Access(), Access()
    for warp in (range(32), range(32, 64)):
        lanes = [t for t in warp if active[t]]
        asked = {b for t in lanes for b in range(address[t], address[t] + item)}
        expected_global += Access(
            bool(lanes), len(lanes) * item, len({b // 32 for b in asked}), -(-len(asked) // 32)
        )
        size = 32 // max(1, item // 4)
        for part in range(warp.start, warp.stop, size):
            words = {
                b // 4 for t in lanes if part <= t < part + size for b in range(address[t], address[t] + item)
            }
            banks = [len([w for w in words if w % 32 == bank]) for bank in range(32)]
            expected_shared += Access(0, 0, max(banks), bool(words))
        expected_shared += Access(bool(lanes), len(lanes) * item)
    mask = np.array(active)
    assert counters.global_access(address, mask, item) == expected_global
    assert counters.shared_access(address, mask, item) == expected_shared
