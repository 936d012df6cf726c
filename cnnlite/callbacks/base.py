"""The base class of callbacks: one method for everything that happens in fit, evaluate and predict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Logs: TypeAlias = "dict[str, Any] | None"


class Callback:
    """Override the methods you need; each does nothing here.

    ``logs`` holds the loss and metrics so far, {"loss": 0.3, "accuracy": 0.9}. All callbacks share the dict
    of an epoch's end: what one adds, those after it and ``History`` see. Epochs and batches count from 0.

    Attributes:
        model: the model being trained; set ``model.stop_training = True`` to end training.
        params: {"epochs": ..., "steps": ..., "verbose": ...} of the call.

    >>> class PrintLoss(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         self.say(f"epoch {epoch}: loss {logs['loss']:.2f}")
    >>> PrintLoss().on_epoch_end(0, {"loss": 0.5})
    epoch 0: loss 0.50
    """

    model: Any = None
    params: dict[str, Any]
    say: Callable[[str], object] = staticmethod(print)
    """Print a line; within fit, where the progress bar is not disturbed by it."""

    def __init__(self) -> None:
        self.params = {}

    def __getstate__(self) -> dict[str, Any]:
        """A copy prints by itself: the progress bar that this one prints around may not be copied."""
        return {name: value for name, value in self.__dict__.items() if name != "say"}

    def set_params(self, params: dict[str, Any]) -> None:
        """Keep the arguments of the call that is about to begin."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Keep the model of the call that is about to begin."""
        self.model = model

    def uses_batch_hooks(self, phase: str) -> bool:
        """Say whether the hooks of single batches do anything; if not, the loop does not call them.

        Args:
            phase: "train", "test" or "predict".
        """
        names = [f"on_{phase}_batch_begin", f"on_{phase}_batch_end"]
        if phase == "train":
            names += ["on_batch_begin", "on_batch_end"]
        return any(
            getattr(getattr(self, name), "__func__", None) is not getattr(Callback, name) for name in names
        )

    def on_train_begin(self, logs: Logs = None) -> None:
        """Called once, when fit begins."""

    def on_train_end(self, logs: Logs = None) -> None:
        """Called once, when fit ends; ``logs`` are the last epoch's."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Called when an epoch begins."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Called when an epoch and its validation are done; "val_" heads the names of validation values."""

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Called before each training step; calls ``on_batch_begin``."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Called after each training step, with the epoch's means so far; calls ``on_batch_end``."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Another name for ``on_train_batch_begin``."""

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Another name for ``on_train_batch_end``."""

    def on_test_begin(self, logs: Logs = None) -> None:
        """Called when an evaluation begins, fit's validation included."""

    def on_test_end(self, logs: Logs = None) -> None:
        """Called when an evaluation ends."""

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Called before each batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Called after each batch of an evaluation."""

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Called when predict begins."""

    def on_predict_end(self, logs: Logs = None) -> None:
        """Called when predict ends."""

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Called before each batch of predict."""

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Called after each batch of predict."""


def check_integer(owner: object, name: str, value: Any, least: int = 0) -> int:
    """Return ``value``; ValueError if it is not an integer of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(
            f"{type(owner).__name__}: expected {name} to be an integer of {least} or more, got {value!r}."
        )
    return value
