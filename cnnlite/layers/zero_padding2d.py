"""ZeroPadding2D: zeros around each image."""

from __future__ import annotations

from typing import Any

from cnnlite.engine.stages import Stage
from cnnlite.layers.frames import frame_stages, framed
from cnnlite.layers.layer import Layer, Shape, check_data_format, check_rank
from cnnlite_kernels.image_checks import margins


class ZeroPadding2D(Layer):
    """Puts rows and columns of zeros around each image.

    Args:
        padding: an int for all four sides, (rows, columns) for both sides each, or ((top, bottom), (left, right)).

    Input shape: (h, w, channels). Output shape: (h + top + bottom, w + left + right, channels).

    Raises:
        ValueError: other padding, or an input that is no image.

    >>> from cnnlite import layers
    >>> layers.ZeroPadding2D(((0, 1), (2, 2))).compute_output_shape((28, 28, 3))
    (29, 32, 3)
    """

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_data_format(data_format, self.name)
        self.padding = margins(self.name, "padding", padding)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 3, self.name, "(h, w, channels)")
        return framed(input_shape, self.padding)

    def stages(self) -> list[Stage]:
        return frame_stages(self, self.padding)

    def get_config(self) -> dict[str, Any]:
        return {"padding": [list(sides) for sides in self.padding], **super().get_config()}
