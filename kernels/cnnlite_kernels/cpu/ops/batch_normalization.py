"""Batch normalization and its gradients on arrays (..., c)."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from cnnlite_kernels.cpu import batch_normalization as emit
from cnnlite_kernels.cpu import batch_normalization_grad as emit_grad
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops.work import KEPT, NUMBERS, Work, number_of_parts, pieces
from cnnlite_kernels.cpu.plan import LINE, Part, Plan

X, Y, W, GRADS, OUT, SHARED = (
    Pointer(base, 0) for base in (Base.X, Base.Y, Base.W, Base.GRADS, Base.OUT, Base.EXTRA)
)
Channels = np.ndarray | None


def batch_normalization(
    x: np.ndarray, mean: np.ndarray, variance: np.ndarray, gamma: Channels, beta: Channels, out: np.ndarray, epsilon: float
) -> None:  # fmt: skip
    """out = gamma * (x - mean) / sqrt(variance + epsilon) + beta."""
    work = _forward(*_pixels(x), x.itemsize, gamma is not None, beta is not None, epsilon)
    work.run(x=x, out=out, w=_rows(x, mean, variance, gamma, beta))


def batch_normalization_train(
    x: np.ndarray, gamma: Channels, beta: Channels, out: np.ndarray, mean: np.ndarray, variance: np.ndarray,
    moving_mean: Channels, moving_variance: Channels, epsilon: float, momentum: float,
) -> None:  # fmt: skip
    """out = batch_normalization of x with its own mean and variance, which are written; the moving ones, if any, are updated."""
    with_moving = moving_mean is not None
    work = _train(
        *_pixels(x), x.itemsize, gamma is not None, beta is not None, with_moving, epsilon, momentum
    )
    rows = _rows(x, mean, variance, gamma, beta, moving_mean, moving_variance)
    work.run(x=x, out=out, w=rows)
    mean[...], variance[...] = rows[:2]
    if moving_mean is not None and moving_variance is not None:
        moving_mean[...], moving_variance[...] = rows[4:]


def batch_normalization_grad(
    grad_y: np.ndarray, x: np.ndarray, mean: np.ndarray, variance: np.ndarray, gamma: Channels, grad_x: np.ndarray,
    grad_gamma: np.ndarray, grad_beta: np.ndarray, epsilon: float, training: bool,
) -> None:  # fmt: skip
    """The gradients with respect to x, gamma and beta; training: whether mean and variance are x's own."""
    work = _grad(*_pixels(x), x.itemsize, gamma is not None, epsilon, training)
    grads = np.empty((2, x.shape[-1]), x.dtype)
    work.run(x=x, y=grad_y, w=_rows(x, mean, variance, gamma), out=grad_x, grads=grads)
    grad_gamma[...], grad_beta[...] = grads


def _pixels(x: np.ndarray) -> tuple[int, int]:
    c = x.shape[-1]
    return x.size // c, c


def _rows(x: np.ndarray, *channels: Channels) -> np.ndarray:
    """Arrays (c,) in the rows of one array; where there is none, any numbers."""
    rows = np.empty((len(channels), x.shape[-1]), x.dtype)
    for row, array in zip(rows, channels, strict=True):
        if array is not None:
            row[...] = array
    return rows


def _row(number: int, c: int, item: int) -> Pointer:
    """Where a row of `_rows` is."""
    return W + number * c * item


def _cuts(pixels: int, c: int) -> Iterator[tuple[int, int]]:
    return pieces(pixels, number_of_parts(pixels * c, NUMBERS))


@functools.lru_cache(KEPT)
def _forward(pixels: int, c: int, item: int, with_gamma: bool, with_beta: bool, epsilon: float) -> Work:
    return Work([_apply(pixels, c, item, with_gamma, with_beta, epsilon)])


def _apply(pixels: int, c: int, item: int, with_gamma: bool, with_beta: bool, epsilon: float) -> list[Part]:
    plans: dict[int, Plan] = {}
    parts = []
    for first, stop in _cuts(pixels, c):
        plan = plans.get(stop - first)
        if plan is None:
            plan = plans[stop - first] = Plan(item)
            x, y = (Images(start, 1, 1, stop - first, c) for start in (X, OUT))
            mean, variance, gamma, beta = (_row(number, c, item) for number in range(4))
            how = emit.Normalizing(
                mean, variance, gamma if with_gamma else None, beta if with_beta else None, epsilon
            )
            emit.add_forward(plan, x, y, how)
        start = first * c * item
        parts.append(Part(plan, {Base.X: start, Base.OUT: start}))
    return parts


@functools.lru_cache(KEPT)
def _train(
    pixels: int, c: int, item: int, with_gamma: bool, with_beta: bool, with_moving: bool, epsilon: float, momentum: float
) -> Work:  # fmt: skip
    cuts = list(_cuts(pixels, c))
    partial = 2 * c * emit.DOUBLE
    plans: dict[int, Plan] = {}
    parts = []
    for number, (first, stop) in enumerate(cuts):
        plan = plans.get(stop - first)
        if plan is None:
            plan = plans[stop - first] = Plan(item)
            emit.add_statistics(plan, Images(X, 1, 1, stop - first, c), SHARED)
        parts.append(Part(plan, {Base.X: first * c * item, Base.EXTRA: number * partial}))
    collect = Plan(item)
    mean, variance, moving_mean, moving_variance = (_row(number, c, item) for number in (0, 1, 4, 5))
    counts = [stop - first for first, stop in cuts]
    moving = (moving_mean, moving_variance) if with_moving else None
    emit.add_collect_statistics(collect, SHARED, counts, c, mean, variance, moving, momentum)
    apply = _apply(pixels, c, item, with_gamma, with_beta, epsilon)
    return Work([parts, [Part(collect)], apply], len(cuts) * partial)


@functools.lru_cache(KEPT)
def _grad(pixels: int, c: int, item: int, with_gamma: bool, epsilon: float, training: bool) -> Work:
    cuts = list(_cuts(pixels, c))
    partial = 2 * c * emit.DOUBLE
    after = -(-len(cuts) * partial // LINE) * LINE  # the coefficients, behind the sums
    mean, variance, gamma = (_row(number, c, item) for number in range(3))
    how = emit.Normalizing(mean, variance, gamma if with_gamma else None, None, epsilon)
    plans: dict[int, tuple[Plan, Plan]] = {}
    sums, inputs = [], []
    for number, (first, stop) in enumerate(cuts):
        pair = plans.get(stop - first)
        if pair is None:
            pair = plans[stop - first] = Plan(item), Plan(item)
            x, grad_y, grad_x = (Images(start, 1, 1, stop - first, c) for start in (X, Y, OUT))
            emit_grad.add_sum_gradients(pair[0], grad_y, x, how, SHARED)
            emit_grad.add_grad_input(pair[1], grad_y, x, how, SHARED + after, grad_x, training)
        start = first * c * item
        sums.append(Part(pair[0], {Base.X: start, Base.Y: start, Base.EXTRA: number * partial}))
        inputs.append(Part(pair[1], {Base.X: start, Base.Y: start, Base.OUT: start}))
    collect = Plan(item)
    emit_grad.add_collect_gradients(
        collect, SHARED, len(cuts), pixels, c, how, GRADS, GRADS + c * item, SHARED + after
    )
    return Work([sums, [Part(collect)], inputs], after + 3 * c * item)
