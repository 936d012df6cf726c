"""The list through which fit, evaluate and predict call their callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cnnlite.callbacks.base import Callback, Logs
from cnnlite.callbacks.history import History


class CallbackList:
    """Calls every callback in order, and the hooks of batches only where a callback uses them.

    Args:
        callbacks: ``Callback`` objects, one of them alone, or None.
        model: given to each.
        params: given to each.
        add_history: end the list with a ``History`` unless it holds one; it then sees what the others add.
        say: what callbacks print with, such as ``Progress.message``.

    Attributes:
        callbacks: the list. history: its ``History``, or None.
        uses_batch_hooks, uses_test_batch_hooks, uses_predict_batch_hooks: if False, no callback looks at
            single batches, and a loop may leave out the calls and what it would compute for them.

    Raises:
        TypeError: something that is not a ``Callback``, such as a class that was not called.

    >>> callbacks = CallbackList([], add_history=True)
    >>> callbacks.on_epoch_end(0, {"loss": 0.5})
    >>> callbacks.history.history, callbacks.uses_batch_hooks
    ({'loss': [0.5]}, False)
    """

    def __init__(
        self,
        callbacks: Iterable[Callback] | Callback | None = None,
        model: Any = None,
        params: dict[str, Any] | None = None,
        add_history: bool = False,
        say: Callable[[str], object] = print,
    ) -> None:
        if callbacks is not None and not isinstance(callbacks, (Callback, type, Iterable)):
            raise TypeError(f"callbacks: expected a list of callbacks or one, got {callbacks!r}.")
        given = [callbacks] if isinstance(callbacks, (Callback, type)) else list(callbacks or [])
        for callback in given:
            if not isinstance(callback, Callback):
                raise TypeError(
                    f"callbacks: expected instances of cnnlite.callbacks.Callback, got {callback!r}. "
                    "Call a class before passing it: EarlyStopping()."
                )
        self.callbacks = given
        self.history = next((callback for callback in given if isinstance(callback, History)), None)
        if add_history and self.history is None:
            self.history = History()
            self.callbacks.append(self.history)
        self._batch_callbacks = {
            phase: [callback for callback in self.callbacks if callback.uses_batch_hooks(phase)]
            for phase in ("train", "test", "predict")
        }
        self.uses_batch_hooks = bool(self._batch_callbacks["train"])
        self.uses_test_batch_hooks = bool(self._batch_callbacks["test"])
        self.uses_predict_batch_hooks = bool(self._batch_callbacks["predict"])
        for callback in self.callbacks:
            callback.say = say
            callback.set_model(model)
            callback.set_params({} if params is None else params)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Tell every callback that fit begins."""
        for callback in self.callbacks:
            callback.on_train_begin(logs)

    def on_train_end(self, logs: Logs = None) -> None:
        """Tell every callback that fit ends."""
        for callback in self.callbacks:
            callback.on_train_end(logs)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Tell every callback that an epoch begins."""
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Tell every callback that an epoch is done; they share ``logs`` and may add to it."""
        logs = {} if logs is None else logs
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Tell those who look at batches that a training step begins."""
        for callback in self._batch_callbacks["train"]:
            callback.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Tell those who look at batches that a training step is done."""
        for callback in self._batch_callbacks["train"]:
            callback.on_train_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Tell every callback that an evaluation begins."""
        for callback in self.callbacks:
            callback.on_test_begin(logs)

    def on_test_end(self, logs: Logs = None) -> None:
        """Tell every callback that an evaluation ends."""
        for callback in self.callbacks:
            callback.on_test_end(logs)

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Tell those who look at batches that one is evaluated next."""
        for callback in self._batch_callbacks["test"]:
            callback.on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Tell those who look at batches that one has been evaluated."""
        for callback in self._batch_callbacks["test"]:
            callback.on_test_batch_end(batch, logs)

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Tell every callback that predict begins."""
        for callback in self.callbacks:
            callback.on_predict_begin(logs)

    def on_predict_end(self, logs: Logs = None) -> None:
        """Tell every callback that predict ends."""
        for callback in self.callbacks:
            callback.on_predict_end(logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Tell those who look at batches that one is predicted next."""
        for callback in self._batch_callbacks["predict"]:
            callback.on_predict_batch_begin(batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Tell those who look at batches that one has been predicted."""
        for callback in self._batch_callbacks["predict"]:
            callback.on_predict_batch_end(batch, logs)
