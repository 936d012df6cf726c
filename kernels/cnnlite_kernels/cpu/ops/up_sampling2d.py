"""up_sampling2d and its gradient on arrays: cut between images, and inside them between rows where images are few."""

from __future__ import annotations

import functools

import numpy as np

from cnnlite_kernels.cpu import up_sampling2d as emit
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops.cuts import by_rows
from cnnlite_kernels.cpu.ops.work import KEPT, Work
from cnnlite_kernels.cpu.plan import Part, Plan

X, Y, OUT = (Pointer(base, 0) for base in (Base.X, Base.Y, Base.OUT))
Pair = tuple[int, int]
Shape = tuple[int, int, int, int]


def up_sampling2d(x: np.ndarray, out: np.ndarray, size: Pair, interpolation: str) -> None:
    """out = x enlarged by the factors `size`."""
    _forward(x.shape, size, interpolation, x.itemsize).run(x=x, out=out)


def up_sampling2d_grad(grad_y: np.ndarray, out: np.ndarray, size: Pair, interpolation: str) -> None:
    """out = the gradient with respect to what was enlarged."""
    _grad(out.shape, size, interpolation, out.itemsize).run(y=grad_y, out=out)


@functools.lru_cache(KEPT)
def _forward(shape: Shape, size: Pair, interpolation: str, item: int) -> Work:
    n, h, w, c = shape
    oh, ow = h * size[0], w * size[1]
    plans: dict[tuple, Plan] = {}
    parts = []
    for image, count, rows in by_rows(n, oh, n * oh * ow * c):
        plan = plans.get((count, rows))
        if plan is None:
            plan = plans[count, rows] = Plan(item)
            x, y = Images(X, count, h, w, c), Images(OUT, count, oh, ow, c)
            emit.add_forward(plan, size, interpolation, x, y, rows)
        bases = {Base.X: image * h * w * c * item, Base.OUT: image * oh * ow * c * item}
        parts.append(Part(plan, bases))
    return Work([parts])


@functools.lru_cache(KEPT)
def _grad(shape: Shape, size: Pair, interpolation: str, item: int) -> Work:
    n, h, w, c = shape
    oh, ow = h * size[0], w * size[1]
    plans: dict[tuple, Plan] = {}
    parts = []
    for image, count, rows in by_rows(n, h, n * oh * ow * c):
        plan = plans.get((count, rows))
        if plan is None:
            plan = plans[count, rows] = Plan(item)
            grad_y, grad_x = Images(Y, count, oh, ow, c), Images(OUT, count, h, w, c)
            emit.add_grad(plan, size, interpolation, grad_y, grad_x, rows)
        bases = {Base.Y: image * oh * ow * c * item, Base.OUT: image * h * w * c * item}
        parts.append(Part(plan, bases))
    return Work([parts])
