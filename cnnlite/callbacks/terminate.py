"""End training that has gone wrong."""

from __future__ import annotations

import math

from cnnlite.callbacks.base import Callback, Logs


class TerminateOnNaN(Callback):
    """Stops training after the first batch whose loss is NaN or infinite.

    It asks for the loss after every batch, which costs a little of fit's speed.

    >>> TerminateOnNaN().uses_batch_hooks("train")
    True
    """

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            self.say(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True
