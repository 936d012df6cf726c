"""Dropout: in training, some numbers become 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlite.engine.stages import DropoutStage, Stage, image_shape
from cnnlite.layers.layer import Layer, Shape


class Dropout(Layer):
    """In training each number is 0 with probability `rate`, else divided by 1 - rate; otherwise nothing changes.

    The mask comes from a counter-based generator (Philox): it depends on the seed, the step, the layer and the number's place in
    the batch, not on threads.

    Args:
        rate: from 0 up to, not including, 1. noise_shape: None, kept for Keras's sake.
        seed: makes this layer's masks its own; default: all come from `cnnlite.set_random_seed`.

    Input shape: any. Output shape: the same.

    Raises:
        ValueError: another rate.

    >>> from cnnlite import layers
    >>> layers.Dropout(0.5).rate
    0.5
    """

    def __init__(self, rate: float, noise_shape: None = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if noise_shape is not None:
            raise ValueError(
                f"{self.name}: expected noise_shape None, each number has a mask of its own; got {noise_shape!r}."
            )
        if isinstance(rate, bool) or not isinstance(rate, (int, float, np.floating)) or not 0 <= rate < 1:
            raise ValueError(f"{self.name}: expected rate from 0 up to 1, got {rate!r}.")
        if seed is not None and not (isinstance(seed, (int, np.integer)) and 0 <= seed < 2**32):
            raise ValueError(
                f"{self.name}: expected seed as an integer from 0 to 2**32 - 1 or None, got {seed!r}."
            )
        self.rate = float(rate)
        self.seed = None if seed is None else int(seed)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None
        sample = image_shape(self.input_shape)
        return [DropoutStage(sample, sample, self.rate, self.seed or 0)] if self.rate else []

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "seed": self.seed, **super().get_config()}
