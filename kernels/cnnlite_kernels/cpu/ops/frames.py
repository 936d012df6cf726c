"""zero_padding2d and cropping2d on arrays."""

from __future__ import annotations

import functools

import numpy as np

from cnnlite_kernels.cpu import frames as emit
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops.cuts import by_rows
from cnnlite_kernels.cpu.ops.work import KEPT, Work
from cnnlite_kernels.cpu.plan import Part, Plan

X, OUT = (Pointer(base, 0) for base in (Base.X, Base.OUT))
Shape = tuple[int, int, int, int]


def frame(x: np.ndarray, out: np.ndarray, margins: emit.Margins) -> None:
    """out = x with margins of zeros around it; negative ones are cut off."""
    _work(margins, x.shape, out.shape, x.itemsize).run(x=x, out=out)


@functools.lru_cache(KEPT)
def _work(margins: emit.Margins, shape: Shape, y_shape: Shape, item: int) -> Work:
    n, h, w, c = shape
    _, oh, ow, _ = y_shape
    plans: dict[tuple, Plan] = {}
    parts = []
    for image, count, rows in by_rows(n, oh, n * oh * ow * c):
        plan = plans.get((count, rows))
        if plan is None:
            plan = plans[count, rows] = Plan(item)
            x, y = Images(X, count, h, w, c), Images(OUT, count, oh, ow, c)
            emit.add_forward(plan, margins, x, y, rows)
        parts.append(Part(plan, {Base.X: image * h * w * c * item, Base.OUT: image * oh * ow * c * item}))
    return Work([parts])
