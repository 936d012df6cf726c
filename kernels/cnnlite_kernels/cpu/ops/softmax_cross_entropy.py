"""The softmax cross-entropy of logits and its gradient on arrays."""

from __future__ import annotations

import functools

import numpy as np

from cnnlite_kernels.cpu.losses import softmax_cross_entropy as kernel
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops.work import KEPT, NUMBERS, Work, number_of_parts, pieces
from cnnlite_kernels.cpu.plan import Part, Plan

LOGITS, LABELS, WEIGHTS, LOSSES, GRAD, CORRECT = (
    Pointer(base, 0) for base in (Base.X, Base.Y, Base.W, Base.OUT, Base.GRADS, Base.EXTRA)
)
LABEL_ITEM = 4  # bytes of an int32


def softmax_cross_entropy(
    logits: np.ndarray, labels: np.ndarray, losses: np.ndarray, grad: np.ndarray | None
) -> None:
    """losses[i] = -log(softmax(logits[i])[labels[i]]); grad, if wanted, = softmax(logits) - onehot(labels)."""
    work = _work(*logits.shape, logits.itemsize, grad is not None)
    work.run(x=logits, y=labels, w=np.ones_like(losses), out=losses, grads=grad)


@functools.lru_cache(KEPT)
def _work(n: int, c: int, item: int, with_grad: bool) -> Work:
    plans: dict[int, Plan] = {}
    parts = []
    for first, stop in pieces(n, number_of_parts(n * c, NUMBERS)):
        plan = plans.get(stop - first)
        if plan is None:
            plan = plans[stop - first] = Plan(item)
            plan.add(
                kernel, item, 1, logits=LOGITS, labels=LABELS, weights=WEIGHTS, losses=LOSSES, correct=CORRECT, grad=GRAD,
                n=stop - first, c=c, with_grad=int(with_grad), scale=1,
            )  # fmt: skip
        rows = first * item
        bases = {
            Base.X: rows * c,
            Base.Y: first * LABEL_ITEM,
            Base.W: rows,
            Base.OUT: rows,
            Base.GRADS: rows * c,
            Base.EXTRA: rows,
        }
        parts.append(Part(plan, bases))
    return Work([parts], n * item)
