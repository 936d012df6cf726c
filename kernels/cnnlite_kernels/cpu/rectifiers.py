"""Rows of numbers through a rectifier, on vectors: y may be x, which the auto-vectoriser must not assume."""

from __future__ import annotations

import math
from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.tile import INT, Vectors

ALONG, ONE = -1, 0  # HELD: each number has its slope beside it; all have one
TURN = 4  # vectors of one turn of the loop, at least


def held_vectors(c: int, item: int) -> int:
    """HELD for slopes that repeat after c numbers: vectors after which they are in the same lanes again, some times over if they are
    few. ALONG where they would take more than half of the registers.

    >>> [held_vectors(c, 4) * host().lanes(4) % c for c in (1, 2, 4)]
    [0, 0, 0]
    """
    period = c // math.gcd(c, host().lanes(item))
    vectors = period * -(-TURN // period)
    return vectors if vectors <= host().registers // 2 else ALONG


def _row(
    v: Vectors, x: ir.Value, y: ir.Value, count: ir.Value, rectified: Callable[..., ir.Value], held: int = 0
) -> None:
    """Emits y[j] = rectified(x[j]) for `count` numbers at addresses.

    rectified: makes a vector, given one of x, the place of its first lane, its mask or None, and its number among the `held` ones.
    """
    bl, x, y = v.bl, v.pointer(x, v.number), v.pointer(y, v.number)
    vectors = held or TURN

    def steps(start, numbers, mask=None):
        places = [bl.add(start, INT(j * v.lanes)) for j in numbers]
        made = [
            rectified(v.load(bl.gep(x, [at]), mask), at, mask, j)
            for j, at in zip(numbers, places, strict=True)
        ]
        for vector, at in zip(made, places, strict=True):
            v.store(vector, bl.gep(y, [at]), mask)

    turns = bl.udiv(count, INT(vectors * v.lanes))
    with cgutils.for_range(bl, turns) as turn:
        for j in range(0, vectors, TURN):
            steps(bl.mul(turn.index, INT(vectors * v.lanes)), range(j, min(j + TURN, vectors)))
    start = bl.mul(turns, INT(vectors * v.lanes))
    if not held:
        more = bl.udiv(bl.sub(count, start), INT(v.lanes))
        with cgutils.for_range(bl, more) as turn:
            steps(bl.add(start, bl.mul(turn.index, INT(v.lanes))), [0])
        start = bl.add(start, bl.mul(more, INT(v.lanes)))
    for j in range(held or 1):
        rest = bl.sub(count, bl.add(start, INT(j * v.lanes)))
        with bl.if_then(bl.icmp_signed(">", rest, INT(0))):
            steps(start, [j], v.first_lanes(rest))


@intrinsic(prefer_literal=True)
def relu_row(typing, x, y, count, MOST, LANES, ITEM):
    """y[j] = 0 where x[j] < 0, MOST where x[j] > MOST, else x[j], for `count` numbers at addresses.

    MOST, LANES and ITEM are literals. MOST: 0 for no limit.
    """
    if not all(isinstance(literal, types.IntegerLiteral) for literal in (MOST, LANES, ITEM)):
        return None
    most, lanes, item = (literal.literal_value for literal in (MOST, LANES, ITEM))

    def codegen(context, bl, signature, arguments):
        v = Vectors(bl, item, lanes)
        limit = ir.Constant(v.vector, [float(most)] * lanes)

        def rectified(number, *_):
            limited = bl.select(bl.fcmp_ordered(">", number, limit), limit, number) if most else number
            return v.relu(limited)

        _row(v, arguments[0], arguments[1], arguments[2], rectified)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, MOST, LANES, ITEM), codegen


@intrinsic(prefer_literal=True)
def leaky_relu_row(typing, x, y, slope, count, LANES, ITEM):
    """y[j] = slope * x[j] where x[j] < 0, else x[j], for `count` numbers at addresses. slope: of their type; LANES and ITEM: literals."""
    if not all(isinstance(literal, types.IntegerLiteral) for literal in (LANES, ITEM)):
        return None
    lanes, item = LANES.literal_value, ITEM.literal_value
    number_type = types.float32 if item == 4 else types.float64

    def codegen(context, bl, signature, arguments):
        v = Vectors(bl, item, lanes)
        slopes = v.broadcast(arguments[2])

        def rectified(number, *_):
            return bl.select(bl.fcmp_ordered("<", number, v.zero), bl.fmul(slopes, number), number)

        _row(v, arguments[0], arguments[1], arguments[3], rectified)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, number_type, types.int64, LANES, ITEM), codegen


@intrinsic(prefer_literal=True)
def prelu_row(typing, x, y, alpha, count, HELD, LANES, ITEM):
    """y[j] = x[j] where x[j] > 0, else alpha[j] * x[j], for `count` numbers at addresses.

    HELD, LANES and ITEM are literals. HELD: ALONG; or ONE, alpha[0] for all; or a number of vectors, alpha[j % (HELD * LANES)], which
    stay in registers.
    """
    if not all(isinstance(literal, types.IntegerLiteral) for literal in (HELD, LANES, ITEM)):
        return None
    held, lanes, item = (literal.literal_value for literal in (HELD, LANES, ITEM))

    def codegen(context, bl, signature, arguments):
        v = Vectors(bl, item, lanes)
        alpha, steady = v.pointer(arguments[2], v.number), max(0, held)
        slopes = [v.load(bl.gep(alpha, [INT(j * lanes)])) for j in range(steady)]
        one = v.broadcast(bl.load(alpha)) if held == ONE else None

        def rectified(number, at, mask, j):
            slope = slopes[j] if slopes else one or v.load(bl.gep(alpha, [at]), mask)
            return bl.select(bl.fcmp_ordered(">", number, v.zero), number, bl.fmul(slope, number))

        _row(v, arguments[0], arguments[1], arguments[3], rectified, steady)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64, HELD, LANES, ITEM), codegen
