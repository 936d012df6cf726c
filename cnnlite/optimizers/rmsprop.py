"""RMSprop."""

from __future__ import annotations

from typing import Any

from cnnlite.optimizers.optimizer import Optimizer


class RMSprop(Optimizer):
    """v = rho * v + (1 - rho) g^2; w -= learning_rate * g / sqrt(v + epsilon), through momentum if there is one.

    Hinton, Neural networks for machine learning, lecture 6e, in Keras's form. centered: v minus the square of the mean of g.

    Args:
        learning_rate, rho, momentum, epsilon, centered: as Keras; further arguments: see `Optimizer`.

    >>> from cnnlite import optimizers
    >>> optimizers.RMSprop().learning_rate
    0.001
    """

    slots = ("v", "momentum", "mean")

    def __init__(
        self, learning_rate: Any = 0.001, rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7, centered: bool = False,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **kwargs)
        self.rho, self.momentum = self._number("rho", rho, 1), self._number("momentum", momentum, 1)
        self.epsilon, self.centered = self._number("epsilon", epsilon), bool(centered)
        if self.rho == 1:
            raise ValueError(f"{self.name}: expected rho below 1, got {rho!r}.")

    def numbers(self) -> dict[str, float]:
        return {"rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon}

    def kernel(self) -> tuple[str, tuple[int, ...]]:
        return "rmsprop", (int(self.momentum > 0), int(self.centered))

    def get_config(self) -> dict[str, Any]:
        own = {"rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon, "centered": self.centered}
        return {**super().get_config(), **own}
