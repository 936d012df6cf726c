"""Depthwise convolution, where every channel has its own kernel: the channels of a pixel are the vector, no product is left.

Forward and both gradients, with the arguments of conv2d.py. Nothing is packed and no image is padded: pixels are taken together
whose taps lie inside the image, the interior and thin borders, and each such region sums over its own taps.
"""

from __future__ import annotations

import numpy as np

from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.lane_tile import Rows, Sum, add_lane_product
from cnnlite_kernels.cpu.lines import Lines
from cnnlite_kernels.cpu.memory import NOWHERE, Pointer
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.regions import of_outputs, of_pixels, regions
from cnnlite_kernels.cpu.slide_tile import add_lines
from cnnlite_kernels.cpu.tile import ACCUMULATE, BIAS, RELU

Pair = tuple[int, int]


def is_depthwise(conv: Conv) -> bool:
    """Whether each channel is a group of its own and makes one channel."""
    return conv.groups == conv.cin == conv.cout


def _lines(a: Pair, c: Pair, counts: Pair, images: tuple[int, int, int], like: Pair) -> tuple[Lines, int]:
    """Rows and columns of pixels, (row step, column step) apart in A and C, as lines along the longer side; which side it is.

    images: how many, and the steps from one to the next in A and C. like: the counts whose longer side it is.
    """
    long = 1 if like[1] >= like[0] else 0
    return Lines(counts[long], a[long], c[long], counts[1 - long], a[1 - long], c[1 - long], *images), long


def add_forward(
    plan: Plan, conv: Conv, x: Images, w: Pointer, bias: Pointer | None, y: Images, *, relu: bool = False
) -> None:
    """Emits y = depthwise(x, w) + bias, then relu; w (kh, kw, 1, c) as it lies in memory.

    y[n, oh, ow, c] = relu(b[c] + sum over taps inside the image of x[n, row, column, c] * w[kh, kw, c])
    """
    (sh, sw), (dh, dw), ((top, _), (left, _)) = conv.window.strides, conv.window.dilation, conv.halo
    kw, c = conv.window.kernel[1], conv.cin
    flags = (BIAS if bias is not None else 0) | (RELU if relu else 0)
    # a band's outputs are summed along the side that is longer in the whole image, among the outputs with the same taps
    everywhere = regions(of_outputs, conv.like or conv, y.row * plan.item)
    whole = {(rows.taps, columns.taps): (rows.size, columns.size) for rows, columns in everywhere}
    for rows, columns in regions(of_outputs, conv, y.row * plan.item):
        i, j = rows.taps.start, columns.taps.start
        a = x.pixels(rows.first * sh + i * dh - top, columns.first * sw + j * dw - left)
        images = x.n, x.image, y.image
        like = whole[rows.taps, columns.taps]
        lines, long = _lines((sh * x.row, sw * c), (y.row, c), (rows.size, columns.size), images, like)
        taps = (len(rows.taps), dh * x.row, kw * c), (len(columns.taps), dw * c, c)
        add_lines(
            plan, x.start + int(a) * plan.item, w + (i * kw + j) * c * plan.item,
            y.start + int(y.pixels(rows.first, columns.first)) * plan.item, lines, c, taps[long], taps[1 - long],
            bias=NOWHERE if bias is None else bias, flags=flags,
        )  # fmt: skip


def add_grad_input(plan: Plan, conv: Conv, grad_y: Images, w: Pointer, grad_x: Images) -> None:
    """Emits the gradient with respect to x; w (kh, kw, 1, c) as it lies in memory.

    grad_x[n, ih, iw, c] = sum over taps of grad_y[n, oh, ow, c] * w[kh, kw, c] where oh * sh + kh * dh - top = ih, columns likewise
    """
    (sh, sw), (dh, dw), ((top, _), (left, _)) = conv.window.strides, conv.window.dilation, conv.halo
    kw, c = conv.window.kernel[1], conv.cin
    for rows, columns in regions(of_pixels, conv, grad_x.row * plan.item):
        i, j = rows.taps, columns.taps
        a = grad_y.pixels(
            (rows.first + top - i.start * dh) // sh, (columns.first + left - j.start * dw) // sw
        )
        images, counts = (grad_x.n, grad_y.image, grad_x.image), (rows.size, columns.size)
        lines, long = _lines((grad_y.row, c), (sh * grad_x.row, sw * c), counts, images, counts)
        taps = (
            (len(i), -(i.step * dh // sh) * grad_y.row, i.step * kw * c),
            (len(j), -(j.step * dw // sw) * c, j.step * c),
        )
        add_lines(
            plan, grad_y.start + int(a) * plan.item, w + (i.start * kw + j.start) * c * plan.item,
            grad_x.start + int(grad_x.pixels(rows.first, columns.first)) * plan.item, lines, c, taps[long], taps[1 - long],
        )  # fmt: skip


def add_grad_weights(
    plan: Plan,
    conv: Conv,
    x: Images,
    grad_y: Images,
    grad_w: Pointer,
    *,
    channels: tuple[int, int] | None = None,
    flags: int = 0,
) -> None:
    """Emits the gradient with respect to w (kh, kw, 1, c), or only its `channels` (first, stop). flags=ACCUMULATE adds to what is
    there.

    grad_w[kh, kw, c] = sum over outputs whose tap is inside the image of x[n, row, column, c] * grad_y[n, oh, ow, c]
    """
    (kh, kw), (sh, sw), (dh, dw) = conv.window.kernel, conv.window.strides, conv.window.dilation
    ((top, _), (left, _)), c = conv.halo, conv.cin
    first, stop = channels or (0, c)
    all_taps = Rows(np.zeros(kh * kw, np.int64), np.arange(kh * kw) * c)
    nothing = Sum((0, 0, 0), (0, 0, 0))
    parts = regions(of_outputs, conv, grad_y.row * plan.item)
    parts.sort(key=lambda region: -len(region[0].taps) * len(region[1].taps))
    if not flags and (not parts or len(parts[0][0].taps) * len(parts[0][1].taps) < kh * kw):
        # no output has all taps inside: what none has must be 0
        add_lane_product(
            plan, x.start, grad_y.start, grad_w + first * plan.item, all_taps, stop - first, nothing
        )
    for number, (rows, columns) in enumerate(parts):
        i, j = (t.reshape(-1) for t in np.meshgrid(rows.taps, columns.taps, indexing="ij"))
        if not i.size:
            continue
        a = x.pixels(rows.first * sh + i * dh - top, columns.first * sw + j * dw - left)
        add_lane_product(
            plan, x.start + first * plan.item,
            grad_y.start + (int(grad_y.pixels(rows.first, columns.first)) + first) * plan.item,
            grad_w + first * plan.item, Rows(a, (i * kw + j) * c), stop - first,
            Sum((rows.size, sh * x.row, grad_y.row), (columns.size, sw * c, c)),
            images=(x.n, x.image, grad_y.image, 0), flags=flags if number == 0 and i.size == kh * kw else ACCUMULATE,
        )  # fmt: skip
