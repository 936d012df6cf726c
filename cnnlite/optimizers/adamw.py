"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any

from cnnlite.optimizers.adam import Adam


class AdamW(Adam):
    """w -= learning_rate * weight_decay * w, and then Adam's step, whose moments know nothing of the decay.

    Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, in Keras's form: all weights decay, biases too.

    Args:
        learning_rate, weight_decay, beta_1, beta_2, epsilon: as Keras; further arguments: see `Optimizer`.

    Raises:
        ValueError: weight_decay is None.

    >>> from cnnlite import optimizers
    >>> optimizers.AdamW().weight_decay
    0.004
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay=weight_decay, **kwargs)
        if weight_decay is None:
            raise ValueError(f"{self.name}: expected weight_decay of 0 or more, got None; use Adam without.")
