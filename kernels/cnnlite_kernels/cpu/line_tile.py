"""A tile for outputs side by side of an image of few channels: no table is read, and the channels are one piece of code.

    C[i, j] = sum over r < rows, t < taps, k < NUMBERS of  A[i * STEP + r * a_row + t * a_tap + k] * B[(r * taps + t) * NUMBERS + k, j]

It is tile.py's sum, in the same order, for a first layer: 27 numbers, say, are soon summed, and a sixth of tile.py's time is what
it does besides: 28 offsets to look up, as many addresses as there are rows to keep, and loops that end after a few turns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.lines import Lines
from cnnlite_kernels.cpu.memory import POINTER, Pointer, address
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.product import column_runs, tile_rows
from cnnlite_kernels.cpu.tile import INT, Vectors, write

MOST_NUMBERS = 4  # channels of x: with more, tile.py's loops are long enough
MOST_COMPUTED = 1.05  # of the outputs, where a line is no multiple of a tile and the last two share some


@intrinsic(prefer_literal=True)
def line_tile(
    typing, a, a_row, rows, a_tap, taps, b, c, c_pixel, bias, tail_lanes, flags, PIXELS, STEP, NUMBERS, NV, LANES, ITEM, TAIL
):  # fmt: skip
    """One tile: PIXELS outputs, NV vectors of each. Addresses, counts and steps are int64, steps in numbers.

    B is packed: rows of NV vectors. TAIL: the last vector has only `tail_lanes` columns in C; flags of tile.py: BIAS, RELU.
    """
    literals = (PIXELS, STEP, NUMBERS, NV, LANES, ITEM, TAIL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    pixels, step, numbers, nv, lanes, item, tail = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 11, *literals)

    def codegen(context, bl, signature, arguments):
        a, a_row, rows, a_tap, taps, b, c, c_pixel, bias, tail_lanes, flags = arguments[:11]
        v = Vectors(bl, item, lanes)
        a, b, c = (v.pointer(start, v.number) for start in (a, b, c))
        acc = [[cgutils.alloca_once_value(bl, v.zero) for _ in range(nv)] for _ in range(pixels)]
        # the taps of a row stay a loop: unrolled, LLVM would keep the numbers that neighbouring outputs share, and spill sums
        with cgutils.for_range(bl, rows) as row, cgutils.for_range(bl, taps) as tap:
            a_at = bl.gep(a, [bl.add(bl.mul(row.index, a_row), bl.mul(tap.index, a_tap))])
            place = bl.add(bl.mul(row.index, taps), tap.index)
            b_at = bl.gep(b, [bl.mul(place, INT(numbers * nv * lanes))])
            for k in range(numbers):
                w = [v.load(bl.gep(b_at, [INT((k * nv + j) * lanes)])) for j in range(nv)]
                for i in range(pixels):
                    x = v.broadcast(bl.load(bl.gep(a_at, [INT(i * step + k)])))
                    for total, w_j in zip(acc[i], w, strict=True):
                        bl.store(v.multiply_add(x, w_j, bl.load(total)), total)
        c_rows = [bl.gep(c, [bl.mul(c_pixel, INT(i))]) for i in range(pixels)]
        masks = [None] * (nv - 1) + [v.first_lanes(tail_lanes) if tail else None]
        write(v, acc, c_rows, [], bias, flags, masks)
        return context.get_dummy_value()

    return signature, codegen


LINE = np.dtype(
    [(name, POINTER) for name in ("a", "b", "c", "bias")]
    + [
        (name, np.int64)
        for name in (
            "images", "a_image", "c_image", "lines", "a_line", "c_line", "pixels", "c_pixel",
            "a_row", "rows", "a_tap", "taps",
            "blocks", "b_block",  # of columns, NV * LANES each
            "tail_lanes", "flags",
        )
    ]
)  # fmt: skip


@kernel(LINE)
def line_sweep(at_once, step, numbers, nv, lanes, item, tail):
    """line_tile over images and lines of `at_once` outputs or more, all columns of some outputs together: C is written from its
    beginning to its end. The last tile ends with its line."""
    width = nv * lanes

    def body(bases, d):
        d = carray(d, 1)[0]
        a, b, c, bias = address(bases, d.a), address(bases, d.b), address(bases, d.c), address(bases, d.bias)
        for image in range(d.images):
            for line in range(d.lines):
                for first in range(0, d.pixels, at_once):
                    pixel = min(first, d.pixels - at_once)
                    for block in range(d.blocks):
                        line_tile(
                            a + (image * d.a_image + line * d.a_line + pixel * step) * item,
                            d.a_row, d.rows, d.a_tap, d.taps,
                            b + block * d.b_block * item,
                            c + (image * d.c_image + line * d.c_line + pixel * d.c_pixel + block * width) * item,
                            d.c_pixel,
                            bias + block * width * item,
                            d.tail_lanes, d.flags, at_once, step, numbers, nv, lanes, item, tail,
                        )  # fmt: skip

    return body


class Taps(NamedTuple):
    """What is summed for an output: `rows` rows a_row apart in A, in each `taps` taps a_tap apart, in each `numbers` side by side."""

    rows: int
    a_row: int
    taps: int
    a_tap: int
    numbers: int

    @property
    def depth(self) -> int:
        return self.rows * self.taps * self.numbers


def suits(numbers: int, depth: int, pixels: int) -> bool:
    """Whether lines of so many outputs, sums of `depth` numbers, `numbers` side by side, pay beside tile.py."""
    if not 0 < numbers <= MOST_NUMBERS or pixels == 0:
        return False
    at_once = tile_rows(pixels, depth)
    return -(-pixels // at_once) * at_once <= MOST_COMPUTED * pixels


def add_line_product(
    plan: Plan, a: Pointer, b: Pointer, c: Pointer, lines: Lines, columns: int, taps: Taps, *, bias: Pointer, flags: int,
    within: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Emits C = A * B, with B packed as for product.add_product(threes=True); flags of tile.py: BIAS, RELU.

    within=(first, stop), multiples of `block_width`: only the blocks of columns that begin there.
    """
    item, lanes = plan.item, host().lanes(plan.item)
    if lines.images == 0 or lines.lines == 0:
        return
    for run in column_runs(columns, item, threes=True):
        run = run.within(within, lanes)
        if run.blocks == 0:
            continue
        at_once = tile_rows(lines.pixels, taps.depth, vectors=run.vectors)
        plan.add(
            line_sweep, min(at_once, lines.pixels), lines.a_pixel, taps.numbers, run.vectors, lanes, item, int(run.tail > 0),
            a=a, b=b + run.start * taps.depth * item, c=c + run.start * item, bias=bias + run.start * item,
            images=lines.images, a_image=lines.a_image, c_image=lines.c_image,
            lines=lines.lines, a_line=lines.a_line, c_line=lines.c_line, pixels=lines.pixels, c_pixel=lines.c_pixel,
            a_row=taps.a_row, rows=taps.rows, a_tap=taps.a_tap, taps=taps.taps,
            blocks=run.blocks, b_block=taps.depth * run.vectors * lanes, tail_lanes=run.tail, flags=flags,
        )  # fmt: skip
