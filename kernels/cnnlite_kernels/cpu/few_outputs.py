"""Convolution to few channels, an image's colours or one score, which would fill few lanes: the lanes hold numbers of x instead.

A row of the kernel and the pixels under it lie side by side in x, and in w once it is turned to (cout, kh, kw * cin). Forward each
lane keeps a sum over the kernel's rows and every LANES-th of these numbers (few_channels.py); the gradient of the weights is a product
with a row for each output channel and a column for each number.
"""

from __future__ import annotations

import numpy as np

from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.few_channels import add_dots, fits
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.images import Images, with_halo
from cnnlite_kernels.cpu.memory import Pointer
from cnnlite_kernels.cpu.pack import add_turn
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.product import Rows, add_product
from cnnlite_kernels.cpu.tile import ACCUMULATE

MOST = 4  # channels: with more a product fills lanes enough


def is_better(conv: Conv) -> bool:
    """Whether there are so few outputs, and so many numbers in a row of the kernel, that a product with few columns takes longer."""
    numbers = conv.window.kernel[1] * conv.cin
    one_row = conv.window.dilation[1] == 1 and conv.groups == 1
    return one_row and conv.cout <= MOST and fits(conv.cout) and numbers >= host().lanes(4)


def add_forward(plan: Plan, conv: Conv, x: Images, turned: Pointer, bias: Pointer | None, y: Images) -> None:
    """Emits y = conv(x, w) + bias; turned: w as (cout, kh, kw * cin), from `sparse.add_turned_weights`."""
    x = with_halo(plan, x, conv.halo)
    (kh, kw), (sh, sw), ((top, _), (left, _)) = conv.window.kernel, conv.window.strides, conv.halo
    oh, ow = conv.output
    count, lanes = kw * conv.cin, host().lanes(plan.item)
    # (images, lines, pixels), and what they are apart in x and in y
    counts, x_steps, y_steps = (x.n, oh, ow), (x.image, sh * x.row, sw * x.c), (y.image, y.row, y.c)
    if oh * ow == 1:
        counts, x_steps, y_steps = (1, 1, x.n), (0, 0, x.image), (0, 0, y.image)
    add_dots(
        plan, x.start + int(x.pixels(-top, -left)) * plan.item, turned, y.first(plan.item), bias, conv.cout, counts, x_steps, y_steps,
        b_channel=conv.depth, r_len=kh, a_r=conv.window.dilation[0] * x.row, b_r=count, k_len=1, a_k=0, b_k=0,
        whole=count // lanes, tail_lanes=count % lanes,
    )  # fmt: skip


def add_grad_weights(
    plan: Plan, conv: Conv, x: Images, grad_y: Images, grad_w: Pointer, accumulate: bool = False
) -> None:
    """Emits grad_w (HWIO), the sum over all outputs of the part, added to what is there or not."""
    mark = plan.mark()
    x = with_halo(plan, x, conv.halo)
    (kh, kw), (sh, sw), ((top, _), (left, _)) = conv.window.kernel, conv.window.strides, conv.halo
    oh, ow = conv.output
    channels, count = np.arange(conv.cout), kw * conv.cin
    turned = plan.scratch(conv.weights * plan.item)
    if accumulate:
        add_turn(plan, grad_w, turned, conv.cout, conv.depth)
    n, r = np.meshgrid(np.arange(x.n), np.arange(oh), indexing="ij")
    taps_a = (n * grad_y.image + grad_y.pixels(r, 0)).reshape(-1)
    for i in range(kh):
        above = x.pixels(r * sh + i * conv.window.dilation[0] - top, -left)
        add_product(
            plan, grad_y.start, x.start, turned, Rows(channels, channels * conv.depth + i * count), count, taps_a, ow,
            taps_b=(n * x.image + above).reshape(-1), a_step=grad_y.c, b_step=sw * x.c,
            flags=ACCUMULATE if accumulate else 0,
        )  # fmt: skip
    add_turn(plan, turned, grad_w, conv.depth, conv.cout)
    plan.free(mark)
