"""Average pooling and its gradient: any window, strides and padding; padding is not counted."""

from __future__ import annotations

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import POINTER, address, array_at
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.window import Window2D

BLOCK = 64  # pixels that are summed in the working type before they go to a sum in float64
DOUBLE = 8  # bytes of a float64

AVERAGE = np.dtype(
    [("x", POINTER), ("y", POINTER), ("totals", POINTER)]
    + [
        (name, np.int64)
        for name in (
            "n", "h", "w", "c", "x_row", "x_image", "oh", "ow", "y_row", "y_image", "kh", "kw", "sh", "sw", "top", "left",
        )
    ]
)  # fmt: skip


@kernel(AVERAGE)
def forward(item, large):
    """y[n, p, q, c] = the sum of x[n, row, column, c] over the window's pixels inside the image, divided by how many they are.

    x (n, h, w, c), rows x_row and images x_image apart, y (n, oh, ow, c) likewise. large: windows have more than BLOCK pixels, of
    whose sum in float32 digits would be lost (of numbers of one sign, 1% of the mean of 1024 x 1024); totals (c,) is float64 scratch
    for them.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        xs, ys = address(bases, d.x), address(bases, d.y)
        totals = array_at(address(bases, d.totals), d.c * large, DOUBLE)
        for n in range(d.n):
            for p in range(d.oh):
                first_row, last_row = max(p * d.sh - d.top, 0), min(p * d.sh - d.top + d.kh, d.h)
                for q in range(d.ow):
                    first, last = max(q * d.sw - d.left, 0), min(q * d.sw - d.left + d.kw, d.w)
                    y = array_at(ys + (n * d.y_image + p * d.y_row + q * d.c) * item, d.c, item)
                    y[:] = 0
                    totals[:] = 0
                    summed = 0
                    for row in range(first_row, last_row):
                        for column in range(first, last):
                            if large:
                                if summed == BLOCK:
                                    for c in range(d.c):
                                        totals[c] += y[c]
                                        y[c] = 0
                                    summed = 0
                                summed += 1
                            at = n * d.x_image + row * d.x_row + column * d.c
                            x = array_at(xs + at * item, d.c, item)
                            for c in range(d.c):
                                y[c] += x[c]
                    pixels = y.dtype.type((last_row - first_row) * (last - first))
                    if large:
                        for c in range(d.c):
                            y[c] = (totals[c] + y[c]) / pixels
                    else:
                        for c in range(d.c):
                            y[c] /= pixels

    return body


@kernel(AVERAGE)
def backward(item):
    """x[n, i, j, c] = the sum of y[n, p, q, c] over the windows that the pixel is in, each divided by its pixels inside the image.

    The gradients: y (n, oh, ow, c) is read, x (n, h, w, c) is written whole; for each pixel in the order of the windows.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        xs, ys = address(bases, d.x), address(bases, d.y)
        for n in range(d.n):
            for h in range(d.h):
                array_at(xs + (n * d.x_image + h * d.x_row) * item, d.w * d.c, item)[:] = 0
            for p in range(d.oh):
                first_row, last_row = max(p * d.sh - d.top, 0), min(p * d.sh - d.top + d.kh, d.h)
                for q in range(d.ow):
                    first, last = max(q * d.sw - d.left, 0), min(q * d.sw - d.left + d.kw, d.w)
                    y = array_at(ys + (n * d.y_image + p * d.y_row + q * d.c) * item, d.c, item)
                    pixels = y.dtype.type((last_row - first_row) * (last - first))
                    for row in range(first_row, last_row):
                        for column in range(first, last):
                            at = n * d.x_image + row * d.x_row + column * d.c
                            x = array_at(xs + at * item, d.c, item)
                            for c in range(d.c):
                                x[c] += y[c] / pixels

    return body


def _fields(window: Window2D, x: Images, y: Images) -> dict[str, int]:
    (top, _), (left, _) = window.pads(x.h, x.w)
    assert window.dilation == (1, 1)
    return {
        "n": x.n, "h": x.h, "w": x.w, "c": x.c, "x_row": x.row, "x_image": x.image,
        "oh": y.h, "ow": y.w, "y_row": y.row, "y_image": y.image,
        "kh": window.kernel[0], "kw": window.kernel[1], "sh": window.strides[0], "sw": window.strides[1],
        "top": top, "left": left,
    }  # fmt: skip


def add_forward(plan: Plan, window: Window2D, x: Images, y: Images) -> None:
    """Emits y = average pooling of x; each window has a pixel inside the image."""
    mark, large = plan.mark(), int(window.kernel[0] * window.kernel[1] > BLOCK)
    plan.add(
        forward, plan.item, large, x=x.first(plan.item), y=y.first(plan.item), totals=plan.scratch(x.c * large * DOUBLE),
        **_fields(window, x, y),
    )  # fmt: skip
    plan.free(mark)


def add_grad(plan: Plan, window: Window2D, grad_y: Images, grad_x: Images) -> None:
    """Emits the gradient with respect to x."""
    plan.add(
        backward,
        plan.item,
        x=grad_x.first(plan.item),
        y=grad_y.first(plan.item),
        **_fields(window, grad_x, grad_y),
    )
