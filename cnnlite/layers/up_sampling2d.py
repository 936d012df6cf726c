"""UpSampling2D: images with so many times the rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnlite.engine.stages import Stage, UpSamplingStage
from cnnlite.layers.layer import Layer, Shape, check_data_format, check_rank
from cnnlite_kernels.image_checks import up_sampling


class UpSampling2D(Layer):
    """Enlarges images by whole factors. Nearest: y[p, q] = x[p // sh, q // sw]; bilinear: pixels in between are mixed, with
    half-pixel centres (see `cnnlite_kernels.up_sampling2d`).

    Args:
        size: rows and columns that are made of each, an int or (sh, sw).
        interpolation: "nearest" or "bilinear".

    Input shape: (h, w, channels). Output shape: (h * sh, w * sw, channels).

    Raises:
        ValueError: arguments that do not fit, an input that is no image.

    >>> from cnnlite import layers
    >>> layers.UpSampling2D(2).compute_output_shape((7, 7, 64))
    (14, 14, 64)
    """

    def __init__(
        self,
        size: int | Sequence[int] = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_data_format(data_format, self.name)
        self.interpolation = interpolation.lower() if isinstance(interpolation, str) else interpolation
        self.size, _ = up_sampling(self.name, (1, 1, 1, 1), size, self.interpolation)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 3, self.name, "(h, w, channels)")
        _, (_, *shape) = up_sampling(self.name, (1, *input_shape), self.size, self.interpolation)
        return tuple(shape)

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None and self.output_shape is not None
        h, w, c = self.input_shape
        oh, ow, _ = self.output_shape
        return [UpSamplingStage((h, w, c), (oh, ow, c), self.size, self.interpolation)]

    def get_config(self) -> dict[str, Any]:
        return {"size": list(self.size), "interpolation": self.interpolation, **super().get_config()}
