"""Mixed precision on the CPU: which products of a stage take operands of bfloat16, and those products.

Weights are rounded when they are packed, images when they are turned or copied for a product, unless the stage before has written
them as bfloat16. Sums, biases, activations that the backward pass reads, and all gradients in memory stay float32.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cnnlite_kernels.cpu import bfloat16_conv2d
from cnnlite_kernels.cpu.bfloat16_conv2d import BYTES
from cnnlite_kernels.cpu.bfloat16_grad_weights import add_from_images, merged
from cnnlite_kernels.cpu.bfloat16_pack import turn_images
from cnnlite_kernels.cpu.bfloat16_product import add_pack, add_product, packed_bytes
from cnnlite_kernels.cpu.bfloat16_tile import LANES
from cnnlite_kernels.cpu.conv2d import Conv, spread
from cnnlite_kernels.cpu.images import NO_HALO, Images, add_clear, add_clear_halo
from cnnlite_kernels.cpu.memory import NOWHERE, Pointer
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.product import Rows
from cnnlite_kernels.cpu.tile import ACCUMULATE

# Seen on Zen 5. Cycles:
LAST_ODD = 2.5  # of a step with a single number in place of a pair, where a pair takes 1
TAP = 1.0  # of a tap besides its sums
SCATTER = 8.0  # sums over as many channels take as long as reading and writing a tile of grad_x
TURN = 10.0  # to round and turn 16 numbers of x for the gradient of the weights
PACK = 4.0  # to round and pack 16 numbers of grad_y for it
WORTH = 0.85  # the most that it may take, over the time in float32


class Narrow(NamedTuple):
    """Which products of a stage take operands of bfloat16."""

    forward: bool = False
    grad_input: bool = False
    grad_weights: bool = False


def chosen(conv: Conv, sparse: bool) -> Narrow:
    """The products that pay, by a model in cycles of one output pixel: a sum of vectors of 16 columns, two steps a cycle.

    bfloat16_pays.py has the rules of the ops, whose arrays come from memory; here they are in L2.

    sparse: the gradients are made from lists (cnnlite_kernels.cpu.sparse), in float32.
    """
    if conv.groups > 1 or 0 in conv.output:
        return Narrow()
    kw, (oh, ow) = conv.window.kernel[1], conv.output
    row = kw * conv.cin if conv.window.dilation[1] == 1 else conv.cin  # numbers that lie side by side
    sums = conv.depth * _vectors(conv.cout) / 2  # cycles of the product in float32
    x_pixels = conv.h * conv.w / (oh * ow)  # an output
    turning = TURN * x_pixels * _vectors(conv.cin) + PACK * _vectors(conv.cout)
    return Narrow(
        forward=_half(row) < WORTH,
        grad_input=not sparse and _half(conv.cout) < WORTH,
        grad_weights=not sparse and oh * ow > 1 and 0.5 + turning / sums < WORTH,
    )


def _vectors(channels: int) -> int:
    return -(-channels // LANES)


def _half(count: int) -> float:
    """The time of a sum over `count` numbers in pairs, over that of one by one.

    >>> _half(64), _half(3)
    (0.5, 1.1666666666666667)
    """
    return (count // 2 + LAST_ODD * (count % 2)) / count


def rounded(plan: Plan, x: Images, halo) -> Images:
    """A copy of x in scratch, rounded to bfloat16, with a halo of zeros."""
    y = x._replace(halo=halo)
    y = y._replace(start=plan.scratch(y.size * BYTES))
    bfloat16_conv2d.add_round(plan, x, y)
    return y


def _reached(conv: Conv, axis: int) -> int:
    """How many taps along an axis lie on a pixel of x and not on padding, over all outputs."""
    taps, outputs = np.arange(conv.window.kernel[axis]), np.arange(conv.output[axis])[:, None]
    at = outputs * conv.window.strides[axis] + taps * conv.window.dilation[axis] - conv.halo[axis][0]
    return int(((at >= 0) & (at < (conv.h, conv.w)[axis])).sum())


def _scatters(conv: Conv) -> bool:
    """Whether adding each output's gradient to the pixels that it came from is less work than collecting it for each pixel, zeros
    around grad_y included: where images are small."""
    collected = conv.h * conv.w * conv.window.kernel[0] * conv.window.kernel[1]
    scattered = _reached(conv, 0) * _reached(conv, 1) * (1 + SCATTER / conv.cout)
    return conv.window.strides == (1, 1) and scattered < collected


def flipped_weights(conv: Conv) -> int:
    """Bytes that `add_flip_weights` fills."""
    if _scatters(conv):
        return conv.window.kernel[0] * conv.window.kernel[1] * packed_bytes(1, conv.cout, conv.cin)
    return bfloat16_conv2d.flipped_weights(conv)


def add_flip_weights(plan: Plan, conv: Conv, w: Pointer, packed: Pointer) -> None:
    """Emits the rounding and packing of w for `add_grad_input`."""
    if not _scatters(conv):
        bfloat16_conv2d.add_flip_weights(plan, conv, w, packed)
        return
    for tap in range(conv.window.kernel[0] * conv.window.kernel[1]):
        add_pack(plan, w, packed, [tap * conv.cin * conv.cout], conv.cout, 1, conv.cin, conv.cout)
        packed += packed_bytes(1, conv.cout, conv.cin)


def add_grad_input(plan: Plan, conv: Conv, grad_y: Images, packed: Pointer, grad_x: Images) -> None:
    """Emits grad_x from float32 grad_y; packed: from `add_flip_weights`."""
    if not _scatters(conv):
        grad_y = rounded(plan, grad_y, bfloat16_conv2d.grad_halo(conv))
        bfloat16_conv2d.add_grad_input(plan, conv, grad_y, packed, grad_x)
        return
    grad_y = rounded(plan, grad_y, NO_HALO)
    add_clear(plan, grad_x.start, grad_x.size)
    (dh, dw), ((top, _), (left, _)) = conv.window.dilation, conv.halo
    r, q = np.mgrid[: conv.output[0], : conv.output[1]]
    for i, j in np.ndindex(*conv.window.kernel):
        row, column = r + i * dh - top, q + j * dw - left
        here = (row >= 0) & (row < conv.h) & (column >= 0) & (column < conv.w)
        rows = Rows(grad_y.pixels(r, q)[here], grad_x.pixels(row, column)[here])
        add_product(
            plan, grad_y.start, packed, grad_x.start, spread(rows, grad_y, grad_x), conv.cin, [0], conv.cout, flags=ACCUMULATE
        )  # fmt: skip
        packed += packed_bytes(1, conv.cout, conv.cin)


def add_grad_weights(plan: Plan, conv: Conv, x: Images, grad_y: Images, grad_w: Pointer, flags: int) -> None:
    """Emits grad_w from float32 x and grad_y: pairs are of pixels side by side, or of images where that leaves fewer without another."""
    ow, around = conv.output[1], x.halo != NO_HALO or grad_y.halo != NO_HALO
    if (around and merged(conv) != conv) or _half(x.n) + TAP / x.n < _half(ow) + TAP / ow:
        _add_grad_weights_by_images(plan, conv, x, grad_y, grad_w, flags)
    else:
        add_from_images(plan, conv, x, grad_y, grad_w, flags=flags)


def _add_grad_weights_by_images(
    plan: Plan, conv: Conv, x: Images, grad_y: Images, grad_w: Pointer, flags: int
) -> None:
    """The same sum with the images of the part innermost: x is turned to (h, w, cin, n), and each output is a tap of n numbers."""
    (kh, kw), (sh, sw), (dh, dw) = conv.window.kernel, conv.window.strides, conv.window.dilation
    (top, _), (left, _) = conv.halo
    pitch = x.n + 2 - x.n % 2
    turned = Images(NOWHERE, 1, conv.h, conv.w, conv.cin * pitch, conv.halo)
    turned = turned._replace(start=plan.scratch(turned.size * BYTES))
    add_clear_halo(plan, turned, BYTES)
    plan.add(
        turn_images, plan.item, x=x.first(plan.item), y=turned.first(BYTES), n=x.h, rows=x.w, w=x.n, c=x.c,
        x_image=x.row, x_row=x.c, x_pixel=x.image, y_image=turned.row, y_row=turned.c, left=0, pitch=pitch,
    )  # fmt: skip
    r, q = (each.reshape(-1) for each in np.mgrid[: conv.output[0], : conv.output[1]])
    packed = plan.scratch(packed_bytes(len(r), x.n, conv.cout))
    add_pack(plan, grad_y.start, packed, grad_y.pixels(r, q), x.n, grad_y.image, conv.cout, 1)
    i, j, k = np.mgrid[:kh, :kw, : conv.cin]
    a = (turned.pixels(i * dh - top, j * dw - left) + k * pitch).reshape(-1)
    taps = r * sh * turned.row + q * sw * turned.c
    rows = Rows(a, np.arange(conv.depth) * conv.cout)
    add_product(plan, turned.start, packed, grad_w, rows, conv.cout, taps, x.n, flags=flags)
