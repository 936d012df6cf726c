"""Shifts, bit fields, permutations, moves, selections and comparisons of the PTX interpreter, against Python's integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ptx_snippets import evaluate

from tools.ptx.errors import PtxError

WORDS = st.lists(st.integers(0, 2**32 - 1), min_size=3, max_size=3).map(
    lambda words: np.array(words, np.uint32)
)
few = settings(max_examples=25, deadline=None)


def u32(*values: int) -> np.ndarray:
    return np.array([value % 2**32 for value in values], np.uint32)


def ints(y: np.ndarray) -> list[int]:
    return [int(value) for value in y]


@pytest.mark.parametrize("by", [0, 1, 31, 32, 33, 200])
def test_shifts_by_as_many_bits_as_there_are_leave_nothing_but_the_sign(by: int) -> None:
    a = u32(1, 0x80000001, 0x7FFFFFFF)
    signed = ints(a.view(np.int32))
    for operand in (str(by), "%b"):
        b = u32(by, by, by)
        assert ints(evaluate(f"shl.b32 %y, %a, {operand};", "b32", a=a, b=b)) == [
            (int(v) << by) % 2**32 for v in a
        ]
        assert ints(evaluate(f"shr.u32 %y, %a, {operand};", "u32", a=a, b=b)) == [int(v) >> by for v in a]
        assert ints(evaluate(f"shr.s32 %y, %a, {operand};", "s32", a=a, b=b)) == [
            (v >> by) % 2**32 for v in signed
        ]


def test_shift_of_64_bits() -> None:
    a = np.array([-5, 2**62], np.int64)
    assert ints(evaluate("shr.s64 %y, %a, 63;", "s64", a=a).view(np.int64)) == [-1, 0]
    assert ints(evaluate("shl.b64 %y, %a, 2;", "b64", a=a)) == [2**64 - 20, 0]


@given(WORDS, st.integers(0, 40))
@few
def test_funnel_shifts(words: np.ndarray, by: int) -> None:
    low, high = words, words[::-1].copy()
    for mode in ("wrap", "clamp"):
        n = by % 32 if mode == "wrap" else min(by, 32)
        both = [(int(h) << 32) | int(v) for h, v in zip(high, low, strict=True)]
        y = evaluate(f"shf.l.{mode}.b32 %y, %a, %b, {by};", "b32", a=low, b=high)
        assert ints(y) == [(v << n) >> 32 & 0xFFFFFFFF for v in both]
        y = evaluate(f"shf.r.{mode}.b32 %y, %a, %b, {by};", "b32", a=low, b=high)
        assert ints(y) == [v >> n & 0xFFFFFFFF for v in both]


def extracted(x: int, start: int, length: int, signed: bool) -> int:
    """The PTX manual's own words for bfe.u32 and bfe.s32, bit after bit."""
    bit = [x >> i & 1 for i in range(32)]
    sign = 0 if not signed or length == 0 else bit[min(start + length - 1, 31)]
    taken = [bit[start + i] if i < length and start + i < 32 else sign for i in range(32)]
    return sum(b << i for i, b in enumerate(taken))


@given(WORDS, st.integers(0, 40), st.integers(0, 40))
@few
def test_bit_fields_are_taken(words: np.ndarray, start: int, length: int) -> None:
    for sign in "us":
        y = evaluate(f"bfe.{sign}32 %y, %a, {start}, {length};", f"{sign}32", a=words)
        assert ints(y) == [extracted(int(w), start, length, sign == "s") for w in words]


@given(WORDS, st.integers(0, 40), st.integers(0, 40))
@few
def test_bit_fields_are_put(words: np.ndarray, start: int, length: int) -> None:
    a, b = words, words[::-1].copy()
    y = evaluate(f"bfi.b32 %y, %a, %b, {start}, {length};", "b32", a=a, b=b)
    mask = (((1 << length) - 1) << start) % 2**32
    assert ints(y) == [(int(q) & ~mask) | ((int(p) << start) & mask) for p, q in zip(a, b, strict=True)]


@given(WORDS, st.integers(0, 0xFFFF))
@few
def test_bytes_are_permuted(words: np.ndarray, selector: int) -> None:
    a, b = words, words[::-1].copy()

    def permuted(p: int, q: int) -> int:
        result = 0
        for i in range(4):
            choice = selector >> 4 * i & 15
            byte = ((q << 32) | p) >> 8 * (choice & 7) & 255
            result |= (255 * (byte >> 7) if choice & 8 else byte) << 8 * i
        return result

    y = evaluate(f"prmt.b32 %y, %a, %b, {selector};", "b32", a=a, b=b)
    assert ints(y) == [permuted(int(p), int(q)) for p, q in zip(a, b, strict=True)]


def test_lop3_by_its_table() -> None:
    a, b, c = u32(0xF0F0F0F0), u32(0xCCCCCCCC), u32(0xAAAAAAAA)
    for table, expected in (
        (0x80, a & b & c),
        (0xFE, a | b | c),
        (0x96, a ^ b ^ c),
        (0xE8, (a & b) | (b & c) | (a & c)),
    ):
        y = evaluate(f"lop3.b32 %y, %a, %b, %c, {table};", "b32", a=a, b=b, c=c)
        np.testing.assert_array_equal(y, expected)


def test_bits_are_counted_and_reversed() -> None:
    a = u32(0, 1, 0x80000000, 0xFFFFFFFF, 0x00F00000)
    assert ints(evaluate("popc.b32 %y, %a;", "u32", a=a)) == [0, 1, 1, 32, 4]
    assert ints(evaluate("clz.b32 %y, %a;", "u32", a=a)) == [32, 31, 0, 0, 8]
    assert ints(evaluate("brev.b32 %y, %a;", "b32", a=a)) == [0, 0x80000000, 1, 0xFFFFFFFF, 0x00000F00]


def test_words_are_joined_and_taken_apart() -> None:
    low, high = u32(1, 2), u32(3, 0x80000000)
    assert ints(evaluate("mov.b64 %y, {%a, %b};", "b64", a=low, b=high)) == [
        (3 << 32) | 1,
        (0x80000000 << 32) | 2,
    ]
    wide = np.array([(5 << 32) | 6], np.uint64)
    assert ints(evaluate("mov.b64 {%r1, %y}, %a;", "b32", a=wide)) == [5]
    assert ints(evaluate("mov.b32 {%h1, %h2}, %a; mov.b32 %y, {%h2, %h1};", "b32", a=u32(0x12345678))) == [
        0x56781234
    ]
    assert ints(evaluate("mov.b32 {_, %h2}, %a; cvt.u32.u16 %y, %h2;", "b32", a=u32(0x12345678))) == [0x1234]


def test_a_float_moves_as_its_bits() -> None:
    assert ints(evaluate("mov.b32 %y, %a;", "b32", a=np.array([1.0], np.float32))) == [0x3F800000]


def test_the_low_bits_of_a_wider_register() -> None:
    a = np.array([(7 << 32) | 9], np.uint64)
    assert ints(evaluate("add.u32 %y, %a, 1;", "u32", a=a)) == [10]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lt.s32", [1, 0, 0, 1]),
        ("lt.u32", [1, 0, 1, 0]),
        ("hs.u32", [0, 1, 0, 1]),
        ("eq.s32", [0, 1, 0, 0]),
        ("ne.s32", [1, 0, 1, 1]),
        ("ge.s32", [0, 1, 1, 0]),
    ],
)
def test_comparisons_of_integers(name: str, expected: list[int]) -> None:
    a, b = u32(1, 5, 3, -2), u32(2, 5, -1, 7)
    assert ints(evaluate(f"setp.{name} %p1, %a, %b; selp.b32 %y, 1, 0, %p1;", "b32", a=a, b=b)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("eq", [0, 1, 0]),
        ("ne", [1, 0, 0]),
        ("lt", [1, 0, 0]),
        ("equ", [0, 1, 1]),
        ("neu", [1, 0, 1]),
        ("geu", [0, 1, 1]),
        ("gt", [0, 0, 0]),
        ("num", [1, 1, 0]),
        ("nan", [0, 0, 1]),
    ],
)
def test_comparisons_of_floats_and_nan(name: str, expected: list[int]) -> None:
    a, b = np.array([1, 2, np.nan], np.float32), np.array([2, 2, 1], np.float32)
    assert (
        ints(evaluate(f"setp.{name}.f32 %p1, %a, %b; selp.b32 %y, 1, 0, %p1;", "b32", a=a, b=b)) == expected
    )


def test_comparisons_are_combined_and_give_their_opposite() -> None:
    a = u32(1, 2, 3)
    text = "setp.gt.u32 %p1, %a, 1; setp.lt.and.u32 %p2|%p3, %a, 3, %p1; {} selp.b32 %y, 1, 0, %p4;"
    assert ints(evaluate(text.format("mov.pred %p4, %p2;"), "b32", a=a)) == [0, 1, 0]
    assert ints(evaluate(text.format("mov.pred %p4, %p3;"), "b32", a=a)) == [0, 0, 1]
    assert ints(evaluate(text.format("setp.eq.or.u32 %p4, %a, 9, !%p1;"), "b32", a=a)) == [1, 0, 0]
    assert ints(evaluate(text.format("xor.pred %p4, %p1, %p2;"), "b32", a=a)) == [0, 0, 1]
    assert ints(evaluate(text.format("not.pred %p4, %p1;"), "b32", a=a)) == [1, 0, 0]


def test_denormals_compare_as_zero_with_ftz() -> None:
    a = np.array([1e-40], np.float32)
    text = "setp.gt{}.f32 %p1, %a, 0f00000000; selp.b32 %y, 1, 0, %p1;"
    assert ints(evaluate(text.format(""), "b32", a=a)) == [1]
    assert ints(evaluate(text.format(".ftz"), "b32", a=a)) == [0]


def test_a_combination_needs_its_operand() -> None:
    with pytest.raises(PtxError, match="expected three operands, or four and how to combine"):
        evaluate("setp.gt.and.u32 %p1, %a, 1;", "b32", a=u32(1))
