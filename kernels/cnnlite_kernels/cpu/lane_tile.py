"""A tile whose lanes never mix: every channel has sums of its own, and a vector holds the channels of one pixel.

    C[i, j] (+)= sum over r < r_len, k < k_len of  A[rows_a[i] + r * a_r + k * a_k + j] * B[r * b_r + k * b_k + j]

    pass           row i of C          column j   r, k                            A        B
    forward        output pixel        channel    taps inside the image           x        w
    grad_input     input pixel         channel    taps inside grad_y              grad_y   w
    grad_weights   tap                 channel    outputs whose taps are inside   x        grad_y

Where tile.py broadcasts a number of A, this loads a vector: a load for each FMA, and two loads a cycle are the limit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import NOWHERE, POINTER, Pointer, address
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.tile import ACCUMULATE, INT, Vectors, write

# Rows that a tile may have, by the number of vector registers and of vectors in a row: all sums and a row of B have to fit.
ROWS: dict[int, dict[int, tuple[int, ...]]] = {
    32: {1: (12, 9, 6, 3, 1), 2: (12, 9, 6, 3, 1), 3: (9, 6, 3, 1), 4: (6, 5, 3, 1)},
    16: {1: (9, 6, 3, 1), 2: (6, 5, 3, 1)},
}
TILE_LOADS = 2  # what a tile costs besides its sums, in loads for each of some nine steps


@intrinsic(prefer_literal=True)
def lane_tile(
    typing, a, rows_a, b, c, rows_c, bias, r_len, a_r, b_r, k_len, a_k, b_k, tail_lanes, flags, MR, NV, LANES, ITEM, TAIL
):  # fmt: skip
    """One tile of MR rows and NV vectors. Addresses, counts and steps are int64, steps in numbers, not bytes.

    rows_a, rows_c: tables of MR offsets; TAIL: the last vector has only `tail_lanes` columns; flags: ACCUMULATE, BIAS, RELU.
    """
    literals = (MR, NV, LANES, ITEM, TAIL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    mr, nv, lanes, item, tail = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 14, *literals)

    def codegen(context, bl, signature, arguments):
        a, rows_a, b, c, rows_c, bias, r_len, a_r, b_r, k_len, a_k, b_k, tail_lanes, flags = arguments[:14]
        v = Vectors(bl, item, lanes)
        masks = [None] * (nv - 1) + [v.first_lanes(tail_lanes) if tail else None]

        def at(base, offset):
            return bl.gep(base, [offset])

        # setup
        a_row = [at(v.pointer(a, v.number), v.integer(rows_a, INT(i))) for i in range(mr)]
        c_row = [at(v.pointer(c, v.number), v.integer(rows_c, INT(i))) for i in range(mr)]
        acc = [[cgutils.alloca_once_value(bl, v.zero) for _ in range(nv)] for _ in range(mr)]
        with bl.if_then(v.has(flags, ACCUMULATE)):
            for i in range(mr):
                for j in range(nv):
                    bl.store(v.load(at(c_row[i], INT(j * lanes)), masks[j]), acc[i][j])

        # loop
        with cgutils.for_range(bl, r_len) as row, cgutils.for_range(bl, k_len) as column:
            r, k = row.index, column.index
            b_at = at(v.pointer(b, v.number), bl.add(bl.mul(r, b_r), bl.mul(k, b_k)))
            offset = bl.add(bl.mul(r, a_r), bl.mul(k, a_k))
            y = [v.load(at(b_at, INT(j * lanes)), masks[j]) for j in range(nv)]
            for i in range(mr):
                a_at = at(a_row[i], offset)
                for j in range(nv):
                    x = v.load(at(a_at, INT(j * lanes)), masks[j])
                    bl.store(v.multiply_add(x, y[j], bl.load(acc[i][j])), acc[i][j])

        write(v, acc, c_row, [], bias, flags, masks)
        return context.get_dummy_value()

    return signature, codegen


LANE_SWEEP = np.dtype(
    [(name, POINTER) for name in ("a", "b", "c", "bias", "rows_a", "rows_c")]
    + [
        (name, np.int64)
        for name in (
            "images", "a_image", "b_image", "c_image",  # c_image 0: the images are added up
            "blocks",  # of columns, NV * LANES each
            "lines", "a_line", "c_line",  # repetitions of all rows
            "row_blocks",  # MR rows each: the tables hold row_blocks * MR offsets
            "r_len", "a_r", "b_r", "k_len", "a_k", "b_k", "tail_lanes", "flags",
        )
    ]
)  # fmt: skip


@kernel(LANE_SWEEP)
def lane_sweep(mr, nv, lanes, item, tail):
    """C (+)= sum of A * B lane by lane, tile by tile; see the top of this file for the sum, tile.py for the flags."""

    def body(bases, d):
        d = carray(d, 1)[0]
        a, b, c, bias = address(bases, d.a), address(bases, d.b), address(bases, d.c), address(bases, d.bias)
        rows_a, rows_c = address(bases, d.rows_a), address(bases, d.rows_c)
        for image in range(d.images):
            flags = d.flags | (ACCUMULATE if image > 0 and d.c_image == 0 else 0)
            for block in range(d.blocks):
                column = block * nv * lanes
                for line in range(d.lines):
                    for row in range(d.row_blocks):
                        lane_tile(
                            a + (image * d.a_image + line * d.a_line + column) * item,
                            rows_a + row * mr * 8,
                            b + (image * d.b_image + column) * item,
                            c + (image * d.c_image + line * d.c_line + column) * item,
                            rows_c + row * mr * 8,
                            bias + column * item,
                            d.r_len, d.a_r, d.b_r, d.k_len, d.a_k, d.b_k, d.tail_lanes, flags,
                            mr, nv, lanes, item, tail,
                        )  # fmt: skip

    return body


class Rows(NamedTuple):
    """Rows of C: offsets in A and in C, repeated for `lines`, a_line further in A and c_line further in C."""

    a: np.ndarray
    c: np.ndarray
    lines: int = 1
    a_line: int = 0
    c_line: int = 0


class Sum(NamedTuple):
    """The sum over r < count and k < count: (count, step in A, step in B) of each."""

    r: tuple[int, int, int]
    k: tuple[int, int, int]


def add_lane_product(
    plan: Plan, a: Pointer, b: Pointer, c: Pointer, rows: Rows, columns: int, sum_: Sum, *,
    images: tuple[int, int, int, int] = (1, 0, 0, 0), bias: Pointer = NOWHERE, flags: int = 0,
) -> None:  # fmt: skip
    """Emits C (+)= sum of A * B over so many columns. images: how many, and the steps from one to the next in A, B and C."""
    lanes, (count, a_image, b_image, c_image) = host().lanes(plan.item), images
    start = 0
    for vectors, mr, blocks in _blocks(len(rows.a), -(-columns // lanes), alone=columns % lanes > 0):
        tail = columns % lanes if start + blocks * vectors * lanes > columns else 0
        row_blocks = -(-len(rows.a) // mr)
        # the last tile is filled up with the last row again, which is computed twice and written with the same numbers
        filled = np.minimum(np.arange(row_blocks * mr), len(rows.a) - 1)
        plan.add(
            lane_sweep, mr, vectors, lanes, plan.item, int(tail > 0),
            a=a + start * plan.item, b=b + start * plan.item, c=c + start * plan.item, bias=bias + start * plan.item,
            rows_a=plan.table(rows.a[filled]), rows_c=plan.table(rows.c[filled]), row_blocks=row_blocks,
            images=count, a_image=a_image, b_image=b_image, c_image=c_image, blocks=blocks,
            lines=rows.lines, a_line=rows.a_line, c_line=rows.c_line,
            r_len=sum_.r[0], a_r=sum_.r[1], b_r=sum_.r[2], k_len=sum_.k[0], a_k=sum_.k[1], b_k=sum_.k[2],
            tail_lanes=tail, flags=flags,
        )  # fmt: skip
        start += blocks * vectors * lanes


def _blocks(rows: int, vectors: int, alone: bool) -> list[tuple[int, int, int]]:
    """(vectors, rows of a tile, blocks) of the runs of blocks that hold so many vectors with the fewest loads; alone: the last
    vector is masked, and its block is a run of its own."""
    choices = ROWS[host().registers]

    def loads(nv: int, mr: int) -> float:
        return -(-rows // mr) * (mr * nv + nv + TILE_LOADS)

    def runs(nv: int) -> list[tuple[int, int, int]]:
        whole, rest = divmod(vectors, nv)
        if alone and not rest:
            whole, rest = whole - 1, nv
        found = [(nv, whole)] * (whole > 0) + [(rest, 1)] * (rest > 0)
        return [(v, min(choices[v], key=lambda mr: loads(v, mr)), count) for v, count in found]

    def cost(nv: int) -> tuple[float, int]:
        return sum(count * loads(v, mr) for v, mr, count in runs(nv)), -nv

    return runs(min(choices, key=cost))
