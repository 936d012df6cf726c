"""What a loss is: one number a sample, and its gradient with respect to the predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cnnlite.naming import call_of, snake_case


class LossKernel(NamedTuple):
    """How a loss is computed by a kernel of cnnlite_kernels.cpu.losses.

    kernel: its name; integers: what it is compiled for; sparse: targets are labels; replaces: the activation at the network's end
    that is part of the formula and is left out; delta: of Huber's loss; of_last_axis: it is a sum over the last axis of the
    predictions and no mean over all of them.
    """

    kernel: str
    integers: tuple[int, ...]
    sparse: bool = False
    replaces: str | None = None
    delta: float = 1.0
    of_last_axis: bool = False


class Loss:
    """Base of all losses. A subclass defines `call` and `gradient`; the mean over samples is taken for it.

    Args:
        name: default: the class's name in snake case.
        reduction: "sum_over_batch_size" (the mean over samples), "sum" or "none".

    To write one of your own:

    >>> from cnnlite import losses
    >>> class Quartic(losses.Loss):
    ...     def call(self, y_true, y_pred):
    ...         return ((y_pred - y_true) ** 4).mean(axis=-1)
    ...
    ...     def gradient(self, y_true, y_pred):
    ...         return 4 * (y_pred - y_true) ** 3 / y_pred.shape[-1]
    >>> Quartic()([[0.0]], [[2.0]])
    16.0
    """

    def __init__(self, name: str | None = None, reduction: str = "sum_over_batch_size") -> None:
        if reduction not in ("sum_over_batch_size", "sum", "none", None):
            raise ValueError(
                f'{type(self).__name__}: expected reduction "sum_over_batch_size", "sum" or "none", got {reduction!r}.'
            )
        self.name = name or snake_case(type(self).__name__)
        self.reduction = reduction

    def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The loss of each sample, (n,) or with further axes, over which the mean is taken."""
        raise NotImplementedError(f"{type(self).__name__}: define call(y_true, y_pred).")

    def gradient(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The derivative of the sum of all of `call`'s numbers with respect to y_pred, of y_pred's shape.

        Over their number it is that of the mean, which training follows: `gradient(y_true, y_pred) / n` for (n, outputs).
        """
        raise NotImplementedError(
            f"{type(self).__name__}: define gradient(y_true, y_pred), which training needs: there is no autograd."
        )

    def kernel(self, activation: str | None) -> LossKernel | None:
        """The kernel that computes this loss behind an activation, or None: `call` and `gradient` are then used."""
        return None

    def like(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Targets in the predictions' shape; a last axis of one may be missing.

        Raises:
            ValueError: another number of them: numpy would make a table of all pairs.
        """
        if y_true.size != y_pred.size:
            raise ValueError(
                f"{self.name}: expected y_true of y_pred's shape {y_pred.shape}, got {y_true.shape}."
            )
        return y_true.reshape(y_pred.shape)

    def per_sample(self, y_true: Any, y_pred: Any) -> np.ndarray:
        """The loss of each sample, (n,).

        Raises:
            ValueError: y_pred without a batch, y_true that does not fit, or `call` returned something else.
        """
        y_pred = np.asarray(y_pred)
        if y_pred.ndim == 0:
            raise ValueError(f"{self.name}: expected y_pred of shape (n, outputs), got a number.")
        losses = np.asarray(self.call(np.asarray(y_true), y_pred))
        if losses.shape[:1] != y_pred.shape[:1]:
            if y_pred.ndim == 1:
                raise ValueError(
                    f"{self.name}: expected y_pred of shape (n, outputs), got {y_pred.shape}; y_pred[:, None] is one output a sample."
                )
            raise ValueError(
                f"{self.name}: expected call(y_true, y_pred) to return one loss a sample, shape {y_pred.shape[:1]}, got shape "
                f"{losses.shape}; the mean over samples is taken for you."
            )
        return losses.mean(axis=tuple(range(1, losses.ndim))) if losses.ndim > 1 else losses

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch, as a float (an array (n,) with reduction "none"); that of no samples is 0.

        Raises:
            ValueError: shapes that do not fit. sample_weight: a number or (n,).
        """
        losses = self.per_sample(y_true, y_pred)
        if sample_weight is not None:
            weights = np.asarray(sample_weight)
            if weights.shape not in ((), losses.shape):
                raise ValueError(
                    f"{self.name}: expected sample_weight of shape {losses.shape}, got {weights.shape}."
                )
            losses = losses * weights
        if self.reduction == "none" or self.reduction is None:
            return losses
        return float(losses.sum() if self.reduction == "sum" else losses.sum() / max(1, len(losses)))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "reduction": self.reduction}

    def __repr__(self) -> str:
        return call_of(self)


class FunctionLoss(Loss):
    """A loss from a function of (y_true, y_pred) that returns (losses of shape (n,), gradient of y_pred's shape)."""

    def __init__(self, function: Callable[[np.ndarray, np.ndarray], Any]) -> None:
        super().__init__(getattr(function, "__name__", "loss"))
        self.function = function

    def _both(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        result = self.function(y_true, y_pred)
        if (
            not isinstance(result, tuple)
            or len(result) != 2
            or np.shape(result[0])[:1] != y_pred.shape[:1]
            or np.shape(result[1]) != y_pred.shape
        ):
            raise ValueError(
                f"{self.name}: expected a loss function to return (losses of shape {y_pred.shape[:1]}, gradient of shape "
                f"{y_pred.shape}), because there is no autograd; got {type(result).__name__}. Or pass a cnnlite.losses.Loss."
            )
        return np.asarray(result[0]), np.asarray(result[1])

    def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return self._both(y_true, y_pred)[0]

    def gradient(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return self._both(y_true, y_pred)[1]
