"""prelu and its gradients on arrays."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.cuda import prelu as emit
from cnnlite_kernels.cuda.ops.job import Job

Shapes = tuple[tuple[int, int, int, int], emit.AlphaShape]


def prelu(device: Any, x: Any, alpha: Any, out: Any, shapes: Shapes) -> None:
    """out = x where x > 0, else alpha * x; shapes: of x and alpha with four and three axes."""
    job = Job("prelu", device, x, alpha, out)
    emit.add_forward(job.plan, *shapes[0], job.read(x), job.read(alpha), shapes[1], job.write(out))
    job.run()


def prelu_grad(
    device: Any, grad_y: Any, x: Any, alpha: Any, grad_x: Any, grad_alpha: Any, shapes: Shapes
) -> None:
    """The gradients with respect to x and alpha; shapes: as of `prelu`."""
    job = Job("prelu_grad", device, grad_y, x, alpha, grad_x, grad_alpha)
    emit.add_grad(
        job.plan, *shapes[0], job.read(x), job.read(alpha), shapes[1], job.read(grad_y), job.write(grad_x), job.write(grad_alpha)
    )  # fmt: skip
    job.run()
