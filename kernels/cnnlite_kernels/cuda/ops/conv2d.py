"""conv2d and its gradients on arrays."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.cuda import conv2d as emit
from cnnlite_kernels.cuda.conv2d import Geometry
from cnnlite_kernels.cuda.ops.job import Job
from cnnlite_kernels.window import Window2D


def conv2d(
    device: Any, x: Any, w: Any, b: Any, out: Any, window: Window2D, groups: int, activation: str | None
) -> None:
    """out = activation(x convolved with w, + b)."""
    job = Job("conv2d", device, x, w, b, out, float32=True)
    n, height, width, cin = x.shape
    g = Geometry.of(window, n, height, width, cin, w.shape[3], groups)
    emit.add_forward(
        job.plan, g, job.read(x), job.read(w), job.read(b), job.write(out), activation, aligned=job.aligned
    )
    job.run()


def conv2d_grad_input(device: Any, grad_y: Any, w: Any, out: Any, window: Window2D, groups: int) -> None:
    """out = the gradient with respect to the input."""
    job = Job("conv2d_grad_input", device, grad_y, w, out, float32=True)
    n, height, width, cin = out.shape
    g = Geometry.of(window, n, height, width, cin, w.shape[3], groups)
    emit.add_grad_input(job.plan, g, job.read(grad_y), job.read(w), job.write(out), aligned=job.aligned)
    job.run()


def conv2d_grad_weights(device: Any, x: Any, grad_y: Any, out: Any, window: Window2D, groups: int) -> None:
    """out = the gradient with respect to the kernels."""
    job = Job("conv2d_grad_weights", device, x, grad_y, out, float32=True)
    n, height, width, cin = x.shape
    g = Geometry.of(window, n, height, width, cin, out.shape[3], groups)
    emit.add_grad_weights(job.plan, g, job.read(x), job.read(grad_y), job.write(out), aligned=job.aligned)
    job.run()
