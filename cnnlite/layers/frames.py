"""What ZeroPadding2D and Cropping2D share: rows and columns around each image, added or cut off."""

from __future__ import annotations

from cnnlite.engine.stages import FrameStage, Stage
from cnnlite.layers.layer import Layer, Shape
from cnnlite_kernels.window import Pair

Margins = tuple[Pair, Pair]


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
