"""PReLU and its gradients: a rectifier with a slope for each number of an image, or one that rows, columns or channels share."""

from __future__ import annotations

import numpy as np
from numba import carray
from numba.extending import register_jitable

from cnnlite_kernels.cpu.images import Images, Pair
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import NOWHERE, POINTER, Pointer, address, array_at, copy_bytes
from cnnlite_kernels.cpu.plan import Plan

SUMS = 512  # that run side by side where numbers share a slope
AlphaShape = tuple[int, int, int]

PRELU = np.dtype(
    [(name, POINTER) for name in ("x", "y", "grad_y", "grad_x", "alpha", "grad_alpha", "scratch")]
    + [
        (name, np.int64)
        for name in (
            "n", "first_row", "last_row", "runs", "c",  # rows of an image are runs of c numbers
            "x_row", "x_image", "y_row", "y_image", "grad_y_row", "grad_y_image", "grad_x_row", "grad_x_image",
            "alpha_row", "alpha_run",  # from one row's slopes, and one run's, to the next's
            "alphas", "accumulate",  # slopes in all, and whether their gradients are added to what is there
            "repeat",  # see forward
        )
    ]
)  # fmt: skip


@kernel(PRELU)
def forward(item, shared):
    """y = x where x > 0, else alpha * x, over runs of c numbers; shared: whether a run has one slope, or one for each number.

    x and y (n, h, w, c) in runs, may be the same; alpha (alphas,). repeat: 0, or how often alpha is written one behind the other to
    scratch first, to be the slopes of whole rows.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        xs, ys, alphas = address(bases, d.x), address(bases, d.y), address(bases, d.alpha)
        for number in range(d.repeat):
            to = address(bases, d.scratch) + number * d.alphas * item
            copy_bytes(to, address(bases, d.alpha), d.alphas * item)
        if d.repeat:
            alphas = address(bases, d.scratch)
        for n in range(d.n):
            for h in range(d.first_row, d.last_row):
                for run in range(d.runs):
                    x = array_at(xs + (n * d.x_image + h * d.x_row + run * d.c) * item, d.c, item)
                    y = array_at(ys + (n * d.y_image + h * d.y_row + run * d.c) * item, d.c, item)
                    slopes = alphas + (h * d.alpha_row + run * d.alpha_run) * item
                    alpha = array_at(slopes, 1 if shared else d.c, item)
                    zero = x.dtype.type(0)
                    if shared:
                        slope = alpha[0]
                        for i in range(d.c):
                            y[i] = x[i] if x[i] > zero else slope * x[i]
                    else:
                        for i in range(d.c):
                            y[i] = x[i] if x[i] > zero else alpha[i] * x[i]

    return body


@register_jitable
def add_up(total, sums, count):
    """total[0] += the first `count` of `sums`, which become 0."""
    for i in range(min(SUMS, count)):
        total[0] += sums[i]
        sums[i] = 0


@kernel(PRELU)
def backward(item, shared):
    """grad_x = grad_y where x > 0, else alpha * grad_y; grad_alpha = the sum of x * grad_y where x <= 0, each slope's over its numbers.

    Layout and `shared` as of `forward`; grad_x may be grad_y. grad_alpha (alphas,): all of it is written. scratch: SUMS numbers.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        xs, gys, gxs = address(bases, d.x), address(bases, d.grad_y), address(bases, d.grad_x)
        if not d.accumulate:
            array_at(address(bases, d.grad_alpha), d.alphas, item)[:] = 0
        sums = array_at(address(bases, d.scratch), SUMS, item)
        one = d.alphas == 1  # slope of all runs
        sums[:] = 0
        for n in range(d.n):
            for h in range(d.first_row, d.last_row):
                for run in range(d.runs):
                    x = array_at(xs + (n * d.x_image + h * d.x_row + run * d.c) * item, d.c, item)
                    grad_y = array_at(
                        gys + (n * d.grad_y_image + h * d.grad_y_row + run * d.c) * item, d.c, item
                    )
                    grad_x = array_at(
                        gxs + (n * d.grad_x_image + h * d.grad_x_row + run * d.c) * item, d.c, item
                    )
                    slopes = (h * d.alpha_row + run * d.alpha_run) * item
                    alpha = array_at(address(bases, d.alpha) + slopes, 1 if shared else d.c, item)
                    grad_alpha = array_at(address(bases, d.grad_alpha) + slopes, 1 if shared else d.c, item)
                    zero = x.dtype.type(0)
                    if shared:
                        for first in range(0, d.c, SUMS):
                            for i in range(min(SUMS, d.c - first)):
                                at = first + i
                                sums[i] += zero if x[at] > zero else x[at] * grad_y[at]
                        if not one:
                            add_up(grad_alpha, sums, d.c)
                        slope = alpha[0]
                        for i in range(d.c):
                            grad_x[i] = grad_y[i] if x[i] > zero else slope * grad_y[i]
                    else:
                        for i in range(d.c):
                            grad_alpha[i] += zero if x[i] > zero else x[i] * grad_y[i]
                        for i in range(d.c):
                            grad_x[i] = grad_y[i] if x[i] > zero else alpha[i] * grad_y[i]
        if shared and one:
            add_up(array_at(address(bases, d.grad_alpha), 1, item), sums, d.c)

    return body


def _fields(x: Images, shape: AlphaShape, rows: Pair | None) -> tuple[int, dict[str, int]]:
    """(Whether runs share a slope, the loops over x): a whole row is one run where its slopes lie as its numbers do, or are one."""
    ah, aw, ac = shape
    each = aw == x.w and ac == x.c
    shared = ac == 1 and not each
    one_run = each or (shared and aw == 1)
    first, last = rows or (0, x.h)
    return int(shared), {
        "n": x.n, "first_row": first, "last_row": last, "runs": 1 if one_run else x.w, "c": x.w * x.c if one_run else x.c,
        "alpha_row": 0 if ah == 1 else aw * ac, "alpha_run": 0 if one_run or aw == 1 else ac, "alphas": ah * aw * ac,
    }  # fmt: skip


def _images(**named: Images) -> dict[str, int]:
    return {
        f"{name}_{part}": getattr(images, part) for name, images in named.items() for part in ("row", "image")
    }


def add_forward(
    plan: Plan, x: Images, alpha: Pointer, shape: AlphaShape, y: Images, rows: Pair | None = None
) -> None:
    """Emits y = x where x > 0, else alpha * x, or only the `rows` (first, stop) of each image. y may be x.

    alpha: of this shape, x's (h, w, c) with 1 where slopes are shared.
    """
    shared, fields = _fields(x, shape, rows)
    mark, repeat = plan.mark(), 0
    if (
        shape == (1, 1, x.c) and not shared
    ):  # whole rows are quicker than pixels, and a row of slopes stays in L1
        repeat = x.w
        fields |= {"runs": 1, "c": x.w * x.c, "alpha_run": 0}
    plan.add(
        forward, plan.item, shared, repeat=repeat, scratch=plan.scratch(repeat * x.c * plan.item),
        x=x.first(plan.item), y=y.first(plan.item), alpha=alpha, **fields, **_images(x=x, y=y)
    )  # fmt: skip
    plan.free(mark)


def add_grad(
    plan: Plan, x: Images, alpha: Pointer, shape: AlphaShape, grad_y: Images, grad_x: Images, grad_alpha: Pointer = NOWHERE,
    accumulate: bool = False, rows: Pair | None = None,
) -> None:  # fmt: skip
    """Emits the gradients with respect to x and, over the images of this part, to alpha; grad_x may be grad_y.

    Args:
        x: what add_forward was given, as alpha and its shape.
        grad_alpha: alpha's, all of whose numbers are written; left out, they are summed in scratch.
        accumulate: whether they are added to what is there.
        rows: those of each image, (first, stop), or all.
    """
    shared, fields = _fields(x, shape, rows)
    mark = plan.mark()
    if grad_alpha == NOWHERE:
        grad_alpha = plan.scratch(fields["alphas"] * plan.item)
    plan.add(
        backward, plan.item, shared, x=x.first(plan.item), alpha=alpha, grad_y=grad_y.first(plan.item),
        grad_x=grad_x.first(plan.item), grad_alpha=grad_alpha, accumulate=int(accumulate),
        scratch=plan.scratch(SUMS * plan.item), **fields, **_images(x=x, grad_y=grad_y, grad_x=grad_x),
    )  # fmt: skip
    plan.free(mark)
