"""up_sampling2d and its gradient on arrays: cut between images, and inside them between rows where images are few."""

from __future__ import annotations

import functools

import numpy as np

from cnnlite_kernels.cpu import up_sampling2d as emit
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops.cuts import parts_by_rows
from cnnlite_kernels.cpu.ops.work import KEPT, Work
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.window import Pair

X, Y, OUT = (Pointer(base, 0) for base in (Base.X, Base.Y, Base.OUT))
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

    def add(plan: Plan, count: int, rows: Pair) -> None:
        x, y = Images(X, count, h, w, c), Images(OUT, count, oh, ow, c)
        emit.add_forward(plan, size, interpolation, x, y, rows)

    images = {Base.X: h * w * c, Base.OUT: oh * ow * c}
    return Work([parts_by_rows(n, oh, n * oh * ow * c, item, images, add)])


@functools.lru_cache(KEPT)
def _grad(shape: Shape, size: Pair, interpolation: str, item: int) -> Work:
    n, h, w, c = shape
    oh, ow = h * size[0], w * size[1]

    def add(plan: Plan, count: int, rows: Pair) -> None:
        grad_y, grad_x = Images(Y, count, oh, ow, c), Images(OUT, count, h, w, c)
        emit.add_grad(plan, size, interpolation, grad_y, grad_x, rows)

    images = {Base.Y: oh * ow * c, Base.OUT: h * w * c}
    return Work([parts_by_rows(n, h, n * oh * ow * c, item, images, add)])
