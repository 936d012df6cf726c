"""Batch normalization: statistics of each channel, and the normalization itself, with an activation of what is stored.

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

from cnnlite_kernels.cpu.activations import LEAKY_RELU, RELU, RELU6, kind_of
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


@register_jitable
def block_at(pixel, pixels, fold, most):
    """(lines, pixels of a line) of the block that begins at a pixel of a row: `fold` pixels a line and at most `most` lines, but one by
    one the last pixels, which make no line."""
    lines = min(most, (pixels - pixel) // fold)
    return (lines, fold) if lines else (pixels - pixel, 1)


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
                    lines, together = block_at(pixel, d.w, d.fold, d.lines)
                    columns = together * d.c
                    at = start + pixel * d.c * item
                    shift = array_at(at, columns, item)
                    sums = array_at(address(bases, d.scratch), columns, item)
                    products = array_at(address(bases, d.scratch) + width * item, columns, item)
                    to = address(bases, d.scratch)
                    channel_sums(
                        at + columns * item, at, columns, lines - 1, at, at, at, shift.dtype.type(0), to, to + width * item,
                        SPREAD, nv, lanes, item,
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
                    pixel += lines * together

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

    kind: what f is, NONE, RELU, RELU6 or LEAKY_RELU.

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
        zero, six, slope = means.dtype.type(0), means.dtype.type(6), means.dtype.type(d.slope)
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
                        elif kind == RELU6:
                            z = zero if z < zero else six if z > six else z
                        elif kind == LEAKY_RELU:
                            z = slope * z if z < zero else z
                        y[i] = z

    return body


class Normalizing(NamedTuple):
    """How y is made of x: activation(gamma * (x - mean) / sqrt(variance + epsilon) + beta); gamma 1 and beta 0 where None, all (c,).

    activation: None, "relu", "relu6" or "leaky_relu", which has a slope of at least 0.
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
    geometry = geometry_of(x=x)
    plan.add(
        statistics,
        plan.item,
        vectors_of(plan, geometry),
        x=x.first(plan.item),
        partial=partial,
        **geometry,
        scratch=scratch_lines(plan, geometry, 2),
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
    geometry = geometry_of(x=x, y=y)
    plan.add(
        forward, plan.item, how.kind, x=x.first(plan.item), y=y.first(plan.item), **how.fields, **geometry,
        scratch=scratch_lines(plan, geometry, 3),
    )  # fmt: skip
    plan.free(mark)


def geometry_of(**named: Images) -> dict[str, int]:
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


def scratch_lines(plan: Plan, geometry: dict[str, int], count: int) -> Pointer:
    """Scratch for so many lines."""
    return plan.scratch(count * geometry["fold"] * geometry["c"] * plan.item)


def vectors_of(plan: Plan, geometry: dict[str, int]) -> int:
    """Vectors of columns that are summed together."""
    return vectors(geometry["fold"] * geometry["c"], plan.item)
