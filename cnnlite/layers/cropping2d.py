"""Cropping2D: images without their edges."""

from __future__ import annotations

from typing import Any

from cnnlite.engine.stages import Stage
from cnnlite.layers.frames import Margins, frame_stages, framed
from cnnlite.layers.layer import Layer, Shape, check_data_format, check_rank
from cnnlite_kernels.image_checks import margins


class Cropping2D(Layer):
    """Cuts rows and columns off each image.

    Args:
        cropping: an int for all four sides, (rows, columns) for both sides each, or ((top, bottom), (left, right)).

    Input shape: (h, w, channels). Output shape: (h - top - bottom, w - left - right, channels).

    Raises:
        ValueError: other cropping, one that leaves nothing, or an input that is no image.

    >>> from cnnlite import layers
    >>> layers.Cropping2D(((2, 2), (4, 4))).compute_output_shape((28, 28, 3))
    (24, 20, 3)
    """

    def __init__(
        self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_data_format(data_format, self.name)
        self.cropping = margins(self.name, "cropping", cropping)

    @property
    def _margins(self) -> Margins:
        (top, bottom), (left, right) = self.cropping
        return (-top, -bottom), (-left, -right)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 3, self.name, "(h, w, channels)")
        shape = framed(input_shape, self._margins)
        if min(shape) < 1:
            raise ValueError(
                f"{self.name}: expected images larger than cropping {self.cropping} takes off, got shape {input_shape}."
            )
        return shape

    def stages(self) -> list[Stage]:
        return frame_stages(self, self._margins)

    def get_config(self) -> dict[str, Any]:
        return {"cropping": [list(sides) for sides in self.cropping], **super().get_config()}
