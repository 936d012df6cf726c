"""max_pool2d, min_pool2d and their gradients on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlite_kernels.cuda import max_pool2d as emit
from cnnlite_kernels.cuda.ops.job import Job
from cnnlite_kernels.window import Window2D


def max_pool2d(device: Any, x: Any, out: Any, indices: Any, window: Window2D) -> None:
    """out = the maximum of each window, indices, if wanted, its place in the window (int32)."""
    _forward("max_pool2d", device, x, out, indices, window, False)


def min_pool2d(device: Any, x: Any, out: Any, indices: Any, window: Window2D) -> None:
    """out = the minimum of each window; indices as of `max_pool2d`."""
    _forward("min_pool2d", device, x, out, indices, window, True)


def max_pool2d_grad(device: Any, grad_y: Any, x: Any, indices: Any, out: Any, window: Window2D) -> None:
    """out = the gradient with respect to x; the places of the maxima are found in x where the caller has none."""
    _grad("max_pool2d_grad", device, grad_y, x, indices, out, window, False)


def min_pool2d_grad(device: Any, grad_y: Any, x: Any, indices: Any, out: Any, window: Window2D) -> None:
    """out = the gradient with respect to x; the places of the minima are found in x where the caller has none."""
    _grad("min_pool2d_grad", device, grad_y, x, indices, out, window, True)


def _forward(op: str, device: Any, x: Any, out: Any, indices: Any, window: Window2D, minimum: bool) -> None:
    job = Job(op, device, x, out, indices)
    n, h, w, c = x.shape
    emit.add_forward(job.plan, window, n, h, w, c, job.read(x), job.write(out), job.write(indices), minimum)
    job.run()


def _grad(
    op: str, device: Any, grad_y: Any, x: Any, indices: Any, out: Any, window: Window2D, minimum: bool
) -> None:
    job = Job(op, device, grad_y, x, indices, out)
    n, h, w, c = out.shape
    places = job.read(indices)
    if places is None:
        places = job.plan.scratch(grad_y.size, np.int32)
        y = job.plan.scratch(grad_y.size, x.dtype)
        emit.add_forward(job.plan, window, n, h, w, c, job.read(x), y, places, minimum)
    emit.add_grad(job.plan, window, n, h, w, c, job.read(grad_y), places, job.write(out))
    job.run()
