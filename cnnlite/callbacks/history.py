"""The record of a training run."""

from __future__ import annotations

from typing import Any

from cnnlite.callbacks.base import Callback, Logs


class History(Callback):
    """What fit returns: the values of every epoch.

    Attributes:
        history: {"loss": [first epoch's, second epoch's, ...], ...}.
        epoch: numbers of the epochs, from 0.

    >>> history = History()
    >>> history.on_train_begin()
    >>> history.on_epoch_end(0, {"loss": 0.5})
    >>> history.on_epoch_end(1, {"loss": 0.25})
    >>> history.epoch, history.history
    ([0, 1], {'loss': [0.5, 0.25]})
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        self.history = {}
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
