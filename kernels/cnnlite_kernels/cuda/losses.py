"""Losses of a batch: each image's loss, whether its prediction is right, and the gradient for the backward pass.

The last activation and the loss are one formula where that is exact: softmax with cross-entropy, sigmoid with binary
cross-entropy, whose gradient with respect to the logits is prediction - target.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import cuda, uint32, uint64

from cnnlite_kernels.cuda.grid import (
    THREADS,
    WARPS,
    inlined,
    lanes_of,
    largest_of,
    row_blocks,
    row_largest,
    row_of,
    row_sum,
)
from cnnlite_kernels.cuda.kernel import U32, Ints, Kernel, Real, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.settings import ABSOLUTE, BINARY, DIVERGENCE, HINGE, HUBER, SQUARED


@inlined
def behind_last_nan(x, start, columns, lane, lanes, values, places):
    """The column behind the last NaN of x[start : start + columns], 0 without one; arguments as of grid.largest_of."""
    behind = x.dtype.type(0)
    column = lane
    while column < columns:
        value = x[start + uint64(column)]
        if value != value:
            behind = x.dtype.type(column + uint32(1))
        column = uint32(column + uint32(lanes))
    behind, _ = row_largest(behind, uint32(0), lanes, values, places)
    return uint32(behind)


@functools.cache
def softmax_cross_entropy(lanes: int, sparse: int, with_grad: int) -> Kernel:
    """Rows of `lanes` threads each: 1, 32 or 256; sparse: 1 where targets are labels; with_grad: 1 if the gradient is wanted."""

    @kernel(THREADS)
    def cross_entropy(
        logits: Reals, labels: Ints, targets: Reals, weights: Reals, grad: Reals, losses: Reals, correct: Reals,
        n: U32, c: U32, scale: Real,
    ) -> None:  # fmt: skip
        """losses[i] = weights[i] * -sum of t log softmax(z[i]), grad = scale * weights[i] * (softmax(z[i]) * sum of t - t).

        logits z (n, c) and grad (n, c), which may be the same array; weights and losses (n,), correct (n,): 1 where the largest
        logit is the largest target. t: targets (n, c), or with `sparse` labels (n,) int32 whose target is 1; the loss of a label
        that is no class is NaN.
        """
        number = logits.dtype.type
        memory = cuda.shared.array(WARPS, logits.dtype)
        places = cuda.shared.array(WARPS, uint32)
        i, lane = row_of(lanes)
        if i >= n:
            return
        start = uint64(i) * uint64(c)
        top, best = largest_of(logits, start, uint32(0), c, lane, lanes, memory, places)
        total, mass = number(0), number(0)
        column = lane
        while column < c:
            total += math.exp(logits[start + uint64(column)] - top)
            if not sparse:
                mass += targets[start + uint64(column)]
            column = uint32(column + uint32(lanes))
        total = row_sum(total, lanes, memory)
        log_total = math.log(total)
        if sparse:
            label, mass = uint32(labels[i]), number(1)
        else:
            mass = row_sum(mass, lanes, memory)
            _, label = largest_of(targets, start, uint32(0), c, lane, lanes, memory, places)
            if targets[start] != targets[start]:
                label = uint32(0)  # nothing is larger than a NaN
        if total != total:  # in all threads of the row
            # as the CPU counts: a NaN replaces all before it, and what follows replaces it
            first = behind_last_nan(logits, start, c, lane, lanes, memory, places)
            first = min(first, uint32(c - uint32(1)))
            _, best = largest_of(logits, start, first, c, lane, lanes, memory, places)
        loss, factor = number(0), scale * weights[i]
        column = lane
        while column < c:
            at = start + uint64(column)
            z = logits[at]
            target = number(column == label) if sparse else targets[at]
            if target != number(0):
                loss += target * (log_total + (top - z))
            if with_grad:
                grad[at] = factor * (math.exp((z - top) - log_total) * mass - target)
            column = uint32(column + uint32(lanes))
        loss = row_sum(loss, lanes, memory)
        if lane == uint32(0):
            if sparse and label >= c:
                loss = number(math.nan)
            losses[i] = weights[i] * loss
            correct[i] = number(best == label)

    return cross_entropy


@functools.cache
def elementwise(lanes: int, kind: int, with_grad: int) -> Kernel:
    """Rows of `lanes` threads each: 1, 32 or 256; kind: of loss (settings.py); with_grad: 1 if the gradient is wanted."""

    @kernel(THREADS)
    def elementwise_loss(
        predictions: Reals, targets: Reals, weights: Reals, grad: Reals, losses: Reals, correct: Reals,
        n: U32, c: U32, scale: Real, smallest: Real, delta: Real,
    ) -> None:  # fmt: skip
        """losses[i] = weights[i] * the mean over c of the loss of predictions y (n, c) against targets t (n, c); grad = scale * its own.

        SQUARED: (y - t)^2. BINARY: -(t log y + (1 - t) log(1 - y)) with y kept within `smallest` of 0 and 1. BINARY_LOGITS: the same
        of sigmoid(y): max(y, 0) - y t + log(1 + e^-|y|). ABSOLUTE: |y - t|. DIVERGENCE: t log(t / y) with both kept from `smallest`
        to 1, and the sum of it over c. HINGE: max(1 - y t, 0), where a t of 0 is -1. HUBER: (y - t)^2 / 2 up to |y - t| = delta, and
        then delta |y - t| - delta^2 / 2.
        grad (n, c) may be predictions; weights, losses, correct (n,): 1 where, with c = 1, y is on the target's side of a half (for
        logits too, as Keras counts), else where the largest are the same.
        """
        number = predictions.dtype.type
        zero, one, two, half = number(0), number(1), number(2), number(0.5)
        low, high = smallest, one if kind == DIVERGENCE else one - smallest
        terms = one if kind == DIVERGENCE else number(c)
        memory = cuda.shared.array(WARPS, predictions.dtype)
        places = cuda.shared.array(WARPS, uint32)
        i, lane = row_of(lanes)
        if i >= n:
            return
        start = uint64(i) * uint64(c)
        _, best = largest_of(predictions, start, uint32(0), c, lane, lanes, memory, places)
        _, label = largest_of(targets, start, uint32(0), c, lane, lanes, memory, places)
        if lane == uint32(0):  # who alone reads the first of a row: grad may be predictions
            y, t = predictions[start], targets[start]
            right = (y > half) == (t > half)
            if c > uint32(1):  # nothing is larger than a NaN in the first place
                right = (best if y == y else uint32(0)) == (label if t == t else uint32(0))
            correct[i] = number(right)
        factor = weights[i] * scale / terms
        loss = zero
        column = lane
        while column < c:
            at = start + uint64(column)
            y, t = predictions[at], targets[at]
            if kind == SQUARED:
                loss += (y - t) * (y - t)
                slope = two * (y - t)
            elif kind == BINARY:
                p = low if y < low else high if y > high else y
                loss -= t * math.log(p) + (one - t) * math.log(one - p)
                slope = (p - t) / (p * (one - p)) if p == y else zero
            elif kind == ABSOLUTE:
                difference = y - t
                loss += abs(difference)
                slope = one if difference > zero else -one if difference < zero else difference
            elif kind == DIVERGENCE:
                p = low if y < low else high if y > high else y
                q = low if t < low else high if t > high else t
                loss += q * math.log(q / p)
                slope = -q / p if p == y else zero
            elif kind == HINGE:
                side = t if t != zero else -one
                margin = one - side * y
                loss += zero if margin < zero else margin
                slope = zero if margin < zero else -side
            elif kind == HUBER:
                difference = y - t
                far = abs(difference)
                loss += half * difference * difference if far <= delta else delta * far - half * delta * delta
                slope = -delta if difference < -delta else delta if difference > delta else difference
            else:
                e = math.exp(-abs(y))
                loss += (y if y > zero else zero) - y * t + math.log(one + e)
                slope = (one if y >= zero else e) / (one + e) - t
            if with_grad:
                grad[at] = factor * slope
            column = uint32(column + uint32(lanes))
        loss = row_sum(loss, lanes, memory)
        if lane == uint32(0):
            losses[i] = weights[i] * loss / terms

    return elementwise_loss


def add_softmax_cross_entropy(
    plan: Plan, logits: Any, targets: Any, weights: Any, grad: Any, losses: Any, correct: Any, n: int, c: int, scale: float,
    *, labels: bool,
) -> None:  # fmt: skip
    """Emits losses (n,) = weights * cross-entropy of softmax(logits) (n, c), correct (n,), and grad (n, c) unless it is None.

    Args:
        targets: int32 (n,) with `labels`, the true classes from 0 to c - 1, else (n, c) of logits' dtype.
        grad: scale * weights * the derivative of each loss by its logits; it may be logits.
    """
    lanes = lanes_of(c)
    integers = targets if labels else plan.transient(1, np.int32)
    numbers = logits if labels else targets
    plan.add(
        softmax_cross_entropy(lanes, int(labels), int(grad is not None)), row_blocks(n, lanes),
        logits, integers, numbers, weights, logits if grad is None else grad, losses, correct, n, c, scale,
    )  # fmt: skip


def add_elementwise(
    plan: Plan, predictions: Any, targets: Any, weights: Any, grad: Any, losses: Any, correct: Any, n: int, c: int, scale: float,
    *, kind: int, smallest: float, delta: float = 1.0,
) -> None:  # fmt: skip
    """Emits losses (n,) = weights * the mean over c of an elementwise loss, correct (n,), and grad (n, c) unless it is None.

    Args:
        predictions, targets: (n, c); grad: scale * weights * the derivative of each loss by its predictions; it may be predictions.
        kind: of settings.py. smallest: how far BINARY keeps probabilities from 0 and 1, DIVERGENCE from 0. delta: of HUBER.
    """
    lanes = lanes_of(c)
    plan.add(
        elementwise(lanes, kind, int(grad is not None)), row_blocks(n, lanes),
        predictions, targets, weights, predictions if grad is None else grad, losses, correct, n, c, scale, smallest,
        delta,
    )  # fmt: skip
