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
from cnnlite_kernels.cpu.images import NO_HALO, Images, clear_halo
from cnnlite_kernels.cpu.memory import Pointer
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.product import Rows
from cnnlite_kernels.cpu.tile import ACCUMULATE

SHORT_ROW = 28  # pixels
PIECE = 1 << 17  # numbers of x and grad_y that are turned and packed at a time, so that L2 holds them


class Turned(NamedTuple):
    """Images of bfloat16 (n, rows, phases, c, pitch) from `start`: padded pixel u of a row is number u // sw of phase u % sw.

    Padded rows are all there or, of a kernel of one row without padding, every `row_step`-th; phases only where a tap looks at them.
    """

    start: Pointer
    n: int
    rows: int
    row_step: int
    phases: int
    c: int
    pitch: int

    @property
    def row(self) -> int:
        return self.phases * self.c * self.pitch

    @property
    def image(self) -> int:
        return self.rows * self.row

    @property
    def size(self) -> int:
        return self.n * self.image


def merged(conv: Conv) -> Conv:
    """The same convolution of images with one row, where rows are short and where one ends is no matter: longer sums without a break."""
    alike = conv.window.kernel == (1, 1) and conv.window.strides == (1, 1) and conv.halo == NO_HALO
    if alike and conv.w < SHORT_ROW:
        return conv._replace(h=1, w=conv.h * conv.w)
    return conv


def turned(conv: Conv, n: int, start: Pointer) -> Turned:
    """How x of n images is turned for `add_grad_weights`."""
    (kh, kw), (sh, sw), ((top, bottom), (left, right)) = conv.window.kernel, conv.window.strides, conv.halo
    step = sh if kh == 1 and top == bottom == 0 else 1
    rows = conv.output[0] if step > 1 else top + conv.h + bottom
    numbers = -(-(left + conv.w + right) // sw)
    # an odd last pixel is written with a zero after it
    return Turned(start, n, rows, step, 1 if kw == 1 else sw, conv.cin, -(-(numbers + 1) // 2) * 2)


def add_turn(plan: Plan, conv: Conv, x: Images, to: Turned, item: int = 4) -> None:
    """Emits the rounding and turning of x, numbers of `item` bytes."""
    (top, bottom), (left, _) = conv.halo
    sw = conv.window.strides[1]
    if not x.n:
        return
    if top or bottom:
        plan.add(clear_halo, 2, y=to.start, n=x.n, h=conv.h, row=to.row, top=top, bottom=bottom)
    for phase in range(to.phases):
        first = (phase - left) % sw
        plan.add(
            turn_images, item, x=x.first(item) + first * x.c * item,
            y=to.start + 2 * (top * to.row + phase * to.c * to.pitch),
            n=x.n, rows=to.rows - top - bottom, w=max(0, -(-(conv.w - first) // sw)), c=x.c, x_image=x.image,
            x_row=to.row_step * x.row, x_pixel=sw * x.c, y_image=to.image, y_row=to.row, left=(left + first) // sw, pitch=to.pitch,
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
    phase, number = j * dw % sw, j * dw // sw
    a = (i * dh * x.row + (phase * x.c + k) * x.pitch + number).reshape(-1)
    rows = Rows(a[depth], np.arange(conv.depth)[depth] * conv.cout)
    n, r = np.meshgrid(np.arange(x.n), np.arange(oh), indexing="ij")
    taps = (n * x.image + r * (sh // x.row_step) * x.row).reshape(-1)
    add_product(plan, x.start, packed, grad_w, rows, conv.cout, taps, ow, flags=flags, within=columns)


def add_from_images(
    plan: Plan, conv: Conv, x: Images, grad_y: Images, grad_w: Pointer, *, item: int = 4, flags: int = 0
) -> None:
    """Emits grad_w from images of float32 (item 4) or bfloat16 (2) without halos, which are turned and packed in scratch, some at a time:
    no fewer than make up for reading and writing grad_w once more."""
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
