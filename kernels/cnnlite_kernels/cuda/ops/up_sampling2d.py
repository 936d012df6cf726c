"""up_sampling2d and its gradient on arrays."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.cuda import up_sampling2d as emit
from cnnlite_kernels.cuda.ops.job import Job


def up_sampling2d(device: Any, x: Any, out: Any, size: tuple[int, int], interpolation: str) -> None:
    """out = x enlarged by the factors `size`."""
    job = Job("up_sampling2d", device, x, out)
    n, h, w, c = x.shape
    emit.add_forward(job.plan, size, interpolation, n, h, w, c, job.read(x), job.write(out))
    job.run()


def up_sampling2d_grad(device: Any, grad_y: Any, out: Any, size: tuple[int, int], interpolation: str) -> None:
    """out = the gradient with respect to what was enlarged."""
    job = Job("up_sampling2d_grad", device, grad_y, out)
    n, h, w, c = out.shape
    emit.add_grad(job.plan, size, interpolation, n, h, w, c, job.read(grad_y), job.write(out))
    job.run()
