"""matmul on arrays."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.cuda.matmul import add_matmul
from cnnlite_kernels.cuda.ops.job import Job


def matmul(
    device: Any, a: Any, b: Any, out: Any, k: int, transpose_a: bool, transpose_b: bool, alpha: float, beta: float, bias: Any,
    activation: str | None,
) -> None:  # fmt: skip
    """out = activation(alpha * op(a) op(b) + beta * out + bias)."""
    job = Job("matmul", device, a, b, out, bias, float32=True)
    m, n = out.shape
    add_matmul(
        job.plan, job.read(a), job.read(b), job.write(out, update=beta != 0), m, n, k, transpose_a=transpose_a,
        transpose_b=transpose_b, alpha=alpha, beta=beta, bias=job.read(bias), activation=activation, aligned=job.aligned,
    )  # fmt: skip
    job.run()
