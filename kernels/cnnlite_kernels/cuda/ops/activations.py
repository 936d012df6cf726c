"""Activations and their gradients on arrays of any shape."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.cuda import activations as emit
from cnnlite_kernels.cuda.ops.job import Job


def activation(device: Any, kind: str, x: Any, out: Any, slope: float) -> None:
    """out = kind(x); they may be the same."""
    job = Job(kind, device, x, out)
    emit.add_forward(job.plan, kind, job.read(x), job.write(out), *_rows(x), aligned=job.aligned, slope=slope)
    job.run()


def activation_grad(device: Any, kind: str, grad_y: Any, y: Any, out: Any, slope: float) -> None:
    """out = grad_y * kind', from y = kind(x); out may be grad_y or y."""
    job = Job(f"{kind}_grad", device, grad_y, y, out)
    emit.add_grad(
        job.plan, kind, job.read(y), job.read(grad_y), job.write(out), *_rows(y), aligned=job.aligned, slope=slope,
    )  # fmt: skip
    job.run()


def _rows(x: Any) -> tuple[int, int]:
    """(rows, numbers in each); a number without axes is a row."""
    c = x.shape[-1] if x.ndim else 1
    return x.size // c, c
