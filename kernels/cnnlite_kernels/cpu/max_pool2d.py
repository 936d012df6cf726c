"""Max pooling and its gradient, the general case: any window, strides and padding, for windows that overlap too.

(Pooling side by side behind a convolution is an epilogue of the convolution's tile: conv2d.py.)
"""

from __future__ import annotations

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import INT32, NOWHERE, POINTER, Pointer, address, array_at
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.window import Window2D

POOL = np.dtype(
    [(name, POINTER) for name in ("x", "y", "index", "grad_y", "grad_x")]
    + [
        (name, np.int64)
        for name in (
            "n", "h", "w", "c", "x_row", "x_image", "oh", "ow", "y_row", "y_image",
            "kh", "kw", "sh", "sw", "dh", "dw", "top", "left", "with_index",
        )
    ]
)  # fmt: skip


@kernel(POOL)
def forward(item):
    """y[n, oh, ow, c] = max of x over the window's pixels inside the image; index[n, oh, ow, c]: kh * KW + kw of the first one.

    x (n, h, w, c) rows x_row and images x_image apart, y likewise; index int32 (n, oh, ow, c) without gaps.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        xs, ys = address(bases, d.x), address(bases, d.y)
        for n in range(d.n):
            for oh in range(d.oh):
                for ow in range(d.ow):
                    y = array_at(ys + (n * d.y_image + oh * d.y_row + ow * d.c) * item, d.c, item)
                    place = ((n * d.oh + oh) * d.ow + ow) * d.c * d.with_index
                    index = array_at(address(bases, d.index) + place * 4, d.c, INT32)
                    first = True
                    for kh in range(d.kh):
                        row = oh * d.sh + kh * d.dh - d.top
                        if row < 0 or row >= d.h:
                            continue
                        for kw in range(d.kw):
                            column = ow * d.sw + kw * d.dw - d.left
                            if column < 0 or column >= d.w:
                                continue
                            x = array_at(
                                xs + (n * d.x_image + row * d.x_row + column * d.c) * item, d.c, item
                            )
                            tap = np.int32(kh * d.kw + kw)
                            if first:
                                y[:] = x
                                if d.with_index:
                                    index[:] = tap
                            elif d.with_index:
                                for c in range(d.c):
                                    # the first maximum stays; a NaN replaces a number and is replaced by nothing
                                    better = (y[c] == y[c]) & (not x[c] <= y[c])
                                    y[c] = x[c] if better else y[c]
                                    index[c] = tap if better else index[c]
                            else:
                                for c in range(d.c):
                                    better = (y[c] == y[c]) & (not x[c] <= y[c])
                                    y[c] = x[c] if better else y[c]
                            first = False

    return body


@kernel(POOL)
def backward(item):
    """grad_x[n, ih, iw, c] = sum of grad_y over the windows whose maximum is that pixel, by index; grad_x is written whole.

    grad_y (n, oh, ow, c) with y_row and y_image, grad_x (n, h, w, c) with x_row and x_image.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        xs, ys = address(bases, d.grad_x), address(bases, d.grad_y)
        for n in range(d.n):
            for h in range(d.h):
                array_at(xs + (n * d.x_image + h * d.x_row) * item, d.w * d.c, item)[:] = 0
            grad_x = array_at(xs + n * d.x_image * item, (d.h - 1) * d.x_row + d.w * d.c, item)
            for oh in range(d.oh):
                for ow in range(d.ow):
                    grad_y = array_at(ys + (n * d.y_image + oh * d.y_row + ow * d.c) * item, d.c, item)
                    place = ((n * d.oh + oh) * d.ow + ow) * d.c
                    index = array_at(address(bases, d.index) + place * 4, d.c, INT32)
                    for c in range(d.c):
                        row = oh * d.sh + index[c] // d.kw * d.dh - d.top
                        column = ow * d.sw + index[c] % d.kw * d.dw - d.left
                        grad_x[row * d.x_row + column * d.c + c] += grad_y[c]

    return body


def _fields(window: Window2D, x: Images, y: Images) -> dict[str, int]:
    (top, _), (left, _) = window.pads(x.h, x.w)
    return {
        "n": x.n, "h": x.h, "w": x.w, "c": x.c, "x_row": x.row, "x_image": x.image,
        "oh": y.h, "ow": y.w, "y_row": y.row, "y_image": y.image,
        "kh": window.kernel[0], "kw": window.kernel[1], "sh": window.strides[0], "sw": window.strides[1],
        "dh": window.dilation[0], "dw": window.dilation[1], "top": top, "left": left,
    }  # fmt: skip


def add_forward(plan: Plan, window: Window2D, x: Images, y: Images, index: Pointer = NOWHERE) -> None:
    """Emits y = max pooling of x; with `index`, an int32 array of y's size without halo, the place of each maximum."""
    start, end = x.first(plan.item), y.first(plan.item)
    plan.add(
        forward,
        plan.item,
        x=start,
        y=end,
        index=index,
        with_index=int(index != NOWHERE),
        **_fields(window, x, y),
    )


def add_grad(plan: Plan, window: Window2D, grad_y: Images, index: Pointer, grad_x: Images) -> None:
    """Emits the gradient with respect to x, from the places that the forward pass wrote to `index`."""
    start, end = grad_y.first(plan.item), grad_x.first(plan.item)
    plan.add(backward, plan.item, grad_y=start, grad_x=end, index=index, **_fields(window, grad_x, grad_y))
