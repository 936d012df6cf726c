"""A callback out of plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnlite.callbacks.base import Callback


class LambdaCallback(Callback):
    """Calls the functions it is given in place of its methods.

    Args:
        on_epoch_begin, on_epoch_end: called with (epoch, logs).
        on_train_begin, on_train_end: called with (logs).
        on_train_batch_begin, on_train_batch_end: called with (batch, logs).
        hooks: any other method of ``Callback`` whose name begins with "on_", such as on_test_end.

    Raises:
        TypeError: a name that ``Callback`` does not have, or something that cannot be called.

    >>> show = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
    >>> show.on_epoch_end(0, {"loss": 0.5})
    0 0.5
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **hooks: Callable[..., Any] | None,
    ) -> None:
        super().__init__()
        hooks |= {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        for name, function in hooks.items():
            if not name.startswith("on_") or not hasattr(Callback, name):
                raise TypeError(f"LambdaCallback: expected names of Callback's methods, got {name!r}.")
            if function is not None and not callable(function):
                raise TypeError(f"LambdaCallback: expected a function for {name}, got {function!r}.")
            if function is not None:
                setattr(self, name, function)
