"""What callbacks that watch one value have in common: which way is better, and is it there at all."""

from __future__ import annotations

import warnings
from typing import Any

from cnnlite.callbacks.base import Callback, Logs

# parts of metric names that say which way is better; the first list wins
BETTER_LOW = ("loss", "error", "mse", "mae", "rmse", "msle", "mape", "entropy", "perplexity", "divergence")
BETTER_HIGH = ("acc", "auc", "precision", "recall", "f1", "iou", "similarity")


class Monitor(Callback):
    """Base class of callbacks that watch ``monitor``, a name in the logs of an epoch's end.

    Args:
        monitor: "loss", "val_loss", "val_accuracy" and so on.
        mode: "min" if lower is better, "max" if higher is, "auto" to tell by the name.
        min_delta: a change of less than this is no improvement; its sign does not matter.

    Raises:
        ValueError: another mode, or "auto" with a name that does not tell.

    >>> Monitor("val_accuracy").is_better(0.9, than=0.8)
    True
    """

    def __init__(self, monitor: str = "val_loss", mode: str = "auto", min_delta: float = 0.0) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            raise ValueError(
                f"{type(self).__name__}: expected mode 'auto', 'min' or 'max', got {mode!r}. "
                "'min' means that lower is better."
            )
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(min_delta)
        self.sign = self._direction(monitor, mode)

    @property
    def worst(self) -> float:
        """What any value improves on: infinity, or minus infinity if higher is better."""
        return self.sign * float("inf")

    def is_better(self, value: float, than: float) -> bool:
        """Say whether ``value`` improves on ``than`` by more than ``min_delta``. NaN never does."""
        return self.sign * (than - value) > self.min_delta

    def monitored(self, logs: Logs, so: str = "Nothing is done") -> Any:
        """Return the value in ``logs``, or None with a warning that names what is there and what follows."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            warnings.warn(
                f"{type(self).__name__}: expected {self.monitor!r} among the values of the epoch, got "
                f"{', '.join(logs or {}) or 'none'}. {so}; correct monitor, or pass validation data.",
                stacklevel=3,
            )
        return value

    def _direction(self, monitor: str, mode: str) -> int:
        if mode != "auto":
            return 1 if mode == "min" else -1
        name = monitor.removeprefix("val_").lower()
        if any(part in name for part in BETTER_LOW):
            return 1
        if any(part in name for part in BETTER_HIGH):
            return -1
        raise ValueError(
            f"{type(self).__name__}: expected mode 'min' or 'max' with monitor={monitor!r}, got 'auto'. "
            "The name does not tell whether lower or higher is better."
        )
