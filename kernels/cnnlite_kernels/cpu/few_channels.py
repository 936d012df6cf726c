"""The gradient with respect to an input of few channels, which would fill few lanes: the lanes hold channels of grad_y instead.

    grad_x[n, ih, iw, ci] = sum over kh, kw, co of grad_y[n, oh, ow, co] * w[kh, kw, ci, co]

where oh * sh + kh * dh - top = ih, columns likewise. co lies side by side in both, so each lane keeps a sum over taps and every
LANES-th co, and the lanes are added up at the end, those of LANES numbers of grad_x together. Nothing is packed or padded: pixels
with the same taps inside grad_y are taken together, as in depthwise.py.
"""

from __future__ import annotations

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
from cnnlite_kernels.cpu.regions import of_pixels, regions
from cnnlite_kernels.cpu.tile import INT, Vectors

# Sums of a tile, at most, by the number of vector registers; and the pixels that it may have.
SUMS = {32: 24, 16: 10}
PIXELS = (16, 12, 8, 5, 3, 1)
FEWEST_PIXELS = 3  # that share what is read of w, where there are as many channels as may be
ADDING = 4  # what a tile costs besides its sums, in multiply-adds of vectors for each of some twenty steps


def is_better(conv: Conv) -> bool:
    """Whether there are so few channels that this is quicker than a product with few columns."""
    return conv.groups == 1 and fits(conv.cin)


def fits(channels: int) -> bool:
    """Whether tiles of enough pixels have registers for so many channels, which a vector holds."""
    return channels * FEWEST_PIXELS <= SUMS[host().registers] and channels < host().lanes(4)


@intrinsic(prefer_literal=True)
def dot_tile(
    typing, a, a_pixel, b, b_channel, c, c_pixel, bias, r_len, a_r, b_r, k_len, a_k, b_k, whole, tail_lanes,
    PIXELS, CHANNELS, LANES, ITEM, TAIL, TOGETHER, BIAS,
):  # fmt: skip
    """c[i * c_pixel + ci] = bias[ci] + sum over r < r_len, k < k_len, j of
    a[i * a_pixel + r * a_r + k * a_k + j] * b[r * b_r + k * b_k + ci * b_channel + j], i < PIXELS, ci < CHANNELS.

    j runs over `whole` vectors and, with TAIL, `tail_lanes` numbers more. Addresses, and steps in
    numbers. TOGETHER: c_pixel is CHANNELS, and whole vectors are written. BIAS: whether there is one.
    """
    literals = (PIXELS, CHANNELS, LANES, ITEM, TAIL, TOGETHER, BIAS)
    if not all(isinstance(literal, types.IntegerLiteral) for literal in literals):
        return None
    pixels, channels, lanes, item, tail, together, with_bias = (literal.literal_value for literal in literals)
    signature = types.void(*[types.int64] * 15, *literals)

    def codegen(context, bl, signature, arguments):
        (
            a, a_pixel, b, b_channel, c, c_pixel, bias, r_len, a_r, b_r, k_len, a_k, b_k, whole, tail_lanes,
        ) = arguments[:15]  # fmt: skip
        v = Vectors(bl, item, lanes)
        a, b, c, bias = (v.pointer(base, v.number) for base in (a, b, c, bias))
        start = [v.zero] * channels
        if with_bias:  # in one lane
            start = [
                bl.insert_element(v.zero, bl.load(bl.gep(bias, [INT(ci)])), ir.IntType(32)(0))
                for ci in range(channels)
            ]
        acc = [[cgutils.alloca_once_value(bl, each) for each in start] for _ in range(pixels)]

        def step(a_at, b_at, mask=None):
            w = [v.load(bl.gep(b_at, [bl.mul(b_channel, INT(ci))]), mask) for ci in range(channels)]
            for i in range(pixels):
                x = v.load(a_at, mask)
                for ci in range(channels):
                    bl.store(v.multiply_add(x, w[ci], bl.load(acc[i][ci])), acc[i][ci])
                # from pixel to pixel: one address, not as many as there are registers
                a_at = bl.gep(a_at, [a_pixel])

        with cgutils.for_range(bl, r_len) as row, cgutils.for_range(bl, k_len) as column:
            r, k = row.index, column.index
            a_tap = bl.gep(a, [bl.add(bl.mul(r, a_r), bl.mul(k, a_k))])
            b_tap = bl.gep(b, [bl.add(bl.mul(r, b_r), bl.mul(k, b_k))])
            with cgutils.for_range(bl, whole) as vector:
                j = bl.mul(vector.index, INT(lanes))
                step(bl.gep(a_tap, [j]), bl.gep(b_tap, [j]))
            if tail:
                j = bl.mul(whole, INT(lanes))
                step(bl.gep(a_tap, [j]), bl.gep(b_tap, [j]), v.first_lanes(tail_lanes))

        sums = [bl.load(each) for row in acc for each in row]
        for first in range(0, len(sums), lanes):
            group = sums[first : first + lanes]
            count = len(group)
            total = _add_lanes(bl, v, group + [v.zero] * (lanes - count))
            if together:
                v.store(total, bl.gep(c, [INT(first)]), v.first_lanes(INT(count)) if count < lanes else None)
                continue
            for lane in range(count):
                i, ci = divmod(first + lane, channels)
                to = bl.gep(c, [bl.add(bl.mul(c_pixel, INT(i)), INT(ci))])
                bl.store(bl.extract_element(total, ir.IntType(32)(lane)), to)
        return context.get_dummy_value()

    return signature, codegen


def _add_lanes(bl: ir.IRBuilder, v: Vectors, vectors: list) -> ir.Value:
    """The vector whose lane i is the sum of all lanes of vectors[i], as many as there are lanes.

    Each stage adds neighbours 1, 2, 4, ... lanes apart in pairs of vectors, and puts the sums of both into one.
    """
    bit = 1
    while bit < v.lanes:
        low = [j if not j & bit else v.lanes + j - bit for j in range(v.lanes)]
        high = [j + bit if not j & bit else v.lanes + j for j in range(v.lanes)]
        orders = [ir.Constant(ir.VectorType(ir.IntType(32), v.lanes), order) for order in (low, high)]
        vectors = [
            bl.fadd(*(bl.shuffle_vector(vectors[i], vectors[i + 1], order) for order in orders))
            for i in range(0, len(vectors), 2)
        ]
        bit *= 2
    return vectors[0]


DOT_SWEEP = np.dtype(
    [(name, POINTER) for name in ("a", "b", "c", "bias")]
    + [
        (name, np.int64)
        for name in (
            "images", "a_image", "c_image", "lines", "a_line", "c_line", "pixels", "a_pixel", "c_pixel", "b_channel",
            "r_len", "a_r", "b_r", "k_len", "a_k", "b_k", "whole", "tail_lanes",
        )
    ]
)  # fmt: skip


@kernel(DOT_SWEEP)
def dot_sweep(at_once, channels, lanes, item, tail, together, with_bias):
    """Tiles of `at_once` pixels, at most as many as there are, along `lines` lines of `pixels` pixels; see dot_tile for the sum.

    The last tile of a line ends where the line does, and makes some pixels a second time.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        a, b, c = address(bases, d.a), address(bases, d.b), address(bases, d.c)
        for image in range(d.images):
            for line in range(d.lines):
                for first in range(0, d.pixels, at_once):
                    pixel = min(first, d.pixels - at_once)
                    dot_tile(
                        a + (image * d.a_image + line * d.a_line + pixel * d.a_pixel) * item, d.a_pixel,
                        b, d.b_channel,
                        c + (image * d.c_image + line * d.c_line + pixel * d.c_pixel) * item, d.c_pixel,
                        address(bases, d.bias),
                        d.r_len, d.a_r, d.b_r, d.k_len, d.a_k, d.b_k, d.whole, d.tail_lanes,
                        at_once, channels, lanes, item, tail, together, with_bias,
                    )  # fmt: skip

    return body


def add_grad_input(
    plan: Plan, conv: Conv, grad_y: Images, w: Pointer, grad_x: Images, bias: Pointer | None = None
) -> None:
    """Emits grad_x; w (kh, kw, cin, cout) as it lies in memory. bias: numbers (cin,) that are added, where this makes the output of a
    transposed convolution."""
    strides, dilation, ((top, _), (left, _)) = conv.window.strides, conv.window.dilation, conv.halo
    kw, cin, cout, lanes = conv.window.kernel[1], conv.cin, conv.cout, host().lanes(plan.item)
    for region in regions(of_pixels, conv, grad_y.row * plan.item):
        first = [
            (along.first + before - along.taps.start * d) // s
            for along, before, d, s in zip(region, (top, left), dilation, strides, strict=True)
        ]
        rows, columns = region
        # a pixel and a tap further: (down, to the right), in grad_y and in grad_x or w
        pixel = (grad_y.row, cout), (strides[0] * grad_x.row, strides[1] * cin)
        tap_a = [-(along.taps.step * d // s) for along, d, s in zip(region, dilation, strides, strict=True)]
        long = 1 if columns.size >= rows.size else 0  # tiles lie along the longer side
        counts = rows.size, columns.size
        add_dots(
            plan, grad_y.start + int(grad_y.pixels(*first)) * plan.item,
            w + (rows.taps.start * kw + columns.taps.start) * cin * cout * plan.item,
            grad_x.start + int(grad_x.pixels(rows.first, columns.first)) * plan.item, bias, cin,
            (grad_x.n, counts[1 - long], counts[long]), (grad_y.image, pixel[0][1 - long], pixel[0][long]),
            (grad_x.image, pixel[1][1 - long], pixel[1][long]), b_channel=cout,
            r_len=len(rows.taps), a_r=tap_a[0] * grad_y.row, b_r=rows.taps.step * kw * cin * cout,
            k_len=len(columns.taps), a_k=tap_a[1] * cout, b_k=columns.taps.step * cin * cout,
            whole=cout // lanes, tail_lanes=cout % lanes,
        )  # fmt: skip


def add_dots(
    plan: Plan, a: Pointer, b: Pointer, c: Pointer, bias: Pointer | None, channels: int, counts: tuple[int, int, int],
    a_steps: tuple[int, int, int], c_steps: tuple[int, int, int], *, tail_lanes: int, **sums: int,
) -> None:  # fmt: skip
    """Emits the sums of dot_tile for all pixels. counts: images, lines, pixels, which lie a_steps and c_steps apart; sums: their
    lengths and steps, fields of DOT_SWEEP."""
    images, lines, pixels = counts
    plan.add(
        dot_sweep, _pixels(pixels, channels), channels, host().lanes(plan.item), plan.item, int(tail_lanes > 0),
        int(c_steps[2] == channels), int(bias is not None),
        a=a, b=b, c=c, bias=bias or NOWHERE, images=images, a_image=a_steps[0], c_image=c_steps[0],
        lines=lines, a_line=a_steps[1], c_line=c_steps[1], pixels=pixels, a_pixel=a_steps[2], c_pixel=c_steps[2],
        tail_lanes=tail_lanes, **sums,
    )  # fmt: skip


def _pixels(count: int, channels: int) -> int:
    """Pixels of a tile that does a line of so many in the least time."""
    most = min(count, SUMS[host().registers] // channels)
    return min(
        (each for each in PIXELS if each <= most),
        key=lambda each: -(-count // each) * (each * channels + channels + ADDING),
    )
