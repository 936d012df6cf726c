"""The gradient of few weights behind relu and pooling side by side: all taps of some channels are added up in registers.

A first layer has few taps, and nobody asks for the gradient of its input. Its outputs before pooling are then no use to anybody:
the gradient of a window goes straight to the taps of the output that index names,

    grad_w[tap, co] += grad_y[window, co] * x[place of the window's output q + tap]    where index[window, co] is q

and nothing of the size of the convolution's output is written or read (activations.unpool, then conv2d's grad_weights).
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.images import Images, with_halo
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import NOWHERE, POINTER, Pointer, address, array_at
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.sparse_lists import INT32, Lists
from cnnlite_kernels.cpu.tile import BYTE, INT

# Sums in registers, by the number of registers: some are left for the gradients of a window, before and after selection.
MOST = {32: 26, 16: 11}
VECTORS = 2  # of channels, where the sums of both fit


@intrinsic(prefer_literal=True)
def add_windows(
    typing, x, x_row, x_image, places, grad_y, grad_at, y_image, index, index_at, index_image, n, windows, left,
    grad_w, w_row, grad_b, ROWS, NUMBERS, VECTORS, LANES, ITEM, TAIL, POOL,
):  # fmt: skip
    """Adds all windows of n images to grad_w, ROWS * NUMBERS rows of VECTORS vectors, w_row apart, and to grad_b unless that is 0.

    Addresses are int64; tables int32 of offsets in numbers: places (windows, POOL) in x, grad_at and index_at (windows,). TAIL: the
    last vector has `left` channels.
    """
    literals = (ROWS, NUMBERS, VECTORS, LANES, ITEM, TAIL, POOL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    rows, numbers, vectors, lanes, item, tail, pool = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 16, *literals)

    def codegen(context, bl, signature, arguments):
        x, x_row, x_image, places, grad_y, grad_at, y_image, index, index_at, index_image = arguments[:10]
        n, windows, left, grad_w, w_row, grad_b = arguments[10:16]
        v = Lists(bl, item, lanes)
        masks = [None] * (vectors - 1) + [v.first_lanes(left) if tail else None]
        columns = range(vectors)
        taps = [(r, k) for r in range(rows) for k in range(numbers)]

        def number_at(table, place):
            return bl.sext(bl.load(bl.gep(v.pointer(table, INT32), [place])), INT)

        def zeros():
            return [cgutils.alloca_once_value(bl, v.zero) for _ in columns]

        sums, bias = {tap: zeros() for tap in taps}, zeros()
        with cgutils.for_range(bl, n) as image, cgutils.for_range(bl, windows) as window:
            grads_at = bl.add(bl.mul(image.index, y_image), number_at(grad_at, window.index))
            which_at = bl.add(bl.mul(image.index, index_image), number_at(index_at, window.index))
            grads = bl.gep(v.pointer(grad_y, v.number), [grads_at])
            which = bl.gep(v.pointer(index, BYTE), [which_at])
            found = [v.load(bl.gep(grads, [INT(j * lanes)]), masks[j]) for j in columns]
            which = [v.load_bytes(bl.gep(which, [INT(j * lanes)]), masks[j]) for j in columns]
            for j in columns:
                alive = bl.icmp_unsigned("<", which[j], ir.Constant(which[j].type, [pool] * lanes))
                bl.store(bl.fadd(bl.load(bias[j]), bl.select(alive, found[j], v.zero)), bias[j])
            for q in range(pool):
                chosen = [bl.select(v.same(which[j], INT(q)), found[j], v.zero) for j in columns]
                place = number_at(places, bl.add(bl.mul(window.index, INT(pool)), INT(q)))
                start = bl.add(bl.mul(image.index, x_image), place)
                for r in range(rows):
                    row = bl.gep(v.pointer(x, v.number), [bl.add(start, bl.mul(x_row, INT(r)))])
                    for k in range(numbers):
                        pixel = v.broadcast(bl.load(bl.gep(row, [INT(k)])))
                        for j in columns:
                            total = sums[r, k][j]
                            bl.store(v.multiply_add(pixel, chosen[j], bl.load(total)), total)

        def add(base, totals):
            for j in columns:
                at = bl.gep(base, [INT(j * lanes)])
                v.store(bl.fadd(v.load(at, masks[j]), bl.load(totals[j])), at, masks[j])

        for tap, (r, k) in enumerate(taps):
            add(bl.gep(v.pointer(grad_w, v.number), [bl.mul(w_row, INT(tap))]), sums[r, k])
        with bl.if_then(bl.icmp_signed("!=", grad_b, INT(0))):
            add(v.pointer(grad_b, v.number), bias)
        return context.get_dummy_value()

    return signature, codegen


FEW_TAPS = np.dtype(
    [
        (name, POINTER)
        for name in ("x", "places", "grad_y", "grad_at", "index", "index_at", "grad_w", "grad_b")
    ]
    + [
        (name, np.int64)
        for name in (
            "x_row", "x_image", "y_image", "index_image", "n", "windows", "first", "stop", "cout", "with_b", "accumulate"
        )
    ]
)  # fmt: skip


@kernel(FEW_TAPS)
def backward(rows, numbers, vectors, lanes, item, tail, pool):
    """grad_w (rows, numbers, cout) and, if with_b, grad_b (cout,): channels first to stop, `vectors` vectors at a time.

    x: images x_image apart, rows x_row. grad_y and index (uint8, `pool` for none): images y_image and index_image apart; the tables
    are those of add_windows. tail: the last vector is not whole, and there is one block of channels.
    """
    width = vectors * lanes

    def body(bases, d):
        d = carray(d, 1)[0]
        grad_w, grad_b = address(bases, d.grad_w), address(bases, d.grad_b)
        if not d.accumulate:
            for row in range(rows * numbers):
                array_at(grad_w + (row * d.cout + d.first) * item, d.stop - d.first, item)[:] = 0
            array_at(grad_b + d.first * item, (d.stop - d.first) * d.with_b, item)[:] = 0
        for first in range(d.first, d.stop, width):
            add_windows(
                address(bases, d.x), d.x_row, d.x_image, address(bases, d.places),
                address(bases, d.grad_y) + first * item, address(bases, d.grad_at), d.y_image,
                address(bases, d.index) + first, address(bases, d.index_at), d.index_image, d.n, d.windows,
                d.stop - first - (vectors - 1) * lanes, grad_w + first * item, d.cout,
                (grad_b + first * item) * d.with_b, rows, numbers, vectors, lanes, item, tail, pool,
            )  # fmt: skip

    return body


def fits(conv: Conv) -> bool:
    """Whether all taps of a vector of channels have room in registers."""
    return conv.groups == 1 and conv.window.dilation == (1, 1) and conv.depth <= MOST[host().registers]


def add_backward(
    plan: Plan, conv: Conv, pool: tuple[int, int], x: Images, grad_y: Images, index: Pointer, y: Images,
    grad_w: Pointer, grad_b: Pointer, accumulate: bool = False,
) -> None:  # fmt: skip
    """Emits grad_w (HWIO) and grad_b of y = pool(relu(conv(x))), where `fits`.

    Args:
        grad_y: of y's shape; index: from conv2d.add_forward, which lies as y does.
        grad_b: NOWHERE if not wanted; `accumulate` adds to what is there.
    """
    x = with_halo(plan, x, conv.halo)
    item, lanes = plan.item, host().lanes(plan.item)
    (kh, kw), (ph, pw) = conv.window.kernel, pool
    (sh, sw), ((top, _), (left, _)) = conv.window.strides, conv.halo
    i, j, di, dj = np.meshgrid(*map(np.arange, (y.h, y.w, ph, pw)), indexing="ij")
    first_i, first_j = i[:, :, 0, 0], j[:, :, 0, 0]
    vectors = VECTORS if conv.depth * VECTORS <= MOST[host().registers] else 1
    whole = conv.cout // (vectors * lanes) * vectors * lanes
    for first, stop in ((0, whole), (whole, conv.cout)):
        if first == stop:
            continue
        here = vectors if stop == whole else -(-(stop - first) // lanes)
        plan.add(
            backward, kh, kw * conv.cin, here, lanes, item, int((stop - first) % lanes > 0), ph * pw,
            x=x.start, places=plan.table(x.pixels((i * ph + di) * sh - top, (j * pw + dj) * sw - left), np.int32),
            grad_y=grad_y.start, grad_at=plan.table(grad_y.pixels(first_i, first_j), np.int32),
            index=index, index_at=plan.table(y.pixels(first_i, first_j), np.int32), grad_w=grad_w, grad_b=grad_b,
            x_row=x.row, x_image=x.image, y_image=grad_y.image, index_image=y.image, n=x.n, windows=y.h * y.w,
            first=first, stop=stop, cout=conv.cout, with_b=int(grad_b != NOWHERE), accumulate=int(accumulate),
        )  # fmt: skip
