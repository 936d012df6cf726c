"""SGD, with momentum and Nesterov's."""

from __future__ import annotations

from typing import Any

from cnnlite.optimizers.optimizer import Optimizer


class SGD(Optimizer):
    """w -= learning_rate * g; with momentum v = momentum * v - learning_rate * g and w += v; with nesterov
    w += momentum * v - learning_rate * g.

    Args:
        learning_rate, momentum, nesterov: as Keras; further arguments: see `Optimizer`.

    >>> from cnnlite import optimizers
    >>> optimizers.SGD(0.1, momentum=0.9).learning_rate
    0.1
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.momentum, self.nesterov = self._number("momentum", momentum, 1), bool(nesterov)

    @property
    def slots(self) -> tuple[str, ...]:
        """The velocity, from the first step with momentum on: that may be set, and set back, between steps."""
        return ("momentum",) if self.momentum or self.state else ()

    def numbers(self) -> dict[str, float]:
        return {"momentum": self.momentum, "nesterov": self.nesterov}

    def kernel(self) -> tuple[str, tuple[int, ...]]:
        return "sgd", (int(bool(self.state)),)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}
