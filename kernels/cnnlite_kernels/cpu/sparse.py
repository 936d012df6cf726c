"""The gradients of a convolution behind relu and pooling side by side, from the few outputs that have a gradient.

Pooling passes a gradient to one output of each window, and relu stops some of those. Per image and output channel there is
a short list of (place in x, gradient); for each entry all taps of a kernel row lie side by side in x and in w:

    grad_w[kh, kw, ci, co] += sum over the list of co of gradient * x[place + tap]
    grad_x[place + tap]    += gradient * w[kh, kw, ci, co]

The taps of ROWS kernel rows, VECTORS vectors each, are kept in registers while the list goes by: of grad_w in the first sum, of
w in the second. The dense gradients (conv2d.py) compute the same with all outputs, four times as many for windows of 2 x 2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.images import Images, add_clear
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import INT32, NOWHERE, POINTER, Pointer, address, array_at
from cnnlite_kernels.cpu.pack import copy
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.tile import INT, Vectors

# Vectors of taps in registers, by the number of registers: some are left for x and the gradient.
MOST = {32: 24, 16: 10}
# Vectors of taps below which the list's own cost is more than what it saves.
FEWEST = 4


@intrinsic(prefer_literal=True)
def follow_list(
    typing, places, gradients, count, x, x_row, w, w_row, tail_lanes, ROWS, VECTORS, LANES, ITEM, TAIL, INTO_X
):
    """One list of one output channel. Addresses are int64; rows are numbers apart.

    places: int32 (count,), offsets in x; gradients (count,); x: taps of ROWS rows x_row apart from each place; w: ROWS rows of
    VECTORS vectors, w_row apart. INTO_X 0: w += sum of gradient * x; 1: x += gradient * w. TAIL: the last vector has tail_lanes.
    """
    literals = (ROWS, VECTORS, LANES, ITEM, TAIL, INTO_X)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    rows, vectors, lanes, item, tail, into_x = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 8, *literals)

    def codegen(context, bl, signature, arguments):
        places, gradients, count, x, x_row, w, w_row, tail_lanes = arguments[:8]
        v = Vectors(bl, item, lanes)
        masks = [None] * (vectors - 1) + [v.first_lanes(tail_lanes) if tail else None]
        taps = [(r, j) for r in range(rows) for j in range(vectors)]

        def at(base, row, r, j):
            return bl.gep(base, [bl.add(bl.mul(row, INT(r)), INT(j * lanes))])

        w_at = {tap: at(v.pointer(w, v.number), w_row, *tap) for tap in taps}
        held = {(r, j): v.load(w_at[r, j], masks[j]) for r, j in taps}
        sums = {} if into_x else {tap: cgutils.alloca_once_value(bl, held[tap]) for tap in taps}
        with cgutils.for_range(bl, count) as entry:
            place = bl.load(bl.gep(v.pointer(places, ir.IntType(32)), [entry.index]))
            gradient = v.broadcast(bl.load(bl.gep(v.pointer(gradients, v.number), [entry.index])))
            here = bl.gep(v.pointer(x, v.number), [bl.sext(place, INT)])
            for r, j in taps:
                x_at = at(here, x_row, r, j)
                loaded = v.load(x_at, masks[j])
                if into_x:
                    v.store(v.multiply_add(gradient, held[r, j], loaded), x_at, masks[j])
                else:
                    bl.store(v.multiply_add(gradient, loaded, bl.load(sums[r, j])), sums[r, j])
        for (r, j), total in sums.items():
            v.store(bl.load(total), w_at[r, j], masks[j])
        return context.get_dummy_value()

    return signature, codegen


SPARSE = np.dtype(
    [
        (name, POINTER)
        for name in ("x", "grad_x", "w", "grad_w", "grad_b", "grad_y", "index", "places", "gradients", "counts", "window_places")
    ]
    + [
        (name, np.int64)
        for name in (
            "n", "h", "w_columns", "cout", "pool",  # windows (h, w_columns) of an image, outputs in each
            "y_row", "y_image", "index_row", "index_image",
            "x_row", "x_image", "kernel_rows", "row_numbers",  # numbers of one kernel row: kw * cin
            "with_x", "with_w", "with_b", "accumulate_b",
        )
    ]
)  # fmt: skip


@kernel(SPARSE)
def backward(rows, vectors, lanes, item, tail):
    """All images, one after the other: lists, then grad_w, then grad_x.

    grad_y (n, h, w_columns, cout) and index likewise, uint8: which output of the window, `pool` for none. x and grad_x: images
    x_image apart, rows x_row apart. w and grad_w: (cout, kernel_rows, row_numbers). grad_b (cout,). window_places (h * w_columns *
    pool,) int32: offset in x of each output of each window. places, gradients (cout, h * w_columns), counts (cout,): scratch.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        windows, depth = d.h * d.w_columns, d.kernel_rows * d.row_numbers
        places_at, gradients_at = address(bases, d.places), address(bases, d.gradients)
        places = array_at(places_at, d.cout * windows, INT32)
        gradients = array_at(gradients_at, d.cout * windows, item)
        counts = array_at(address(bases, d.counts), d.cout, INT32)
        window_places = array_at(address(bases, d.window_places), windows * d.pool, INT32)
        grad_b = array_at(address(bases, d.grad_b), d.cout * d.with_b, item)
        if not d.accumulate_b:
            grad_b[:] = 0
        width = vectors * lanes
        for n in range(d.n):
            counts[:] = 0
            window = 0
            for h in range(d.h):
                for w in range(d.w_columns):
                    at = address(bases, d.grad_y) + (n * d.y_image + h * d.y_row + w * d.cout) * item
                    grad_y = array_at(at, d.cout, item)
                    index = array_at(
                        address(bases, d.index) + n * d.index_image + h * d.index_row + w * d.cout, d.cout, 1
                    )
                    for co in range(d.cout):
                        # always written, but only kept by counting it: no branch
                        which = np.int64(index[co])
                        alive = np.int32(which < d.pool)
                        to = co * windows + counts[co]
                        places[to] = window_places[window * d.pool + min(which, d.pool - 1)]
                        gradients[to] = grad_y[co]
                        counts[co] += alive
                    if d.with_b:
                        for co in range(d.cout):
                            grad_b[co] += grad_y[co] if index[co] < d.pool else grad_y.dtype.type(0)
                    window += 1
            x, grad_x = (
                address(bases, d.x) + n * d.x_image * item,
                address(bases, d.grad_x) + n * d.x_image * item,
            )
            if d.with_x:
                array_at(grad_x, d.x_image, item)[:] = 0
            for row in range(0, d.kernel_rows, rows):
                for first in range(0, d.row_numbers, width):
                    taps_x = (row * d.x_row + first) * item
                    taps_w = (row * d.row_numbers + first) * item
                    left = d.row_numbers - first - (vectors - 1) * lanes
                    for co in range(d.cout):
                        lists = places_at + co * windows * 4, gradients_at + co * windows * item
                        if d.with_w:
                            follow_list(
                                lists[0], lists[1], counts[co], x + taps_x, d.x_row,
                                address(bases, d.grad_w) + co * depth * item + taps_w, d.row_numbers, left,
                                rows, vectors, lanes, item, tail, 0,
                            )  # fmt: skip
                    for co in range(d.cout):
                        lists = places_at + co * windows * 4, gradients_at + co * windows * item
                        if d.with_x:
                            follow_list(
                                lists[0], lists[1], counts[co], grad_x + taps_x, d.x_row,
                                address(bases, d.w) + co * depth * item + taps_w, d.row_numbers, left,
                                rows, vectors, lanes, item, tail, 1,
                            )  # fmt: skip

    return body


class Taps(NamedTuple):
    """How the taps of a convolution are held: `rows` kernel rows of `vectors` vectors at a time."""

    rows: int
    vectors: int
    tail: int


def taps_held(conv: Conv, pool: tuple[int, int] | None, item: int) -> Taps | None:
    """How to hold the taps, or None where the dense gradients are the better way."""
    (kh, kw), lanes = conv.window.kernel, host().lanes(item)
    if pool is None or pool[0] * pool[1] < 4 or conv.groups > 1 or conv.window.dilation != (1, 1):
        return None
    numbers, most = kw * conv.cin, MOST[host().registers]
    vectors = -(-numbers // lanes)
    if 2 * numbers < lanes:  # most lanes would be idle
        return None
    if vectors > most:
        vectors = max(v for v in range(1, most + 1) if vectors % v == 0)
    rows = max(r for r in range(1, kh + 1) if kh % r == 0 and r * vectors <= most)
    if rows * vectors < FEWEST:
        return None
    return Taps(rows, vectors, int(numbers % lanes > 0))


def add_turned_weights(plan: Plan, conv: Conv, w: Pointer, turned: Pointer) -> None:
    """Emits (cout, kh, kw * cin) from w (HWIO), conv.weights numbers."""
    plan.add(
        copy, plan.item, host().lanes(plan.item),
        x=w, y=turned, rows=conv.cout, columns=conv.depth, x_row=1, x_column=conv.cout, y_row=conv.depth, scale=1.0,
    )  # fmt: skip


def add_backward(
    plan: Plan, conv: Conv, taps: Taps, pool: tuple[int, int], x: Images, grad_y: Images, index: Pointer, y: Images,
    turned: Pointer, grad_x: Images | None, grad_w: Pointer, grad_b: Pointer, accumulate: bool = False,
) -> None:  # fmt: skip
    """Emits the gradients of y = pool(relu(conv(x))).

    Args:
        x: with the convolution's halo; grad_x: of x's layout, halo included, if wanted.
        grad_y: of y's shape; index: from conv2d.add_forward, which lies as y does.
        turned: from add_turned_weights. grad_w, grad_b: NOWHERE if not wanted; `accumulate` adds to what is there.
    """
    item, lanes = plan.item, host().lanes(plan.item)
    (sh, sw), ((top, _), (left, _)) = conv.window.strides, conv.halo
    ph, pw = pool
    i, j, di, dj = np.meshgrid(*map(np.arange, (y.h, y.w, ph, pw)), indexing="ij")
    places = x.pixels((i * ph + di) * sh - top, (j * pw + dj) * sw - left)
    windows = y.h * y.w
    turned_grad = NOWHERE
    turn = dict(rows=conv.depth, columns=conv.cout, x_row=1, x_column=conv.depth, y_row=conv.cout, scale=1.0)
    if grad_w != NOWHERE:
        turned_grad = plan.scratch(conv.weights * item)
        if accumulate:
            add_turned_weights(plan, conv, grad_w, turned_grad)
        else:
            add_clear(plan, turned_grad, conv.weights)
    plan.add(
        backward, taps.rows, taps.vectors, lanes, item, taps.tail,
        x=x.start, grad_x=NOWHERE if grad_x is None else grad_x.start, w=turned, grad_w=turned_grad, grad_b=grad_b,
        grad_y=grad_y.first(item), index=index + y.origin,
        places=plan.scratch(conv.cout * windows * 4), gradients=plan.scratch(conv.cout * windows * item),
        counts=plan.scratch(conv.cout * 4), window_places=plan.table(places, np.int32),
        n=x.n, h=y.h, w_columns=y.w, cout=conv.cout, pool=ph * pw,
        y_row=grad_y.row, y_image=grad_y.image, index_row=y.row, index_image=y.image, x_row=x.row, x_image=x.image,
        kernel_rows=conv.window.kernel[0], row_numbers=conv.window.kernel[1] * conv.cin,
        with_x=int(grad_x is not None), with_w=int(grad_w != NOWHERE), with_b=int(grad_b != NOWHERE),
        accumulate_b=int(accumulate),
    )  # fmt: skip
    if grad_w != NOWHERE:
        plan.add(copy, item, lanes, x=turned_grad, y=grad_w, **turn)
