"""PReLU: negative numbers are multiplied by what is learnt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

from cnnlite import initializers, regularizers
from cnnlite.engine.stages import PReLUStage, Stage, image_shape
from cnnlite.layers.layer import Layer, Shape
from cnnlite.parameters import Parameter


class PReLU(Layer):
    """y = x where x is positive, alpha * x elsewhere; alpha is learnt.

    Args:
        alpha_initializer, alpha_regularizer: names or objects.
        shared_axes: axes along which all numbers have one alpha, counted with the batch, which is 0: [1, 2] for one a channel.

    Input shape: of up to three axes. Output shape: the same.

    Raises:
        ValueError: axes that are none of a sample's.

    >>> from cnnlite import layers
    >>> layer = layers.PReLU(shared_axes=[1, 2])
    >>> layer.build((28, 28, 16))
    >>> layer.alpha.shape
    (1, 1, 16)
    """

    alpha: Parameter

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        axes: list[Any] = [] if shared_axes is None else [shared_axes]
        if isinstance(shared_axes, Iterable):
            axes = list(shared_axes)
        if not all(isinstance(axis, Integral) and axis is not True and int(axis) >= 1 for axis in axes):
            raise ValueError(
                f"{self.name}: expected shared_axes as integers from 1, the batch being 0, got {shared_axes!r}."
            )
        self.shared_axes = None if shared_axes is None else [int(axis) for axis in axes]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) > 3:
            raise ValueError(f"{self.name}: expected samples of up to three axes, got shape {input_shape}.")
        if max(self.shared_axes or [0]) > len(input_shape):
            raise ValueError(
                f"{self.name}: expected shared_axes from 1 to {len(input_shape)} for samples of shape {input_shape}, "
                f"got {self.shared_axes}."
            )
        return input_shape

    def declare(self, input_shape: Shape) -> None:
        shared = self.shared_axes or []
        shape = [1 if axis in shared else size for axis, size in enumerate(input_shape, 1)]
        self.alpha = self.add_parameter("alpha", shape, self.alpha_initializer, self.alpha_regularizer)

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None
        sample = image_shape(self.input_shape)
        return [PReLUStage(sample, sample, self.alpha)]

    def get_config(self) -> dict[str, Any]:
        return {
            "alpha_initializer": initializers.serialize(self.alpha_initializer),
            "alpha_regularizer": regularizers.serialize(self.alpha_regularizer),
            "shared_axes": self.shared_axes,
            **super().get_config(),
        }
