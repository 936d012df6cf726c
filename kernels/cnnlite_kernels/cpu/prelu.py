"""PReLU and its gradients: a rectifier with a slope for each number of an image, or one that rows, columns or channels share."""

from __future__ import annotations

import numpy as np
from numba import carray
from numba.extending import register_jitable

from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.images import NO_HALO, Images, Pair
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import NOWHERE, POINTER, Pointer, address, array_at, copy_bytes
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.rectifiers import ALONG, ONE, held_vectors, prelu_row

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
def forward(item, held):
    """y = x where x > 0, else alpha * x, over runs of c numbers; held: which slopes they have, see rectifiers.prelu_row.

    x and y (n, h, w, c) in runs, may be the same; alpha (alphas,). repeat: 0, or how often alpha is written one behind the other to
    scratch first, to be the slopes of whole rows.
    """
    lanes = host().lanes(item)

    def body(bases, d):
        d = carray(d, 1)[0]
        xs, ys, alphas = address(bases, d.x), address(bases, d.y), address(bases, d.alpha)
        if d.repeat:
            origin, alphas = alphas, address(bases, d.scratch)
            for number in range(d.repeat):
                copy_bytes(alphas + number * d.alphas * item, origin, d.alphas * item)
        # asked for once: y, for all the compiler knows, is where d is
        runs, c, alpha_run = d.runs, d.c, d.alpha_run
        for n in range(d.n):
            for h in range(d.first_row, d.last_row):
                x = xs + (n * d.x_image + h * d.x_row) * item
                y = ys + (n * d.y_image + h * d.y_row) * item
                alpha = alphas + h * d.alpha_row * item
                for _ in range(runs):
                    prelu_row(x, y, alpha, c, held, lanes, item)
                    x += c * item
                    y += c * item
                    alpha += alpha_run * item

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


def _one_run(x: Images, first: int, last: int) -> dict[str, int]:
    """The loops over some rows of images without halos, of each image as one run, or of all where they are whole."""
    runs, images = (1, x.n) if (first, last) == (0, x.h) else (x.n, 1)
    return {"n": runs, "last_row": first + 1, "c": images * (last - first) * x.w * x.c}


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
    mark, repeat, held = plan.mark(), 0, ONE if shared else ALONG
    if shape == (1, 1, x.c) and not shared:  # whole rows are quicker than pixels
        held = held_vectors(x.c, plan.item)
        # the slopes that stay in registers, or else those of a row, which stay in L1
        repeat = held * host().lanes(plan.item) // x.c if held > 0 else x.w
        fields |= {"runs": 1, "c": x.w * x.c, "alpha_run": 0}
        if held > 0 and x.halo == y.halo == NO_HALO:
            fields |= _one_run(x, fields["first_row"], fields["last_row"])
    plan.add(
        forward, plan.item, held, repeat=repeat, scratch=plan.scratch(repeat * x.c * plan.item),
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
