"""Emits the backward pass of a network's stages into a CPU plan, over the images that emit.forward went over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from cnnlite.engine.cpu import convolution, normalization
from cnnlite.engine.cpu.bands import Band, by_inputs, by_outputs, rows_of
from cnnlite.engine.cpu.convolution import conv_of
from cnnlite.engine.cpu.emit import Kept, Run
from cnnlite.engine.cpu.flow import Gradients, reshaped, room, source_shape
from cnnlite.engine.cpu.places import Places, where
from cnnlite.engine.stages import (
    ActivationStage,
    AddStage,
    AverageStage,
    ConcatenateStage,
    ConvStage,
    DropoutStage,
    FrameStage,
    NormalizationStage,
    PoolStage,
    PReLUStage,
    Stage,
    TransposedConvStage,
    UpSamplingStage,
    needs_grad_input,
    needs_grad_output,
    numbers_of,
)
from cnnlite.parameters import Layout
from cnnlite_kernels.cpu import (
    activations,
    average_pool2d,
    dropout,
    frames,
    joins,
    max_pool2d,
    prelu,
    up_sampling2d,
)
from cnnlite_kernels.cpu.images import Images, with_halo
from cnnlite_kernels.cpu.memory import INT32, NOWHERE, Base, Pointer
from cnnlite_kernels.cpu.plan import Plan


def backward(
    plan: Plan, stages: Sequence[Stage], kept: Sequence[Kept], grads: Mapping[int, Images], run: Run, to: Places,
    grad_input: Images | None = None,
) -> None:  # fmt: skip
    """Emits the backward pass.

    Args:
        grads: gradients with respect to the outputs of some stages, by number; each may be overwritten. They are added up.
        to: where the parameters' gradients go.
        grad_input: where the gradient with respect to the network's input goes, if wanted.
    """
    with_input = grad_input is not None
    needed = needs_grad_input(stages, to.layout, with_input)
    wanted = dict(enumerate(needs_grad_output(stages, to.layout, with_input))) | {-1: with_input}
    flow = Gradients(plan, grads)
    for number in reversed(range(len(stages))):
        stage, x = stages[number], kept[number].x
        grad = flow.take(number, stage.out_shape)
        if grad is None:
            continue
        if isinstance(stage, (AddStage, ConcatenateStage)):
            sources = [number - 1, *numbers_of(stages, stage)]
            for source, given, own in _shares(plan, stages, stage, sources, grad, wanted):
                flow.add(source, given, own)
            continue
        packed = run.packed[number]
        if isinstance(stage, ConvStage) and packed is not None and packed.lists is not None:
            x = with_halo(plan, x, conv_of(stage).halo)
        grad_x = None
        if needed[number]:
            grad_x = room(plan, x.n, stage.in_shape, x.halo)
            if number == 0 and grad_input is not None:
                grad_x = reshaped(plan, grad_input, stage.in_shape)
        here = kept[number]._replace(x=x)
        bands = (
            [] if run.bands is None else list(_bands(stage, number, here, grad, grad_x, run, to, plan.item))
        )
        if run.bands is not None and bands:
            run.bands.add(plan, bands)
        else:
            mark = plan.mark()
            _stage_backward(plan, stage, number, here, grad, grad_x, run, to)
            plan.free(mark)
        if grad_x is not None:
            flow.add(number - 1, grad_x, own=True)
    if grad_input is not None:
        _put(plan, flow, grad_input)


def _bands(
    stage: Stage, number: int, kept: Kept, grad: Images, grad_x: Images | None, run: Run, to: Places, item: int
) -> Iterator[tuple[int, Callable[[Plan], None]]]:  # fmt: skip
    """What emits the bands of a stage's backward pass; none where it is better left whole. Of a convolution bands of y make the
    gradient of its weights, and others of x that of its input."""
    if isinstance(stage, TransposedConvStage):
        return
    nothing = Places(Layout([]))
    outputs, inputs = by_outputs(stage, kept.x.n, kept.x.halo), by_inputs(stage, kept.x.n)
    if outputs is None or inputs is None:
        return
    if isinstance(stage, ConvStage):
        trained = any(to.of(parameter, item) != NOWHERE for parameter in stage.parameters)
        for buffer, band in enumerate(outputs if trained else []):
            yield buffer, _band(item, band, number, kept, grad, None, run, to)
        to = nothing
    for buffer, band in enumerate(inputs if grad_x is not None or not isinstance(stage, ConvStage) else []):
        yield buffer, _band(item, band, number, kept, grad, grad_x, run, to)


def _band(
    item: int, band: Band, number: int, kept: Kept, grad: Images, grad_x: Images | None, run: Run, to: Places
) -> Callable[[Plan], None]:  # fmt: skip
    """What emits one band."""

    def emit(plan: Plan) -> None:
        x, y, grad_here = (
            rows_of(images, band.image, rows, item)
            for images, rows in ((kept.x, band.x), (kept.y, band.y), (grad, band.y))
        )
        here = Kept(x, y, band.places(kept.places, kept.y, item))
        to_x = None if grad_x is None else rows_of(grad_x, band.image, band.x, item)
        _stage_backward(plan, band.stage, number, here, grad_here, to_x, run, to)

    return emit


def _shares(
    plan: Plan, stages: Sequence[Stage], stage: Stage, sources: Sequence[int], grad: Images, wanted: Mapping[int, bool]
) -> Iterator[tuple[int, Images, bool]]:  # fmt: skip
    """(number, gradient, whether it may be written to) of what a join has read, where it is wanted: first of the output before."""
    first = 0
    for place, number in enumerate(sources):
        h, w, c = stages[0].in_shape if number < 0 else stages[number].out_shape
        shape = stage.in_shape if place == 0 else source_shape(stage, h * w * c)
        if not wanted[number]:
            pass
        elif isinstance(stage, AddStage):
            yield number, grad, False
        else:
            share = room(plan, grad.n, shape)
            joins.add_part(plan, grad, share, first)
            yield number, share, True
        first += shape[-1]


def _put(plan: Plan, flow: Gradients, grad_input: Images) -> None:
    """Brings the gradient with respect to the network's input to where it is wanted, unless it was written there."""
    grad = flow.take(-1, (grad_input.h, grad_input.w, grad_input.c))
    if grad is not None and grad != grad_input:
        activations.add_forward(plan, None, grad, grad_input)


def _stage_backward(
    plan: Plan, stage: Stage, number: int, kept: Kept, grad: Images, grad_x: Images | None, run: Run, to: Places
) -> None:  # fmt: skip
    x, y, index = kept
    packed = run.packed[number]
    if isinstance(stage, ConvStage):
        assert packed is not None
        convolution.add_backward(plan, stage, packed, x, y, index, grad, grad_x, to)
    elif isinstance(stage, TransposedConvStage):
        assert packed is not None
        convolution.add_transposed_backward(plan, stage, packed, x, grad, grad_x, to)
    elif isinstance(stage, NormalizationStage):
        normalization.add_backward(plan, stage, number, run.meetings, x, grad, grad_x, to)
    elif isinstance(stage, PReLUStage):
        grad_alpha = to.of(stage.alpha, plan.item)
        if grad_x is None and grad_alpha == NOWHERE:
            return
        prelu.add_grad(
            plan, x, where(stage.alpha), stage.alpha_shape, grad, grad_x or room(plan, x.n, stage.in_shape), grad_alpha,
            to.accumulate,
        )  # fmt: skip
    elif grad_x is None:
        return
    elif isinstance(stage, PoolStage) and _each_once(stage):
        places = Images(index, grad.n, grad.h, grad.w, grad.c)
        activations.add_unpool(plan, grad, index, places, grad_x, stage.window.kernel, index_item=INT32)
    elif isinstance(stage, PoolStage):
        max_pool2d.add_grad(plan, stage.window, grad, index, grad_x)
    elif isinstance(stage, AverageStage):
        average_pool2d.add_grad(plan, stage.window, grad, grad_x)
    elif isinstance(stage, FrameStage):
        frames.add_grad(plan, stage.margins, grad, grad_x)
    elif isinstance(stage, UpSamplingStage):
        up_sampling2d.add_grad(plan, stage.size, stage.interpolation, grad, grad_x)
    elif isinstance(stage, ActivationStage):
        activations.add_grad(plan, stage.activation, y, grad, grad_x, slope=stage.slope)
    elif isinstance(stage, DropoutStage):
        dropout.add_dropout(
            plan, grad, grad_x, stage.rate, run.key, stage.stream, Pointer(Base.PART, 0), run.first
        )


def _each_once(stage: PoolStage) -> bool:
    """Whether each pixel of a pool's images is in one window."""
    (h, w, _), (ph, pw) = stage.out_shape, stage.window.kernel
    return stage.side_by_side and stage.in_shape[:2] == (h * ph, w * pw)
