"""Change the optimizer's learning rate from epoch to epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from numbers import Real
from typing import Any

from cnnlite.callbacks.base import Callback, Logs, check_integer
from cnnlite.callbacks.monitor import Monitor


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of every epoch, and adds it to the logs as "learning_rate".

    Args:
        schedule: ``schedule(epoch, learning_rate) -> float``, or ``schedule(epoch)``; epochs count from 0.
        verbose: 1 prints the new learning rate.

    Raises:
        TypeError: a schedule that cannot be called. ValueError: when it returns something that is no number.

    >>> halve = LearningRateScheduler(lambda epoch, learning_rate: learning_rate / 2)
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                f"LearningRateScheduler: expected a function of (epoch, learning_rate), got {schedule!r}. "
                "For a fixed learning rate set optimizer.learning_rate."
            )
        self.schedule = schedule
        self.verbose = verbose
        self._takes_rate = _takes_two(schedule)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        old = float(self.model.optimizer.learning_rate)
        new: Any = self.schedule(epoch, old) if self._takes_rate else self.schedule(epoch)
        if isinstance(new, bool) or not isinstance(new, Real):
            raise ValueError(
                f"LearningRateScheduler: expected schedule to return a float, got {new!r} in epoch {epoch}."
            )
        self.model.optimizer.learning_rate = float(new)
        if self.verbose:
            self.say(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {float(new)}.")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def _takes_two(function: Callable[..., float]) -> bool:
    try:
        inspect.signature(function).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:  # built-in functions may have no signature
        return True
    return True


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by ``factor`` when ``monitor`` has not improved for ``patience`` epochs.

    Adds the learning rate to the logs as "learning_rate".

    Args:
        monitor: the value to watch.
        factor: between 0 and 1, 1 excluded.
        patience: epochs without improvement before the learning rate is reduced.
        verbose: 1 prints each reduction.
        mode: "min", "max" or "auto".
        min_delta: a change of less than this is no improvement.
        cooldown: epochs after a reduction in which nothing is counted.
        min_lr: the learning rate is never reduced below this.

    Raises:
        ValueError: a factor of 1 or more, or below 0; a mode, patience or cooldown that makes no sense.

    >>> ReduceLROnPlateau(monitor="val_loss", factor=0.2, patience=5, min_lr=1e-5).factor
    0.2
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not 0 <= factor < 1:
            raise ValueError(
                f"ReduceLROnPlateau: expected factor of 0 or more and below 1, got {factor}. 0.1 is usual."
            )
        self.factor = factor
        self.patience = check_integer(self, "patience", patience)
        self.verbose = verbose
        self.cooldown = check_integer(self, "cooldown", cooldown)
        self.min_lr = min_lr
        self._reset()

    def _reset(self) -> None:
        self.best = self.worst
        self.wait = self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        old = float(self.model.optimizer.learning_rate)
        current = self.monitored(logs)
        if logs is not None:
            logs["learning_rate"] = old
        if current is None:
            return
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.is_better(current, self.best):
            self.best, self.wait = current, 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience and old > self.min_lr:
                self._reduce(epoch, old)

    def _reduce(self, epoch: int, old: float) -> None:
        new = max(old * self.factor, self.min_lr)
        self.model.optimizer.learning_rate = new
        self.cooldown_counter, self.wait = self.cooldown, 0
        if self.verbose:
            self.say(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {new}.")
