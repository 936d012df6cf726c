"""A tile for pixels side by side whose taps overlap: what is loaded once serves all the taps that reach it.

    C[i, j] = sum over r < r_len, t < TAPS of  A[(i + t) * a_step + r * a_r + j] * B[r * b_r + t * b_t + j]

It is lane_tile's sum where one tap lies as far from the next as one pixel: strides and dilation of 1. lane_tile loads A for each FMA;
this loads PIXELS + TAPS - 1 vectors for PIXELS * TAPS of them, and arrays that do not begin on a cache line cost little.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.lane_tile import Rows, Sum, add_lane_product
from cnnlite_kernels.cpu.lines import Lines
from cnnlite_kernels.cpu.memory import NOWHERE, POINTER, Pointer, address
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.tile import INT, Vectors, write

PIXELS = (24, 16, 12, 10, 8, 5, 3)
MOST_TAPS = 7
COLLISION = 1024  # bytes; of pixels that lie multiples of it apart L1 holds few, and lane_tile's four vectors of each are better
TILE_LOADS = 8  # what a tile costs besides its sums, in loads for each row of taps


@intrinsic(prefer_literal=True)
def slide_tile(
    typing, a, a_step, b, b_t, c, c_pixel, bias, r_len, a_r, b_r, tail_lanes, flags, PIXELS, TAPS, NV, LANES, ITEM, TAIL
):  # fmt: skip
    """One tile. Addresses, counts and steps are int64, steps in numbers; pixels of C are c_pixel apart.

    TAIL: the last vector has only `tail_lanes` columns; flags of tile.py: BIAS, RELU.
    """
    literals = (PIXELS, TAPS, NV, LANES, ITEM, TAIL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    pixels, taps, nv, lanes, item, tail = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 12, *literals)

    def codegen(context, bl, signature, arguments):
        a, a_step, b, b_t, c, c_pixel, bias, r_len, a_r, b_r, tail_lanes, flags = arguments[:12]
        v = Vectors(bl, item, lanes)
        a, b, c = (v.pointer(start, v.number) for start in (a, b, c))
        masks = [None] * (nv - 1) + [v.first_lanes(tail_lanes) if tail else None]
        acc = [[cgutils.alloca_once_value(bl, v.zero) for _ in range(nv)] for _ in range(pixels)]

        def vectors(at):
            return [v.load(bl.gep(at, [INT(j * lanes)]), masks[j]) for j in range(nv)]

        with cgutils.for_range(bl, r_len) as row:
            b_row = bl.gep(b, [bl.mul(row.index, b_r)])
            w = [vectors(bl.gep(b_row, [bl.mul(b_t, INT(t))])) for t in range(taps)]
            a_at = bl.gep(a, [bl.mul(row.index, a_r)])
            for place in range(pixels + taps - 1):
                x = vectors(a_at)
                a_at = bl.gep(a_at, [a_step])
                for t in range(max(0, place - pixels + 1), min(taps, place + 1)):
                    for j in range(nv):
                        total = acc[place - t][j]
                        bl.store(v.multiply_add(x[j], w[t][j], bl.load(total)), total)
        c_rows = [bl.gep(c, [bl.mul(c_pixel, INT(i))]) for i in range(pixels)]
        write(v, acc, c_rows, [], bias, flags, masks)
        return context.get_dummy_value()

    return signature, codegen


SLIDE = np.dtype(
    [(name, POINTER) for name in ("a", "b", "c", "bias")]
    + [
        (name, np.int64)
        for name in (
            "images", "a_image", "c_image", "blocks",  # of columns, NV * LANES each
            "lines", "a_line", "c_line", "pixels", "a_step", "c_pixel", "r_len", "a_r", "b_r", "b_t", "tail_lanes", "flags",
        )
    ]
)  # fmt: skip


@kernel(SLIDE)
def slide_sweep(at_once, taps, nv, lanes, item, tail):
    """slide_tile over images, blocks of columns, and lines of `at_once` pixels or more; the last tile ends with its line."""

    def body(bases, d):
        d = carray(d, 1)[0]
        a, b, c, bias = address(bases, d.a), address(bases, d.b), address(bases, d.c), address(bases, d.bias)
        for image in range(d.images):
            for block in range(d.blocks):
                column = block * nv * lanes
                for line in range(d.lines):
                    for first in range(0, d.pixels, at_once):
                        pixel = min(first, d.pixels - at_once)
                        slide_tile(
                            a + (image * d.a_image + line * d.a_line + pixel * d.a_step + column) * item, d.a_step,
                            b + column * item, d.b_t,
                            c + (image * d.c_image + line * d.c_line + pixel * d.c_pixel + column) * item, d.c_pixel,
                            bias + column * item, d.r_len, d.a_r, d.b_r, d.tail_lanes, d.flags,
                            at_once, taps, nv, lanes, item, tail,
                        )  # fmt: skip

    return body


def add_lines(
    plan: Plan, a: Pointer, b: Pointer, c: Pointer, lines: Lines, columns: int, along: tuple[int, int, int],
    across: tuple[int, int, int], *, bias: Pointer = NOWHERE, flags: int = 0,
) -> None:  # fmt: skip
    """Emits C = sum of A * B over the taps along the lines and across them: (count, step in A, step in B) of each."""
    item, lanes = plan.item, host().lanes(plan.item)
    taps, a_tap, b_tap = along
    blocks = list(_blocks(lines.pixels, taps, columns, lanes))
    slides = 2 <= taps <= MOST_TAPS and abs(a_tap) == lines.a_pixel and lines.a_pixel * item % COLLISION
    if not blocks or not slides:
        each = np.arange(lines.pixels)
        rows = Rows(each * lines.a_pixel, each * lines.c_pixel, lines.lines, lines.a_line, lines.c_line)
        add_lane_product(
            plan, a, b, c, rows, columns, Sum(across, along),
            images=(lines.images, lines.a_image, 0, lines.c_image), bias=bias, flags=flags,
        )  # fmt: skip
        return
    if a_tap < 0:  # from the last tap to the first
        a, b, b_tap = a + (taps - 1) * a_tap * item, b + (taps - 1) * b_tap * item, -b_tap
    for start, nv, at_once, count, tail in blocks:
        plan.add(
            slide_sweep, at_once, taps, nv, lanes, item, int(tail > 0),
            a=a + start * item, b=b + start * item, c=c + start * item, bias=bias + start * item,
            images=lines.images, a_image=lines.a_image, c_image=lines.c_image, blocks=count,
            lines=lines.lines, a_line=lines.a_line, c_line=lines.c_line,
            pixels=lines.pixels, a_step=lines.a_pixel, c_pixel=lines.c_pixel,
            r_len=across[0], a_r=across[1], b_r=across[2], b_t=b_tap, tail_lanes=tail, flags=flags,
        )  # fmt: skip


def _blocks(pixels: int, taps: int, columns: int, lanes: int) -> Iterator[tuple[int, int, int, int, int]]:
    """(first column, vectors, pixels of a tile, blocks, lanes of the last vector if it is not whole), or nothing where lines are
    too short for a tile."""

    def best(nv: int) -> tuple[float, int]:
        """(loads and FMAs of a line for each vector, pixels of a tile): all sums, a row of taps and what is loaded have to fit."""
        fitting = [each for each in PIXELS if each <= pixels and (each + taps + 1) * nv < host().registers]
        costs = [(-(-pixels // each) * (each * taps * nv + TILE_LOADS) / nv, each) for each in fitting]
        return min(costs, default=(float("inf"), 0))

    pairs = columns // (2 * lanes) if best(2) < best(1) else 0
    if best(1)[1] == 0:
        return
    if pairs:
        yield 0, 2, best(2)[1], pairs, 0
    start = pairs * 2 * lanes
    whole, rest = divmod(columns - start, lanes)
    if whole:
        yield start, 1, best(1)[1], whole, 0
    if rest:
        yield start + whole * lanes, 1, best(1)[1], 1, rest
