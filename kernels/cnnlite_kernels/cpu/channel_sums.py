"""Two sums for each column of some lines, in registers from the first line to the last: those of batch normalization."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnnlite_kernels.cpu.activations import LEAKY_RELU, NONE, RELU6
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.tile import INT, Vectors

SPREAD = -1  # for KIND: the sums of x - mean and of its square


def vectors(width: int, item: int) -> int:
    """NV for lines of `width` columns: two sums and three numbers of a column are kept in registers for each vector."""
    most = 4 if host().registers == 32 else 2
    return max(1, min(most, width // host().lanes(item)))


@intrinsic(prefer_literal=True)
def channel_sums(
    typing, x, grad_y, columns, lines, means, scales, shifts, slope, sums, products, KIND, NV, LANES, ITEM
):  # fmt: skip
    """sums[j] = the sum over i < lines of g, products[j] = that of g * (x[i, j] - means[j]), in the order of the lines; j < columns.

    g is grad_y[i, j], with RELU, RELU6 or LEAKY_RELU as KIND times the activation's derivative where
    (x[i, j] - means[j]) * scales[j] + shifts[j] is its input, slope times, and with SPREAD x[i, j] - means[j].

    Addresses and counts; x and grad_y (lines, columns). NV vectors of columns are summed at a time, what is left of them one by one.
    """
    literals = (KIND, NV, LANES, ITEM)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    kind, nv, lanes, item = (literal.literal_value for literal in literals)
    number = types.float32 if item == 4 else types.float64
    signature = types.void(*[types.int64] * 7, number, *[types.int64] * 2, *literals)

    def codegen(context, bl, signature, arguments):
        columns, lines, slope = arguments[2], arguments[3], arguments[7]
        v = Vectors(bl, item, lanes)
        x, grad_y, means, scales, shifts, sums, products = (
            v.pointer(arguments[place], v.number) for place in (0, 1, 4, 5, 6, 8, 9)
        )
        slope, six = v.broadcast(slope), ir.Constant(v.vector, [6.0] * lanes)

        def tile(first, count, mask):
            """Of `count` vectors of columns from `first`; mask: of each of them."""
            places = [bl.add(first, INT(j * lanes)) for j in range(count)]

            def load(start, place):
                return v.load(bl.gep(start, [place]), mask)

            mean = [load(means, place) for place in places]
            if kind > NONE:
                scale, shift = ([load(start, place) for place in places] for start in (scales, shifts))
            totals = [[cgutils.alloca_once_value(bl, v.zero) for _ in places] for _ in range(2)]
            for total in (*totals[0], *totals[1]):
                bl.store(v.zero, total)
            with cgutils.for_range(bl, lines) as turn:
                line = bl.mul(turn.index, columns)
                for j, place in enumerate(places):
                    centred = bl.fsub(load(x, bl.add(line, place)), mean[j])
                    g = centred if kind == SPREAD else load(grad_y, bl.add(line, place))
                    if kind > NONE:
                        z = v.multiply_add(centred, scale[j], shift[j])
                        passes = bl.fcmp_ordered(">", z, v.zero)
                        if kind == RELU6:
                            passes = bl.and_(passes, bl.fcmp_ordered("<", z, six))
                        g = bl.select(passes, g, bl.fmul(slope, g) if kind == LEAKY_RELU else v.zero)
                    one, other = totals[0][j], totals[1][j]
                    bl.store(bl.fadd(bl.load(one), g), one)
                    bl.store(v.multiply_add(g, centred, bl.load(other)), other)
            for to, total in zip((sums, products), totals, strict=True):
                for j, place in enumerate(places):
                    v.store(bl.load(total[j]), bl.gep(to, [place]), mask)

        together = INT(nv * lanes)
        tiles = bl.sdiv(columns, together)
        with cgutils.for_range(bl, tiles) as turn:
            tile(bl.mul(turn.index, together), nv, None)
        left = bl.sub(columns, bl.mul(tiles, together))
        with cgutils.for_range(bl, bl.sdiv(bl.add(left, INT(lanes - 1)), INT(lanes))) as turn:
            first = bl.add(bl.mul(tiles, together), bl.mul(turn.index, INT(lanes)))
            tile(first, 1, v.first_lanes(bl.sub(columns, first)))
        return context.get_dummy_value()

    return signature, codegen
