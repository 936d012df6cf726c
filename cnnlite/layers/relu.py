"""ReLU: negative numbers become 0, or smaller."""

from __future__ import annotations

from typing import Any

from cnnlite.engine.stages import Stage
from cnnlite.layers.activation import activation_stage, check_slope
from cnnlite.layers.layer import Layer, Shape


class ReLU(Layer):
    """y = x where x is positive, negative_slope * x elsewhere.

    Args:
        max_value: None, threshold: 0, kept for Keras's sake.
        negative_slope: of at least 0.

    Input shape: any. Output shape: the same.

    Raises:
        ValueError: other arguments.

    >>> from cnnlite import layers
    >>> layers.ReLU().compute_output_shape((4, 4, 3))
    (4, 4, 3)
    """

    def __init__(
        self, max_value: None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if max_value is not None or threshold != 0:
            raise ValueError(
                f"{self.name}: expected max_value None and threshold 0, got {max_value!r} and {threshold!r}; "
                "there are no kernels for others."
            )
        self.negative_slope = check_slope(negative_slope, self.name)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None
        kind = "leaky_relu" if self.negative_slope else "relu"
        return activation_stage(kind, self.input_shape, self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        return {"negative_slope": self.negative_slope, **super().get_config()}
