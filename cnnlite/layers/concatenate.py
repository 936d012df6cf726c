"""Concatenate: a skip connection whose ends are put side by side."""

from __future__ import annotations

from typing import Any

from cnnlite.engine.stages import ConcatenateStage, Stage, image_shape
from cnnlite.layers.input import Input
from cnnlite.layers.join import Join
from cnnlite.layers.layer import Layer, Shape


class Concatenate(Join):
    """y = the channels of the output before it, then those of the layers it names.

    In a `Sequential` a layer reads what the one before it puts out; this one reads others besides, as Keras's functional
    `Concatenate()([x, a, b])` does, written `Concatenate("a", "b")`.

    Args:
        sources: names of layers before it in the model, the layers themselves, or "input" for what the network is given.
        axis: -1, the last one.

    Input shape: any. Output shape: the same but for the last axis, which is the sum of all; in the other axes all must agree.

    Raises:
        ValueError: no names, another axis; in a model: names that are none of layers before it, outputs of other sizes.

    >>> from cnnlite import layers, models
    >>> model = models.Sequential([layers.Input((8, 8, 16))])
    >>> model.add(layers.MaxPooling2D(2))
    >>> model.add(layers.UpSampling2D(2))
    >>> model.add(layers.Concatenate("input"))
    >>> model.output_shape
    (8, 8, 32)
    """

    def __init__(self, *sources: str | Layer | Input, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(*sources, **kwargs)
        if axis != -1:
            raise ValueError(f"{self.name}: expected axis -1, the last one, got {axis!r}.")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if any(shape[:-1] != input_shape[:-1] for shape in self.source_shapes):
            raise ValueError(
                f"{self.name}: expected outputs that differ in channels alone from {input_shape}, as the layer before has, "
                f"got {self._named_shapes}."
            )
        channels = input_shape[-1] + sum(shape[-1] for shape in self.source_shapes)
        return (*input_shape[:-1], channels)

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None and self.output_shape is not None
        shapes = image_shape(self.input_shape), image_shape(self.output_shape)
        return [ConcatenateStage(*shapes, sources=self.sources)]
