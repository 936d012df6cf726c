"""Each arithmetic instruction of the interpreter against NumPy, or against exact integers and fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from ptx_snippets import evaluate

from tools.ptx.errors import PtxError

INT = np.array([0, 1, -1, 7, -7, 2**31 - 1, -(2**31), 123456789], np.int32)
OTHER = np.array([3, -1, -2, 5, 3, 2, 7, -987654321], np.int32)
FLOAT = np.array([0.0, -1.5, 3.25, 1e-40, np.inf, np.nan, 1e38, -2.0], np.float32)
FACTOR = np.array([1.0, 2.5, -0.5, 4.0, 2.0, 1.0, 1e38, 3.0], np.float32)
WIDE = np.array([0, 1, -1, 2**63 - 1, -(2**63), 2**32 + 5, -(2**40), 6148914691236517206], np.int64)
WIDE_OTHER = np.array([5, -1, -1, 2**63 - 1, 3, 2**33 + 1, 2**40, -7], np.int64)


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("add.s32", lambda a, b: a + b),
        ("sub.s32", lambda a, b: a - b),
        ("mul.lo.s32", lambda a, b: a * b),
        ("min.s32", np.minimum),
        ("max.s32", np.maximum),
        ("and.b32", lambda a, b: a & b),
        ("or.b32", lambda a, b: a | b),
        ("xor.b32", lambda a, b: a ^ b),
        ("div.s32", lambda a, b: np.trunc(a.astype(np.float64) / b).astype(np.int64).astype(np.int32)),
        ("rem.s32", np.fmod),
    ],
)
def test_integers_of_32_bits(text: str, function) -> None:
    y = evaluate(f"{text} %y, %a, %b;", "s32", a=INT, b=OTHER)
    np.testing.assert_array_equal(y.view(np.int32), function(INT, OTHER))


def test_unsigned_differs_from_signed_where_it_has_to() -> None:
    a, b = INT.view(np.uint32), np.maximum(OTHER.view(np.uint32), 1)
    np.testing.assert_array_equal(evaluate("div.u32 %y, %a, %b;", "u32", a=a, b=b), a // b)
    np.testing.assert_array_equal(evaluate("rem.u32 %y, %a, %b;", "u32", a=a, b=b), a % b)
    np.testing.assert_array_equal(evaluate("max.u32 %y, %a, %b;", "u32", a=a, b=b), np.maximum(a, b))


@pytest.mark.parametrize("sign", "su")
@pytest.mark.parametrize("bits", [32, 64])
def test_the_high_half_of_a_product(sign: str, bits: int) -> None:
    a, b = (INT, OTHER) if bits == 32 else (WIDE, WIDE_OTHER)
    if sign == "u":
        a, b = a.view(f"u{bits // 8}"), b.view(f"u{bits // 8}")
    y = evaluate(f"mul.hi.{sign}{bits} %y, %a, %b;", f"{sign}{bits}", a=a, b=b)
    expected = [(int(p) * int(q) >> bits) % 2**bits for p, q in zip(a, b, strict=True)]
    assert [int(v) for v in y] == expected


@pytest.mark.parametrize("sign", "su")
def test_wide_products(sign: str) -> None:
    a, b = (INT, OTHER) if sign == "s" else (INT.view(np.uint32), OTHER.view(np.uint32))
    c = WIDE if sign == "s" else WIDE.view(np.uint64)
    product = [int(p) * int(q) for p, q in zip(a, b, strict=True)]
    y = evaluate(f"mul.wide.{sign}32 %y, %a, %b;", f"{sign}64", a=a, b=b)
    assert [int(v) for v in y] == [p % 2**64 for p in product]
    y = evaluate(f"mad.wide.{sign}32 %y, %a, %b, %c;", f"{sign}64", a=a, b=b, c=c)
    assert [int(v) for v in y] == [(p + int(q)) % 2**64 for p, q in zip(product, c, strict=True)]


def test_mad() -> None:
    y = evaluate("mad.lo.s32 %y, %a, %b, %a;", "s32", a=INT, b=OTHER)
    np.testing.assert_array_equal(y.view(np.int32), INT * OTHER + INT)
    y = evaluate("mad.hi.s32 %y, %a, %b, %a;", "s32", a=INT, b=OTHER)
    high = (INT.astype(np.int64) * OTHER.astype(np.int64)) >> 32
    np.testing.assert_array_equal(y.view(np.int32), high.astype(np.int32) + INT)


def test_integers_of_64_bits_and_their_signs() -> None:
    y = evaluate("sub.s64 %y, %a, %b;", "s64", a=WIDE, b=WIDE_OTHER)
    np.testing.assert_array_equal(y.view(np.int64), WIDE - WIDE_OTHER)
    np.testing.assert_array_equal(evaluate("neg.s64 %y, %a;", "s64", a=WIDE).view(np.int64), -WIDE)
    np.testing.assert_array_equal(evaluate("abs.s32 %y, %a;", "s32", a=INT).view(np.int32), np.abs(INT))
    np.testing.assert_array_equal(evaluate("not.b64 %y, %a;", "b64", a=WIDE).view(np.int64), ~WIDE)


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("add.f32", np.add),
        ("sub.rn.f32", np.subtract),
        ("mul.f32", np.multiply),
        ("div.rn.f32", np.divide),
        ("div.full.f32", np.divide),
        ("min.f32", np.fmin),
        ("max.f32", np.fmax),
        ("min.NaN.f32", np.minimum),
        ("max.NaN.f32", np.maximum),
        ("copysign.f32", lambda a, b: np.copysign(b, a)),
    ],
)
def test_floats(text: str, function) -> None:
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(
            evaluate(f"{text} %y, %a, %b;", "f32", a=FLOAT, b=FACTOR), function(FLOAT, FACTOR)
        )


@pytest.mark.parametrize("text", ["add", "sub", "mul", "div.rn", "min", "max"])
def test_doubles(text: str) -> None:
    a, b = FLOAT.astype(np.float64) * 1.1, FACTOR.astype(np.float64)
    function = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "div.rn": np.divide,
        "min": np.fmin,
        "max": np.fmax,
    }
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(
            evaluate(f"{text}.f64 %y, %a, %b;", "f64", a=a, b=b), function[text](a, b)
        )


def exact(x: np.float32) -> Fraction:
    return Fraction(float(x))


def nearest(value: Fraction) -> np.float32:
    """The float32 nearest to a fraction, ties to even: of the candidates around it, by exact distance."""
    guess = np.float32(float(value))
    around = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    return min(around, key=lambda c: (abs(exact(c) - value), int(c.view(np.uint32)) & 1))


def hard_sums() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random numbers, and products so near half of a last place that rounding to float64 first would go wrong."""
    rng = np.random.default_rng(0)
    x, y, z = (rng.standard_normal(64).astype(np.float32) for _ in range(3))
    x[0], y[0], z[0] = 1 + 2.0**-12, 1 + 2.0**-12, 2.0**-60
    x[1], y[1], z[1] = 1 + 2.0**-12, 1 + 2.0**-12, -(2.0**-60)
    x[2], y[2], z[2] = 3 * 2.0**-40, 2.0**-40, 1 + 2.0**-23
    x[3], y[3], z[3] = 2.0**-13 + 2.0**-36, 2.0**-11, 1
    return x, y, z


def test_fma_is_rounded_once() -> None:
    x, y, z = hard_sums()
    got = evaluate("fma.rn.f32 %y, %a, %b, %c;", "f32", a=x, b=y, c=z)
    expected = [nearest(exact(p) * exact(q) + exact(r)) for p, q, r in zip(x, y, z, strict=True)]
    np.testing.assert_array_equal(got, np.array(expected))
    assert got[0] != np.float32(np.float64(x[0]) * np.float64(y[0]) + np.float64(z[0])), (
        "float64 first rounds twice"
    )


def test_fma_of_doubles_is_rounded_once() -> None:
    a = np.array([1 + 2.0**-30])
    np.testing.assert_array_equal(evaluate("fma.rn.f64 %y, %a, %a, %b;", "f64", a=a, b=-a * a), [2.0**-60])


@pytest.mark.parametrize("toward", ["rm", "rp", "rz"])
@pytest.mark.parametrize("text", ["fma", "add", "mul", "sub"])
def test_directed_rounding(text: str, toward: str) -> None:
    x, y, z = hard_sums()
    operands = "%a, %b, %c" if text == "fma" else "%a, %b"
    got = evaluate(f"{text}.{toward}.f32 %y, {operands};", "f32", a=x, b=y, c=z)
    function = {
        "fma": lambda p, q, r: p * q + r,
        "add": lambda p, q, r: p + q,
        "sub": lambda p, q, r: p - q,
        "mul": lambda p, q, r: p * q,
    }
    for result, p, q, r in zip(got, x, y, z, strict=True):
        value = function[text](exact(p), exact(q), exact(r))
        down = toward == "rm" or (toward == "rz" and value > 0)
        if exact(result) == value:
            continue
        if down:
            assert exact(result) < value < exact(np.nextafter(result, np.float32(np.inf)))
        else:
            assert exact(np.nextafter(result, np.float32(-np.inf))) < value < exact(result)


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("ex2.approx.f32", np.exp2),
        ("lg2.approx.f32", np.log2),
        ("rcp.approx.f32", np.reciprocal),
        ("rcp.rn.f32", np.reciprocal),
        ("sqrt.approx.f32", np.sqrt),
        ("sqrt.rn.f32", np.sqrt),
        ("rsqrt.approx.f32", lambda x: 1 / np.sqrt(x)),
        ("tanh.approx.f32", np.tanh),
        ("sin.approx.f32", np.sin),
        ("cos.approx.f32", np.cos),
        ("neg.f32", np.negative),
        ("abs.f32", np.abs),
    ],
)
def test_functions(text: str, function) -> None:
    x = np.array([0.25, 1.0, 2.0, 3.5, 100.0], np.float32)
    expected = function(x.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(evaluate(f"{text} %y, %a;", "f32", a=x), expected)


def test_ftz_flushes_what_comes_in_and_what_goes_out() -> None:
    x, y = np.array([1e-39, -1e-39, 1e-30], np.float32), np.array([1.0, 1.0, 1e-10], np.float32)
    got = evaluate("mul.ftz.f32 %y, %a, %b;", "f32", a=x, b=y)
    np.testing.assert_array_equal(got, np.zeros(3, np.float32))
    assert np.signbit(got).tolist() == [False, True, False]
    assert evaluate("mul.f32 %y, %a, %b;", "f32", a=x, b=y).all()
    got = evaluate("fma.rn.ftz.f32 %y, %a, %b, %a;", "f32", a=x, b=y)
    np.testing.assert_array_equal(got, np.array([0, 0, 1e-30], np.float32))


def test_sat_keeps_within_0_and_1_and_makes_nan_0() -> None:
    x = np.array([-1.0, 0.5, 3.0, np.nan], np.float32)
    zero = np.zeros(4, np.float32)
    np.testing.assert_array_equal(evaluate("add.sat.f32 %y, %a, %b;", "f32", a=x, b=zero), [0, 0.5, 1, 0])


def test_numbers_in_the_text() -> None:
    x = np.zeros(2, np.float32)
    np.testing.assert_array_equal(evaluate("add.f32 %y, %a, 0f3FC00000;", "f32", a=x), [1.5, 1.5])
    np.testing.assert_array_equal(
        evaluate("add.f64 %y, 0d3FF8000000000000, 0d0000000000000000;", "f64", a=x), [1.5, 1.5]
    )
    np.testing.assert_array_equal(evaluate("add.u32 %y, -1, 0x10;", "u32", a=x), [15, 15])
    np.testing.assert_array_equal(evaluate("mov.b32 %y, 0f3FC00000;", "b32", a=x), [0x3FC00000, 0x3FC00000])
    with pytest.raises(PtxError, match="0f3FC00000 is used as an integer of 64 bits"):
        evaluate("mov.b64 %y, 0f3FC00000;", "b64", a=x)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("add.rna.f32 %y, %a, %a;", r"modifier \.rna of add is not known"),
        ("frobnicate.f32 %y, %a;", "instruction frobnicate is not known"),
        ("add.f32 %y, %a, %nobody;", "`%nobody` is no register"),
        ("add.f32 %y, %a, oops;", "`oops` is no register"),
        ("add.s64 %y, %a, %a;", "%y of 32 bits takes a result of 64"),
        ("add.rz.ftz.f32 %y, %a, %a;", "directed rounding"),
        ("fma.rn.f16 %y, %a, %a, %a;", "fma is known for f32 and f64"),
        ("call.uni f, (%a);", "calls a device function; it has to be inlined"),
    ],
)
def test_what_is_not_known_is_named(text: str, message: str) -> None:
    with pytest.raises(PtxError, match=message):
        evaluate(text, "f32", a=FLOAT)
