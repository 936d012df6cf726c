"""Cross-entropies, in Keras's form: predictions are clipped to 1e-7, labels may be integers or one-hot."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlite.losses.loss import Loss, LossKernel
from cnnlite_kernels.settings import BINARY, BINARY_LOGITS

EPSILON = 1e-7  # Keras's fuzz: predictions are kept this far from 0 and 1


def _log_softmax(z: np.ndarray) -> np.ndarray:
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def check_labels(y: np.ndarray, classes: int, op: str) -> None:
    """ValueError unless labels are whole numbers from 0 up to `classes`. op: what the message names."""
    if not y.size:
        return
    low, high = y.min(), y.max()
    if not (low >= 0 and high < classes):
        raise ValueError(
            f"{op}: expected labels from 0 to {classes - 1} for an output of {classes} classes, got {low} to {high}."
        )
    if y.dtype.kind == "f" and not (np.floor(y) == y).all():
        raise ValueError(
            f"{op}: expected whole numbers as labels, got fractions such as {y[np.floor(y) != y][0]}."
        )


class _CrossEntropy(Loss):
    """What all three have in common. label_smoothing: targets t become t * (1 - s) + s / classes."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        name: str | None = None,
        reduction: str = "sum_over_batch_size",
    ) -> None:
        super().__init__(name, reduction)
        if isinstance(label_smoothing, bool) or not 0 <= label_smoothing <= 1:
            raise ValueError(f"{self.name}: expected label_smoothing from 0 to 1, got {label_smoothing!r}.")
        self.from_logits, self.label_smoothing = bool(from_logits), float(label_smoothing)

    def _smooth(self, targets: np.ndarray, classes: int) -> np.ndarray:
        return (
            targets * (1 - self.label_smoothing) + self.label_smoothing / classes
            if self.label_smoothing
            else targets
        )

    def get_config(self) -> dict[str, Any]:
        return {
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
            **super().get_config(),
        }


class CategoricalCrossentropy(_CrossEntropy):
    """-sum of t log p over classes, with p = softmax(y_pred) for from_logits=True, else p = y_pred / sum of y_pred.

    Args:
        from_logits: whether predictions are logits, not probabilities.
        label_smoothing: s from 0 to 1; targets t become t * (1 - s) + s / classes.

    y_true: (n, classes), y_pred: (n, classes).

    >>> from cnnlite import losses
    >>> round(losses.CategoricalCrossentropy()([[0, 1]], [[0.5, 0.5]]), 4)
    0.6931
    """

    def _targets(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return self._smooth(self.like(y_true, y_pred), y_pred.shape[-1])

    def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return -(self._targets(y_true, y_pred) * self._logs(y_pred)).sum(axis=-1)

    def _logs(self, y_pred: np.ndarray) -> np.ndarray:
        if self.from_logits:
            return _log_softmax(y_pred)
        p = y_pred / y_pred.sum(axis=-1, keepdims=True)
        return np.log(np.clip(p, EPSILON, 1 - EPSILON))

    def gradient(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        t = self._targets(y_true, y_pred)
        if self.from_logits:
            return np.exp(_log_softmax(y_pred)) * t.sum(axis=-1, keepdims=True) - t
        total = y_pred.sum(axis=-1, keepdims=True)
        p = y_pred / total
        slope = np.where((p >= EPSILON) & (p <= 1 - EPSILON), -t / np.clip(p, EPSILON, None), 0)
        return (slope - (slope * p).sum(axis=-1, keepdims=True)) / total

    def kernel(self, activation: str | None) -> LossKernel | None:
        if self.label_smoothing:
            return None
        if self.from_logits:
            return LossKernel("softmax_cross_entropy", (0,), of_last_axis=True)
        if activation != "softmax":
            return None
        return LossKernel("softmax_cross_entropy", (0,), replaces="softmax", of_last_axis=True)


class SparseCategoricalCrossentropy(CategoricalCrossentropy):
    """-log of the probability of the label: CategoricalCrossentropy with integers in place of one-hot rows.

    Args:
        from_logits: whether predictions are logits, not probabilities.

    y_true: (n,) or (n, 1) integers, y_pred: (n, classes).

    >>> from cnnlite import losses
    >>> round(losses.SparseCategoricalCrossentropy()([1], [[0.25, 0.75]]), 4)
    0.2877
    """

    def __init__(
        self, from_logits: bool = False, name: str | None = None, reduction: str = "sum_over_batch_size"
    ) -> None:
        super().__init__(from_logits, 0.0, name, reduction)

    def _targets(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        classes = y_pred.shape[-1]
        if y_true.size != y_pred.size // classes:
            raise ValueError(
                f"{self.name}: expected labels of shape {y_pred.shape[:-1]}, got {y_true.shape}."
            )
        check_labels(y_true, classes, self.name)
        return np.eye(classes, dtype=y_pred.dtype)[y_true.reshape(y_pred.shape[:-1]).astype(np.int64)]

    def get_config(self) -> dict[str, Any]:
        return {"from_logits": self.from_logits, "name": self.name, "reduction": self.reduction}

    def kernel(self, activation: str | None) -> LossKernel | None:
        kernel = super().kernel(activation)
        return kernel and kernel._replace(integers=(1,), sparse=True)


class BinaryCrossentropy(_CrossEntropy):
    """The mean over the last axis of -(t log p + (1 - t) log(1 - p)), with p = sigmoid(y_pred) for from_logits=True.

    Args:
        from_logits: whether predictions are logits, not probabilities.
        label_smoothing: s from 0 to 1; targets t become t * (1 - s) + s / 2.

    y_true, y_pred: (n, outputs).

    >>> from cnnlite import losses
    >>> round(losses.BinaryCrossentropy()([[1.0]], [[0.5]]), 4)
    0.6931
    """

    def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        y_true = self._smooth(self.like(y_true, y_pred), 2)
        if self.from_logits:
            losses = np.maximum(y_pred, 0) - y_pred * y_true + np.log1p(np.exp(-np.abs(y_pred)))
        else:
            p = np.clip(y_pred, EPSILON, 1 - EPSILON)
            losses = -(y_true * np.log(p) + (1 - y_true) * np.log(1 - p))
        return losses.mean(axis=-1)

    def gradient(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        y_true = self._smooth(self.like(y_true, y_pred), 2)
        if self.from_logits:
            return (1 / (1 + np.exp(-y_pred)) - y_true) / y_pred.shape[-1]
        p = np.clip(y_pred, EPSILON, 1 - EPSILON)
        return np.where(p == y_pred, (p - y_true) / (p * (1 - p)), 0) / y_pred.shape[-1]

    def kernel(self, activation: str | None) -> LossKernel | None:
        if self.label_smoothing:
            return None
        return LossKernel("elementwise", (BINARY_LOGITS if self.from_logits else BINARY,))
