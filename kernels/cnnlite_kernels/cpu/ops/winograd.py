"""conv2d and its gradient with respect to x by Winograd's algorithm, on arrays.

Many tiles: the weights are transformed first, for all; then each part of the tiles is transformed, multiplied and transformed back,
block by block. Few tiles: they are transformed first, and each part of the output channels transforms its weights piece by piece,
each multiplied with all tiles while L2 still has it: there are more numbers in the transformed weights than in anything else.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from cnnlite_kernels.algorithms import TAPS
from cnnlite_kernels.cpu import winograd as emit
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops.activations import in_place
from cnnlite_kernels.cpu.ops.work import KEPT, NUMBERS, Work, number_of_parts, pieces
from cnnlite_kernels.cpu.pack import copy
from cnnlite_kernels.cpu.plan import LINE, Part, Plan
from cnnlite_kernels.cpu.product import block_width, most_poolable, padded_columns
from cnnlite_kernels.cpu.tile import ACCUMULATE
from cnnlite_kernels.cpu.winograd import Matrices, Tiling, covered, spaced
from cnnlite_kernels.window import Window2D

X, W, BIAS, OUT, SHARED = (Pointer(base, 0) for base in (Base.X, Base.W, Base.GRADS, Base.OUT, Base.EXTRA))

FEW_TILES = 128  # below which the weights are the larger part of the work
# The same from HEAVY bytes of transformed weights on, which no cache holds beside other things.
FEW_TILES_HEAVY = 512
HEAVY = 1 << 23
ROW_BLOCKS = 4  # tiles of the microkernel in a block of tiles: their matrices are 1 MB at 64 channels, and longer ones win nothing
PIECE = 600_000  # bytes of transformed weights that are made at a time, for COLUMN_BLOCKS blocks of columns
COLUMN_BLOCKS = 2
LEAST_TILES = 28  # in a part where each part transforms weights for itself: a fifth of its time


def conv2d(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, out: np.ndarray, window: Window2D, m: int, activation: str | None
) -> None:  # fmt: skip
    """out = activation(conv(x, w) + b) in tiles of m x m outputs; a 3 x 3 window at stride 1."""
    (top, _), (left, _) = window.pads(*x.shape[1:3])
    (n, h, width, cin), (_, oh, ow, cout) = x.shape, out.shape
    tiling = Tiling(m, n, h, width, cin, oh, ow, cout, top, left)
    _convolution(tiling, x.itemsize, b is not None, activation, False).run(x=x, w=w, grads=b, out=out)


def conv2d_grad_input(grad_y: np.ndarray, w: np.ndarray, out: np.ndarray, window: Window2D, m: int) -> None:
    """out = the gradient with respect to x, of its shape: grad_y convolved with the weights turned around, channels exchanged."""
    (top, _), (left, _) = window.pads(*out.shape[1:3])
    (n, oh, ow, cout), (_, h, width, cin) = grad_y.shape, out.shape
    tiling = Tiling(m, n, oh, ow, cout, h, width, cin, TAPS - 1 - top, TAPS - 1 - left)
    _convolution(tiling, grad_y.itemsize, False, None, True).run(x=grad_y, w=w, out=out)


@functools.lru_cache(KEPT)
def _convolution(tiling: Tiling, item: int, with_bias: bool, activation: str | None, turned: bool) -> Work:
    """turned: w is that of the forward pass, (3, 3, cout, cin)."""
    weights = TAPS**2 * tiling.cin * tiling.cout
    w, turns, used = W, [], 0
    if turned:
        w, turns, used = SHARED, _turns(tiling, item), -(-weights * item // LINE) * LINE
    bias = BIAS if with_bias else None
    heavy = tiling.products * tiling.cin * tiling.cout * item >= HEAVY
    few = tiling.cin > 0 and tiling.tiles < (FEW_TILES_HEAVY if heavy else FEW_TILES)
    first, second, size = (_few_tiles if few else _many_tiles)(
        tiling, w, SHARED + used, bias, activation == "relu", item
    )
    size_y = tiling.n * tiling.oh * tiling.ow * tiling.cout
    last = [] if activation in (None, "relu") else in_place(activation, size_y, item)
    return Work([turns, first, second, last], used + size)


def _turns(tiling: Tiling, item: int) -> list[Part]:
    """The parts that write w[2 - i, 2 - j] transposed to the beginning of what the parts share, tap by tap."""
    parts = []
    tap = tiling.cin * tiling.cout * item
    for number in range(TAPS**2):
        plan = Plan(item)
        plan.add(
            copy, item, host().lanes(item), x=W + number * tap, y=SHARED + (TAPS**2 - 1 - number) * tap,
            rows=tiling.cin, columns=tiling.cout, x_row=1, x_column=tiling.cin, y_row=tiling.cout, scale=1,
        )  # fmt: skip
        parts.append(Part(plan))
    return parts


Segments = tuple[list[Part], list[Part], int]


def _many_tiles(
    tiling: Tiling, w: Pointer, shared: Pointer, bias: Pointer | None, relu: bool, item: int
) -> Segments:
    """The parts that transform weights, the parts that make outputs, and the bytes at `shared` that they need."""
    cin, cout = tiling.cin, tiling.cout
    u = Matrices(shared, spaced(cin * padded_columns(cout, item), item))
    weights = []
    for columns in pieces(cout, number_of_parts(tiling.products * cin * cout, NUMBERS), block_width(item)):
        plan = Plan(item)
        emit.add_weights(plan, tiling, w, u, (0, cin), columns)
        weights.append(Part(plan))
    parts = []
    plans: dict[int, Plan] = {}
    rows = most_poolable()
    for first, stop in pieces(tiling.tiles, number_of_parts(tiling.multiply_adds), rows):
        if stop - first not in plans:
            plan = plans[stop - first] = Plan(item)
            most = min(stop - first, ROW_BLOCKS * rows)
            v, s = _scratch(plan, tiling, most, cin), _scratch(plan, tiling, most, cout)
            for begin in range(0, stop - first, most):
                count = min(most, stop - first - begin)
                emit.add_input(plan, tiling, X, v, begin, count)
                emit.add_products(plan, tiling, v, u, s, count, cin)
                emit.add_output(plan, tiling, s, bias, OUT, begin, count, columns=(0, cout), relu=relu)
        parts.append(Part(plans[stop - first], {Base.PART: first}))
    return weights, parts, u.step * tiling.products * item


def _few_tiles(
    tiling: Tiling, w: Pointer, shared: Pointer, bias: Pointer | None, relu: bool, item: int
) -> Segments:
    """The parts that transform the tiles, the parts that make outputs, and the bytes at `shared` that they need."""
    cin = tiling.cin
    v = Matrices(shared, spaced(tiling.tiles * cin, item), cin)
    inputs = []
    for first, stop in pieces(tiling.tiles, number_of_parts(tiling.tiles * tiling.products * cin, NUMBERS)):
        plan = Plan(item)
        emit.add_input(plan, tiling, X, v, 0, stop - first)
        inputs.append(Part(plan, {Base.PART: first, Base.EXTRA: first * cin * item}))
    wanted = number_of_parts(tiling.multiply_adds)
    column_parts = list(pieces(tiling.cout, wanted, block_width(item)))
    tile_parts = min(-(-wanted // len(column_parts)), max(1, tiling.tiles // LEAST_TILES))
    parts = []
    for columns in column_parts:
        for first, stop in pieces(tiling.tiles, tile_parts):
            plan = Plan(item)
            tiles = v._replace(start=v.start + first * cin * item)
            for within in _blocks(tiling, columns, item):
                mark = plan.mark()
                s = _add_piecewise_products(plan, tiling, w, tiles, stop - first, within)
                emit.add_output(plan, tiling, s, bias, OUT, 0, stop - first, columns=within, relu=relu)
                plan.free(mark)
            parts.append(Part(plan, {Base.PART: first}))
    return inputs, parts, v.step * tiling.products * item


def _blocks(tiling: Tiling, columns: tuple[int, int], item: int) -> Iterator[tuple[int, int]]:
    """(first, stop) of the output channels that are made at a time."""
    wide = COLUMN_BLOCKS * block_width(item)
    for first in range(columns[0], columns[1], wide):
        start, stop = covered(tiling.cout, item, (first, min(first + wide, columns[1])))
        if start < stop:
            yield start, stop


def _add_piecewise_products(
    plan: Plan, tiling: Tiling, w: Pointer, v: Matrices, count: int, columns: tuple[int, int]
) -> Matrices:
    """Emits s = v u for some columns, u transformed piece by piece; returns s, in scratch."""
    item, (first, stop) = plan.item, columns
    s = _scratch(plan, tiling, count, stop - first)
    wide = padded_columns(stop - first, item)
    longest = max(1, PIECE // (tiling.products * wide * item))
    step = spaced(longest * wide, item)
    start = plan.scratch(step * tiling.products * item)
    all_s = s._replace(start=s.start + -first * item)
    for rows in pieces(tiling.cin, -(-tiling.cin // longest)):
        k, k_len = rows[0], rows[1] - rows[0]
        u = Matrices(start + -first * k_len * item, step)
        emit.add_weights(plan, tiling, w, u, rows, columns)
        emit.add_products(
            plan, tiling, v._replace(start=v.start + k * item), u, all_s, count, k_len, columns=columns,
            flags=ACCUMULATE if k else 0,
        )  # fmt: skip
    return s


def _scratch(plan: Plan, tiling: Tiling, count: int, row: int) -> Matrices:
    """Scratch for the matrices (count, row)."""
    step = spaced(count * row, plan.item)
    return Matrices(plan.scratch(step * tiling.products * plan.item), step, row)
