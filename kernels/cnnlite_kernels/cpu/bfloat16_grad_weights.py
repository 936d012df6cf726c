"""The gradient of a convolution's weights with operands of bfloat16: the sum runs over pixels, so pairs of k are pairs of pixels.

x is turned first, so that the pixels of a row lie side by side, channel by channel; grad_y is packed as the right-hand side of any
product. Both passes round. Then bfloat16_product.py sums row by row of grad_y: (kh, kw, cin) are the rows, cout the columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cnnlite_kernels.cpu.bfloat16_pack import turn_images
from cnnlite_kernels.cpu.bfloat16_product import add_pack, add_product, packed_bytes
from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.images import NO_HALO, Images, clear, clear_halo
from cnnlite_kernels.cpu.memory import Pointer
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.product import Rows
from cnnlite_kernels.cpu.tile import ACCUMULATE

# Pixels of a row of outputs: shorter ones of a 1 x 1 kernel are as good as one row; still shorter ones of others are joined.
SHORT_ROW, BROKEN_ROW = 28, 14
PIECE = 1 << 17  # numbers of x and grad_y that are turned and packed at a time, so that L2 holds them


class Turned(NamedTuple):
    """Images of bfloat16 with their pixels side by side, from `start`; padding is there as zeros.

    Long rows, (n, rows, planes, c, pitch): padded pixel u of a row is number u // sw of plane u % sw. Rows are all there or, of a kernel
    of one row without padding, every row_step-th; planes only where a tap looks at them.

    Short ones, (n, planes, c, pitch), `short` numbers a row: each column of the kernel has a plane of its own with the pixels that it
    looks at, and so does each phase of the rows' stride, so that the rows of an image follow each other without a break. `short` is even.
    """

    start: Pointer
    n: int
    rows: int
    row_step: int
    planes: int
    c: int
    pitch: int
    short: int = 0

    @property
    def row(self) -> int:
        return self.short or self.planes * self.c * self.pitch

    @property
    def image(self) -> int:
        return self.planes * self.c * self.pitch * (1 if self.short else self.rows)

    @property
    def size(self) -> int:
        return self.n * self.image


def merged(conv: Conv) -> Conv:
    """The same convolution of images with one row, where rows are short and where one ends is no matter: longer sums without a break."""
    alike = conv.window.kernel == (1, 1) and conv.window.strides == (1, 1) and conv.halo == NO_HALO
    if alike and conv.output == (conv.h, conv.w) and conv.w < SHORT_ROW:
        return conv._replace(h=1, w=conv.h * conv.w, used=None)
    return conv


def turned(conv: Conv, n: int, start: Pointer) -> Turned:
    """How x of n images is turned for `add_grad_weights`."""
    (kh, kw), (sh, sw), dh = conv.window.kernel, conv.window.strides, conv.window.dilation[0]
    (top, bottom), (left, right) = conv.halo
    oh, ow = conv.output
    # the pitches: an odd number of pixels is written with a zero after it
    if ow < BROKEN_ROW and oh > 1:
        short, rows = -(-ow // 2) * 2, oh + (kh - 1) * dh // sh
        return Turned(start, n, rows, sh, (1 if kh == 1 else sh) * kw, conv.cin, rows * short + 2, short)
    step = sh if kh == 1 and top == bottom == 0 else 1
    rows = oh if step > 1 else top + conv.h + bottom
    numbers = -(-(left + conv.w + right) // sw)
    return Turned(start, n, rows, step, 1 if kw == 1 else sw, conv.cin, -(-(numbers + 1) // 2) * 2)


def add_turn(plan: Plan, conv: Conv, x: Images, to: Turned, item: int = 4) -> None:
    """Emits the rounding and turning of x, numbers of `item` bytes."""
    if not x.n:
        return
    if to.short:
        _add_turn_short(plan, conv, x, to, item)
        return
    (top, bottom), (left, _) = conv.halo
    sw = conv.window.strides[1]
    if top or bottom:
        plan.add(clear_halo, 2, y=to.start, n=x.n, h=conv.h, row=to.row, top=top, bottom=bottom)
    for phase in range(to.planes):
        first = (phase - left) % sw
        plan.add(
            turn_images, item, x=x.first(item) + first * x.c * item,
            y=to.start + 2 * (top * to.row + phase * to.c * to.pitch),
            n=x.n, rows=to.rows - top - bottom, w=max(0, -(-(conv.w - first) // sw)), c=x.c, x_image=x.image,
            x_row=to.row_step * x.row, x_pixel=sw * x.c, y_image=to.image, y_row=to.row, left=(left + first) // sw, pitch=to.pitch,
            clear=to.c * to.pitch,
        )  # fmt: skip


def _add_turn_short(plan: Plan, conv: Conv, x: Images, to: Turned, item: int) -> None:
    kw, (sh, sw), dw = conv.window.kernel[1], conv.window.strides, conv.window.dilation[1]
    (top, _), (left, _) = conv.halo
    plan.add(clear, 2, y=to.start, count=to.size)
    for plane in range(to.planes):
        row, column = plane // kw - top, plane % kw * dw - left  # of x, the plane's first
        r, stop_r = max(0, -(row // sh)), min(to.rows, -((row - conv.h) // sh))
        m, stop_m = max(0, -(column // sw)), min(conv.output[1], -((column - conv.w) // sw))
        if r < stop_r and m < stop_m:
            plan.add(
                turn_images, item, x=x.first(item) + ((row + r * sh) * x.row + (column + m * sw) * x.c) * item,
                y=to.start + 2 * (plane * to.c * to.pitch + r * to.row), n=x.n, rows=stop_r - r, w=stop_m - m, c=x.c,
                x_image=x.image, x_row=sh * x.row, x_pixel=sw * x.c, y_image=to.image, y_row=to.row, left=m, pitch=to.pitch,
            )  # fmt: skip


def packed_outputs(conv: Conv, n: int) -> int:
    """Bytes that the packed grad_y of n images takes."""
    oh, ow = conv.output
    return packed_bytes(n * oh, ow, conv.cout)


def add_pack_outputs(
    plan: Plan,
    conv: Conv,
    grad_y: Images,
    packed: Pointer,
    item: int = 4,
    part: tuple[int, int] | None = None,
) -> None:
    """Emits the rounding and packing of grad_y, numbers of `item` bytes. part=(first, all): grad_y is only some of all the images
    that are packed together, from the first on."""
    oh, ow = conv.output
    n, r = np.meshgrid(np.arange(grad_y.n), np.arange(oh), indexing="ij")
    taps = (n * grad_y.image + grad_y.pixels(r, 0)).reshape(-1)
    first, every = part or (0, grad_y.n)
    if grad_y.n:
        add_pack(
            plan, grad_y.start, packed, taps, ow, grad_y.c, conv.cout, 1, item=item, part=(first * oh, every * oh)
        )  # fmt: skip


def add_grad_weights(
    plan: Plan, conv: Conv, x: Turned, packed: Pointer, grad_w: Pointer, *, flags: int = 0, depth: slice = slice(None),
    columns: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Emits grad_w (HWIO, float32), the sum over all outputs of x's images; flags=ACCUMULATE adds to what is there.

    Only the block `depth` of the (kh, kw, cin) taps and the blocks of cout that begin at the columns (first, stop), if they are given.
    """
    (kh, kw), (sh, sw), (dh, dw) = conv.window.kernel, conv.window.strides, conv.window.dilation
    oh, ow = conv.output
    i, j, k = np.meshgrid(*map(np.arange, (kh, kw, conv.cin)), indexing="ij")
    if x.short:  # an image is one tap
        a = ((i * dh % sh * kw + j) * x.c + k) * x.pitch + i * dh // sh * x.row
        taps, k_len = np.arange(x.n) * x.image, oh * x.short
    else:
        a = i * dh * x.row + (j * dw % sw * x.c + k) * x.pitch + j * dw // sw
        n, r = np.meshgrid(np.arange(x.n), np.arange(oh), indexing="ij")
        taps, k_len = (n * x.image + r * (sh // x.row_step) * x.row).reshape(-1), ow
    rows = Rows(a.reshape(-1)[depth], np.arange(conv.depth)[depth] * conv.cout)
    add_product(plan, x.start, packed, grad_w, rows, conv.cout, taps, k_len, flags=flags, within=columns)


def add_from_images(
    plan: Plan, conv: Conv, x: Images, grad_y: Images, grad_w: Pointer, *, item: int = 4, flags: int = 0
) -> None:
    """Emits grad_w from images of float32 (item 4) or bfloat16 (2), which are turned and packed in scratch, some at a time: no fewer than
    make up for reading and writing grad_w once more. They may have halos, which are not read, where `merged` changes nothing."""
    conv = merged(conv)
    oh, ow = conv.output
    x, grad_y = x._replace(h=conv.h, w=conv.w), grad_y._replace(h=oh, w=ow)
    each = max(1, -(-max(PIECE, conv.weights) // (x.image + grad_y.image)))
    mark = plan.mark()
    for first in range(0, x.n, each):
        plan.free(mark)
        n = min(each, x.n - first)
        to = turned(conv, n, grad_w)
        to = to._replace(start=plan.scratch(2 * to.size))
        packed = plan.scratch(packed_outputs(conv, n))
        add_turn(plan, conv, x._replace(start=x.start + first * x.image * item, n=n), to, item)
        add_pack_outputs(
            plan, conv, grad_y._replace(start=grad_y.start + first * grad_y.image * item, n=n), packed, item
        )
        add_grad_weights(plan, conv, to, packed, grad_w, flags=flags if first == 0 else flags | ACCUMULATE)
    plan.free(mark)
