"""Two sums for each column of some lines, in registers from the first line to the last: those of batch normalization."""

from __future__ import annotations

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnnlite_kernels.cpu.activations import NONE, RELU
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.tile import INT, Vectors

SPREAD = -1  # for KIND: the sums of x - mean and of its square


def vectors(width: int, item: int) -> int:
    """NV for lines of `width` columns: two sums and three numbers of a column are kept in registers for each vector."""
    most = 4 if host().registers == 32 else 2
    return max(1, min(most, width // host().lanes(item)))


@intrinsic(prefer_literal=True)
def channel_sums(
    typing, x, grad_y, step, lines, means, scales, shifts, slope, sums, products, tail_lanes, KIND, NV, LANES, ITEM, TAIL
):  # fmt: skip
    """sums[j] = the sum over i < lines of g, products[j] = that of g * (x[i * step + j] - means[j]), in the order of the lines.

    g is grad_y[i * step + j], with RELU or LEAKY_RELU as KIND times the activation's derivative where
    (x - means[j]) * scales[j] + shifts[j] is its input, slope times, and with SPREAD x - means[j].

    Addresses, and step in numbers; j runs over NV vectors, with TAIL the last has `tail_lanes`.
    """
    literals = (KIND, NV, LANES, ITEM, TAIL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    kind, nv, lanes, item, tail = (literal.literal_value for literal in literals)
    number = types.float32 if item == 4 else types.float64
    signature = types.void(*[types.int64] * 7, number, *[types.int64] * 3, *literals)

    def codegen(context, bl, signature, arguments):
        x, grad_y, step, lines, means, scales, shifts, slope, sums, products, tail_lanes = arguments[:11]
        v = Vectors(bl, item, lanes)
        masks = [None] * (nv - 1) + [v.first_lanes(tail_lanes) if tail else None]
        x, grad_y, sums, products = (v.pointer(start, v.number) for start in (x, grad_y, sums, products))

        def line_of(start):
            start = v.pointer(start, v.number)
            return [v.load(bl.gep(start, [INT(j * lanes)]), masks[j]) for j in range(nv)]

        mean = line_of(means)
        scale, shift = (line_of(scales), line_of(shifts)) if kind > NONE else (mean, mean)
        totals = [[cgutils.alloca_once_value(bl, v.zero) for _ in range(nv)] for _ in range(2)]
        slope = v.zero if kind == RELU else v.broadcast(slope)
        with cgutils.for_range(bl, lines) as turn:
            at = bl.mul(turn.index, step)
            for j in range(nv):
                place = bl.add(at, INT(j * lanes))
                centred = bl.fsub(v.load(bl.gep(x, [place]), masks[j]), mean[j])
                g = centred if kind == SPREAD else v.load(bl.gep(grad_y, [place]), masks[j])
                if kind > NONE:
                    positive = bl.fcmp_ordered(">", v.multiply_add(centred, scale[j], shift[j]), v.zero)
                    g = bl.select(positive, g, v.zero if kind == RELU else bl.fmul(slope, g))
                first, second = totals[0][j], totals[1][j]
                bl.store(bl.fadd(bl.load(first), g), first)
                bl.store(v.multiply_add(g, centred, bl.load(second)), second)
        for to, total in zip((sums, products), totals, strict=True):
            for j in range(nv):
                v.store(bl.load(total[j]), bl.gep(to, [INT(j * lanes)]), masks[j])
        return context.get_dummy_value()

    return signature, codegen
