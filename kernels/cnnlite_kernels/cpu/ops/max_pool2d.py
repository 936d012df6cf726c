"""max_pool2d, min_pool2d and their gradients on arrays."""

from __future__ import annotations

import functools

import numpy as np

from cnnlite_kernels.cpu import max_pool2d as emit
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.max_pool2d import INDEX_ITEM
from cnnlite_kernels.cpu.memory import NOWHERE, Base, Pointer
from cnnlite_kernels.cpu.ops.cuts import by_inputs, by_outputs
from cnnlite_kernels.cpu.ops.work import KEPT, NUMBERS, Work, number_of_parts
from cnnlite_kernels.cpu.plan import Part, Plan
from cnnlite_kernels.window import Window2D

X, Y, INDEX, OUT = (Pointer(base, 0) for base in (Base.X, Base.Y, Base.W, Base.OUT))
Shape = tuple[int, int, int, int]


def max_pool2d(x: np.ndarray, out: np.ndarray, indices: np.ndarray | None, window: Window2D) -> None:
    """out = the maximum of each window, indices, if wanted, its place in the window (int32)."""
    _forward(window, x.shape, x.itemsize, indices is not None, False).run(x=x, out=out, w=indices)


def min_pool2d(x: np.ndarray, out: np.ndarray, indices: np.ndarray | None, window: Window2D) -> None:
    """out = the minimum of each window; indices as of `max_pool2d`."""
    _forward(window, x.shape, x.itemsize, indices is not None, True).run(x=x, out=out, w=indices)


def max_pool2d_grad(
    grad_y: np.ndarray, x: np.ndarray | None, indices: np.ndarray | None, out: np.ndarray, window: Window2D
) -> None:
    """out = the gradient with respect to x; the places of the maxima are found in x where the caller has none."""
    _backward(grad_y, x, indices, out, window, False)


def min_pool2d_grad(
    grad_y: np.ndarray, x: np.ndarray | None, indices: np.ndarray | None, out: np.ndarray, window: Window2D
) -> None:
    """out = the gradient with respect to x; the places of the minima are found in x where the caller has none."""
    _backward(grad_y, x, indices, out, window, True)


def _backward(
    grad_y: np.ndarray, x: np.ndarray | None, indices: np.ndarray | None, out: np.ndarray, window: Window2D, minimum: bool
) -> None:  # fmt: skip
    if indices is None:
        assert x is not None
        indices = np.empty(grad_y.shape, np.int32)
        _forward(window, x.shape, x.itemsize, True, minimum).run(x=x, out=np.empty_like(grad_y), w=indices)
    _grad(window, out.shape, out.itemsize).run(y=grad_y, w=indices, out=out)


@functools.lru_cache(KEPT)
def _forward(window: Window2D, shape: Shape, item: int, with_index: bool, minimum: bool) -> Work:
    n, h, w, c = shape
    oh, ow = window.output_size(h, w)
    plans: dict[tuple, Plan] = {}
    parts = []
    for cut in by_outputs(window, n, h, w, number_of_parts(n * h * w * c, NUMBERS)):
        plan = plans.get((cut.window, cut.h, cut.n))
        if plan is None:
            plan = plans[cut.window, cut.h, cut.n] = Plan(item)
            x, y = Images(X, cut.n, cut.h, w, c), Images(OUT, cut.n, *cut.window.output_size(cut.h, w), c)
            emit.add_forward(plan, cut.window, x, y, INDEX if with_index else NOWHERE, minimum)
        start = (cut.image * oh + cut.y_row) * ow * c
        x_start = (cut.image * h + cut.x_row) * w * c
        parts.append(Part(plan, {Base.X: x_start * item, Base.OUT: start * item, Base.W: start * INDEX_ITEM}))
    return Work([parts])


@functools.lru_cache(KEPT)
def _grad(window: Window2D, shape: Shape, item: int) -> Work:
    n, h, w, c = shape
    oh, ow = window.output_size(h, w)
    plans: dict[tuple, Plan] = {}
    parts = []
    for cut in by_inputs(window, n, h, w, number_of_parts(n * h * w * c, NUMBERS)):
        plan = plans.get((cut.window, cut.h, cut.n))
        if plan is None:
            plan = plans[cut.window, cut.h, cut.n] = Plan(item)
            y, x = Images(Y, cut.n, *cut.window.output_size(cut.h, w), c), Images(OUT, cut.n, cut.h, w, c)
            emit.add_grad(plan, cut.window, y, INDEX, x)
        start = (cut.image * oh + cut.y_row) * ow * c
        x_start = (cut.image * h + cut.x_row) * w * c
        parts.append(Part(plan, {Base.Y: start * item, Base.W: start * INDEX_ITEM, Base.OUT: x_start * item}))
    return Work([parts])
