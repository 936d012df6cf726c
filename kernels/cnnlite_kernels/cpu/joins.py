"""Images side by side in the channels of others: put there, and taken out again."""

from __future__ import annotations

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import POINTER, address, array_at, copy_bytes
from cnnlite_kernels.cpu.plan import Plan

CHANNELS = np.dtype(
    [("x", POINTER), ("y", POINTER)]
    + [
        (name, np.int64)
        for name in ("n", "h", "w", "c", "x_pixel", "x_row", "x_image", "y_pixel", "y_row", "y_image")
    ]
)


@kernel(CHANNELS)
def copy_channels(item, accumulate):
    """y = x, with accumulate y += x, over c channels of each of n images of h x w pixels, which lie x_pixel and y_pixel apart."""

    def body(bases, d):
        d = carray(d, 1)[0]
        for n in range(d.n):
            for h in range(d.h):
                xs = address(bases, d.x) + (n * d.x_image + h * d.x_row) * item
                ys = address(bases, d.y) + (n * d.y_image + h * d.y_row) * item
                for w in range(d.w):
                    if accumulate:
                        x = array_at(xs + w * d.x_pixel * item, d.c, item)
                        y = array_at(ys + w * d.y_pixel * item, d.c, item)
                        for c in range(d.c):
                            y[c] += x[c]
                    else:
                        copy_bytes(ys + w * d.y_pixel * item, xs + w * d.x_pixel * item, d.c * item)

    return body


def add_join(plan: Plan, x: Images, y: Images, first: int) -> None:
    """Emits y[..., first : first + x.c] = x."""
    _add(plan, x, 0, y, first, x.c, False)


def add_part(plan: Plan, y: Images, x: Images, first: int, accumulate: bool = False) -> None:
    """Emits x = y[..., first : first + x.c], with accumulate x += that: the gradient of add_join."""
    _add(plan, y, first, x, 0, x.c, accumulate)


def _add(plan: Plan, x: Images, x_first: int, y: Images, y_first: int, c: int, accumulate: bool) -> None:
    plan.add(
        copy_channels, plan.item, int(accumulate),
        x=x.first(plan.item) + x_first * plan.item, y=y.first(plan.item) + y_first * plan.item, n=x.n, h=x.h, w=x.w, c=c,
        x_pixel=x.c, x_row=x.row, x_image=x.image, y_pixel=y.c, y_row=y.row, y_image=y.image,
    )  # fmt: skip
