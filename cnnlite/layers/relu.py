"""ReLU: negative numbers become 0, or smaller."""

from __future__ import annotations

from typing import Any

from cnnlite.engine.stages import Stage
from cnnlite.layers.activation import activation_stage, check_slope
from cnnlite.layers.layer import Layer, Shape


class ReLU(Layer):
    """y = x where x is positive, negative_slope * x elsewhere; with max_value=6 at most 6, as in MobileNet.

    Args:
        max_value: None or 6, the one that networks use and kernels are written for.
        negative_slope: of at least 0; 0 with max_value.
        threshold: 0, kept for Keras's sake.

    Input shape: any. Output shape: the same.

    Raises:
        ValueError: other arguments.

    >>> from cnnlite import layers
    >>> layers.ReLU(6).compute_output_shape((4, 4, 3))
    (4, 4, 3)
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if max_value not in (None, 6) or threshold != 0:
            raise ValueError(
                f"{self.name}: expected max_value None or 6 and threshold 0, got {max_value!r} and {threshold!r}; "
                "there are no kernels for others."
            )
        self.max_value = None if max_value is None else float(max_value)
        self.negative_slope = check_slope(negative_slope, self.name)
        if self.max_value is not None and self.negative_slope:
            raise ValueError(
                f"{self.name}: expected negative_slope 0 with max_value {max_value}, got {negative_slope!r}."
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None
        kind = "leaky_relu" if self.negative_slope else "relu" if self.max_value is None else "relu6"
        return activation_stage(kind, self.input_shape, self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        return {"max_value": self.max_value, "negative_slope": self.negative_slope, **super().get_config()}
