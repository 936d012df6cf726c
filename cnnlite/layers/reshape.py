"""Reshape: a sample's numbers with other axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnlite.engine.stages import Stage
from cnnlite.layers.layer import Layer, Shape


class Reshape(Layer):
    """Gives each sample other axes, its numbers in the order that they have in memory (rows, columns, channels). Costs nothing.

    Args:
        target_shape: of one sample; one axis may be -1, which is then what is left.

    Input shape: any with as many numbers. Output shape: target_shape.

    Raises:
        ValueError: anything but positive integers and one -1, or an input with another number of numbers.

    >>> from cnnlite import layers
    >>> layers.Reshape((7, 7, -1)).compute_output_shape((3136,))
    (7, 7, 64)
    """

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        sizes = list(target_shape) if isinstance(target_shape, (tuple, list)) else []
        whole = all(isinstance(size, (int, np.integer)) and (size > 0 or size == -1) for size in sizes)
        if not sizes or not whole or sizes.count(-1) > 1:
            raise ValueError(
                f"{self.name}: expected target_shape as positive integers without the batch, one of them perhaps -1, "
                f"got {target_shape!r}."
            )
        self.target_shape = tuple(int(size) for size in sizes)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        numbers = math.prod(input_shape)
        known = math.prod(size for size in self.target_shape if size != -1)
        rest = numbers // known if -1 in self.target_shape else 1
        if rest * known != numbers:
            raise ValueError(
                f"{self.name}: expected samples whose numbers fill {self.target_shape}, got shape {input_shape}, "
                f"which has {numbers}."
            )
        return tuple(rest if size == -1 else size for size in self.target_shape)

    def stages(self) -> list[Stage]:
        return []

    def get_config(self) -> dict[str, Any]:
        return {"target_shape": list(self.target_shape), **super().get_config()}
