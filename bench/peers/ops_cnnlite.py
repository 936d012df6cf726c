"""This library's ops, as the rows of single ops ask for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import cnnlite_kernels as ck
from peers.operands import EPSILON, KEPT, SLOPE, OpInputs, op_inputs
from peers.protocol import Measurement, Request

Pair = tuple[Callable[[], Any], Callable[[], Any]]  # the forward pass; the gradients, x's first


def _batch_norm(at: OpInputs) -> Pair:
    moving = np.zeros(at.gamma.size, np.float32), np.ones(at.gamma.size, np.float32)
    options: dict[str, Any] = {"moving_mean": moving[0], "moving_variance": moving[1], "momentum": KEPT}
    _, mean, variance = ck.batch_normalization_train(at.x, epsilon=EPSILON)
    return (
        lambda: ck.batch_normalization_train(at.x, at.gamma, at.beta, epsilon=EPSILON, **options)[0],
        lambda: ck.batch_normalization_grad(at.grad_y, at.x, mean, variance, at.gamma, epsilon=EPSILON)[0],
    )


def _average_pool(at: OpInputs) -> Pair:
    return (
        lambda: ck.average_pool2d(at.x, 2),
        lambda: ck.average_pool2d_grad(at.grad_y, at.x.shape, 2),
    )


def _min_pool(at: OpInputs) -> Pair:
    """With the winners that the forward pass found, as in training."""
    _, winners = ck.min_pool2d(at.x, 2, return_indices=True)
    return (
        lambda: ck.min_pool2d(at.x, 2),
        lambda: ck.min_pool2d_grad(at.grad_y, at.x, 2, indices=winners),
    )


def _enlarging(interpolation: str) -> Callable[[OpInputs], Pair]:
    return lambda at: (
        lambda: ck.up_sampling2d(at.x, 2, interpolation=interpolation),
        lambda: ck.up_sampling2d_grad(at.grad_y, 2, interpolation=interpolation),
    )


def _leaky_relu(at: OpInputs) -> Pair:
    y = ck.leaky_relu(at.x, SLOPE)
    return lambda: ck.leaky_relu(at.x, SLOPE), lambda: ck.leaky_relu_grad(at.grad_y, y, SLOPE)


def _prelu(at: OpInputs) -> Pair:
    alpha = at.beta.reshape(1, 1, -1)
    return lambda: ck.prelu(at.x, alpha), lambda: ck.prelu_grad(at.grad_y, at.x, alpha)[0]


def _transpose(at: OpInputs) -> Pair:
    options: dict[str, Any] = {"strides": 2, "padding": "same"}

    def gradients() -> np.ndarray:
        ck.conv2d_transpose_grad_weights(at.x, at.grad_y, at.w.shape, **options)
        return ck.conv2d_transpose_grad_input(at.grad_y, at.w, **options)

    return lambda: ck.conv2d_transpose(at.x, at.w, **options), gradients


OPS: dict[str, Callable[[OpInputs], Pair]] = {
    "batch_norm": _batch_norm,
    "average_pool": _average_pool,
    "min_pool": _min_pool,
    "nearest": _enlarging("nearest"),
    "bilinear": _enlarging("bilinear"),
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    "transpose": _transpose,
}


def op(request: Request) -> Measurement:
    """One pass of one op."""
    forward, gradients = OPS[request["op"]](op_inputs(request))
    once = forward if request["pass"] == "forward" else gradients
    return Measurement(once, 1, once)
