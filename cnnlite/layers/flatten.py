"""Flatten: a sample's numbers in one row."""

from __future__ import annotations

import math
from typing import Any

from cnnlite.engine.stages import Stage
from cnnlite.layers.layer import Layer, Shape, check_data_format


class Flatten(Layer):
    """Gives each sample one axis, in the order that its numbers have in memory (rows, columns, channels). Costs nothing.

    Args:
        data_format: None or "channels_last".

    Input shape: any. Output shape: (features,).

    Raises:
        ValueError: another data_format.

    >>> from cnnlite import layers
    >>> layers.Flatten().compute_output_shape((3, 3, 64))
    (576,)
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_data_format(data_format, self.name)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def stages(self) -> list[Stage]:
        return []
