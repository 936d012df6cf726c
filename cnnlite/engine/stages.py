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
RECTIFIERS = ("relu", "relu6", "leaky_relu")  # activations that normalization applies to what it writes
INPUT = "input"  # the network's input, as a source


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
    """One step of a network.

    names: the layers whose output is this stage's output; sources: names of layers before, or of the input, whose outputs it reads
    besides that of the stage before it.
    """

    in_shape: Shape
    out_shape: Shape
    names: tuple[str, ...] = field(default=(), kw_only=True)
    sources: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All that it reads, trained or not."""
        return ()


@dataclass(frozen=True)
class ConvStage(Stage):
    """Convolution (a dense layer is one over an image of one pixel), then activation, then pooling side by side.

    normalization: by moving statistics, of the convolution's output before its activation; weights and bias are multiplied by it.
    """

    window: Window2D
    groups: int
    kernel: Parameter
    bias: Parameter | None
    activation: str | None = None
    slope: float = 0.0  # of leaky_relu
    pool: tuple[int, int] | None = None
    normalization: NormalizationStage | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        folded = () if self.normalization is None else self.normalization.parameters
        return (*_given(self.kernel, self.bias), *folded)


@dataclass(frozen=True)
class TransposedConvStage(Stage):
    """conv2d_transpose. window: of the convolution on the output that makes the input's size; kernel (kh, kw, cout, cin)."""

    window: Window2D
    kernel: Parameter
    bias: Parameter | None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return _given(self.kernel, self.bias)


@dataclass(frozen=True)
class NormalizationStage(Stage):
    """Batch normalization of each channel, then activation.

    gamma, beta: None for 1 and 0; mean, variance: the moving ones; batch: whether it takes those of the batch instead, and
    moves the moving ones towards them; activation: None or one of RECTIFIERS.
    """

    gamma: Parameter | None
    beta: Parameter | None
    mean: Parameter
    variance: Parameter
    epsilon: float
    momentum: float
    batch: bool = False
    activation: str | None = None
    slope: float = 0.0  # of leaky_relu

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return _given(self.gamma, self.beta, self.mean, self.variance)


@dataclass(frozen=True)
class PoolStage(Stage):
    """The largest number of each window, or the smallest."""

    window: Window2D
    minimum: bool = False

    @property
    def side_by_side(self) -> bool:
        """Whether no pixel is in two windows, and windows are in the images."""
        window = self.window
        unpadded = window.pads(*self.in_shape[:2]) == ((0, 0), (0, 0))
        return unpadded and window.strides == window.kernel and window.dilation == (1, 1)


@dataclass(frozen=True)
class AverageStage(Stage):
    """The mean of each window's pixels that are not padding."""

    window: Window2D


@dataclass(frozen=True)
class UpSamplingStage(Stage):
    """size: rows and columns for each; interpolation: "nearest" or "bilinear"."""

    size: tuple[int, int]
    interpolation: str


@dataclass(frozen=True)
class FrameStage(Stage):
    """Rows and columns of zeros around each image; negative: that are cut off. margins: ((top, bottom), (left, right))."""

    margins: tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class AddStage(Stage):
    """The sum of the output before and those of `sources`."""


@dataclass(frozen=True)
class ConcatenateStage(Stage):
    """The channels of the output before and then those of `sources`, in their order.

    A source that was given another shape since its stage made it counts as images of as many pixels as in_shape has.
    """


@dataclass(frozen=True)
class ActivationStage(Stage):
    activation: str
    slope: float = 0.0  # of leaky_relu


@dataclass(frozen=True)
class PReLUStage(Stage):
    """x where it is positive, alpha * x elsewhere. alpha: of the sample's axes, each of them 1 where it is shared."""

    alpha: Parameter

    @property
    def alpha_shape(self) -> Shape:
        """(h, w, c) of alpha."""
        return image_shape(self.alpha.shape)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (self.alpha,)


@dataclass(frozen=True)
class DropoutStage(Stage):
    rate: float
    stream: int


def _given(*parameters: Parameter | None) -> tuple[Parameter, ...]:
    return tuple(parameter for parameter in parameters if parameter is not None)


def lower(
    layers: Sequence[Layer], keep: Collection[str] = (), poolable: int = 1, training: bool = True, fold: bool = False
) -> list[Stage]:  # fmt: skip
    """The stages of a network.

    Args:
        layers: built layers in order.
        keep: names of layers whose output somebody wants: they are not fused away, nor are those that other stages read.
        poolable: the most outputs in a pooling window that the device can pool in a convolution's own loop.
        training: whether dropout is a stage, and whether normalization that is not frozen takes the batch's mean and variance.
        fold: whether normalization by moving statistics is made a part of the convolution before it, which is not trained then.
    """
    stages: list[Stage] = []
    made = [layer.stages() for layer in layers]
    keep = {*keep, *(source for of_layer in made for stage in of_layer for source in stage.sources)}
    for number, layer in enumerate(layers):
        for stage in made[number]:
            if isinstance(stage, DropoutStage):
                if not training:
                    continue
                # Layers draw different masks, and the same ones whatever is fused.
                stage = replace(stage, stream=(stage.stream << 16) + number)
            if isinstance(stage, NormalizationStage):
                stage = replace(stage, batch=training and layer.trainable)
            fused = _fuse(stages[-1], stage, keep, poolable, fold) if stages else None
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


def _fuse(first: Stage, second: Stage, keep: Collection[str], poolable: int, fold: bool) -> Stage | None:
    """Both stages as one, or None."""
    if any(name in keep for name in first.names):
        return None
    same_image = first.out_shape == second.in_shape  # nothing reshaped in between
    if isinstance(first, FrameStage) and isinstance(second, ConvStage) and same_image:
        return _with_margins(second, first)
    if isinstance(first, NormalizationStage) and isinstance(second, ActivationStage):
        if first.activation is not None or second.activation not in RECTIFIERS:
            return None
        return replace(first, activation=second.activation, slope=second.slope, names=())
    if not isinstance(first, ConvStage) or first.pool is not None:
        return None
    bare = first.activation is None and first.normalization is None
    if bare and fold and isinstance(second, NormalizationStage) and not second.batch and same_image:
        return replace(first, normalization=second, names=())
    if isinstance(second, ActivationStage) and first.activation is None:
        if second.activation == "softmax" and not same_image:
            return None  # softmax is over the last axis, which is another one now
        return replace(first, activation=second.activation, slope=second.slope, names=())
    if isinstance(second, PoolStage) and not second.minimum and first.activation in (None, "relu"):
        kernel = second.window.kernel
        if second.side_by_side and same_image and 1 < kernel[0] * kernel[1] <= poolable:
            return replace(first, pool=kernel, out_shape=second.out_shape, names=())
    return None


def _with_margins(conv: ConvStage, frame: FrameStage) -> Stage | None:
    """The convolution of the image without its margins of zeros, which the convolution pads itself; None where some are cut off."""
    if min(map(min, frame.margins)) < 0:
        return None
    (top, bottom), (left, right) = conv.window.pads(*conv.in_shape[:2])
    (above, below), (before, after) = frame.margins
    padding = (top + above, bottom + below), (left + before, right + after)
    return replace(conv, in_shape=frame.in_shape, window=replace(conv.window, padding=padding), names=())


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
    if isinstance(last, (ActivationStage, ConvStage, NormalizationStage)) and not getattr(last, "pool", None):
        return last.activation
    return None


def numbers_of(stages: Sequence[Stage], stage: Stage) -> list[int]:
    """The numbers of the stages whose outputs are a stage's `sources`, -1 for the network's input."""
    by_name = {name: number for number, other in enumerate(stages) for name in other.names}
    return [by_name.get(source, -1) for source in stage.sources]


def readers_of(stages: Sequence[Stage]) -> dict[int, list[int]]:
    """By the number of a stage, or -1 for the network's input: the numbers of the stages that read its output, in order.

    A stage that reads it twice is there twice. Whoever reads the network's own output has the number behind the last.
    """
    readers = {number: [number + 1] for number in range(-1, len(stages))}
    for number, stage in enumerate(stages):
        for source in numbers_of(stages, stage):
            readers[source].append(number)
    return {number: sorted(found) for number, found in readers.items()}


def needs_grad_input(stages: Sequence[Stage], layout: Layout, with_input: bool) -> list[bool]:
    """For each stage, whether anybody needs the gradient with respect to what the stage before it puts out."""
    return [with_input, *needs_grad_output(stages, layout, with_input)[:-1]]


def needs_grad_output(stages: Sequence[Stage], layout: Layout, with_input: bool) -> list[bool]:
    """For each stage, whether anybody needs the gradient with respect to its output: parameters that are trained, or the input."""
    needed: list[bool] = []
    for stage in stages:
        before = needed[-1] if needed else with_input
        sources = [with_input if number < 0 else needed[number] for number in numbers_of(stages, stage)]
        needed.append(before or any(sources) or any(parameter in layout for parameter in stage.parameters))
    return needed
