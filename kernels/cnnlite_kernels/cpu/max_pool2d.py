"""Max and min pooling and their gradient, the general case: any window, strides and padding, for windows that overlap too.

(Pooling side by side behind a convolution is an epilogue of the convolution's tile: conv2d.py.) The lanes are channels. Pixels are
taken together whose taps lie inside the image (regions.py), so that no tile asks where it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import NOWHERE, POINTER, Pointer, address
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.regions import Stretch, of_outputs, of_pixels, regions
from cnnlite_kernels.cpu.tile import INT, Vectors
from cnnlite_kernels.window import Window2D

INDEX = ir.IntType(32)
INDEX_ITEM = 4  # bytes of a place
# Pixels of a tile by its vectors of channels: eight maxima and their places at once, or with 16 registers four.
PIXELS = {32: {1: 8, 2: 4, 4: 2}, 16: {1: 4, 2: 2}}


@intrinsic(prefer_literal=True)
def max_tile(
    typing, x, x_pixel, y, y_pixel, index, index_pixel, r_len, x_r, k_len, x_k, place, place_r, place_k, tail_lanes,
    PIXELS, NV, LANES, ITEM, TAIL, WITH_INDEX, MINIMUM,
):  # fmt: skip
    """y[i * y_pixel + c] = the maximum, or the MINIMUM, over r < r_len, k < k_len of x[i * x_pixel + r * x_r + k * x_k + c], i < PIXELS.

    WITH_INDEX: index[i * index_pixel + c] = place + r * place_r + k * place_k of the first one, a NaN before any number.
    Addresses, and steps in numbers; c runs over NV vectors, with TAIL the last has `tail_lanes`.
    """
    literals = (PIXELS, NV, LANES, ITEM, TAIL, WITH_INDEX, MINIMUM)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    pixels, nv, lanes, item, tail, with_index, minimum = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 14, *literals)

    def codegen(context, bl, signature, arguments):
        (
            x, x_pixel, y, y_pixel, index, index_pixel, r_len, x_r, k_len, x_k, place, place_r, place_k, tail_lanes,
        ) = arguments[:14]  # fmt: skip
        v = Vectors(bl, item, lanes)
        masks = [None] * (nv - 1) + [v.first_lanes(tail_lanes) if tail else None]
        x, y, index = v.pointer(x, v.number), v.pointer(y, v.number), v.pointer(index, INDEX)
        places_of = Vectors(bl, INDEX_ITEM, lanes)  # as many floats of a place's size: only their bits move

        def at(base, pixel, step, j):
            return bl.gep(base, [bl.add(bl.mul(step, INT(pixel)), INT(j * lanes))])

        tiles = [(i, j) for i in range(pixels) for j in range(nv)]
        firsts = v.broadcast(bl.trunc(place, INDEX))
        best = {
            (i, j): cgutils.alloca_once_value(bl, v.load(at(x, i, x_pixel, j), masks[j])) for i, j in tiles
        }
        places = {tile: cgutils.alloca_once_value(bl, firsts) for tile in tiles}
        with cgutils.for_range(bl, r_len) as row, cgutils.for_range(bl, k_len) as column:
            r, k = row.index, column.index
            tap = bl.gep(x, [bl.add(bl.mul(r, x_r), bl.mul(k, x_k))])
            here = bl.add(place, bl.add(bl.mul(r, place_r), bl.mul(k, place_k)))
            for i, j in tiles:
                value, so_far = v.load(at(tap, i, x_pixel, j), masks[j]), bl.load(best[i, j])
                better = bl.fcmp_unordered("<" if minimum else ">", value, so_far)  # also where either is NaN
                better = bl.and_(better, bl.fcmp_ordered("ord", so_far, so_far))
                bl.store(bl.select(better, value, so_far), best[i, j])
                if with_index:
                    chosen = bl.select(better, v.broadcast(bl.trunc(here, INDEX)), bl.load(places[i, j]))
                    bl.store(chosen, places[i, j])
        for i, j in tiles:
            v.store(bl.load(best[i, j]), at(y, i, y_pixel, j), masks[j])
            if with_index:
                found = bl.bitcast(bl.load(places[i, j]), places_of.vector)
                places_of.store(found, at(index, i, index_pixel, j), masks[j])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def winners_tile(
    typing, grad_y, grad_y_pixel, grad_x, grad_x_pixel, index, index_pixel, r_len, grad_y_r, k_len, grad_y_k,
    place, place_r, place_k, index_r, index_k, tail_lanes, PIXELS, NV, LANES, ITEM, TAIL,
):  # fmt: skip
    """grad_x[i * grad_x_pixel + c] = the sum over r < r_len, k < k_len of grad_y[i * grad_y_pixel + r * grad_y_r + k * grad_y_k + c]
    where index, index_pixel, index_r and index_k apart, is place + r * place_r + k * place_k, i < PIXELS.

    Addresses, and steps in numbers; c runs over NV vectors, with TAIL the last has `tail_lanes`.
    """
    literals = (PIXELS, NV, LANES, ITEM, TAIL)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    pixels, nv, lanes, item, tail = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 16, *literals)

    def codegen(context, bl, signature, arguments):
        (
            grad_y, grad_y_pixel, grad_x, grad_x_pixel, index, index_pixel, r_len, grad_y_r, k_len, grad_y_k,
            place, place_r, place_k, index_r, index_k, tail_lanes,
        ) = arguments[:16]  # fmt: skip
        v = Vectors(bl, item, lanes)
        masks = [None] * (nv - 1) + [v.first_lanes(tail_lanes) if tail else None]
        grad_y, grad_x = v.pointer(grad_y, v.number), v.pointer(grad_x, v.number)
        index = v.pointer(index, INDEX)
        places_of = Vectors(bl, INDEX_ITEM, lanes)  # as many floats of a place's size: only their bits move

        def at(base, pixel, step, j):
            return bl.gep(base, [bl.add(bl.mul(step, INT(pixel)), INT(j * lanes))])

        tiles = [(i, j) for i in range(pixels) for j in range(nv)]
        sums = {tile: cgutils.alloca_once_value(bl, v.zero) for tile in tiles}
        with cgutils.for_range(bl, r_len) as row, cgutils.for_range(bl, k_len) as column:
            r, k = row.index, column.index
            tap = bl.gep(grad_y, [bl.add(bl.mul(r, grad_y_r), bl.mul(k, grad_y_k))])
            winners = bl.gep(index, [bl.add(bl.mul(r, index_r), bl.mul(k, index_k))])
            here = bl.add(place, bl.add(bl.mul(r, place_r), bl.mul(k, place_k)))
            here = v.broadcast(bl.trunc(here, INDEX))
            for i, j in tiles:
                winner = bl.bitcast(places_of.load(at(winners, i, index_pixel, j), masks[j]), here.type)
                value = v.load(at(tap, i, grad_y_pixel, j), masks[j])
                won = bl.select(bl.icmp_signed("==", winner, here), value, v.zero)
                bl.store(bl.fadd(bl.load(sums[i, j]), won), sums[i, j])
        for i, j in tiles:
            v.store(bl.load(sums[i, j]), at(grad_x, i, grad_x_pixel, j), masks[j])
        return context.get_dummy_value()

    return signature, codegen


POOL = np.dtype(
    [(name, POINTER) for name in ("x", "y", "index")]  # of either pass: grad_x and grad_y lie as x and y do
    + [
        (name, np.int64)
        for name in (
            "images", "x_image", "y_image", "index_image", "blocks",  # of channels, NV * LANES each
            "lines", "x_line", "y_line", "index_line", "pixels", "x_pixel", "y_pixel", "index_pixel",
            "r_len", "x_r", "y_r", "index_r", "place_r", "k_len", "x_k", "y_k", "index_k", "place_k", "place", "tail_lanes",
        )
    ]
)  # fmt: skip


@kernel(POOL)
def forward(at_once, nv, lanes, item, tail, with_index, minimum):
    """max_tile over images, blocks of channels, and lines of `at_once` pixels or more; the last tile ends with its line."""

    def body(bases, d):
        d = carray(d, 1)[0]
        x, y, index = address(bases, d.x), address(bases, d.y), address(bases, d.index)
        for image in range(d.images):
            for block in range(d.blocks):
                c = block * nv * lanes
                for line in range(d.lines):
                    for first in range(0, d.pixels, at_once):
                        pixel = min(first, d.pixels - at_once)
                        max_tile(
                            x + (image * d.x_image + line * d.x_line + pixel * d.x_pixel + c) * item, d.x_pixel,
                            y + (image * d.y_image + line * d.y_line + pixel * d.y_pixel + c) * item, d.y_pixel,
                            index + (image * d.index_image + line * d.index_line + pixel * d.index_pixel + c) * INDEX_ITEM,
                            d.index_pixel, d.r_len, d.x_r, d.k_len, d.x_k, d.place, d.place_r, d.place_k, d.tail_lanes,
                            at_once, nv, lanes, item, tail, with_index, minimum,
                        )  # fmt: skip

    return body


@kernel(POOL)
def backward(at_once, nv, lanes, item, tail):
    """winners_tile over images, blocks of channels, and lines of `at_once` pixels or more; the last tile ends with its line."""

    def body(bases, d):
        d = carray(d, 1)[0]
        x, y, index = address(bases, d.x), address(bases, d.y), address(bases, d.index)
        for image in range(d.images):
            for block in range(d.blocks):
                c = block * nv * lanes
                for line in range(d.lines):
                    for first in range(0, d.pixels, at_once):
                        pixel = min(first, d.pixels - at_once)
                        winners_tile(
                            y + (image * d.y_image + line * d.y_line + pixel * d.y_pixel + c) * item, d.y_pixel,
                            x + (image * d.x_image + line * d.x_line + pixel * d.x_pixel + c) * item, d.x_pixel,
                            index + (image * d.index_image + line * d.index_line + pixel * d.index_pixel + c) * INDEX_ITEM,
                            d.index_pixel, d.r_len, d.y_r, d.k_len, d.y_k, d.place, d.place_r, d.place_k,
                            d.index_r, d.index_k, d.tail_lanes, at_once, nv, lanes, item, tail,
                        )  # fmt: skip

    return body


def add_forward(
    plan: Plan, window: Window2D, x: Images, y: Images, index: Pointer = NOWHERE, minimum: bool = False
) -> None:
    """Emits y = max pooling of x, or min pooling; with `index`, an int32 array of y's size without halo, the place of each winner.

    y[n, oh, ow, c] = max of x over the window's pixels inside the image; index[n, oh, ow, c]: kh * KW + kw of the first one.
    """
    conv = Conv(window, x.h, x.w, x.c, x.c)
    with_index = int(index != NOWHERE)
    places = Images(index, y.n, y.h, y.w, y.c)
    for region in regions(of_outputs, conv, y.row * plan.item):
        rows, columns = region
        corner = [
            along.first * s + along.taps.start * d - before for along, s, d, before in _axes(region, conv)
        ]
        _add(
            plan, conv, region, forward, (with_index, int(minimum)), x, y, places,
            at_x=x.pixels(*corner), at_y=y.pixels(rows.first, columns.first), at_index=places.pixels(rows.first, columns.first),
            step_x=conv.window.strides, step_y=(1, 1), tap_x=conv.window.dilation, tap_y=(0, 0),
        )  # fmt: skip


def add_grad(plan: Plan, window: Window2D, grad_y: Images, index: Pointer, grad_x: Images) -> None:
    """Emits the gradient with respect to x, from the places that the forward pass wrote to `index`.

    grad_x[n, ih, iw, c] = sum of grad_y over the windows that this pixel won.
    """
    conv = Conv(window, grad_x.h, grad_x.w, grad_x.c, grad_x.c)
    places = Images(index, grad_y.n, grad_y.h, grad_y.w, grad_y.c)
    for region in regions(of_pixels, conv, grad_x.row * plan.item):
        rows, columns = region
        corner = [
            (along.first + before - along.taps.start * d) // s for along, s, d, before in _axes(region, conv)
        ]
        back = tuple(-(along.taps.step * d // s) for along, s, d, _ in _axes(region, conv))
        _add(
            plan, conv, region, backward, (), grad_x, grad_y, places,
            at_x=grad_x.pixels(rows.first, columns.first), at_y=grad_y.pixels(*corner), at_index=places.pixels(*corner),
            step_x=conv.window.strides, step_y=(1, 1), tap_x=(0, 0), tap_y=back,
        )  # fmt: skip


Region = tuple[Stretch, Stretch]
Pair = tuple[int, int]


def _axes(region: Region, conv: Conv):
    """(stretch, stride, dilation, padding before) of rows and of columns."""
    before = [pads[0] for pads in conv.halo]
    return zip(region, conv.window.strides, conv.window.dilation, before, strict=True)


def _add(
    plan: Plan, conv: Conv, region: Region, which, more: tuple[int, ...], x: Images, y: Images, index: Images, *,
    at_x, at_y, at_index, step_x: Pair, step_y: Pair, tap_x: Pair, tap_y: Pair,
) -> None:  # fmt: skip
    """Emits one region: from offset at_..., steps in pixels (down, to the right) from one pixel and from one tap to the next."""
    rows, columns = region
    counts, kw, lanes = (rows.size, columns.size), conv.window.kernel[1], host().lanes(plan.item)
    long = 1 if columns.size >= rows.size else 0  # tiles lie along the longer side

    def steps(images: Images, pixels: Pair) -> Pair:
        return pixels[0] * images.row, pixels[1] * images.c

    fields: dict[str, int] = {}
    for name, images, step, tap in (
        ("x", x, step_x, tap_x),
        ("y", y, step_y, tap_y),
        ("index", index, step_y, tap_y),
    ):
        step, tap = steps(images, step), steps(images, tap)
        fields |= {
            f"{name}_image": images.image, f"{name}_line": step[1 - long], f"{name}_pixel": step[long],
            f"{name}_r": tap[0], f"{name}_k": tap[1],
        }  # fmt: skip
    for start, nv, blocks, tail in _blocks(x.c, lanes):
        at_once = PIXELS[host().registers][nv]
        plan.add(
            which, at_once if counts[long] >= at_once else 1, nv, lanes, plan.item, int(tail > 0), *more,
            x=x.start + (int(at_x) + start) * plan.item, y=y.start + (int(at_y) + start) * plan.item,
            index=index.start + (int(at_index) + start) * INDEX_ITEM, images=x.n, blocks=blocks,
            lines=counts[1 - long], pixels=counts[long], r_len=len(rows.taps), k_len=len(columns.taps),
            place=rows.taps.start * kw + columns.taps.start, place_r=rows.taps.step * kw, place_k=columns.taps.step,
            tail_lanes=tail, **fields,
        )  # fmt: skip


def _blocks(channels: int, lanes: int) -> Iterator[tuple[int, int, int, int]]:
    """(first channel, vectors, blocks, lanes of the last vector if it is not whole) of the runs of blocks that hold all channels."""
    start = 0
    for vectors in sorted(PIXELS[host().registers], reverse=True):
        blocks = (channels - start) // (vectors * lanes)
        if blocks:
            yield start, vectors, blocks, 0
            start += blocks * vectors * lanes
    if start < channels:
        yield start, 1, 1, channels - start
