"""Convolution of few taps, relu and pooling side by side, forward and backward: a first layer, whose taps stay in registers.

Forward the weights of some channels are in registers while the windows go by, so each output costs its products and little else:

    y[window, co] = max over the window's outputs q of relu(bias[co] + sum over taps of x[place of q + tap] * w[tap, co])

Backward nobody asks for the gradient of the input, so the gradient of a window goes straight to the taps of the output that index
names; nothing of the size of the convolution's output is written or read (activations.unpool, then conv2d's grad_weights):

    grad_w[tap, co] += grad_y[window, co] * x[place of q + tap]    where index[window, co] is q
"""

from __future__ import annotations

from typing import Any

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
from cnnlite_kernels.cpu.sparse_lists import Lists
from cnnlite_kernels.cpu.tile import BYTE, INT

# Vectors in registers, by the number of registers: some are left for gradients before and after selection, or for a pixel.
MOST = {32: 28, 16: 14}
VECTORS = 2  # of channels, where both fit


@intrinsic(prefer_literal=True)
def pool_windows(
    typing, x, x_row, x_image, places, w, w_row, bias, y, y_at, y_image, index, n, windows, left,
    ROWS, NUMBERS, VECTORS, LANES, ITEM, TAIL, POOL, BIAS, RELU, INDEX,
):  # fmt: skip
    """y of all windows of n images, from ROWS * NUMBERS rows of VECTORS vectors of w, w_row apart.

    Addresses are int64; tables int32 of offsets in numbers: places (windows, POOL) in x, y_at (windows,) in y and index (uint8:
    which of the window's outputs it is, POOL where relu left nothing). TAIL: the last vector has `left` channels.
    """
    literals = (ROWS, NUMBERS, VECTORS, LANES, ITEM, TAIL, POOL, BIAS, RELU, INDEX)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    rows, numbers, vectors, lanes, item, tail, pool, with_bias, with_relu, with_index = (
        literal.literal_value for literal in literals
    )
    signature = types.void(*[types.int64] * 14, *literals)

    def codegen(context, bl, signature, arguments):
        x, x_row, x_image, places, w, w_row, bias, y, y_at, y_image, index, n, windows, left = arguments[:14]
        v = Lists(bl, item, lanes)
        masks = [None] * (vectors - 1) + [v.first_lanes(left) if tail else None]
        columns = range(vectors)
        taps = [(r, k) for r in range(rows) for k in range(numbers)]

        def load(base, j):
            return v.load(bl.gep(base, [INT(j * lanes)]), masks[j])

        w_rows = [bl.gep(v.pointer(w, v.number), [bl.mul(w_row, INT(i))]) for i in range(len(taps))]
        held = {tap: [load(row, j) for j in columns] for tap, row in zip(taps, w_rows, strict=True)}
        biases = [load(v.pointer(bias, v.number), j) for j in columns] if with_bias else []
        with cgutils.for_range(bl, n) as image, cgutils.for_range(bl, windows) as window:
            sums = []
            for q in range(pool):
                place = v.int32_at(places, bl.add(bl.mul(window.index, INT(pool)), INT(q)))
                start = bl.add(bl.mul(image.index, x_image), place)
                x_rows = [
                    bl.gep(v.pointer(x, v.number), [bl.add(start, bl.mul(x_row, INT(r)))])
                    for r in range(rows)
                ]
                totals = [v.zero] * vectors
                for r, k in taps:
                    pixel = v.broadcast(bl.load(bl.gep(x_rows[r], [INT(k)])))
                    totals = [v.multiply_add(pixel, held[r, k][j], totals[j]) for j in columns]
                sums.append([bl.fadd(totals[j], biases[j]) if with_bias else totals[j] for j in columns])
            to = bl.add(bl.mul(image.index, y_image), v.int32_at(y_at, window.index))
            for j in columns:
                best, which = v.first_maximum([total[j] for total in sums])
                at = bl.add(to, INT(j * lanes))
                v.store(v.relu(best) if with_relu else best, bl.gep(v.pointer(y, v.number), [at]), masks[j])
                if with_index:
                    if with_relu:  # not where y is NaN, like relu's gradient elsewhere, which is where y > 0
                        dead = bl.fcmp_unordered("<=", best, v.zero)
                        which = bl.select(dead, ir.Constant(which.type, [pool] * lanes), which)
                    v.store(which, bl.gep(v.pointer(index, BYTE), [at]), masks[j])
        return context.get_dummy_value()

    return signature, codegen


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

        def zeros():
            return [cgutils.alloca_once_value(bl, v.zero) for _ in columns]

        sums, bias = {tap: zeros() for tap in taps}, zeros()
        with cgutils.for_range(bl, n) as image, cgutils.for_range(bl, windows) as window:
            grads_at = bl.add(bl.mul(image.index, y_image), v.int32_at(grad_at, window.index))
            which_at = bl.add(bl.mul(image.index, index_image), v.int32_at(index_at, window.index))
            grads = bl.gep(v.pointer(grad_y, v.number), [grads_at])
            which = bl.gep(v.pointer(index, BYTE), [which_at])
            found = [v.load(bl.gep(grads, [INT(j * lanes)]), masks[j]) for j in columns]
            which = [v.load_bytes(bl.gep(which, [INT(j * lanes)]), masks[j]) for j in columns]
            for j in columns:
                alive = bl.icmp_unsigned("<", which[j], ir.Constant(which[j].type, [pool] * lanes))
                bl.store(bl.fadd(bl.load(bias[j]), bl.select(alive, found[j], v.zero)), bias[j])
            for q in range(pool):
                chosen = [bl.select(v.same(which[j], INT(q)), found[j], v.zero) for j in columns]
                place = v.int32_at(places, bl.add(bl.mul(window.index, INT(pool)), INT(q)))
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
        for name in ("x", "w", "bias", "y", "index", "grad_y", "grad_w", "grad_b", "places", "y_at", "grad_at")
    ]
    + [
        (name, np.int64)
        for name in (
            "x_row", "x_image", "y_image", "grad_image", "n", "windows", "first", "stop", "cout",
            "with_b", "accumulate",
        )
    ]
)  # fmt: skip


@kernel(FEW_TAPS)
def forward(rows, numbers, vectors, lanes, item, tail, pool, with_bias, relu, with_index):
    """y, and index: channels first to stop, `vectors` vectors at a time.

    x: images x_image apart, rows x_row. w (rows, numbers, cout), bias (cout,). y and index (uint8): images y_image apart. The tables
    are those of pool_windows. tail: the last vector is not whole, and there is one block of channels.
    """
    width = vectors * lanes

    def body(bases, d):
        d = carray(d, 1)[0]
        for first in range(d.first, d.stop, width):
            pool_windows(
                address(bases, d.x), d.x_row, d.x_image, address(bases, d.places), address(bases, d.w) + first * item,
                d.cout, address(bases, d.bias) + first * item, address(bases, d.y) + first * item, address(bases, d.y_at),
                d.y_image, address(bases, d.index) + first, d.n, d.windows, d.stop - first - (vectors - 1) * lanes,
                rows, numbers, vectors, lanes, item, tail, pool, with_bias, relu, with_index,
            )  # fmt: skip

    return body


@kernel(FEW_TAPS)
def backward(rows, numbers, vectors, lanes, item, tail, pool):
    """grad_w (rows, numbers, cout) and, if with_b, grad_b (cout,): channels first to stop, `vectors` vectors at a time.

    x: images x_image apart, rows x_row. grad_y: images grad_image apart; index (uint8, `pool` for none): y_image. The tables are
    those of add_windows, y_at that of index. tail: the last vector is not whole, and there is one block of channels.
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
                address(bases, d.grad_y) + first * item, address(bases, d.grad_at), d.grad_image,
                address(bases, d.index) + first, address(bases, d.y_at), d.y_image, d.n, d.windows,
                d.stop - first - (vectors - 1) * lanes, grad_w + first * item, d.cout,
                (grad_b + first * item) * d.with_b, rows, numbers, vectors, lanes, item, tail, pool,
            )  # fmt: skip

    return body


def _vectors(numbers: int) -> int:
    """Vectors of channels for which as many numbers a channel fit in registers, at most VECTORS."""
    return min(VECTORS, MOST[host().registers] // numbers)


def _held_forward(conv: Conv, pool: tuple[int, int]) -> int:
    """Numbers a channel that the forward pass holds: weights, the bias, and the sums of a window."""
    return conv.depth + 1 + pool[0] * pool[1]


def fits(conv: Conv, pool: tuple[int, int]) -> bool:
    """Whether all taps of a vector of channels have room in registers, forward and backward."""
    return conv.groups == 1 and conv.window.dilation == (1, 1) and _vectors(_held_forward(conv, pool)) > 0


def _blocks(channels: int, vectors: int, lanes: int) -> list[tuple[int, int, int, int]]:
    """(first, stop, vectors, whether the last is not whole) of the channels in whole blocks, and of the rest."""
    whole = channels // (vectors * lanes) * vectors * lanes
    rest = channels - whole
    blocks = [(0, whole, vectors, 0), (whole, channels, -(-rest // lanes), int(rest % lanes > 0))]
    return [block for block in blocks if block[0] < block[1]]


def _common(plan: Plan, conv: Conv, pool: tuple[int, int], x: Images, y: Images) -> dict[str, Any]:
    """Fields of both kernels. x with the convolution's halo."""
    (sh, sw), ((top, _), (left, _)) = conv.window.strides, conv.halo
    i, j, di, dj = np.meshgrid(*map(np.arange, (y.h, y.w, *pool)), indexing="ij")
    places = x.pixels((i * pool[0] + di) * sh - top, (j * pool[1] + dj) * sw - left)
    return dict(
        x=x.start, x_row=x.row, x_image=x.image, places=plan.table(places, np.int32), y_at=_windows(plan, y),
        y_image=y.image, n=x.n, windows=y.h * y.w, cout=conv.cout,
    )  # fmt: skip


def _windows(plan: Plan, y: Images) -> Pointer:
    """The offsets of the pixels of an image, which are windows before pooling."""
    return plan.table(y.pixels(*np.mgrid[: y.h, : y.w]), np.int32)


def add_forward(
    plan: Plan, conv: Conv, pool: tuple[int, int], x: Images, w: Pointer, bias: Pointer | None, y: Images,
    relu: bool, index: Pointer = NOWHERE,
) -> None:  # fmt: skip
    """Emits y = pool(relu(conv(x, w) + bias)) where `fits`, as conv2d.add_forward does, from w (HWIO) as it lies."""
    x = with_halo(plan, x, conv.halo)
    item, lanes = plan.item, host().lanes(plan.item)
    (kh, kw), common = conv.window.kernel, _common(plan, conv, pool, x, y)
    for first, stop, vectors, tail in _blocks(conv.cout, _vectors(_held_forward(conv, pool)), lanes):
        plan.add(
            forward, kh, kw * conv.cin, vectors, lanes, item, tail, pool[0] * pool[1],
            int(bias is not None), int(relu), int(index != NOWHERE),
            w=w, bias=NOWHERE if bias is None else bias, y=y.start, index=index, first=first, stop=stop, **common,
        )  # fmt: skip


def add_backward(
    plan: Plan, conv: Conv, pool: tuple[int, int], x: Images, grad_y: Images, index: Pointer, y: Images,
    grad_w: Pointer, grad_b: Pointer, accumulate: bool = False,
) -> None:  # fmt: skip
    """Emits grad_w (HWIO) and grad_b of y = pool(relu(conv(x))), where `fits`.

    Args:
        grad_y: of y's shape; index: from add_forward, which lies as y does.
        grad_b: NOWHERE if not wanted; `accumulate` adds to what is there.
    """
    x = with_halo(plan, x, conv.halo)
    item, lanes = plan.item, host().lanes(plan.item)
    (kh, kw), common = conv.window.kernel, _common(plan, conv, pool, x, y)
    for first, stop, vectors, tail in _blocks(conv.cout, _vectors(conv.depth), lanes):
        plan.add(
            backward, kh, kw * conv.cin, vectors, lanes, item, tail, pool[0] * pool[1],
            grad_y=grad_y.start, grad_at=_windows(plan, grad_y), grad_image=grad_y.image, index=index,
            grad_w=grad_w, grad_b=grad_b, first=first, stop=stop,
            with_b=int(grad_b != NOWHERE), accumulate=int(accumulate), **common,
        )  # fmt: skip
