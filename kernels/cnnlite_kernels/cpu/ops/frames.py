"""zero_padding2d and cropping2d on arrays."""

from __future__ import annotations

import functools

import numpy as np

from cnnlite_kernels.cpu import frames as emit
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops.cuts import parts_by_rows
from cnnlite_kernels.cpu.ops.work import KEPT, Work
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.window import Pair

X, OUT = (Pointer(base, 0) for base in (Base.X, Base.OUT))
Shape = tuple[int, int, int, int]


def frame(x: np.ndarray, out: np.ndarray, margins: emit.Margins) -> None:
    """out = x with margins of zeros around it; negative ones are cut off."""
    _work(margins, x.shape, out.shape, x.itemsize).run(x=x, out=out)


@functools.lru_cache(KEPT)
def _work(margins: emit.Margins, shape: Shape, y_shape: Shape, item: int) -> Work:
    n, h, w, c = shape
    _, oh, ow, _ = y_shape

    def add(plan: Plan, count: int, rows: Pair) -> None:
        emit.add_forward(plan, margins, Images(X, count, h, w, c), Images(OUT, count, oh, ow, c), rows)

    images = {Base.X: h * w * c, Base.OUT: oh * ow * c}
    return Work([parts_by_rows(n, oh, n * oh * ow * c, item, images, add)])
