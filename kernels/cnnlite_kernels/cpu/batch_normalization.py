"""Batch normalization: statistics of each channel, the normalization itself, and its gradients.

An activation behind it is applied to what is stored. The gradients do not read what it made: its input is computed once more, as
exactly as forward, from x, which they read anyway.

Statistics and sums are taken part by part and put together in the order of the parts, in float64. Within a part
blocks of some dozens of pixels are summed in the working type. Pixels of few channels are taken several side by side, as one line of
many columns: the columns are the vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import carray
from numba.extending import register_jitable

from cnnlite_kernels.cpu.activations import LEAKY_RELU, NONE, RELU, kind_of
from cnnlite_kernels.cpu.channel_sums import SPREAD, channel_sums, vectors
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.images import NO_HALO, Images
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import INT64, NOWHERE, POINTER, Pointer, address, array_at
from cnnlite_kernels.cpu.plan import Plan

COLUMNS = 64  # of a line, at least, where pixels have fewer channels
BLOCK = 4096  # numbers of a block, which is summed in the working type
LEAST_LINES = 16  # of a block all the same: its sums are put to the others' once for so many lines
DOUBLE = 8  # bytes of a float64

NORMALIZATION = np.dtype(
    [
        (name, POINTER)
        for name in (
            "x", "y", "grad_y", "grad_x", "partial", "mean", "variance", "gamma", "beta", "grad_gamma", "grad_beta",
            "moving_mean", "moving_variance", "coefficients", "counts", "scratch",
        )
    ]
    + [
        (name, np.int64)
        for name in (
            "n", "h", "w", "c", "x_row", "x_image", "y_row", "y_image", "grad_y_row", "grad_y_image", "grad_x_row", "grad_x_image",
            "fold", "lines", "number", "stride", "with_gamma", "with_beta", "with_moving",
        )
    ]
    + [(name, np.float64) for name in ("epsilon", "momentum", "slope")]
)  # fmt: skip


@register_jitable
def repeat_affine(mean, variance, gamma, beta, epsilon, means, scales, shifts):
    """For each column of a line its channel's mean, scale = gamma / sqrt(variance + epsilon), and beta; gamma and beta may be empty."""
    for first in range(0, len(means), len(mean)):
        for c in range(len(mean)):
            scale = 1 / math.sqrt(variance[c] + epsilon)
            means[first + c] = mean[c]
            scales[first + c] = scale * gamma[c] if len(gamma) else scale
            shifts[first + c] = beta[c] if len(beta) else 0


@kernel(NORMALIZATION)
def statistics(item, nv):
    """partial[0, c] = the mean of x's channel c, partial[1, c] = the sum of squared differences from it; float64 (2, c).

    x (n, h, w, c), rows x_row and images x_image apart. Block by block: with s the block's first pixel and b pixels in it,
        t = sum of x - s, mean_b = s + t / b, squares_b = sum of (x - s)^2 - t^2 / b,
    which loses little, for s is not far from the mean. Put to a pixels before, with delta = mean_b - mean:
        mean += delta b / (a + b), squares += squares_b + delta^2 a b / (a + b)   (Chan, Golub, LeVeque 1979).
    scratch: two lines. The columns are summed NV vectors at a time.
    """
    lanes = host().lanes(item)
    together = nv * lanes

    def body(bases, d):
        d = carray(d, 1)[0]
        width = d.fold * d.c
        mean = array_at(address(bases, d.partial), d.c, DOUBLE)
        squares = array_at(address(bases, d.partial) + d.c * DOUBLE, d.c, DOUBLE)
        mean[:] = 0
        squares[:] = 0
        before = 0
        for n in range(d.n):
            for h in range(d.h):
                start = address(bases, d.x) + (n * d.x_image + h * d.x_row) * item
                pixel = 0
                while pixel < d.w:
                    lines, columns = min(d.lines, (d.w - pixel) // d.fold), width
                    if lines == 0:  # the last pixels of a row, which make no line: one by one
                        lines, columns = d.w - pixel, d.c
                    at = start + pixel * d.c * item
                    shift = array_at(at, columns, item)
                    sums = array_at(address(bases, d.scratch), columns, item)
                    products = array_at(address(bases, d.scratch) + width * item, columns, item)
                    to, beside = address(bases, d.scratch), width * item
                    slope = shift.dtype.type(0)
                    whole = columns // together * together
                    for i in range(0, whole, together):
                        channel_sums(
                            at + (columns + i) * item, at, columns, lines - 1, at + i * item, at, at, slope,
                            to + i * item, to + beside + i * item, 0, SPREAD, nv, lanes, item, 0,
                        )  # fmt: skip
                    for i in range(whole, columns, lanes):
                        channel_sums(
                            at + (columns + i) * item, at, columns, lines - 1, at + i * item, at, at, slope,
                            to + i * item, to + beside + i * item, min(lanes, columns - i), SPREAD, 1, lanes, item, 1,
                        )  # fmt: skip
                    for first in range(0, columns, d.c):
                        share = lines / (before + lines)
                        spread = before * share
                        for c in range(d.c):
                            total = np.float64(sums[first + c])
                            here = np.float64(products[first + c]) - total * (total / lines)
                            here = 0.0 if here < 0.0 else here  # which rounding may make it
                            delta = shift[first + c] + total / lines - mean[c]
                            mean[c] += delta * share
                            squares[c] += here + delta * delta * spread
                        before += lines
                    pixel += lines * columns // d.c

    return body


@kernel(NORMALIZATION)
def collect_statistics(item):
    """mean and variance (c,) from the `number` partial results (2, c), stride bytes apart, over counts (int64) pixels each, in order.

    With moving averages these move towards them: moving = momentum * moving + (1 - momentum) * new. scratch: 2 c float64.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        counts = array_at(address(bases, d.counts), d.number, INT64)
        total = array_at(address(bases, d.scratch), d.c, DOUBLE)
        squares = array_at(address(bases, d.scratch) + d.c * DOUBLE, d.c, DOUBLE)
        total[:] = 0
        squares[:] = 0
        before = 0
        for part in range(d.number):
            partial = array_at(address(bases, d.partial) + part * d.stride, 2 * d.c, DOUBLE)
            share = counts[part] / (before + counts[part])
            spread = before * share
            for c in range(d.c):
                delta = partial[c] - total[c]
                total[c] += delta * share
                squares[c] += partial[d.c + c] + delta * delta * spread
            before += counts[part]
        mean = array_at(address(bases, d.mean), d.c, item)
        variance = array_at(address(bases, d.variance), d.c, item)
        for c in range(d.c):
            mean[c] = total[c]
            variance[c] = squares[c] / before
        if d.with_moving:
            moving_mean = array_at(address(bases, d.moving_mean), d.c, item)
            moving_variance = array_at(address(bases, d.moving_variance), d.c, item)
            keep, take = mean.dtype.type(d.momentum), mean.dtype.type(1 - d.momentum)
            for c in range(d.c):
                moving_mean[c] = keep * moving_mean[c] + take * mean[c]
                moving_variance[c] = keep * moving_variance[c] + take * variance[c]

    return body


@kernel(NORMALIZATION)
def forward(item, kind):
    """y[..., c] = f((x[..., c] - mean[c]) * scale[c] + beta[c]), scale[c] = gamma[c] / sqrt(variance[c] + epsilon).

    kind: what f is, NONE, RELU or LEAKY_RELU.

    x, y (n, h, w, c), which may be the same; mean, variance, gamma, beta (c,). scratch: three lines.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        width = d.fold * d.c
        mean = array_at(address(bases, d.mean), d.c, item)
        variance = array_at(address(bases, d.variance), d.c, item)
        gamma = array_at(address(bases, d.gamma), d.c * d.with_gamma, item)
        beta = array_at(address(bases, d.beta), d.c * d.with_beta, item)
        means = array_at(address(bases, d.scratch), width, item)
        scales = array_at(address(bases, d.scratch) + width * item, width, item)
        shifts = array_at(address(bases, d.scratch) + 2 * width * item, width, item)
        repeat_affine(mean, variance, gamma, beta, d.epsilon, means, scales, shifts)
        zero, slope = means.dtype.type(0), means.dtype.type(d.slope)
        for n in range(d.n):
            for h in range(d.h):
                xs = address(bases, d.x) + (n * d.x_image + h * d.x_row) * item
                ys = address(bases, d.y) + (n * d.y_image + h * d.y_row) * item
                for first in range(0, d.w * d.c, width):
                    columns = min(width, d.w * d.c - first)
                    x, y = (
                        array_at(xs + first * item, columns, item),
                        array_at(ys + first * item, columns, item),
                    )
                    for i in range(columns):
                        z = (x[i] - means[i]) * scales[i] + shifts[i]
                        if kind == RELU:
                            z = zero if z < zero else z
                        elif kind == LEAKY_RELU:
                            z = slope * z if z < zero else z
                        y[i] = z

    return body


@kernel(NORMALIZATION)
def sum_gradients(item, kind, nv):
    """partial[0, c] = sum of g[..., c], partial[1, c] = sum of g[..., c] * (x[..., c] - mean[c]); float64 (2, c).

    g = grad_y * f'(z), with z the input of the activation f that `kind` is, as `forward` has it. x, grad_y (n, h, w, c); mean (c,).
    scratch: five lines. The columns are summed NV vectors at a time.
    """
    lanes = host().lanes(item)
    together = nv * lanes

    def body(bases, d):
        d = carray(d, 1)[0]
        width = d.fold * d.c
        total = array_at(address(bases, d.partial), d.c, DOUBLE)
        products = array_at(address(bases, d.partial) + d.c * DOUBLE, d.c, DOUBLE)
        mean = array_at(address(bases, d.mean), d.c, item)
        at_means, line = address(bases, d.scratch), width * item
        means = array_at(at_means, width, item)
        if kind == NONE:
            for first in range(0, width, d.c):
                means[first : first + d.c] = mean
        else:
            variance = array_at(address(bases, d.variance), d.c, item)
            gamma = array_at(address(bases, d.gamma), d.c * d.with_gamma, item)
            beta = array_at(address(bases, d.beta), d.c * d.with_beta, item)
            scales, shifts = (
                array_at(at_means + line, width, item),
                array_at(at_means + 2 * line, width, item),
            )
            repeat_affine(mean, variance, gamma, beta, d.epsilon, means, scales, shifts)
        slope = means.dtype.type(d.slope)
        total[:] = 0
        products[:] = 0
        for n in range(d.n):
            for h in range(d.h):
                xs = address(bases, d.x) + (n * d.x_image + h * d.x_row) * item
                gs = address(bases, d.grad_y) + (n * d.grad_y_image + h * d.grad_y_row) * item
                pixel = 0
                while pixel < d.w:
                    lines, columns = min(d.lines, (d.w - pixel) // d.fold), width
                    if lines == 0:
                        lines, columns = d.w - pixel, d.c
                    x, g = xs + pixel * d.c * item, gs + pixel * d.c * item
                    whole = columns // together * together
                    for i in range(0, whole, together):
                        m = at_means + i * item
                        channel_sums(
                            x + i * item, g + i * item, columns, lines, m, m + line, m + 2 * line, slope, m + 3 * line, m + 4 * line,
                            0, kind, nv, lanes, item, 0,
                        )  # fmt: skip
                    for i in range(whole, columns, lanes):
                        m = at_means + i * item
                        channel_sums(
                            x + i * item, g + i * item, columns, lines, m, m + line, m + 2 * line, slope, m + 3 * line, m + 4 * line,
                            min(lanes, columns - i), kind, 1, lanes, item, 1,
                        )  # fmt: skip
                    firsts = array_at(at_means + 3 * line, columns, item)
                    seconds = array_at(at_means + 4 * line, columns, item)
                    for first in range(0, columns, d.c):
                        for c in range(d.c):
                            total[c] += firsts[first + c]
                            products[c] += seconds[first + c]
                    pixel += lines * columns // d.c

    return body


@kernel(NORMALIZATION)
def collect_gradients(item):
    """grad_beta = sum of grad_y, grad_gamma = sum of grad_y z, from the `number` partial sums (2, c), stride bytes apart, in order.

    And what grad_x is made with: coefficients (3, c) = scale, the share of grad_beta and that of grad_gamma in each pixel,
    gamma r, grad_beta / pixels and r grad_gamma / pixels with r = 1 / sqrt(variance + epsilon). `lines` is the number of pixels.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        variance = array_at(address(bases, d.variance), d.c, item)
        gamma = array_at(address(bases, d.gamma), d.c * d.with_gamma, item)
        grad_gamma = array_at(address(bases, d.grad_gamma), d.c, item)
        grad_beta = array_at(address(bases, d.grad_beta), d.c, item)
        coefficients = array_at(address(bases, d.coefficients), 3 * d.c, item)
        step = d.stride // DOUBLE
        partials = array_at(address(bases, d.partial), d.number * step, DOUBLE)
        for c in range(d.c):
            total, products = 0.0, 0.0
            for part in range(d.number):
                total += partials[part * step + c]
                products += partials[part * step + d.c + c]
            scale = 1 / math.sqrt(variance[c] + d.epsilon)
            products *= scale
            grad_beta[c] = total
            grad_gamma[c] = products
            coefficients[c] = scale * gamma[c] if d.with_gamma else scale
            coefficients[d.c + c] = total / d.lines
            coefficients[2 * d.c + c] = products * scale / d.lines

    return body


@kernel(NORMALIZATION)
def grad_input(item, kind, training):
    """grad_x = scale * (g - a - (x - mean) * b), with scale, a and b of `coefficients` (3, c); outside training scale * g.

    g: see sum_gradients. grad_x, grad_y, x (n, h, w, c), grad_x and grad_y may be the same; mean, beta (c,). scratch: five lines.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        width = d.fold * d.c
        mean = array_at(address(bases, d.mean), d.c, item)
        coefficients = array_at(address(bases, d.coefficients), 3 * d.c, item)
        means = array_at(address(bases, d.scratch), width, item)
        scales = array_at(address(bases, d.scratch) + width * item, width, item)
        beta_shares = array_at(address(bases, d.scratch) + 2 * width * item, width, item)
        gamma_shares = array_at(address(bases, d.scratch) + 3 * width * item, width, item)
        shifts = array_at(address(bases, d.scratch) + 4 * width * item, width, item)
        beta = array_at(address(bases, d.beta), d.c * d.with_beta, item)
        zero, slope = means.dtype.type(0), means.dtype.type(d.slope)
        for first in range(0, width, d.c):
            for c in range(d.c):
                means[first + c] = mean[c]
                scales[first + c] = coefficients[c]
                beta_shares[first + c] = coefficients[d.c + c]
                gamma_shares[first + c] = coefficients[2 * d.c + c]
                shifts[first + c] = beta[c] if d.with_beta else 0
        for n in range(d.n):
            for h in range(d.h):
                xs = address(bases, d.x) + (n * d.x_image + h * d.x_row) * item
                gs = address(bases, d.grad_y) + (n * d.grad_y_image + h * d.grad_y_row) * item
                gxs = address(bases, d.grad_x) + (n * d.grad_x_image + h * d.grad_x_row) * item
                for first in range(0, d.w * d.c, width):
                    columns = min(width, d.w * d.c - first)
                    x, grad_y = (
                        array_at(xs + first * item, columns, item),
                        array_at(gs + first * item, columns, item),
                    )
                    grad_x = array_at(gxs + first * item, columns, item)
                    for i in range(columns):
                        g, centred = grad_y[i], x[i] - means[i]
                        if kind == RELU:
                            g = g if centred * scales[i] + shifts[i] > zero else zero
                        elif kind == LEAKY_RELU:
                            g = g if centred * scales[i] + shifts[i] > zero else slope * g
                        grad_x[i] = scales[i] * (
                            g - beta_shares[i] - centred * gamma_shares[i] if training else g
                        )

    return body


class Normalizing(NamedTuple):
    """How y is made of x: activation(gamma * (x - mean) / sqrt(variance + epsilon) + beta); gamma 1 and beta 0 where None, all (c,).

    activation: None, "relu" or "leaky_relu", which has a slope of at least 0.
    """

    mean: Pointer
    variance: Pointer
    gamma: Pointer | None
    beta: Pointer | None
    epsilon: float
    activation: str | None = None
    slope: float = 0.0

    @property
    def kind(self) -> int:
        return kind_of(self.activation, self.slope)

    @property
    def fields(self) -> dict[str, Any]:
        """Of a descriptor."""
        return {
            "mean": self.mean, "variance": self.variance, "gamma": self.gamma or NOWHERE, "beta": self.beta or NOWHERE,
            "with_gamma": int(self.gamma is not None), "with_beta": int(self.beta is not None), "epsilon": self.epsilon,
            "slope": self.slope,
        }  # fmt: skip


def add_statistics(plan: Plan, x: Images, partial: Pointer) -> None:
    """Emits the mean and the sum of squared differences of x's channels to `partial`, float64 (2, c)."""
    mark = plan.mark()
    geometry = _geometry(x=x)
    plan.add(
        statistics,
        plan.item,
        _vectors(plan, geometry),
        x=x.first(plan.item),
        partial=partial,
        **geometry,
        scratch=_lines(plan, geometry, 2),
    )
    plan.free(mark)


def add_collect_statistics(
    plan: Plan, partials: Pointer, counts: Sequence[int], c: int, mean: Pointer, variance: Pointer,
    moving: tuple[Pointer, Pointer] | None = None, momentum: float = 0.99, stride: int = 0,
) -> None:  # fmt: skip
    """Emits mean and variance (c,) from what parts of `counts` pixels each wrote to partials (len(counts), 2, c).

    moving: the moving mean and variance (c,), which are updated. stride: bytes from one part's partials to the next, if others lie
    in between.
    """
    mark = plan.mark()
    moving_mean, moving_variance = moving or (NOWHERE, NOWHERE)
    plan.add(
        collect_statistics, plan.item, partial=partials, counts=plan.table(counts), number=len(counts), c=c, mean=mean,
        variance=variance, moving_mean=moving_mean, moving_variance=moving_variance, with_moving=int(moving is not None),
        momentum=momentum, stride=stride or 2 * c * DOUBLE, scratch=plan.scratch(2 * c * DOUBLE),
    )  # fmt: skip
    plan.free(mark)


def add_forward(plan: Plan, x: Images, y: Images, how: Normalizing) -> None:
    """Emits y, which may be x."""
    mark = plan.mark()
    geometry = _geometry(x=x, y=y)
    plan.add(
        forward, plan.item, how.kind, x=x.first(plan.item), y=y.first(plan.item), **how.fields, **geometry,
        scratch=_lines(plan, geometry, 3),
    )  # fmt: skip
    plan.free(mark)


def add_sum_gradients(plan: Plan, grad_y: Images, x: Images, how: Normalizing, partial: Pointer) -> None:
    """Emits the sums over the pixels of g and of g * (x - mean) to `partial`, float64 (2, c); g: grad_y before the activation."""
    mark = plan.mark()
    geometry = _geometry(x=x, grad_y=grad_y)
    plan.add(
        sum_gradients, plan.item, how.kind, _vectors(plan, geometry), x=x.first(plan.item), grad_y=grad_y.first(plan.item),
        partial=partial, **how.fields, **geometry, scratch=_lines(plan, geometry, 5),
    )  # fmt: skip
    plan.free(mark)


def add_collect_gradients(
    plan: Plan, partials: Pointer, number: int, pixels: int, c: int, how: Normalizing, grad_gamma: Pointer, grad_beta: Pointer,
    coefficients: Pointer, stride: int = 0,
) -> None:  # fmt: skip
    """Emits grad_gamma and grad_beta (c,), and the coefficients (3, c) of add_grad_input, from the parts' sums (number, 2, c).

    stride: bytes from one part's sums to the next, if others lie in between.
    """
    plan.add(
        collect_gradients, plan.item, partial=partials, number=number, lines=pixels, c=c, **how.fields, grad_gamma=grad_gamma,
        grad_beta=grad_beta, coefficients=coefficients, stride=stride or 2 * c * DOUBLE,
    )  # fmt: skip


def add_grad_input(
    plan: Plan, grad_y: Images, x: Images, how: Normalizing, coefficients: Pointer, grad_x: Images, training: bool
) -> None:  # fmt: skip
    """Emits the gradient with respect to x; training: whether mean and variance are x's own. grad_x may be grad_y."""
    mark = plan.mark()
    geometry = _geometry(x=x, grad_y=grad_y, grad_x=grad_x)
    plan.add(
        grad_input, plan.item, how.kind, int(training), x=x.first(plan.item), grad_y=grad_y.first(plan.item),
        grad_x=grad_x.first(plan.item), coefficients=coefficients, **how.fields, **geometry, scratch=_lines(plan, geometry, 5),
    )  # fmt: skip
    plan.free(mark)


def _geometry(**named: Images) -> dict[str, int]:
    """The fields of images of one size: without halos all their pixels are one row."""
    some = next(iter(named.values()))
    if all(images.halo == NO_HALO for images in named.values()):
        some = Images(NOWHERE, 1, 1, some.n * some.h * some.w, some.c)
        named = dict.fromkeys(named, some)
    fold = max(1, COLUMNS // some.c)
    fields = {"n": some.n, "h": some.h, "w": some.w, "c": some.c, "fold": fold}
    fields["lines"] = max(LEAST_LINES, BLOCK // (fold * some.c))
    for name, images in named.items():
        fields |= {f"{name}_row": images.row, f"{name}_image": images.image}
    return fields


def _lines(plan: Plan, geometry: dict[str, int], count: int) -> Pointer:
    """Scratch for so many lines."""
    return plan.scratch(count * geometry["fold"] * geometry["c"] * plan.item)


def _vectors(plan: Plan, geometry: dict[str, int]) -> int:
    """Vectors of columns that are summed together."""
    return vectors(geometry["fold"] * geometry["c"], plan.item)
