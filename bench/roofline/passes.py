"""Kernels that pass over images once or twice: normalization, enlarging, means and minima, activations; and transposed convolution.

As in calls.py, operands are small whole numbers, so that an answer must be equal to the reference's wherever it is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

import cnnlite_kernels as ck
from cnnlite_kernels import reference
from roofline import work
from roofline.calls import TOLERANCE, Call, one_at_a_time
from roofline.operands import empty, placed, whole_numbers

Shape = tuple[int, int, int, int]
SHAPES: tuple[Shape, ...] = ((32, 28, 28, 64), (32, 14, 14, 64), (8, 112, 112, 32))
SLOPE, EPSILON = 0.25, 1e-3


def _of_pass(
    op: str, operands: Sequence[np.ndarray], y_shape: Shape, tolerance: float | None = None, **options: Any
) -> Call:
    """An op of `operands` whose result goes to `out`, and is the first one where there are several."""
    y = empty(y_shape, len(operands))

    def first(found: Any) -> Any:
        return found[0] if isinstance(found, tuple) else found

    return Call(
        op,
        work.of_pass(*(array.shape for array in operands), y_shape),
        lambda: first(getattr(ck, op)(*operands, out=y, **options)),
        lambda: first(getattr(reference, op)(*operands, **options)),
        tolerance,
    )


def _scaled(h: int, w: int, shape: Shape) -> Shape:
    return shape[0], h, w, shape[3]


def _channels(c: int) -> list[np.ndarray]:
    """Four arrays (c,), of positive numbers."""
    return [placed(np.linspace(1, 2, c, dtype=np.float32), 3 + number) for number in range(4)]


def batch_normalization_train(shape: Shape) -> Call:
    (x,), (gamma, beta, *_) = whole_numbers(shape), _channels(shape[-1])
    return _of_pass("batch_normalization_train", (x, gamma, beta), shape, TOLERANCE)


def batch_normalization_grad(shape: Shape) -> Call:
    grad_y, x = whole_numbers(shape, shape)
    _, mean, variance = reference.batch_normalization_train(x)
    gamma, *_ = _channels(shape[-1])
    given = [placed(array.astype(np.float32), 4 + number) for number, array in enumerate((mean, variance))]
    return _of_pass("batch_normalization_grad", (grad_y, x, *given, gamma), shape, TOLERANCE, epsilon=EPSILON)


def average_pool2d(shape: Shape) -> Call:
    _, h, w, _ = shape
    return _of_pass("average_pool2d", whole_numbers(shape), _scaled(h // 2, w // 2, shape), pool_size=2)


def average_pool2d_grad(shape: Shape) -> Call:
    _, h, w, _ = shape
    (grad_y,) = whole_numbers(_scaled(h // 2, w // 2, shape))
    return _of_pass("average_pool2d_grad", (grad_y,), shape, x_shape=shape, pool_size=2)


def min_pool2d(shape: Shape) -> Call:
    _, h, w, _ = shape
    return _of_pass("min_pool2d", whole_numbers(shape), _scaled(h // 2, w // 2, shape), pool_size=2)


def up_sampling2d(shape: Shape, interpolation: str) -> Call:
    """`shape` is the result's."""
    _, h, w, _ = shape
    x = whole_numbers(_scaled(h // 2, w // 2, shape))
    return _of_pass("up_sampling2d", x, shape, size=2, interpolation=interpolation)


def up_sampling2d_grad(shape: Shape, interpolation: str) -> Call:
    _, h, w, _ = shape
    return _of_pass(
        "up_sampling2d_grad", whole_numbers(shape), _scaled(h // 2, w // 2, shape), size=2, interpolation=interpolation
    )  # fmt: skip


def leaky_relu(shape: Shape) -> Call:
    return _of_pass("leaky_relu", whole_numbers(shape), shape, negative_slope=SLOPE)


def leaky_relu_grad(shape: Shape) -> Call:
    return _of_pass("leaky_relu_grad", whole_numbers(shape, shape), shape, negative_slope=SLOPE)


def prelu(shape: Shape) -> Call:
    return _of_pass("prelu", whole_numbers(shape, (1, 1, shape[-1])), shape)


def prelu_grad(shape: Shape) -> Call:
    return _of_pass("prelu_grad", whole_numbers(shape, shape, (1, 1, shape[-1])), shape)


def conv2d_transpose(shape: Shape) -> Call:
    """4 x 4 windows 2 apart, as generators have them, to twice the rows and columns and half the channels."""
    n, h, w, c = shape
    x, kernel = whole_numbers(shape, (4, 4, c // 2, c))
    y = empty((n, 2 * h, 2 * w, c // 2), 2)
    return Call(
        "conv2d_transpose",
        work.Work(
            2.0 * prod(shape) * prod(kernel.shape[:3]),
            work.of_pass(shape, kernel.shape, y.shape).moved,
            "GFLOP/s",
        ),
        lambda: ck.conv2d_transpose(x, kernel, strides=2, padding="same", out=y),
        lambda: reference.conv2d_transpose(x, kernel, y_size=y.shape[1:3], strides=2, padding="same"),
    )


PASSES: dict[str, Callable[[Shape], Call]] = {
    "batch_normalization_train": batch_normalization_train,
    "batch_normalization_grad": batch_normalization_grad,
    "average_pool2d": average_pool2d,
    "average_pool2d_grad": average_pool2d_grad,
    "min_pool2d": min_pool2d,
    "up_sampling2d nearest": lambda shape: up_sampling2d(shape, "nearest"),
    "up_sampling2d bilinear": lambda shape: up_sampling2d(shape, "bilinear"),
    "up_sampling2d_grad nearest": lambda shape: up_sampling2d_grad(shape, "nearest"),
    "up_sampling2d_grad bilinear": lambda shape: up_sampling2d_grad(shape, "bilinear"),
    "leaky_relu": leaky_relu,
    "leaky_relu_grad": leaky_relu_grad,
    "prelu": prelu,
    "prelu_grad": prelu_grad,
    "conv2d_transpose": conv2d_transpose,
}


@one_at_a_time
def of(op: str, shape: Shape) -> Call:
    """The call of one of PASSES on images (n, h, w, c) of even h and w."""
    return PASSES[op](shape)
