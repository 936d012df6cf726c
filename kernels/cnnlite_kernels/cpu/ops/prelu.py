"""prelu and its gradients on arrays: parts sum their own gradients of the slopes, which are added up in the parts' order."""

from __future__ import annotations

import functools

import numpy as np

from cnnlite_kernels.cpu import gradients
from cnnlite_kernels.cpu import prelu as emit
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops.cuts import parts_by_rows
from cnnlite_kernels.cpu.ops.work import KEPT, Work
from cnnlite_kernels.cpu.plan import LINE, Part, Plan
from cnnlite_kernels.window import Pair

X, Y, ALPHA, GRADS, OUT, SHARED = (
    Pointer(base, 0) for base in (Base.X, Base.Y, Base.W, Base.GRADS, Base.OUT, Base.EXTRA)
)
Shape = tuple[int, int, int, int]
Shapes = tuple[Shape, emit.AlphaShape]


def prelu(x: np.ndarray, alpha: np.ndarray, out: np.ndarray, shapes: Shapes) -> None:
    """out = x where x > 0, else alpha * x; shapes: of x and alpha with four and three axes."""
    _forward(*shapes, x.itemsize).run(x=x, w=alpha, out=out)


def prelu_grad(
    grad_y: np.ndarray,
    x: np.ndarray,
    alpha: np.ndarray,
    grad_x: np.ndarray,
    grad_alpha: np.ndarray,
    shapes: Shapes,
) -> None:
    """The gradients with respect to x and alpha; shapes: as of `prelu`."""
    _grad(*shapes, x.itemsize).run(x=x, y=grad_y, w=alpha, out=grad_x, grads=grad_alpha)


@functools.lru_cache(KEPT)
def _forward(shape: Shape, alpha: emit.AlphaShape, item: int) -> Work:
    n, h, w, c = shape

    def add(plan: Plan, count: int, rows: Pair) -> None:
        emit.add_forward(plan, Images(X, count, h, w, c), ALPHA, alpha, Images(OUT, count, h, w, c), rows)

    images = dict.fromkeys((Base.X, Base.OUT), h * w * c)
    return Work([parts_by_rows(n, h, n * h * w * c, item, images, add)])


@functools.lru_cache(KEPT)
def _grad(shape: Shape, alpha: emit.AlphaShape, item: int) -> Work:
    n, h, w, c = shape
    count_alpha = alpha[0] * alpha[1] * alpha[2]
    stride = -(-count_alpha * item // LINE) * LINE

    def add(plan: Plan, count: int, rows: Pair) -> None:
        x, grad_y, grad_x = (Images(start, count, h, w, c) for start in (X, Y, OUT))
        emit.add_grad(plan, x, ALPHA, alpha, grad_y, grad_x, SHARED, rows=rows)

    images = dict.fromkeys((Base.X, Base.Y, Base.OUT), h * w * c)
    parts = [
        Part(part.plan, {**part.bases, Base.EXTRA: number * stride})
        for number, part in enumerate(parts_by_rows(n, h, n * h * w * c, item, images, add))
    ]
    collect = Plan(item)
    collect.add(
        gradients.collect, item, parts=SHARED, grads=GRADS, count=count_alpha, number=len(parts), stride=stride // item
    )  # fmt: skip
    return Work([parts, [Part(collect)]], len(parts) * stride)
