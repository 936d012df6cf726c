"""cvt of the PTX interpreter against NumPy, and bfloat16 and tf32 against their definition."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from ptx_snippets import evaluate

from tools.ptx.convert import from_bf16, to_bf16, to_tf32
from tools.ptx.errors import PtxError

FLOATS = np.array([0.5, -0.5, 1.5, 2.5, -2.7, 3e9, -3e9, 1e20, -1e20, np.nan, np.inf], np.float32)


@pytest.mark.parametrize(
    ("mode", "function"), [("rzi", np.trunc), ("rni", np.rint), ("rmi", np.floor), ("rpi", np.ceil)]
)
def test_floats_become_integers_that_saturate(mode: str, function) -> None:
    for kind, limits in (
        ("s32", np.iinfo(np.int32)),
        ("u32", np.iinfo(np.uint32)),
        ("s64", np.iinfo(np.int64)),
    ):
        y = evaluate(f"cvt.{mode}.{kind}.f32 %y, %a;", kind, a=FLOATS).view(limits.dtype)
        for got, x in zip(y, FLOATS, strict=True):
            if np.isnan(x):
                assert got == 0
            else:
                whole = float(function(x))
                assert int(got) == int(max(limits.min, min(limits.max, whole)))


def test_floats_become_whole_floats() -> None:
    np.testing.assert_array_equal(evaluate("cvt.rni.f32.f32 %y, %a;", "f32", a=FLOATS), np.rint(FLOATS))


def test_integers_become_floats() -> None:
    a = np.array([1, -1, 2**24 + 1, 2**31 - 1], np.int32)
    np.testing.assert_array_equal(evaluate("cvt.rn.f32.s32 %y, %a;", "f32", a=a), a.astype(np.float32))
    np.testing.assert_array_equal(
        evaluate("cvt.rn.f32.u32 %y, %a;", "f32", a=a), a.view(np.uint32).astype(np.float32)
    )
    np.testing.assert_array_equal(evaluate("cvt.rn.f64.s32 %y, %a;", "f64", a=a), a.astype(np.float64))


def test_floats_change_their_width() -> None:
    a = np.array([1 / 3, 1e300, -2.5])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(evaluate("cvt.rn.f32.f64 %y, %a;", "f32", a=a), a.astype(np.float32))
    b = np.array([1 / 3, -2.5], np.float32)
    np.testing.assert_array_equal(evaluate("cvt.f64.f32 %y, %a;", "f64", a=b), b.astype(np.float64))
    half = evaluate("cvt.rn.f16.f32 %h1, %a; cvt.f32.f16 %y, %h1;", "f32", a=b)
    np.testing.assert_array_equal(half, b.astype(np.float16).astype(np.float32))


def test_sat_and_ftz() -> None:
    a = np.array([-1, 0.25, 7, np.nan, 1e-40], np.float32)
    np.testing.assert_array_equal(
        evaluate("cvt.sat.f32.f32 %y, %a;", "f32", a=a), np.float32([0, 0.25, 1, 0, 1e-40])
    )
    assert evaluate("cvt.ftz.f64.f32 %y, %a;", "f64", a=a)[4] == 0


def test_integers_are_cut_and_extended() -> None:
    a = np.array([-3, 300, 2**31], np.int64)
    assert evaluate("cvt.u32.u64 %y, %a;", "u32", a=a).tolist() == [2**32 - 3, 300, 2**31]
    b = np.array([-3, 200], np.int32)
    assert evaluate("cvt.s64.s32 %y, %a;", "s64", a=b).view(np.int64).tolist() == [-3, 200]
    assert evaluate("cvt.u64.u32 %y, %a;", "u64", a=b).tolist() == [2**32 - 3, 200]
    assert evaluate("cvt.s32.s8 %y, %a;", "s32", a=b).view(np.int32).tolist() == [-3, 200 - 256]
    assert evaluate("cvt.sat.u8.s32 %r1, %a; mov.u32 %y, %r1;", "u32", a=b * 2).tolist() == [0, 255]


def test_bfloat16_is_the_nearest_ties_to_even() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(500).astype(np.float32)
    x[:4] = [1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20, -(1 + 2.0**-8)]
    for value, bits in zip(x, to_bf16(x), strict=True):
        around = from_bf16(np.array([bits - 1, bits, bits + 1], np.uint16))
        distance = [abs(Fraction(float(a)) - Fraction(float(value))) for a in around]
        assert distance[1] == min(distance)
        if distance.count(distance[1]) > 1:
            assert bits % 2 == 0
    assert np.isnan(from_bf16(to_bf16(np.float32([np.nan])))).all()
    assert np.isinf(from_bf16(to_bf16(np.float32([np.inf, 3.4e38])))).all()


def test_tf32_is_the_nearest_ties_away() -> None:
    x = np.float32([1 + 2.0**-11, -(1 + 2.0**-11), 1 + 2.0**-12, 3.0, np.inf])
    expected = np.float32([1 + 2.0**-10, -(1 + 2.0**-10), 1, 3, np.inf])
    np.testing.assert_array_equal(to_tf32(x).view(np.float32), expected)
    got = evaluate("cvt.rna.tf32.f32 %r1, %a; mov.b32 %y, %r1;", "f32", a=x)
    np.testing.assert_array_equal(got, expected)


def test_pairs_have_their_first_operand_above() -> None:
    a, b = np.float32([1.0]), np.float32([-2.0])
    y = evaluate("cvt.rn.bf16x2.f32 %y, %a, %b;", "b32", a=a, b=b)
    assert y.tolist() == [(0x3F80 << 16) | 0xC000]
    y = evaluate("cvt.rn.f16x2.f32 %y, %a, %b;", "b32", a=a, b=b)
    assert y.view(np.float16).tolist() == [-2.0, 1.0]
    y = evaluate("cvt.rn.bf16.f32 %h1, %a; cvt.f32.bf16 %y, %h1;", "f32", a=np.float32([1 / 3]))
    assert y.tolist() == [0.333984375]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cvt.s32.f32 %y, %a;", "a float becomes an integer by rzi, rni, rmi or rpi"),
        ("cvt.rz.f32.f64 %y, %a;", "this rounding is not known"),
        ("cvt.rz.bf16.f32 %h1, %a;", "this rounding, or pair of types"),
        ("cvt.rn.relu.bf16.f32 %h1, %a;", r"modifier \.relu of cvt"),
    ],
)
def test_other_roundings_are_refused(text: str, message: str) -> None:
    with pytest.raises(PtxError, match=message):
        evaluate(text, "f32", a=FLOATS)
