"""average_pool2d and its gradient on arrays."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.cuda import average_pool2d as emit
from cnnlite_kernels.cuda.ops.job import Job
from cnnlite_kernels.window import Window2D


def average_pool2d(device: Any, x: Any, out: Any, window: Window2D) -> None:
    """out = the mean of each window's pixels inside the image."""
    job = Job("average_pool2d", device, x, out)
    n, h, w, c = x.shape
    emit.add_forward(job.plan, window, n, h, w, c, job.read(x), job.write(out))
    job.run()


def average_pool2d_grad(device: Any, grad_y: Any, out: Any, window: Window2D) -> None:
    """out = the gradient with respect to what was pooled."""
    job = Job("average_pool2d_grad", device, grad_y, out)
    n, h, w, c = out.shape
    emit.add_grad(job.plan, window, n, h, w, c, job.read(grad_y), job.write(out))
    job.run()
