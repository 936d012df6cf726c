"""End training when it no longer helps."""

from __future__ import annotations

from cnnlite.callbacks.base import Logs, check_integer
from cnnlite.callbacks.monitor import Monitor


class EarlyStopping(Monitor):
    """Stops training once ``monitor`` has not improved for ``patience`` epochs.

    Args:
        monitor: the value to watch.
        min_delta: a change of less than this is no improvement.
        patience: epochs without improvement before training stops.
        verbose: 1 prints when something is done.
        mode: "min", "max" or "auto".
        baseline: a value to improve on: until it is reached, patience runs out even while the value improves.
        restore_best_weights: end with the weights of the best epoch rather than those of the last, also when
            training was not stopped.
        start_from_epoch: epochs at the start that do not count.

    Attributes:
        stopped_epoch: number of the epoch that training stopped in, from 0; 0 if it did not.
        best, best_epoch: the best value so far, and its epoch.

    Raises:
        ValueError: a mode, patience or start_from_epoch that makes no sense.

    >>> EarlyStopping(monitor="loss", patience=3).patience
    3
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = check_integer(self, "patience", patience)
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = check_integer(self, "start_from_epoch", start_from_epoch)
        self._reset()

    def _reset(self) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best = self.worst
        self.best_weights: list | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        current = self.monitored(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        improved = self.is_better(current, self.best)
        if self.restore_best_weights and (improved or self.best_weights is None):
            self.best_weights = self.model.get_weights()
            self.best_epoch = epoch
        self.wait += 1
        if improved:
            self.best, self.best_epoch = current, epoch
            if self.baseline is None or self.is_better(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            # Keras never stops in the first epoch: there is nothing it could have improved on
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        if self.stopped_epoch and self.verbose:
            self.say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                self.say(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)
