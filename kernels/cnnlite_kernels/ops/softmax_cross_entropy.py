"""Softmax and cross-entropy in one, which neither overflows nor takes the logarithm of zero."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np

from cnnlite_kernels import checks, dispatch


@overload
def softmax_cross_entropy(
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    return_grad: Literal[False] = ...,
    out: np.ndarray | None = ...,
    device: str | None = ...,
) -> np.ndarray: ...


@overload
def softmax_cross_entropy(
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    return_grad: bool,
    out: np.ndarray | None = ...,
    device: str | None = ...,
) -> Any: ...


def softmax_cross_entropy(
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    return_grad: bool = False,
    out: np.ndarray | None = None,
    device: str | None = None,
) -> Any:
    """loss[i] = -log(softmax(logits[i])[labels[i]]), in nats.

    Computed as log(sum_j exp(logits[i, j])) - logits[i, labels[i]], the largest logit taken off first.

    Args:
        logits: (n, classes), float32 or float64, in any memory layout; n may be 0.
        labels: the true classes (n,), of any integer dtype, from 0 to classes - 1.
        return_grad: also return the gradient of the sum of the losses, grad[i, j] = softmax(logits[i])[j] - (j == labels[i]).
        out: where to write the losses, C-contiguous and apart from logits; a new array if None.
        device: None or "auto" (where the data lives), "cpu", "cuda" or "cuda:N".

    Returns:
        losses (n,), of logits' dtype, one a sample (take the mean for Keras's loss); with return_grad (losses, grad), where
        grad is (n, classes).

    Raises:
        ValueError: shapes that do not fit, a label that is no class, an unfit `out`.
        TypeError: logits that are not float32 or float64, labels that are not integers.
        RuntimeError: a device that is not there.

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
    grad = np.empty(logits.shape, logits.dtype) if return_grad else None
    if n:
        run(logits, labels, losses, grad)
    return (losses, grad) if return_grad else losses
