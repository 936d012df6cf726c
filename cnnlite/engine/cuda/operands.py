"""What the launches of a stage are told."""

from __future__ import annotations

from typing import Any, NamedTuple

from cnnlite.engine.stages import ConvStage, TransposedConvStage
from cnnlite.parameters import Layout, Parameter
from cnnlite_kernels.cuda.geometry import Geometry
from cnnlite_kernels.cuda.plan import Plan


class Run(NamedTuple):
    """What all stages of a pass share: the plan, n samples, and the key of this step's masks of dropout, int64 (1,)."""

    plan: Plan
    n: int
    key: Any = None


class Kept(NamedTuple):
    """What the backward pass of a stage needs: its input, its output, and what its forward pass found besides.

    more: with pooling the places of the maxima, int32 (outputs,); with normalization of a batch its mean and its variance, (c,) each.
    """

    x: Any
    y: Any
    more: tuple[Any, ...] = ()


class Gradients(NamedTuple):
    """Where gradients of parameters go: a buffer of the layout of those that are trained."""

    layout: Layout
    buffer: Any

    def of(self, parameter: Parameter | None) -> Any:
        """The place of a parameter's gradient, None if it is not trained."""
        if parameter is None or parameter not in self.layout:
            return None
        place = self.layout.place(parameter)
        return self.buffer[place : place + parameter.size]


def where(device: Any, parameter: Parameter | None) -> Any:
    """Where a parameter's values are on a device; None for None."""
    if parameter is None:
        return None
    assert parameter.store is not None
    return parameter.store.values.on(device)[parameter.offset : parameter.offset + parameter.size]


def geometry(stage: ConvStage, n: int) -> Geometry:
    """Of a convolution, or of a dense layer: that is one of 1 x 1 pixels, which conv2d knows for a product."""
    h, w, cin = stage.in_shape
    return Geometry.of(stage.window, n, h, w, cin, stage.out_shape[-1], groups=stage.groups)


def transposed_geometry(stage: TransposedConvStage, n: int) -> Geometry:
    """Of the convolution that makes the stage's input of its output."""
    h, w, cout = stage.out_shape
    return Geometry.of(stage.window, n, h, w, cout, stage.in_shape[-1])
