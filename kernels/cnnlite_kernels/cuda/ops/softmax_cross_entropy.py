"""The softmax cross-entropy of logits and its gradient on arrays."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.cuda.activations import add_fill
from cnnlite_kernels.cuda.losses import add_softmax_cross_entropy
from cnnlite_kernels.cuda.ops.job import Job


def softmax_cross_entropy(device: Any, logits: Any, labels: Any, losses: Any, grad: Any) -> None:
    """losses[i] = -log(softmax(logits[i])[labels[i]]); grad, if wanted, = softmax(logits) - onehot(labels)."""
    job = Job("softmax_cross_entropy", device, logits, labels, losses, grad)
    n, c = logits.shape
    ones, correct = (job.plan.scratch(n, logits.dtype) for _ in range(2))
    add_fill(job.plan, ones, n, 1)
    add_softmax_cross_entropy(
        job.plan, job.read(logits), job.read(labels), ones, job.write(grad), job.write(losses), correct, n, c, 1, labels=True
    )  # fmt: skip
    job.run()
