"""Depthwise convolution, where every channel has its own kernel: the channels of a pixel are the vector, no product is left.

Forward and both gradients, with the arguments of conv2d.py; nothing is packed and no image is padded.
"""

from __future__ import annotations

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import NOWHERE, POINTER, Pointer, address, array_at
from cnnlite_kernels.cpu.plan import Plan

DEPTHWISE = np.dtype(
    [(name, POINTER) for name in ("x", "w", "b", "y")]
    + [
        (name, np.int64)
        for name in (
            "n", "h", "width", "c", "x_row", "x_image", "oh", "ow", "y_row", "y_image",
            "kh", "kw", "sh", "sw", "dh", "dw", "top", "left", "with_bias", "relu",
            "first_tap", "last_tap", "first_channel", "channels", "accumulate",
        )
    ]
)  # fmt: skip


def is_depthwise(conv: Conv) -> bool:
    """Whether each channel is a group of its own and makes one channel."""
    return conv.groups == conv.cin == conv.cout


@kernel(DEPTHWISE)
def forward(item):
    """y[n, oh, ow, c] = relu(b[c] + sum over taps inside the image of x[n, row, column, c] * w[kh, kw, c]).

    x (n, h, width, c), rows x_row and images x_image apart, y (n, oh, ow, c) likewise; w (kh, kw, c); b (c,).
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        xs, ys = address(bases, d.x), address(bases, d.y)
        b = array_at(address(bases, d.b), d.c * d.with_bias, item)
        for n in range(d.n):
            for oh in range(d.oh):
                for ow in range(d.ow):
                    y = array_at(ys + (n * d.y_image + oh * d.y_row + ow * d.c) * item, d.c, item)
                    if d.with_bias:
                        y[:] = b
                    else:
                        y[:] = 0
                    for kh in range(d.kh):
                        row = oh * d.sh + kh * d.dh - d.top
                        if row < 0 or row >= d.h:
                            continue
                        for kw in range(d.kw):
                            column = ow * d.sw + kw * d.dw - d.left
                            if column < 0 or column >= d.width:
                                continue
                            x = array_at(
                                xs + (n * d.x_image + row * d.x_row + column * d.c) * item, d.c, item
                            )
                            w = array_at(address(bases, d.w) + (kh * d.kw + kw) * d.c * item, d.c, item)
                            for c in range(d.c):
                                y[c] += x[c] * w[c]
                    if d.relu:
                        zero = y.dtype.type(0)
                        for c in range(d.c):
                            y[c] = zero if y[c] < zero else y[c]

    return body


@kernel(DEPTHWISE)
def grad_input(item):
    """x[n, ih, iw, c] = sum over taps of y[n, oh, ow, c] * w[kh, kw, c] where oh * sh + kh * dh - top = ih, columns likewise.

    The gradients: y (n, oh, ow, c) is read, x (n, h, width, c) is written whole.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        xs, ys = address(bases, d.x), address(bases, d.y)
        for n in range(d.n):
            for ih in range(d.h):
                for iw in range(d.width):
                    x = array_at(xs + (n * d.x_image + ih * d.x_row + iw * d.c) * item, d.c, item)
                    x[:] = 0
                    for kh in range(d.kh):
                        row = ih + d.top - kh * d.dh
                        if row < 0 or row % d.sh != 0 or row // d.sh >= d.oh:
                            continue
                        for kw in range(d.kw):
                            column = iw + d.left - kw * d.dw
                            if column < 0 or column % d.sw != 0 or column // d.sw >= d.ow:
                                continue
                            at = n * d.y_image + row // d.sh * d.y_row + column // d.sw * d.c
                            y = array_at(ys + at * item, d.c, item)
                            w = array_at(address(bases, d.w) + (kh * d.kw + kw) * d.c * item, d.c, item)
                            for c in range(d.c):
                                x[c] += y[c] * w[c]

    return body


@kernel(DEPTHWISE)
def grad_weights(item):
    """w[kh, kw, c] (+)= sum over outputs whose tap is inside the image of x[n, row, column, c] * y[n, oh, ow, c].

    x (n, h, width, c) and the gradient y (n, oh, ow, c) are read; of w (kh, kw, c) the taps from first_tap to last_tap and the
    `channels` from first_channel are written.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        xs = address(bases, d.x) + d.first_channel * item
        ys = address(bases, d.y) + d.first_channel * item
        for tap in range(d.first_tap, d.last_tap):
            w = array_at(address(bases, d.w) + (tap * d.c + d.first_channel) * item, d.channels, item)
            if not d.accumulate:
                w[:] = 0
            for n in range(d.n):
                for oh in range(d.oh):
                    row = oh * d.sh + tap // d.kw * d.dh - d.top
                    if row < 0 or row >= d.h:
                        continue
                    for ow in range(d.ow):
                        column = ow * d.sw + tap % d.kw * d.dw - d.left
                        if column < 0 or column >= d.width:
                            continue
                        x = array_at(
                            xs + (n * d.x_image + row * d.x_row + column * d.c) * item, d.channels, item
                        )
                        y = array_at(ys + (n * d.y_image + oh * d.y_row + ow * d.c) * item, d.channels, item)
                        for c in range(d.channels):
                            w[c] += x[c] * y[c]

    return body


def _fields(conv: Conv, x: Images, y: Images, item: int) -> dict[str, int | Pointer]:
    (kh, kw), (sh, sw), (dh, dw) = conv.window.kernel, conv.window.strides, conv.window.dilation
    (top, _), (left, _) = conv.halo
    return {
        "x": x.first(item), "y": y.first(item),
        "n": x.n, "h": x.h, "width": x.w, "c": x.c, "x_row": x.row, "x_image": x.image,
        "oh": y.h, "ow": y.w, "y_row": y.row, "y_image": y.image,
        "kh": kh, "kw": kw, "sh": sh, "sw": sw, "dh": dh, "dw": dw, "top": top, "left": left,
    }  # fmt: skip


def add_forward(
    plan: Plan, conv: Conv, x: Images, w: Pointer, bias: Pointer | None, y: Images, *, relu: bool = False
) -> None:
    """Emits y = depthwise(x, w) + bias, then relu; w (kh, kw, 1, c) as it lies in memory."""
    plan.add(
        forward, plan.item, w=w, b=NOWHERE if bias is None else bias, with_bias=int(bias is not None), relu=int(relu),
        **_fields(conv, x, y, plan.item),
    )  # fmt: skip


def add_grad_input(plan: Plan, conv: Conv, grad_y: Images, w: Pointer, grad_x: Images) -> None:
    """Emits the gradient with respect to x; w (kh, kw, 1, c) as it lies in memory."""
    plan.add(grad_input, plan.item, w=w, **_fields(conv, grad_x, grad_y, plan.item))


def add_grad_weights(
    plan: Plan, conv: Conv, x: Images, grad_y: Images, grad_w: Pointer, *, accumulate: bool = False,
    taps: tuple[int, int] | None = None, channels: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Emits the gradient with respect to w (kh, kw, 1, c), or only its `taps` and `channels` (first, stop)."""
    kh, kw = conv.window.kernel
    first_tap, last_tap = taps or (0, kh * kw)
    first, stop = channels or (0, conv.cin)
    plan.add(
        grad_weights, plan.item, w=grad_w, accumulate=int(accumulate), first_tap=first_tap, last_tap=last_tap,
        first_channel=first, channels=stop - first, **_fields(conv, x, grad_y, plan.item),
    )  # fmt: skip
