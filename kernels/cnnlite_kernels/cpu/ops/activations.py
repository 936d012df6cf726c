"""Activations and their gradients on arrays of any shape: rows of the last axis for softmax, else one long row in pieces."""

from __future__ import annotations

import functools

import numpy as np

from cnnlite_kernels.cpu import activations as emit
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops.work import KEPT, NUMBERS, Work, number_of_parts, pieces
from cnnlite_kernels.cpu.plan import Part, Plan

X, Y, OUT = (Pointer(base, 0) for base in (Base.X, Base.Y, Base.OUT))


def activation(kind: str, x: np.ndarray, out: np.ndarray, slope: float) -> None:
    """out = kind(x); they may be the same."""
    _work(kind, *_rows(kind, x), x.itemsize, "forward", slope).run(x=x, out=out)


def activation_grad(kind: str, grad_y: np.ndarray, y: np.ndarray, out: np.ndarray, slope: float) -> None:
    """out = grad_y * kind', from y = kind(x); out may be grad_y."""
    _work(kind, *_rows(kind, y), y.itemsize, "gradient", slope).run(x=grad_y, y=y, out=out)


def _rows(kind: str, x: np.ndarray) -> tuple[int, int]:
    """(rows, numbers in each) that are worked on one by one."""
    return (x.size // x.shape[-1], x.shape[-1]) if kind == "softmax" else (x.size, 1)


def in_place(kind: str, size: int, item: int) -> list[Part]:
    """The parts of a segment that applies an activation to `size` numbers at Base.OUT, behind an op that made them."""
    return _parts(kind, size, 1, item, "in place", 0.0)


@functools.lru_cache(KEPT)
def _work(kind: str, rows: int, c: int, item: int, what: str, slope: float) -> Work:
    return Work([_parts(kind, rows, c, item, what, slope)])


def _parts(kind: str, rows: int, c: int, item: int, what: str, slope: float) -> list[Part]:
    plans: dict[int, Plan] = {}
    parts = []
    for first, stop in pieces(rows, number_of_parts(rows * c, NUMBERS)):
        count = stop - first
        plan = plans.get(count)
        if plan is None:
            plan = plans[count] = Plan(item)
            shape = (1, 1, count, c) if kind == "softmax" else (1, 1, 1, count * c)
            x, y, out = (Images(start, *shape) for start in (X, Y, OUT))
            if what == "gradient":
                emit.add_grad(plan, kind, y, x, out, slope=slope)
            else:
                emit.add_forward(plan, kind, out if what == "in place" else x, out, slope)
        start = first * c * item
        parts.append(Part(plan, {Base.X: start, Base.Y: start, Base.OUT: start}))
    return parts
