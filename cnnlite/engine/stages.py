"""What layers become before they are emitted: a short list of stages, with neighbours fused where that saves work."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cnnlite.parameters import Layout, Parameter
from cnnlite_kernels.window import Window2D

if TYPE_CHECKING:
    from cnnlite.layers.layer import Layer

Shape = tuple[int, int, int]
SMALLEST_PROBABILITY = 1e-7  # of a prediction, in a loss: Keras's fuzz


def image_shape(shape: Sequence[int]) -> Shape:
    """(h, w, c) of one sample of any shape; the last axis is the channels.

    >>> image_shape((28, 28, 1)), image_shape((576,)), image_shape((5, 7))
    ((28, 28, 1), (1, 1, 576), (1, 5, 7))
    """
    *rest, channels = shape
    columns = rest[-1] if rest else 1
    rows = 1
    for size in rest[:-1]:
        rows *= size
    return rows, columns, channels


@dataclass(frozen=True)
class Stage:
    """One step of a network. `names`: the layers whose output is this stage's output."""

    in_shape: Shape
    out_shape: Shape
    names: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class ConvStage(Stage):
    """Convolution (a dense layer is one over an image of one pixel), then activation, then pooling side by side."""

    window: Window2D
    groups: int
    kernel: Parameter
    bias: Parameter | None
    activation: str | None = None
    pool: tuple[int, int] | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (self.kernel,) if self.bias is None else (self.kernel, self.bias)


@dataclass(frozen=True)
class PoolStage(Stage):
    window: Window2D


@dataclass(frozen=True)
class ActivationStage(Stage):
    activation: str


@dataclass(frozen=True)
class DropoutStage(Stage):
    rate: float
    stream: int


def lower(
    layers: Sequence[Layer], keep: Collection[str] = (), poolable: int = 1, with_dropout: bool = True
) -> list[Stage]:
    """The stages of a network.

    Args:
        layers: built layers in order.
        keep: names of layers whose output somebody wants: they are not fused away.
        poolable: the most outputs in a pooling window that the device can pool in a convolution's own loop.
        with_dropout: whether dropout is a stage; outside training it does nothing.
    """
    stages: list[Stage] = []
    for number, layer in enumerate(layers):
        for stage in layer.stages():
            if isinstance(stage, DropoutStage):
                if not with_dropout:
                    continue
                # Layers draw different masks, and the same ones whatever is fused.
                stage = replace(stage, stream=(stage.stream << 16) + number)
            fused = _fuse(stages[-1], stage, keep, poolable) if stages else None
            if fused is None:
                stages.append(stage)
            else:
                stages[-1] = fused
        if not stages and (layer.name in keep or number == len(layers) - 1):
            assert layer.input_shape is not None
            stages.append(same(layer.input_shape))
        if stages:  # a layer that only gives its input another shape has the output of the one before
            stages[-1] = replace(stages[-1], names=(*stages[-1].names, layer.name))
    return stages


def same(layer_shape: Sequence[int]) -> Stage:
    """A stage that changes nothing, where a network or an output that somebody wants has none of its own."""
    sample = image_shape(layer_shape)
    return PoolStage(sample, sample, Window2D.of(1))


def _fuse(first: Stage, second: Stage, keep: Collection[str], poolable: int) -> Stage | None:
    """Both stages as one, or None."""
    if (
        not isinstance(first, ConvStage)
        or first.pool is not None
        or any(name in keep for name in first.names)
    ):
        return None
    same_image = first.out_shape == second.in_shape  # nothing reshaped in between
    if isinstance(second, ActivationStage) and first.activation is None:
        if second.activation == "softmax" and not same_image:
            return None  # softmax is over the last axis, which is another one now
        return replace(first, activation=second.activation, names=())
    if isinstance(second, PoolStage) and first.activation in (None, "relu"):
        window = second.window
        side_by_side = window.strides == window.kernel and window.dilation == (1, 1)
        unpadded = window.pads(*second.in_shape[:2]) == ((0, 0), (0, 0))
        if side_by_side and unpadded and same_image and 1 < window.kernel[0] * window.kernel[1] <= poolable:
            return replace(first, pool=window.kernel, out_shape=second.out_shape, names=())
    return None


def without_activation(stages: Sequence[Stage], activation: str | None) -> list[Stage]:
    """The stages without the activation at their end, which a loss kernel has in its own formula."""
    stages = list(stages)
    if activation is None:
        return stages
    last = stages[-1]
    if isinstance(last, ActivationStage):
        return stages[:-1] or [same(last.in_shape)]
    assert isinstance(last, ConvStage) and last.activation == activation
    return [*stages[:-1], replace(last, activation=None)]


def last_activation(stages: Sequence[Stage]) -> str | None:
    """The activation whose output is the network's output, if the last stage is one."""
    last = stages[-1]
    if isinstance(last, (ActivationStage, ConvStage)) and not getattr(last, "pool", None):
        return last.activation
    return None


def needs_grad_input(stages: Sequence[Stage], layout: Layout, with_input: bool) -> list[bool]:
    """For each stage, whether anybody needs the gradient with respect to its input."""
    needed, wanted = [], with_input
    for stage in stages:
        needed.append(wanted)
        if isinstance(stage, ConvStage):
            wanted = wanted or any(parameter in layout for parameter in stage.parameters)
    return needed
