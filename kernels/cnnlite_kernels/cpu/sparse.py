"""The gradients of a convolution behind relu and pooling side by side, from the few outputs that have a gradient.

Pooling passes a gradient to one output of each window, and relu stops some of those. Per image there are short lists: for each
output channel of (place in x, gradient), for each output pixel of (channel, gradient). All taps of a kernel row lie side by side in
x and in w, whose rows are the output channels here:

    grad_w[co, tap]      += sum over the list of co of gradient * x[place + tap]
    grad_x[place + tap]  += sum over the list of the pixel at place of gradient * w[channel, tap]

It is the same sum: the taps of some kernel rows, a few vectors each, are added up in registers while the list goes by. The dense
gradients (conv2d.py) compute the same with all outputs, four times as many for windows of 2 x 2.
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
from cnnlite_kernels.cpu.memory import INT32, INT64, NOWHERE, POINTER, Pointer, address, array_at
from cnnlite_kernels.cpu.pack import add_turn, copy
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.sparse_lists import list_channels, list_pixel
from cnnlite_kernels.cpu.tile import INT, Vectors

# Vectors of taps in registers, by the number of registers: some are left for x and the gradient.
MOST = {32: 24, 16: 10}
# Vectors of taps below which the list's own cost is more than what it saves.
FEWEST = 4
# Bytes of w from all over which the lists of all pixels take their rows, before the next so many: they should stay in L1.
CHUNK = 40 << 10


@intrinsic(prefer_literal=True)
def follow_list(
    typing, offsets, gradients, count, x, x_row, y, y_row, tail_lanes, ROWS, VECTORS, LANES, ITEM, TAIL
):
    """y[r, j] += sum over i < count of gradients[i] * x[offsets[i] + r * x_row + j]: ROWS rows of VECTORS vectors, y in registers.

    Addresses are int64; offsets int32 and rows are in numbers. TAIL: the last vector has tail_lanes.
    """
    literals = (ROWS, VECTORS, LANES, ITEM, TAIL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    rows, vectors, lanes, item, tail = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 8, *literals)

    def codegen(context, bl, signature, arguments):
        offsets, gradients, count, x, x_row, y, y_row, tail_lanes = arguments[:8]
        v = Vectors(bl, item, lanes)
        masks = [None] * (vectors - 1) + [v.first_lanes(tail_lanes) if tail else None]
        taps = [(r, j) for r in range(rows) for j in range(vectors)]

        def at(base, row, r, j):
            return bl.gep(base, [bl.add(bl.mul(row, INT(r)), INT(j * lanes))])

        y_at = {(r, j): at(v.pointer(y, v.number), y_row, r, j) for r, j in taps}
        sums = {tap: cgutils.alloca_once_value(bl, v.zero) for tap in taps}
        with cgutils.for_range(bl, count) as entry:
            offset = bl.load(bl.gep(v.pointer(offsets, ir.IntType(32)), [entry.index]))
            gradient = v.broadcast(bl.load(bl.gep(v.pointer(gradients, v.number), [entry.index])))
            here = bl.gep(v.pointer(x, v.number), [bl.sext(offset, INT)])
            for (r, j), total in sums.items():
                loaded = v.load(at(here, x_row, r, j), masks[j])
                bl.store(v.multiply_add(gradient, loaded, bl.load(total)), total)
        for (r, j), total in sums.items():
            v.store(bl.fadd(v.load(y_at[r, j], masks[j]), bl.load(total)), y_at[r, j], masks[j])
        return context.get_dummy_value()

    return signature, codegen


SPARSE = np.dtype(
    [
        (name, POINTER)
        for name in (
            "x", "grad_x", "w", "grad_w", "grad_b", "grad_y", "index", "offsets", "gradients", "counts",
            "places", "grad_at", "index_at",
        )
    ]
    + [
        (name, np.int64)
        for name in (
            "n", "windows", "cout", "channels", "padded",  # windows of an image, and their number filled up to whole vectors
            "y_image", "index_image", "x_row", "x_image",
            "kernel_rows", "row_numbers",  # numbers of one kernel row: kw * cin
            "with_x", "with_w", "with_b", "accumulate_b",
        )
    ]
)  # fmt: skip


@kernel(SPARSE)
def backward(rows, vectors, lanes, item, tail, channels_tail, pool):
    """All images, one after the other: grad_w for a vector of channels after the other, then grad_x.

    grad_y (n, windows, cout), index likewise, uint8: which output of the window, `pool` for none; where a window's channels begin
    say grad_at and index_at, int32 (padded,). x and grad_x: images x_image apart, rows x_row apart. w and grad_w: (cout,
    kernel_rows, row_numbers). grad_b (cout,). places int32 (pool, padded): offset in x of each output of each window. Scratch:
    offsets, gradients: lists of lanes * (padded + lanes) or windows * cout + lanes numbers; counts int64 (windows * pool,).
    `rows` kernel rows of `vectors` vectors are in registers; for grad_x the lists are made and followed `channels` at a time.
    """
    width = vectors * lanes

    def body(bases, d):
        d = carray(d, 1)[0]
        depth, room = d.kernel_rows * d.row_numbers, d.padded + lanes
        offsets, gradients = address(bases, d.offsets), address(bases, d.gradients)
        counts_at = address(bases, d.counts)
        counts = array_at(counts_at, max(d.windows * pool, lanes), INT64)
        places = array_at(address(bases, d.places), pool * d.padded, INT32)
        grad_at, index_at = (
            array_at(address(bases, d.grad_at), d.padded, INT32),
            array_at(address(bases, d.index_at), d.padded, INT32),
        )
        grad_b = array_at(address(bases, d.grad_b), d.cout * d.with_b, item)
        if not d.accumulate_b:
            grad_b[:] = 0
        for n in range(d.n):
            x, grad_x = (
                address(bases, d.x) + n * d.x_image * item,
                address(bases, d.grad_x) + n * d.x_image * item,
            )
            grads, indices = (
                address(bases, d.grad_y) + n * d.y_image * item,
                address(bases, d.index) + n * d.index_image,
            )
            if d.with_b:
                for window in range(d.windows):
                    grad_y = array_at(grads + grad_at[window] * item, d.cout, item)
                    index = array_at(indices + index_at[window], d.cout, 1)
                    for co in range(d.cout):
                        grad_b[co] += grad_y[co] if index[co] < np.uint8(pool) else grad_y.dtype.type(0)
            for channel in range(0, d.cout * d.with_w, lanes):
                counts[:lanes] = 0
                for window in range(0, d.windows, lanes):
                    list_channels(
                        indices + channel, index_at.ctypes.data + window * 4, grads + channel * item,
                        grad_at.ctypes.data + window * 4, places.ctypes.data + window * 4, d.padded, d.windows - window,
                        d.cout - channel, offsets, gradients, room, counts_at, lanes, item, channels_tail, pool,
                    )  # fmt: skip
                for row in range(0, d.kernel_rows, rows):
                    for first in range(0, d.row_numbers, width):
                        taps_x, taps_w = (row * d.x_row + first) * item, (row * d.row_numbers + first) * item
                        left = d.row_numbers - first - (vectors - 1) * lanes
                        for c in range(min(lanes, d.cout - channel)):
                            follow_list(
                                offsets + c * room * 4, gradients + c * room * item, counts[c], x + taps_x, d.x_row,
                                address(bases, d.grad_w) + (channel + c) * depth * item + taps_w, d.row_numbers, left,
                                rows, vectors, lanes, item, tail,
                            )  # fmt: skip
            if d.with_x:
                array_at(grad_x, d.x_image, item)[:] = 0
                for chunk in range(0, d.cout, d.channels):
                    stop = min(chunk + d.channels, d.cout)
                    end = 0
                    for window in range(d.windows):
                        for q in range(pool):
                            start = end
                            for channel in range(chunk, stop, lanes):
                                end += list_pixel(
                                    indices + index_at[window] + channel, grads + (grad_at[window] + channel) * item,
                                    q, channel * depth, depth, d.cout - channel, offsets + end * 4,
                                    gradients + end * item, lanes, item, channels_tail,
                                )  # fmt: skip
                            counts[window * pool + q] = end - start
                    for row in range(0, d.kernel_rows, rows):
                        for first in range(0, d.row_numbers, width):
                            taps_x, taps_w = (
                                (row * d.x_row + first) * item,
                                (row * d.row_numbers + first) * item,
                            )
                            left = d.row_numbers - first - (vectors - 1) * lanes
                            start = 0
                            for window in range(d.windows):
                                for q in range(pool):
                                    follow_list(
                                        offsets + start * 4, gradients + start * item, counts[window * pool + q],
                                        address(bases, d.w) + taps_w, d.row_numbers,
                                        grad_x + taps_x + places[q * d.padded + window] * item, d.x_row, left,
                                        rows, vectors, lanes, item, tail,
                                    )  # fmt: skip
                                    start += counts[window * pool + q]

    return body


class Taps(NamedTuple):
    """How the taps of a convolution are held: `rows` kernel rows of `vectors` vectors at a time, the last of them not whole if `tail`;
    of `channels` one after the other where the lists are those of pixels."""

    rows: int
    vectors: int
    tail: int
    channels: int


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
    channels = max(1, CHUNK // (rows * vectors * lanes * item) // lanes) * lanes
    return Taps(rows, vectors, int(numbers % lanes > 0), channels)


def add_turned_weights(plan: Plan, conv: Conv, w: Pointer, turned: Pointer) -> None:
    """Emits (cout, kh, kw * cin) from w (HWIO), conv.weights numbers."""
    add_turn(plan, w, turned, conv.cout, conv.depth)


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
    (kh, kw), (ph, pw), windows = conv.window.kernel, pool, y.h * y.w
    padded = -(-windows // lanes) * lanes
    i, j, di, dj = np.meshgrid(*map(np.arange, (y.h, y.w, ph, pw)), indexing="ij")
    places = x.pixels((i * ph + di) * sh - top, (j * pw + dj) * sw - left).reshape(windows, ph * pw).T

    def table(offsets: np.ndarray) -> Pointer:
        """One int32 for each window, filled up to whole vectors with the last."""
        return plan.table(np.take(offsets, np.arange(padded), axis=-1, mode="clip"), np.int32)

    turned_grad = NOWHERE
    turn = dict(rows=conv.depth, columns=conv.cout, x_row=1, x_column=conv.depth, y_row=conv.cout, scale=1.0)
    if grad_w != NOWHERE:
        turned_grad = plan.scratch(conv.weights * item)
        if accumulate:
            add_turned_weights(plan, conv, grad_w, turned_grad)
        else:
            add_clear(plan, turned_grad, conv.weights)
    room = max(lanes * (padded + lanes), windows * conv.cout + lanes)
    plan.add(
        backward, taps.rows, taps.vectors, lanes, item, taps.tail, int(conv.cout % lanes > 0), ph * pw,
        x=x.start, grad_x=NOWHERE if grad_x is None else grad_x.start, w=turned, grad_w=turned_grad, grad_b=grad_b,
        grad_y=grad_y.start, index=index,
        offsets=plan.scratch(room * 4), gradients=plan.scratch(room * item),
        counts=plan.scratch(max(windows * ph * pw, lanes) * 8), places=table(places),
        grad_at=table(grad_y.pixels(i[:, :, 0, 0], j[:, :, 0, 0]).reshape(-1)),
        index_at=table(y.pixels(i[:, :, 0, 0], j[:, :, 0, 0]).reshape(-1)),
        n=x.n, windows=windows, cout=conv.cout, channels=taps.channels, padded=padded,
        y_image=grad_y.image, index_image=y.image, x_row=x.row, x_image=x.image, kernel_rows=kh, row_numbers=kw * conv.cin,
        with_x=int(grad_x is not None), with_w=int(grad_w != NOWHERE), with_b=int(grad_b != NOWHERE),
        accumulate_b=int(accumulate),
    )  # fmt: skip
    if grad_w != NOWHERE:
        plan.add(copy, item, lanes, x=turned_grad, y=grad_w, **turn)
