"""Batch normalization and its gradients on arrays (..., c)."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.cuda import batch_normalization as emit
from cnnlite_kernels.cuda.ops.job import Job


def batch_normalization(
    device: Any, x: Any, mean: Any, variance: Any, gamma: Any, beta: Any, out: Any, epsilon: float
) -> None:
    """out = gamma * (x - mean) / sqrt(variance + epsilon) + beta."""
    job = Job("batch_normalization", device, x, mean, variance, gamma, beta, out)
    rows, c = _rows(x)
    emit.add_forward(
        job.plan, job.read(x), job.write(out), job.read(mean), job.read(variance), job.read(gamma), job.read(beta), epsilon,
        rows, c, aligned=job.aligned,
    )  # fmt: skip
    job.run()


def batch_normalization_train(
    device: Any, x: Any, gamma: Any, beta: Any, out: Any, mean: Any, variance: Any, moving_mean: Any, moving_variance: Any,
    epsilon: float, momentum: float,
) -> None:  # fmt: skip
    """out = batch_normalization of x with its own mean and variance, which are written; the moving ones, if any, are updated."""
    arrays = (x, gamma, beta, out, mean, variance, moving_mean, moving_variance)
    job = Job("batch_normalization_train", device, *arrays)
    x_there, mean, variance = job.read(x), job.write(mean), job.write(variance)
    moving = None
    if moving_mean is not None:
        moving = job.write(moving_mean, update=True), job.write(moving_variance, update=True)
    emit.add_statistics(job.plan, x_there, mean, variance, *_rows(x), moving=moving, momentum=momentum)
    emit.add_forward(
        job.plan, x_there, job.write(out), mean, variance, job.read(gamma), job.read(beta), epsilon, *_rows(x),
        aligned=job.aligned,
    )  # fmt: skip
    job.run()


def batch_normalization_grad(
    device: Any, grad_y: Any, x: Any, mean: Any, variance: Any, gamma: Any, grad_x: Any, grad_gamma: Any, grad_beta: Any,
    epsilon: float, training: bool,
) -> None:  # fmt: skip
    """The gradients with respect to x, gamma and beta; training: whether mean and variance are x's own."""
    arrays = (grad_y, x, mean, variance, gamma, grad_x, grad_gamma, grad_beta)
    job = Job("batch_normalization_grad", device, *arrays)
    rows, c = _rows(x)
    emit.add_grad(
        job.plan, job.read(grad_y), job.read(x), job.read(mean), job.read(variance), job.read(gamma), epsilon,
        job.write(grad_x), job.write(grad_gamma), job.write(grad_beta), rows, c, training=training, aligned=job.aligned,
    )  # fmt: skip
    job.run()


def _rows(x: Any) -> tuple[int, int]:
    """(Pixels, channels)."""
    return x.size // x.shape[-1], x.shape[-1]
