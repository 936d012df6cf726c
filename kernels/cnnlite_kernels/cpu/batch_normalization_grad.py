"""The gradients of batch normalization, through an activation behind it too.

They do not read what the activation made: its input is computed once more from x, which they read anyway, to the same bits.
"""

from __future__ import annotations

import math

from numba import carray

from cnnlite_kernels.cpu.activations import LEAKY_RELU, NONE, RELU, RELU6
from cnnlite_kernels.cpu.batch_normalization import (
    DOUBLE,
    NORMALIZATION,
    Normalizing,
    block_at,
    geometry_of,
    repeat_affine,
    scratch_lines,
    vectors_of,
)
from cnnlite_kernels.cpu.channel_sums import channel_sums
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import Pointer, address, array_at
from cnnlite_kernels.cpu.plan import Plan


@kernel(NORMALIZATION)
def sum_gradients(item, kind, nv):
    """partial[0, c] = sum of g[..., c], partial[1, c] = sum of g[..., c] * (x[..., c] - mean[c]); float64 (2, c).

    g = grad_y * f'(z), with z the input of the activation f that `kind` is, as `forward` has it. x, grad_y (n, h, w, c); mean (c,).
    scratch: five lines. The columns are summed NV vectors at a time.
    """
    lanes = host().lanes(item)

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
                    lines, together = block_at(pixel, d.w, d.fold, d.lines)
                    columns = together * d.c
                    channel_sums(
                        xs + pixel * d.c * item, gs + pixel * d.c * item, columns, lines,
                        at_means, at_means + line, at_means + 2 * line, slope, at_means + 3 * line, at_means + 4 * line,
                        kind, nv, lanes, item,
                    )  # fmt: skip
                    firsts = array_at(at_means + 3 * line, columns, item)
                    seconds = array_at(at_means + 4 * line, columns, item)
                    for first in range(0, columns, d.c):
                        for c in range(d.c):
                            total[c] += firsts[first + c]
                            products[c] += seconds[first + c]
                    pixel += lines * together

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
        zero, six, slope = means.dtype.type(0), means.dtype.type(6), means.dtype.type(d.slope)
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
                        elif kind == RELU6:
                            g = g if zero < centred * scales[i] + shifts[i] < six else zero
                        elif kind == LEAKY_RELU:
                            g = g if centred * scales[i] + shifts[i] > zero else slope * g
                        grad_x[i] = scales[i] * (
                            g - beta_shares[i] - centred * gamma_shares[i] if training else g
                        )

    return body


def add_sum_gradients(plan: Plan, grad_y: Images, x: Images, how: Normalizing, partial: Pointer) -> None:
    """Emits the sums over the pixels of g and of g * (x - mean) to `partial`, float64 (2, c); g: grad_y before the activation."""
    mark = plan.mark()
    geometry = geometry_of(x=x, grad_y=grad_y)
    plan.add(
        sum_gradients, plan.item, how.kind, vectors_of(plan, geometry), x=x.first(plan.item), grad_y=grad_y.first(plan.item),
        partial=partial, **how.fields, **geometry, scratch=scratch_lines(plan, geometry, 5),
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
    geometry = geometry_of(x=x, grad_y=grad_y, grad_x=grad_x)
    plan.add(
        grad_input, plan.item, how.kind, int(training), x=x.first(plan.item), grad_y=grad_y.first(plan.item),
        grad_x=grad_x.first(plan.item), coefficients=coefficients, **how.fields, **geometry, scratch=scratch_lines(plan, geometry, 5),
    )  # fmt: skip
    plan.free(mark)
