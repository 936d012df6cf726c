"""Adam."""

from __future__ import annotations

from typing import Any

from cnnlite.optimizers.optimizer import Optimizer


class Adam(Optimizer):
    """m += (1 - beta_1)(g - m); v += (1 - beta_2)(g^2 - v);
    w -= learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon).

    Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015; the form at the end of section 2, as in Keras.

    Args:
        learning_rate, beta_1, beta_2, epsilon: as Keras; further arguments: see `Optimizer`.

    >>> from cnnlite import optimizers
    >>> optimizers.Adam().learning_rate
    0.001
    """

    slots = ("m", "v")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.beta_1, self.beta_2 = self._number("beta_1", beta_1, 1), self._number("beta_2", beta_2, 1)
        self.epsilon = self._number("epsilon", epsilon)
        if max(self.beta_1, self.beta_2) == 1:
            raise ValueError(
                f"{self.name}: expected beta_1 and beta_2 below 1, got {beta_1!r} and {beta_2!r}."
            )

    def numbers(self) -> dict[str, float]:
        return {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}

    def kernel(self) -> tuple[str, tuple[int, ...]]:
        return "adam", ()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
