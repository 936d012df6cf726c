"""Losses of one part of a batch: each image's loss, how many predictions are right, and the gradient for the backward pass.

The last activation and the loss are one formula where that is exact: softmax with cross-entropy, sigmoid with binary
cross-entropy, whose gradient with respect to the logits is prediction - target.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.exponential import row_exponential_sum, row_exponentials, row_maximum
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import INT32, POINTER, address, array_at
from cnnlite_kernels.settings import ABSOLUTE, BINARY, DIVERGENCE, HINGE, HUBER, SQUARED

LOSS = np.dtype(
    [(name, POINTER) for name in ("logits", "labels", "targets", "weights", "losses", "correct", "grad")]
    + [(name, np.int64) for name in ("n", "c", "with_grad")]
    + [("scale", np.float64), ("smallest", np.float64), ("delta", np.float64)]
)


@kernel(LOSS)
def softmax_cross_entropy(item, sparse):
    """losses[i] = weights[i] * -sum of t log softmax(z[i]), grad = scale * weights[i] * (softmax(z[i]) * sum of t - t).

    logits z (n, c) and grad (n, c), which may be the same array; weights and losses (n,), correct (n,): 1 where the largest
    logit is the largest target. t: targets (n, c), or with `sparse` labels (n,) int32 whose target is 1.
    """
    lanes = host().lanes(item)

    def body(bases, d):
        d = carray(d, 1)[0]
        zs, gs = address(bases, d.logits), address(bases, d.grad)
        labels = array_at(address(bases, d.labels), d.n, INT32)
        weights = array_at(address(bases, d.weights), d.n, item)
        losses, correct = (
            array_at(address(bases, d.losses), d.n, item),
            array_at(address(bases, d.correct), d.n, item),
        )
        number = weights.dtype.type
        for i in range(d.n):
            z_at, grad_at = zs + i * d.c * item, gs + i * d.c * item
            z, grad = array_at(z_at, d.c, item), array_at(grad_at, d.c * d.with_grad, item)
            t = array_at(address(bases, d.targets) + i * d.c * item, d.c * (1 - sparse), item)
            label = labels[i] if sparse else 0
            mass = number(1 if sparse else 0)
            if not sparse:
                for c in range(d.c):
                    mass += t[c]
                    label = c if t[c] > t[label] else label
            top = row_maximum(z_at, d.c, lanes, item)
            log_total = number(math.log(row_exponential_sum(z_at, d.c, top, lanes, item)))
            loss = number(0)
            if sparse:
                loss = log_total + (top - z[label])
            else:
                for c in range(d.c):
                    if t[c] != 0:
                        loss += t[c] * (log_total + (top - z[c]))
            losses[i] = weights[i] * loss
            if not math.isnan(log_total):
                right = z[label] == top
                if right:  # of equal logits the first counts
                    for c in range(label):
                        right &= z[c] != top
            else:  # what is not at most the largest so far is the largest now, a NaN too, and what follows it: as on a GPU
                best = 0
                for c in range(1, d.c):
                    best = best if z[c] <= z[best] else c
                right = best == label
            correct[i] = right
            if d.with_grad:
                scale = weights[i] * number(d.scale)
                row_exponentials(z_at, grad_at, d.c, top, log_total, scale * mass, lanes, item)
                if sparse:
                    grad[label] -= scale
                else:
                    for c in range(d.c):
                        grad[c] -= scale * t[c]

    return body


@kernel(LOSS)
def elementwise(item, kind):
    """The mean over c of an elementwise loss of predictions y (n, c) against targets t (n, c), and its gradient.

    SQUARED: (y - t)^2. BINARY: -(t log y + (1 - t) log(1 - y)) with y kept within `smallest` of 0 and 1.
    BINARY_LOGITS: the same of sigmoid(y): max(y, 0) - y t + log(1 + e^-|y|).
    ABSOLUTE: |y - t|. DIVERGENCE: t log(t / y) with both kept from `smallest` to 1, and the sum of it over c.
    HINGE: max(1 - y t, 0), where a t of 0 is -1. HUBER: (y - t)^2 / 2 up to |y - t| = delta, and then delta |y - t| - delta^2 / 2.
    correct (n,): with c = 1 whether y is on the target's side of a half (for logits too, as Keras counts), else whether the largest
    are the same.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        ys, gs, ts = address(bases, d.logits), address(bases, d.grad), address(bases, d.targets)
        weights = array_at(address(bases, d.weights), d.n, item)
        losses, correct = (
            array_at(address(bases, d.losses), d.n, item),
            array_at(address(bases, d.correct), d.n, item),
        )
        number = weights.dtype.type
        zero, one, half = number(0), number(1), number(0.5)
        low, delta = number(d.smallest), number(d.delta)
        terms = one if kind == DIVERGENCE else number(d.c)
        for i in range(d.n):
            y, grad = (
                array_at(ys + i * d.c * item, d.c, item),
                array_at(gs + i * d.c * item, d.c * d.with_grad, item),
            )
            t = array_at(ts + i * d.c * item, d.c, item)
            scale = weights[i] * number(d.scale) / terms
            loss, best, label = zero, 0, 0
            for c in range(d.c):
                best = c if y[c] > y[best] else best
                label = c if t[c] > t[label] else label
                if kind == SQUARED:
                    difference = y[c] - t[c]
                    loss += difference * difference
                    slope = number(2) * difference
                elif kind == BINARY:
                    p = min(max(y[c], low), one - low)
                    loss -= t[c] * math.log(p) + (one - t[c]) * math.log(one - p)
                    slope = (p - t[c]) / (p * (one - p)) if p == y[c] else zero
                elif kind == ABSOLUTE:
                    difference = y[c] - t[c]
                    loss += abs(difference)
                    slope = one if difference > zero else -one if difference < zero else difference
                elif kind == DIVERGENCE:
                    p, q = min(max(y[c], low), one), min(max(t[c], low), one)
                    loss += q * math.log(q / p)
                    slope = -q / p if p == y[c] else zero
                elif kind == HINGE:
                    side = t[c] if t[c] != zero else -one
                    margin = one - side * y[c]
                    loss += zero if margin < zero else margin
                    slope = zero if margin < zero else -side
                elif kind == HUBER:
                    difference = y[c] - t[c]
                    far = abs(difference)
                    loss += (
                        half * difference * difference if far <= delta else delta * far - half * delta * delta
                    )
                    slope = -delta if difference < -delta else delta if difference > delta else difference
                else:
                    e = math.exp(-abs(y[c]))
                    loss += max(y[c], zero) - y[c] * t[c] + math.log(one + e)
                    slope = (one if y[c] >= zero else e) / (one + e) - t[c]
                if d.with_grad:
                    grad[c] = scale * slope
            losses[i] = weights[i] * loss / terms
            correct[i] = (y[0] > half) == (t[0] > half) if d.c == 1 else best == label

    return body
