"""Add: a skip connection whose ends are summed."""

from __future__ import annotations

from cnnlite.engine.stages import AddStage, Stage, image_shape
from cnnlite.layers.join import Join
from cnnlite.layers.layer import Shape


class Add(Join):
    """y = the output before it + those of the layers it names.

    In a `Sequential` a layer reads what the one before it puts out; this one reads others besides, as Keras's functional
    `Add()([x, a, b])` does, written `Add("a", "b")`.

    Args:
        sources: names of layers before it in the model, the layers themselves, or "input" for what the network is given.

    Input shape: any. Output shape: the same, which all must have.

    Raises:
        ValueError: no names; in a model: names that are none of layers before it, outputs of other shapes.

    >>> from cnnlite import layers, models
    >>> model = models.Sequential([layers.Input((8, 8, 16))])
    >>> model.add(layers.Conv2D(16, 3, padding="same", activation="relu", name="first"))
    >>> model.add(layers.Conv2D(16, 3, padding="same"))
    >>> model.add(layers.Add("first"))
    >>> model.output_shape
    (8, 8, 16)
    """

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if any(shape != input_shape for shape in self.source_shapes):
            raise ValueError(
                f"{self.name}: expected outputs of one shape to add, {input_shape} as the layer before has, "
                f"got {self._named_shapes}."
            )
        return input_shape

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None
        sample = image_shape(self.input_shape)
        return [AddStage(sample, sample, sources=self.sources)]
