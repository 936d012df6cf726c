"""Flatten: a sample's numbers in one row."""

from __future__ import annotations

import math

from cnnlite.engine.stages import Stage
from cnnlite.layers.layer import Layer, Shape


class Flatten(Layer):
    """Gives each sample one axis, in the order that its numbers have in memory (rows, columns, channels). Costs nothing.

    Input shape: any. Output shape: (features,).

    >>> from cnnlite import layers
    >>> layers.Flatten().compute_output_shape((3, 3, 64))
    (576,)
    """

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def stages(self) -> list[Stage]:
        return []
