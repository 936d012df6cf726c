"""Rows and columns of zeros around images, or cut off them, and the gradient, which is the same with the signs changed."""

from __future__ import annotations

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.images import Images, Pair
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import POINTER, address, clear_bytes, copy_bytes
from cnnlite_kernels.cpu.plan import Plan

Margins = tuple[Pair, Pair]

FRAME = np.dtype(
    [("x", POINTER), ("y", POINTER)]
    + [
        (name, np.int64)
        for name in (
            "n", "x_row", "x_image", "y_row", "y_image", "first_row", "last_row",
            "top", "inside_first", "inside_last",  # rows of zeros above, and which rows of y come from x
            "before", "inside", "after",  # numbers of a row of y: zeros, from x, zeros
        )
    ]
)  # fmt: skip


@kernel(FRAME)
def frame(item):
    """y[n, p] = zeros, x[n, p - top], zeros, for inside_first <= p < inside_last, else zeros, p from first_row to last_row.

    x begins at the first column that stays; y (n, oh, ow, c).
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        for n in range(d.n):
            for p in range(d.first_row, d.last_row):
                y = address(bases, d.y) + (n * d.y_image + p * d.y_row) * item
                if p < d.inside_first or p >= d.inside_last:
                    clear_bytes(y, (d.before + d.inside + d.after) * item)
                    continue
                x = address(bases, d.x) + (n * d.x_image + (p - d.top) * d.x_row) * item
                clear_bytes(y, d.before * item)
                copy_bytes(y + d.before * item, x, d.inside * item)
                clear_bytes(y + (d.before + d.inside) * item, d.after * item)

    return body


def add_forward(plan: Plan, margins: Margins, x: Images, y: Images, rows: Pair | None = None) -> None:
    """Emits y = x with zeros around it, or only the `rows` (first, stop) of each image of y.

    margins: ((top, bottom), (left, right)) rows and columns of zeros; negative: that are cut off.
    """
    (top, _), (left, _) = margins
    first, stop = _inside(top, x.h, y.h)
    left_first, left_stop = _inside(left, x.w, y.w)
    first_row, last_row = rows or (0, y.h)
    plan.add(
        frame, plan.item, x=x.first(plan.item) + max(-left, 0) * x.c * plan.item, y=y.first(plan.item),
        n=x.n, x_row=x.row, x_image=x.image, y_row=y.row, y_image=y.image, first_row=first_row, last_row=last_row,
        top=top, inside_first=first, inside_last=stop,
        before=left_first * x.c, inside=(left_stop - left_first) * x.c, after=(y.w - left_stop) * x.c,
    )  # fmt: skip


def add_grad(plan: Plan, margins: Margins, grad_y: Images, grad_x: Images, rows: Pair | None = None) -> None:
    """Emits the gradient with respect to x, or only the `rows` of each image of it. Arguments as of add_forward."""
    (top, bottom), (left, right) = margins
    add_forward(plan, ((-top, -bottom), (-left, -right)), grad_y, grad_x, rows)


def _inside(before: int, size: int, new: int) -> Pair:
    """(first, stop) of `new` pixels of an axis, those that are among the `size` old ones, which begin at `before`.

    >>> _inside(2, 3, 6), _inside(-1, 3, 2), _inside(-3, 2, 3)
    ((2, 5), (0, 2), (0, 0))
    """
    first = min(max(before, 0), new)
    return first, max(first, min(before + size, new))
