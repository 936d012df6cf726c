"""What ZeroPadding2D and Cropping2D share: rows and columns around each image, added or cut off."""

from __future__ import annotations

from typing import Any

from cnnlite.engine.stages import FrameStage, Stage
from cnnlite.layers.layer import Layer, Shape
from cnnlite_kernels.window import Pair, pair

Margins = tuple[Pair, Pair]


def margins_of(value: Any, name: str, who: str) -> Margins:
    """((top, bottom), (left, right)) of an int for all four, (rows, columns) for both sides each, or a pair of pairs.

    Raises:
        ValueError: something else, or negative numbers.

    >>> margins_of((1, 2), "padding", "zero_padding2d"), margins_of(((0, 1), (2, 3)), "padding", "zero_padding2d")
    (((1, 1), (2, 2)), ((0, 1), (2, 3)))
    """
    axes = value if isinstance(value, (tuple, list)) else (value, value)
    try:
        rows, columns = axes
        return pair(rows, name, who, 0), pair(columns, name, who, 0)
    except (TypeError, ValueError):
        raise ValueError(
            f"{who}: expected {name} as an int, (rows, columns) or ((top, bottom), (left, right)) of at least 0, got {value!r}."
        ) from None


def frame_stages(layer: Layer, margins: Margins) -> list[Stage]:
    """The stage that puts margins around images, or cuts off those that are negative; none where they are 0."""
    assert layer.input_shape is not None and layer.output_shape is not None
    h, w, c = layer.input_shape
    oh, ow, _ = layer.output_shape
    return [FrameStage((h, w, c), (oh, ow, c), margins)] if any(map(any, margins)) else []


def framed(input_shape: Shape, margins: Margins) -> Shape:
    """The shape of an image with margins around it."""
    (h, w, c), (rows, columns) = input_shape, margins
    return h + sum(rows), w + sum(columns), c
