"""average_pool2d and its gradient on arrays."""

from __future__ import annotations

import functools

import numpy as np

from cnnlite_kernels.cpu import average_pool2d as emit
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops.cuts import by_outputs
from cnnlite_kernels.cpu.ops.work import KEPT, NUMBERS, Work, number_of_parts, pieces
from cnnlite_kernels.cpu.plan import Part, Plan
from cnnlite_kernels.window import Window2D

X, Y, OUT = (Pointer(base, 0) for base in (Base.X, Base.Y, Base.OUT))
Shape = tuple[int, int, int, int]


def average_pool2d(x: np.ndarray, out: np.ndarray, window: Window2D) -> None:
    """out = the mean of each window's pixels inside the image."""
    _forward(window, x.shape, x.itemsize).run(x=x, out=out)


def average_pool2d_grad(grad_y: np.ndarray, out: np.ndarray, window: Window2D) -> None:
    """out = the gradient with respect to what was pooled."""
    _grad(window, out.shape, out.itemsize).run(y=grad_y, out=out)


@functools.lru_cache(KEPT)
def _forward(window: Window2D, shape: Shape, item: int) -> Work:
    n, h, w, c = shape
    oh, ow = window.output_size(h, w)
    plans: dict[tuple, Plan] = {}
    parts = []
    for cut in by_outputs(window, n, h, w, number_of_parts(n * h * w * c, NUMBERS)):
        plan = plans.get((cut.window, cut.h, cut.n))
        if plan is None:
            plan = plans[cut.window, cut.h, cut.n] = Plan(item)
            x, y = Images(X, cut.n, cut.h, w, c), Images(OUT, cut.n, *cut.window.output_size(cut.h, w), c)
            emit.add_forward(plan, cut.window, x, y)
        x_start, start = (cut.image * h + cut.x_row) * w * c, (cut.image * oh + cut.y_row) * ow * c
        parts.append(Part(plan, {Base.X: x_start * item, Base.OUT: start * item}))
    return Work([parts])


@functools.lru_cache(KEPT)
def _grad(window: Window2D, shape: Shape, item: int) -> Work:
    n, h, w, c = shape
    oh, ow = window.output_size(h, w)
    plans: dict[int, Plan] = {}
    parts = []
    for first, stop in pieces(n, number_of_parts(n * h * w * c, NUMBERS)):
        plan = plans.get(stop - first)
        if plan is None:
            plan = plans[stop - first] = Plan(item)
            grad_y, grad_x = Images(Y, stop - first, oh, ow, c), Images(OUT, stop - first, h, w, c)
            emit.add_grad(plan, window, grad_y, grad_x)
        bases = {Base.Y: first * oh * ow * c * item, Base.OUT: first * h * w * c * item}
        parts.append(Part(plan, bases))
    return Work([parts])
