"""What layers share that join the output before them with those of layers further back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnlite.engine.stages import INPUT
from cnnlite.layers.input import Input
from cnnlite.layers.layer import Layer, Shape


class Join(Layer):
    """A layer that reads outputs of layers before it, besides that of the one right before it.

    Args:
        sources: names of layers before it in the model, the layers themselves, or "input" for what the network is given.
        further arguments: see `Layer`.
    """

    def __init__(self, *sources: str | Layer | Input, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        names = [_name(source) for source in sources]
        if not names or not all(isinstance(name, str) and name for name in names):
            raise ValueError(
                f'{self.name}: expected names of layers before it, say "conv2d", or the layers, got {sources!r}.'
            )
        self.sources = tuple(names)

    def prepare(self, input_shape: Shape, source_shapes: Sequence[Shape] = ()) -> None:
        if len(source_shapes) != len(self.sources):
            raise ValueError(
                f"{self.name}: expected to be a layer of a model, which has {', '.join(self.sources)} before it; add it to one."
            )
        super().prepare(input_shape, source_shapes)

    @property
    def _named_shapes(self) -> str:
        """The shapes of its sources, for messages."""
        return ", ".join(
            f"{shape} of {name}" for name, shape in zip(self.sources, self.source_shapes, strict=True)
        )

    def get_config(self) -> dict[str, Any]:
        return {"sources": list(self.sources), **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        rest = dict(config)
        return cls(*rest.pop("sources"), **rest)


def _name(source: Any) -> Any:
    if isinstance(source, Input):
        return INPUT
    return source.name if isinstance(source, Layer) else source
