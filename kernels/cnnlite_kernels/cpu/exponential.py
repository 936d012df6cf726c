"""e^x on vectors, and the rows of numbers that softmax, sigmoid and tanh make of it.

    x = n ln 2 + r with |r| <= ln 2 / 2, and e^x = 2^n (1 + r + r^2 / 2! + ...)

ln 2 in two pieces, the first of so few bits that n times it is exact (Cody and Waite, Software Manual for the Elementary Functions,
1980); as many terms of Taylor's series as the numbers have bits for. NaN passes, what is too large becomes infinity.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnnlite_kernels.cpu.tile import INT, Vectors


class Format:
    """Of float32 or float64: constants of the formula."""

    def __init__(self, item: int) -> None:
        self.bits = 8 * item
        self.mantissa, self.bias = (23, 127) if item == 4 else (52, 1023)
        self.terms = 8 if item == 4 else 14  # the next is less than half a unit in the last place
        # beyond these e^x is 0 and infinity
        self.least, self.most = (-104.0, 89.0) if item == 4 else (-746.0, 710.0)
        self.ln2 = (
            (0.693359375, -2.12194440e-4)
            if item == 4
            else (6.93147180369123816490e-01, 1.90821492927058770002e-10)
        )
        # added to a number of this size, what is left of its fraction is nothing, and its last bits are the integer
        self.shift = 1.5 * 2.0**self.mantissa


def exponential(v: Vectors, x: ir.Value) -> ir.Value:
    """e^x of a vector, lane by lane."""
    bl, form = v.bl, Format(v.item)
    integers = ir.VectorType(ir.IntType(form.bits), v.lanes)

    def number(value: float) -> ir.Constant:
        return ir.Constant(v.vector, [value] * v.lanes)

    def integer(value: int) -> ir.Constant:
        return ir.Constant(integers, [value] * v.lanes)

    x = bl.select(bl.fcmp_ordered("<", x, number(form.least)), number(form.least), x)
    x = bl.select(bl.fcmp_ordered(">", x, number(form.most)), number(form.most), x)
    shifted = v.multiply_add(x, number(1 / math.log(2)), number(form.shift))
    n = bl.fsub(shifted, number(form.shift))
    r = x
    for piece in form.ln2:
        r = v.multiply_add(n, number(-piece), r)
    power = number(1 / math.factorial(form.terms - 1))
    for k in reversed(range(form.terms - 1)):
        power = v.multiply_add(power, r, number(1 / math.factorial(k)))
    # 2^n in two halves: 2^128 and 2^-150 are no float32
    exponent = bl.sub(bl.bitcast(shifted, integers), bl.bitcast(number(form.shift), integers))
    half = bl.ashr(exponent, integer(1))
    for part in (half, bl.sub(exponent, half)):
        scale = bl.shl(bl.add(part, integer(form.bias)), integer(form.mantissa))
        power = bl.fmul(power, bl.bitcast(scale, v.vector))
    return power


def _over_row(bl: ir.IRBuilder, count: ir.Value, lanes: int, step: Any, v: Vectors) -> None:
    """step(offset, mask) for every vector of `count` numbers; the mask of the last is None unless it has fewer lanes."""
    whole = bl.mul(bl.sdiv(count, INT(lanes)), INT(lanes))
    with cgutils.for_range(bl, bl.sdiv(count, INT(lanes))) as turn:
        step(bl.mul(turn.index, INT(lanes)), None)
    with bl.if_then(bl.icmp_signed("<", whole, count)):
        step(whole, v.first_lanes(bl.sub(count, whole)))


def _across(v: Vectors, vector: ir.Value, combine: Any) -> ir.Value:
    """All lanes combined."""
    half = v.lanes // 2
    while half:
        order = [(j + half) % v.lanes for j in range(v.lanes)]
        order = ir.Constant(ir.VectorType(ir.IntType(32), v.lanes), order)
        vector = combine(vector, v.bl.shuffle_vector(vector, vector, order))
        half //= 2
    return v.bl.extract_element(vector, ir.IntType(32)(0))


def _literals(*literals: Any) -> list[int] | None:
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    return [literal.literal_value for literal in literals]


@intrinsic(prefer_literal=True)
def row_maximum(typing, x, count, LANES, ITEM):
    """The largest of `count` numbers at an address, at least one; where there is a NaN, that or another."""
    literals = _literals(LANES, ITEM)
    if literals is None:
        return None
    lanes, item = literals
    result = types.float32 if item == 4 else types.float64
    signature = result(types.int64, types.int64, LANES, ITEM)

    def codegen(context, bl, signature, arguments):
        v = Vectors(bl, item, lanes)
        x = v.pointer(arguments[0], v.number)
        best = cgutils.alloca_once_value(bl, v.broadcast(bl.load(x)))

        def larger(value, other):
            return bl.select(bl.fcmp_ordered(">", value, other), value, other)

        def step(offset, mask):
            value, so_far = v.load(bl.gep(x, [offset]), mask), bl.load(best)
            if mask is not None:
                value = bl.select(mask, value, so_far)
            bl.store(larger(value, so_far), best)

        _over_row(bl, arguments[1], lanes, step, v)
        return _across(v, bl.load(best), larger)

    return signature, codegen


@intrinsic(prefer_literal=True)
def row_exponential_sum(typing, x, count, shift, LANES, ITEM):
    """The sum of e^(x[j] - shift) over `count` numbers at an address: LANES partial sums, then across."""
    literals = _literals(LANES, ITEM)
    if literals is None:
        return None
    lanes, item = literals
    signature = shift(types.int64, types.int64, shift, LANES, ITEM)

    def codegen(context, bl, signature, arguments):
        v = Vectors(bl, item, lanes)
        x, shifts = v.pointer(arguments[0], v.number), v.broadcast(arguments[2])
        total = cgutils.alloca_once_value(bl, v.zero)

        def step(offset, mask):
            power = exponential(v, bl.fsub(v.load(bl.gep(x, [offset]), mask), shifts))
            if mask is not None:
                power = bl.select(mask, power, v.zero)
            bl.store(bl.fadd(bl.load(total), power), total)

        _over_row(bl, arguments[1], lanes, step, v)
        return _across(v, bl.load(total), bl.fadd)

    return signature, codegen


@intrinsic(prefer_literal=True)
def row_exponentials(typing, x, y, count, shift, second_shift, factor, LANES, ITEM):
    """y[j] = factor * e^((x[j] - shift) - second_shift) for `count` numbers at addresses, which may be the same."""
    literals = _literals(LANES, ITEM)
    if literals is None:
        return None
    lanes, item = literals
    signature = types.void(types.int64, types.int64, types.int64, shift, shift, shift, LANES, ITEM)

    def codegen(context, bl, signature, arguments):
        v = Vectors(bl, item, lanes)
        x, y = v.pointer(arguments[0], v.number), v.pointer(arguments[1], v.number)
        shift, second_shift, factor = (v.broadcast(scalar) for scalar in arguments[3:6])

        def step(offset, mask):
            value = bl.fsub(bl.fsub(v.load(bl.gep(x, [offset]), mask), shift), second_shift)
            v.store(bl.fmul(factor, exponential(v, value)), bl.gep(y, [offset]), mask)

        _over_row(bl, arguments[2], lanes, step, v)
        return context.get_dummy_value()

    return signature, codegen


# tanh x = x + x z P(z) / Q(z) with z = x^2, highest power first (Moshier, Cephes Mathematical Library, tanh.c); where x is larger,
# e^(-2 x) loses nothing.
SMALL = 0.625
TANH_P = (-9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3)
TANH_Q = (1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3)


def sigmoid(v: Vectors, x: ir.Value) -> ir.Value:
    """1 / (1 + e^-x) of a vector; NaN stays."""
    bl, zero, one = v.bl, v.zero, ir.Constant(v.vector, [1.0] * v.lanes)
    negative = bl.fcmp_ordered("<", x, zero)
    e = exponential(v, bl.select(negative, x, bl.fneg(x)))  # never overflows
    return bl.fdiv(bl.select(negative, e, one), bl.fadd(one, e))


def tanh(v: Vectors, x: ir.Value) -> ir.Value:
    """tanh x of a vector; NaN stays, and so does -0."""
    bl = v.bl

    def number(value: float) -> ir.Constant:
        return ir.Constant(v.vector, [value] * v.lanes)

    def polynomial(coefficients: tuple[float, ...], z: ir.Value) -> ir.Value:
        power: ir.Value = number(coefficients[0])
        for coefficient in coefficients[1:]:
            power = v.multiply_add(power, z, number(coefficient))
        return power

    size = bl.call(v.function(f"llvm.fabs.{v.name}", v.vector, [v.vector]), [x])
    z = bl.fmul(size, size)
    ratio = bl.fdiv(polynomial(TANH_P, z), polynomial(TANH_Q, z))
    near = v.multiply_add(bl.fmul(size, z), ratio, size)
    e = exponential(v, bl.fmul(number(-2.0), size))
    far = bl.fdiv(bl.fsub(number(1.0), e), bl.fadd(number(1.0), e))
    y = bl.select(bl.fcmp_ordered("<", size, number(SMALL)), near, far)
    return bl.call(v.function(f"llvm.copysign.{v.name}", v.vector, [v.vector] * 2), [y, x])


def _row_of(function: Any, LANES: Any, ITEM: Any) -> Any:
    """The signature and code of an intrinsic that applies a function of vectors to a row."""
    literals = _literals(LANES, ITEM)
    if literals is None:
        return None
    lanes, item = literals

    def codegen(context, bl, signature, arguments):
        v = Vectors(bl, item, lanes)
        x, y = v.pointer(arguments[0], v.number), v.pointer(arguments[1], v.number)

        def step(offset, mask):
            v.store(function(v, v.load(bl.gep(x, [offset]), mask)), bl.gep(y, [offset]), mask)

        _over_row(bl, arguments[2], lanes, step, v)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, LANES, ITEM), codegen


@intrinsic(prefer_literal=True)
def row_sigmoids(typing, x, y, count, LANES, ITEM):
    """y[j] = 1 / (1 + e^-x[j]) for `count` numbers at addresses, which may be the same."""
    return _row_of(sigmoid, LANES, ITEM)


@intrinsic(prefer_literal=True)
def row_tanhs(typing, x, y, count, LANES, ITEM):
    """y[j] = tanh x[j] for `count` numbers at addresses, which may be the same."""
    return _row_of(tanh, LANES, ITEM)
