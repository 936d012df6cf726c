"""Softmax and cross-entropy in one, which neither overflows nor takes the logarithm of zero."""

from __future__ import annotations

from typing import Any, Literal, overload

from cnnlite_kernels import checks, dispatch
from cnnlite_kernels.arrays import ArrayT, Operand


@overload
def softmax_cross_entropy(
    logits: ArrayT,
    labels: Operand,
    *,
    return_grad: Literal[False] = ...,
    out: ArrayT | None = ...,
    device: str | None = ...,
) -> ArrayT: ...


@overload
def softmax_cross_entropy(
    logits: ArrayT,
    labels: Operand,
    *,
    return_grad: bool,
    out: ArrayT | None = ...,
    device: str | None = ...,
) -> Any: ...


def softmax_cross_entropy(
    logits: ArrayT,
    labels: Operand,
    *,
    return_grad: bool = False,
    out: ArrayT | None = None,
    device: str | None = None,
) -> Any:
    """loss[i] = -log(softmax(logits[i])[labels[i]]), in nats.

    Computed as log(sum_j exp(logits[i, j])) - logits[i, labels[i]], the largest logit taken off first.

    Args:
        logits: (n, classes), float32 or float64, in any memory layout; n may be 0.
        labels: the true classes (n,), of any integer dtype, from 0 to classes - 1.
        return_grad: also return the gradient of the sum of the losses, grad[i, j] = softmax(logits[i])[j] - (j == labels[i]).
        out: where to write the losses, C-contiguous and apart from logits; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        losses (n,), of logits' dtype, one a sample (take the mean for Keras's loss); with return_grad (losses, grad), where
        grad is (n, classes).

    Raises:
        ValueError: shapes that do not fit, a label that is no class, an unfit `out`.
        TypeError: logits that are not float32 or float64, labels that are not integers.
        RuntimeError: a device that is not there.

    >>> import numpy as np
    >>> logits = np.array([[0.0, 0.0], [1000.0, 0.0]])
    >>> losses, grad = softmax_cross_entropy(logits, np.array([1, 1]), return_grad=True)
    >>> losses.round(6).tolist(), grad.tolist()
    ([0.693147, 1000.0], [[0.5, -0.5], [1.0, -1.0]])
    """
    op = "softmax_cross_entropy"
    run = dispatch.find(op, device, logits, labels)
    logits = checks.operand(op, "logits", logits, "(n, classes)")
    checks.last_axis(op, "logits", logits)
    n, classes = logits.shape
    labels = checks.labels(op, labels, n, classes)
    losses = checks.output(op, out, (n,), logits.dtype, (logits, labels))
    grad = checks.new(logits.shape, logits.dtype, (logits,)) if return_grad else None
    if n:
        run(logits, labels, losses, grad)
    return (losses, grad) if return_grad else losses
