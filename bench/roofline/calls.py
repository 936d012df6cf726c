"""Every kernel as a call on operands of its own, and the answer it has to give before it is timed.

Operands of products, convolutions and pooling are small whole numbers, so that any order of adding gives the same float32 and the answer
must be equal to the reference's; they take as long as any other numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from cases import ConvCase, MatmulCase, PoolCase

import cnnlite_kernels as ck
from cnnlite_kernels import reference
from roofline import work
from roofline.operands import empty, placed, whole_numbers
from roofline.work import Work

PASSES = ("forward", "grad_input", "grad_weights")
TOLERANCE = 1e-5
WINOGRAD_TOLERANCE = 1e-4  # of sums of up to 4,608 products in tiles of 4 x 4; those of 2 x 2 are exact

# The threads of a shape follow each other and share its operands and the reference's answer; then they may go.
one_at_a_time = lru_cache(maxsize=1)


@dataclass(frozen=True)
class Call:
    """A kernel on one shape.

    Attributes:
        name: for messages; run: what is timed; wanted: the reference's answer; answer: the kernel's, what `run` returns if None;
        tolerance: None where both must be equal, else relative to the largest number.
    """

    name: str
    work: Work
    run: Callable[[], Any]
    wanted: Callable[[], Any]
    tolerance: float | None = None
    answer: Callable[[], Any] | None = None

    @cached_property
    def _wanted(self) -> np.ndarray:
        return np.asarray(self.wanted())

    def check(self) -> None:
        """ValueError unless the kernel gives the reference's answer."""
        found, wanted = np.asarray((self.answer or self.run)()), self._wanted
        if found.shape != wanted.shape:
            raise ValueError(f"{self.name}: expected an answer of shape {wanted.shape}, got {found.shape}.")
        allowed = 0.0 if self.tolerance is None else self.tolerance * float(np.abs(wanted).max())
        # Written so that NaN counts as different.
        wrong = int(wanted.size - np.count_nonzero(np.abs(found - wanted) <= allowed))
        if wrong:
            raise ValueError(
                f"{self.name}: expected the reference's answer, got {wrong} of {wanted.size} numbers that differ; "
                "nothing is timed before they agree."
            )


@one_at_a_time
def matmul(case: MatmulCase) -> Call:
    a, b = whole_numbers(case.a_shape, case.b_shape)
    y = empty(case.y_shape, 2)
    # float32, for sums of such numbers are exact in it and float64 takes twice as long.
    left, right = (a.T if case.transpose_a else a), (b.T if case.transpose_b else b)
    return Call(
        f"matmul {case}",
        work.of_matmul(case),
        lambda: ck.matmul(a, b, out=y, **case.options),
        lambda: left @ right,
    )


@one_at_a_time
def conv2d(case: ConvCase, which: str, algorithm: str = "direct") -> Call:
    """One of PASSES; the forward pass by an algorithm, each counted as the direct one's operations."""
    name, count = f"conv2d {which} {case}", work.of_conv(case)
    x, w, grad_y = whole_numbers(case.x_shape, case.w_shape, case.y_shape)
    if which == "forward":
        y = empty(case.y_shape, 3)
        return Call(
            name,
            count,
            lambda: ck.conv2d(x, w, algorithm=algorithm, out=y, **case.options),
            lambda: reference.conv2d(x, w, **case.options),
            WINOGRAD_TOLERANCE if algorithm == "winograd" else None,
        )
    if which == "grad_input":
        grad_x = empty(case.x_shape, 3)
        return Call(
            name,
            count,
            lambda: ck.conv2d_grad_input(grad_y, w, case.x_shape, out=grad_x, **case.options),
            lambda: reference.conv2d_grad_input(grad_y, w, case.x_shape, **case.options),
        )
    grad_w = empty(case.w_shape, 3)
    return Call(
        name,
        count,
        lambda: ck.conv2d_grad_weights(x, grad_y, case.w_shape, out=grad_w, **case.options),
        lambda: reference.conv2d_grad_weights(x, grad_y, case.w_shape, **case.options),
    )


@one_at_a_time
def max_pool2d(case: PoolCase) -> Call:
    (x,) = whole_numbers(case.x_shape)
    y = empty(case.y_shape, 1)
    return Call(
        f"max_pool2d {case}",
        work.of_max_pool(case),
        lambda: ck.max_pool2d(x, case.pool_size, out=y, **case.options),
        lambda: reference.max_pool2d(x, case.pool_size, **case.options),
    )


@one_at_a_time
def max_pool2d_grad(case: PoolCase) -> Call:
    """With the winners that the forward pass found, as in training."""
    x, grad_y = whole_numbers(case.x_shape, case.y_shape)
    _, winners = ck.max_pool2d(x, case.pool_size, return_indices=True, **case.options)
    indices = placed(winners, 2)
    grad_x = empty(case.x_shape, 3)
    return Call(
        f"max_pool2d_grad {case}",
        work.of_max_pool_grad(case),
        lambda: ck.max_pool2d_grad(grad_y, x, case.pool_size, indices=indices, out=grad_x, **case.options),
        lambda: reference.max_pool2d_grad(grad_y, x, case.pool_size, **case.options),
    )


@one_at_a_time
def softmax_cross_entropy(n: int, classes: int) -> Call:
    """Losses and their gradient."""
    rng = np.random.default_rng(4)
    logits = placed(rng.standard_normal((n, classes), np.float32), 0)
    labels = placed(rng.integers(0, classes, n, dtype=np.int32), 1)
    return Call(
        f"softmax_cross_entropy {n}x{classes}",
        work.of_cross_entropy(n, classes),
        lambda: ck.softmax_cross_entropy(logits, labels, return_grad=True)[1],
        lambda: reference.softmax_cross_entropy_grad(logits, labels),
        TOLERANCE,
    )
