"""Softmax and cross-entropy in one, which neither overflows nor takes the logarithm of zero."""

from __future__ import annotations

import numpy as np

from .activations import softmax


def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """loss[i] = -log(softmax(logits[i])[labels[i]]), in nats.

    Computed as log(sum_j exp(logits[i, j])) - logits[i, labels[i]].

    Args:
        logits: (n, classes).
        labels: the true classes (n,), integer, in [0, classes).

    Returns:
        losses (n,), float64, one a sample; take the mean for Keras's loss.

    >>> softmax_cross_entropy(np.array([[0.0, 0.0], [1000.0, 0.0]]), np.array([1, 1])).round(6).tolist()
    [0.693147, 1000.0]
    """
    z = np.asarray(logits, dtype=np.float64)
    z = z - z.max(axis=-1, keepdims=True)
    return np.log(np.exp(z).sum(axis=-1)) - z[np.arange(len(z)), np.asarray(labels)]


def softmax_cross_entropy_grad(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gradient of the sum of the losses: grad_logits[i, j] = softmax(logits[i])[j] - (j == labels[i]).

    Args:
        logits: (n, classes).
        labels: the true classes (n,), integer, in [0, classes).

    Returns:
        grad_logits (n, classes), float64.

    >>> softmax_cross_entropy_grad(np.array([[0.0, 0.0]]), np.array([1])).tolist()
    [[0.5, -0.5]]
    """
    grad_logits = softmax(logits)
    grad_logits[np.arange(len(grad_logits)), np.asarray(labels)] -= 1.0
    return grad_logits
