"""Save the model while it trains."""

from __future__ import annotations

import os
from pathlib import Path

from cnnlite.callbacks.base import Logs, check_integer
from cnnlite.callbacks.monitor import Monitor


class ModelCheckpoint(Monitor):
    """Saves the model, or its weights, after every epoch or every so many batches.

    Args:
        filepath: where to. Named fields are filled in: "{epoch:02d}-{val_loss:.2f}.npz"; epochs, and
            "{batch}", count from 1 there. Missing folders are made.
        monitor: the value that ``save_best_only`` goes by.
        verbose: 1 prints what is saved, and what is not.
        save_best_only: save only what improves on everything before.
        save_weights_only: save the weights alone, with ``model.save_weights``.
        mode: "min", "max" or "auto".
        save_freq: "epoch", or a number of batches, counted on over the ends of epochs.
        initial_value_threshold: the value the first one saved has to improve on.

    Raises:
        ValueError: a mode or save_freq that makes no sense; when saving: a field of ``filepath`` that there
            is no value for.

    >>> ModelCheckpoint("best.npz", monitor="val_accuracy", save_best_only=True).mode
    'auto'
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        # the direction of a monitor that is not used need not be known
        super().__init__(monitor, "min" if mode == "auto" and not save_best_only else mode)
        self.mode = mode
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq if save_freq == "epoch" else check_integer(self, "save_freq", save_freq, 1)
        self.best = self.worst if initial_value_threshold is None else initial_value_threshold
        self._epoch = self._batches = 0

    def uses_batch_hooks(self, phase: str) -> bool:
        """Say whether single batches matter: when training, if ``save_freq`` counts them."""
        return phase == "train" and self.save_freq != "epoch"

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.save_freq == "epoch":
            return
        self._batches += 1
        if self._batches == self.save_freq:
            self._batches = 0
            self._save(self._epoch, {"batch": batch + 1, **(logs or {})})

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, logs or {})

    def _save(self, epoch: int, logs: dict[str, float]) -> None:
        path = self._path(epoch, logs)
        reason = self._reason(epoch, logs)
        if reason is None:
            return
        if self.verbose:
            self.say(f"Epoch {epoch + 1}: {reason}saving model to {path}")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)

    def _reason(self, epoch: int, logs: dict[str, float]) -> str | None:
        """Return what to print before "saving", or None not to save."""
        if not self.save_best_only:
            return ""
        current = self.monitored(logs, "The model is saved all the same")
        if current is None:
            return ""
        best = self.best
        if not self.is_better(current, best):
            if self.verbose:
                self.say(f"Epoch {epoch + 1}: {self.monitor} did not improve from {best:.5f}")
            return None
        self.best = current
        return f"{self.monitor} improved from {best:.5f} to {current:.5f}, "

    def _path(self, epoch: int, logs: dict[str, float]) -> str:
        fields = {**logs, "epoch": epoch + 1}
        try:
            return self.filepath.format(**fields)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"ModelCheckpoint: expected filepath with fields out of {', '.join(fields)}, got "
                f"{self.filepath!r} ({error}). Correct its name or format."
            ) from None
