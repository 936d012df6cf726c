"""Winograd's three transforms on vectors of channels: of a patch of x, of the weights, and of the sums back to outputs.

Each is y = S x S^T for a small constant matrix S (winograd_matrices.py) and matrices x and y of vectors.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from cnnlite_kernels.algorithms import TAPS
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import POINTER, Base, address, clear_bytes, copy_bytes
from cnnlite_kernels.cpu.tile import INT, Vectors
from cnnlite_kernels.cpu.winograd_matrices import matrices

INPUT, WEIGHTS, OUTPUT = range(3)
PART = int(Base.PART)


class Combinations:
    """The product of a constant matrix with a column of vectors, in as few instructions as its points allow."""

    def __init__(self, vectors: Vectors, m: int, which: int) -> None:
        self.v = vectors
        self.rows = matrices(m)[which]
        self.which = which

    def of(self, x: list) -> list:
        """[sum over j of rows[i][j] * x[j] for each i]. Rows 1 and 2, 3 and 4 (of A^T: columns) are those of a point and its negative:
        they differ in the signs of some terms only."""
        if self.which == OUTPUT:
            return self._by_columns(x)
        y = [self._sum(self.rows[0], x)]
        for plus, minus in zip(self.rows[1:-1:2], self.rows[2:-1:2], strict=True):
            same = [p if p == q else 0.0 for p, q in zip(plus, minus, strict=True)]
            changed = [p if p != q else 0.0 for p, q in zip(plus, minus, strict=True)]
            factor = next(number for number in reversed(changed) if number)
            even, odd = self._sum(same, x), self._sum([number / factor for number in changed], x)
            y += [self._add(even, factor, odd), self._add(even, -factor, odd)]
        return [*y, self._sum(self.rows[-1], x)]

    def _by_columns(self, x: list) -> list:
        sums, differences = [], []
        for plus, minus in zip(x[1:-1:2], x[2:-1:2], strict=True):
            sums.append(self.v.bl.fadd(plus, minus))
            differences.append(self.v.bl.fsub(plus, minus))
        y = []
        for k, row in enumerate(self.rows):
            pairs = differences if k % 2 else sums
            y.append(self._sum([row[0], *row[1:-1:2], row[-1]], [x[0], *pairs, x[-1]]))
        return y

    def _sum(self, factors, x: list):
        """factors[0] * x[0] + ...; a term with factor 1 comes first, for then it costs nothing."""
        terms = sorted(
            ((factor, vector) for factor, vector in zip(factors, x, strict=True) if factor),
            key=lambda term: term[0] != 1,
        )
        (factor, total), *rest = terms
        if factor != 1:
            total = self.v.bl.fmul(self._constant(factor), total)
        for factor, vector in rest:
            total = self._add(total, factor, vector)
        return total

    def _add(self, total, factor: float, vector):
        if factor == 1:
            return self.v.bl.fadd(total, vector)
        if factor == -1:
            return self.v.bl.fsub(total, vector)
        return self.v.multiply_add(self._constant(factor), vector, total)

    def _constant(self, number: float):
        return ir.Constant(self.v.vector, [number] * self.v.lanes)


@intrinsic(prefer_literal=True)
def transform(
    typing, x, x_row, x_column, y, y_row, y_column, bias, floor, count, WHICH, M, LANES, ITEM, TAIL,
):  # fmt: skip
    """y[i, j] = sum over p, q of S[i, p] * S[j, q] * x[p, q] for vectors at addresses, `row` and `column` numbers apart.

    WHICH matrix S: INPUT, WEIGHTS or OUTPUT, of F(M x M). OUTPUT adds the vector at bias, then takes the larger of the sum and
    `floor` (NaN passes). TAIL: only the first `count` lanes are read and written; of WEIGHTS the others are written as zeros.
    """
    literals = (WHICH, M, LANES, ITEM, TAIL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    which, m, lanes, item, tail = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 7, floor, types.int64, *literals)

    def codegen(context, bl, signature, arguments):
        x, x_row, x_column, y, y_row, y_column, bias, floor, count = arguments[:9]
        v = Vectors(bl, item, lanes)
        mask = v.first_lanes(count) if tail else None
        combine = Combinations(v, m, which)
        size = TAPS if which == WEIGHTS else m + 2

        def at(base, row, i, column, j):
            offset = bl.add(bl.mul(row, INT(i)), bl.mul(column, INT(j)))
            return bl.gep(v.pointer(base, v.number), [offset])

        columns = [
            combine.of([v.load(at(x, x_row, p, x_column, q), mask) for p in range(size)]) for q in range(size)
        ]
        if which == OUTPUT:
            b, least = v.load(v.pointer(bias, v.number), mask), v.broadcast(floor)
        for i in range(len(columns[0])):
            for j, total in enumerate(combine.of([column[i] for column in columns])):
                if which == OUTPUT:
                    total = bl.fadd(total, b)
                    total = bl.select(bl.fcmp_ordered("<", total, least), least, total)
                v.store(total, at(y, y_row, i, y_column, j), None if which == WEIGHTS else mask)
        return context.get_dummy_value()

    return signature, codegen


TILES = np.dtype(
    [(name, POINTER) for name in ("x", "y", "patch", "bias")]
    + [
        (name, np.int64)
        for name in (
            "h",  # of the image in pixels
            "w",
            "pixel",  # numbers from one pixel to the next
            "channels",  # that are transformed
            "top",  # padding
            "left",
            "down",  # tiles in a column and in a row of an image
            "across",
            "first",  # tile, counted from the part's first one, over all images
            "count",  # of tiles
            "row",  # numbers from one tile to the next in the transformed ones
            "step",  # and from one of their (m + 2)^2 matrices to the next
        )
    ]
    + [("floor", np.float64)]
)


@kernel(TILES)
def transform_input(item, lanes, m):
    """y[i, j][t] = B^T d B of the patch d of tile t in x: matrices (tiles, channels). Patches that reach into the padding are copied."""
    size = m + TAPS - 1

    def body(bases, d):
        d = carray(d, 1)[0]
        x, y, patch = address(bases, d.x), address(bases, d.y), address(bases, d.patch)
        whole = d.channels // lanes * lanes
        for t in range(d.count):
            image, place = divmod(bases[PART] + d.first + t, d.down * d.across)
            i, j = divmod(place, d.across)
            r, c = i * m - d.top, j * m - d.left
            source, row, column = x + ((image * d.h + r) * d.w + c) * d.pixel * item, d.w * d.pixel, d.pixel
            if r < 0 or c < 0 or r + size > d.h or c + size > d.w:
                row, column = size * d.channels, d.channels
                clear_bytes(patch, size * row * item)
                left, right = max(c, 0), min(c + size, d.w)
                if left < right:
                    for p in range(max(r, 0), min(r + size, d.h)):
                        to = patch + ((p - r) * row + (left - c) * column) * item
                        from_ = x + ((image * d.h + p) * d.w + left) * d.pixel * item
                        copy_bytes(to, from_, (right - left) * d.channels * item)
                source = patch
            to = y + t * d.row * item
            for k in range(0, whole, lanes):
                transform(
                    source + k * item, row, column, to + k * item, size * d.step, d.step, 0, 0.0, 0,
                    INPUT, m, lanes, item, 0,
                )  # fmt: skip
            if whole < d.channels:
                transform(
                    source + whole * item, row, column, to + whole * item, size * d.step, d.step, 0, 0.0, d.channels - whole,
                    INPUT, m, lanes, item, 1,
                )  # fmt: skip

    return body


@kernel(TILES)
def transform_output(item, lanes, m):
    """y = max(A^T s A + bias, floor) of the matrices s (tiles, channels) at x; tiles that end outside the image are cropped."""
    size = m + TAPS - 1
    number = np.float32 if item == 4 else np.float64

    def body(bases, d):
        d = carray(d, 1)[0]
        x, y = address(bases, d.x), address(bases, d.y)
        patch, bias = address(bases, d.patch), address(bases, d.bias)
        floor = number(d.floor)
        whole = d.channels // lanes * lanes
        for t in range(d.count):
            image, place = divmod(bases[PART] + d.first + t, d.down * d.across)
            i, j = divmod(place, d.across)
            r, c = i * m, j * m
            out = y + ((image * d.h + r) * d.w + c) * d.pixel * item
            to, row, column = out, d.w * d.pixel, d.pixel
            inside = r + m <= d.h and c + m <= d.w
            if not inside:
                to, row, column = patch, m * d.channels, d.channels
            source = x + t * d.row * item
            for k in range(0, whole, lanes):
                transform(
                    source + k * item, size * d.step, d.step, to + k * item, row, column, bias + k * item, floor, 0,
                    OUTPUT, m, lanes, item, 0,
                )  # fmt: skip
            if whole < d.channels:
                transform(
                    source + whole * item, size * d.step, d.step, to + whole * item, row, column, bias + whole * item, floor,
                    d.channels - whole, OUTPUT, m, lanes, item, 1,
                )  # fmt: skip
            if not inside:
                for p in range(min(m, d.h - r)):
                    for q in range(min(m, d.w - c)):
                        copy_bytes(
                            out + (p * d.w + q) * d.pixel * item,
                            patch + (p * row + q * column) * item,
                            d.channels * item,
                        )

    return body


KERNELS = np.dtype(
    [(name, POINTER) for name in ("x", "y")]
    + [
        (name, np.int64)
        for name in (
            "row",  # numbers from one row of the kernel to the next, from one tap, and from one row of k
            "tap",
            "k_step",
            "k_len",
            "start",  # columns
            "columns",
            "step",  # numbers from one of the (m + 2)^2 matrices of y to the next
        )
    ]
)


@kernel(KERNELS)
def transform_weights(item, lanes, vectors, m):
    """y[i, j] = G g G^T of the kernels at x, each matrix (k, columns) packed as a tile reads it: see pack."""
    width = vectors * lanes
    size = m + TAPS - 1

    def body(bases, d):
        d = carray(d, 1)[0]
        x, y = address(bases, d.x), address(bases, d.y)
        for first in range(d.start, d.columns, width):
            for k in range(d.k_len):
                to = y + ((first - d.start) * d.k_len + k * width) * item
                for column in range(first, first + width, lanes):
                    here = min(lanes, d.columns - column)
                    source = x + (k * d.k_step + column) * item
                    if here == lanes:
                        transform(
                            source, d.row, d.tap, to, size * d.step, d.step, 0, 0.0, 0,
                            WEIGHTS, m, lanes, item, 0,
                        )  # fmt: skip
                    else:
                        transform(
                            source, d.row, d.tap, to, size * d.step, d.step, 0, 0.0, here,
                            WEIGHTS, m, lanes, item, 1,
                        )  # fmt: skip
                    to += lanes * item

    return body
