"""Emits the stages of a network into a CPU plan: forward over some images of a part, and backward over the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cnnlite.engine.cpu import narrow
from cnnlite.engine.cpu.narrow import Narrow
from cnnlite.engine.stages import (
    ActivationStage,
    ConvStage,
    DropoutStage,
    PoolStage,
    Shape,
    Stage,
    needs_grad_input,
)
from cnnlite.parameters import Layout, Parameter
from cnnlite_kernels.cpu import activations, bfloat16_conv2d, conv2d, dropout, few_taps, max_pool2d, sparse
from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.images import NO_HALO, Images, add_clear_halo, with_halo
from cnnlite_kernels.cpu.memory import NOWHERE, Base, Pointer, pointer_to
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.tile import ACCUMULATE


def conv_of(stage: ConvStage) -> Conv:
    """The geometry of a stage's convolution; what its pooling drops counts as not used."""
    h, w, cin = stage.in_shape
    conv = Conv(stage.window, h, w, cin, stage.kernel.shape[-1], stage.groups)
    if stage.pool is None:
        return conv
    (oh, ow), (ph, pw) = conv.output, stage.pool
    return conv._replace(used=(oh // ph * ph, ow // pw * pw))


def where(parameter: Parameter) -> Pointer:
    """Where a parameter's values are."""
    return pointer_to(parameter.value)


def lists_of(stage: ConvStage, number: int, needs_input: bool, item: int) -> sparse.Taps | None:
    """How the backward pass of a stage holds its taps if it works from lists (sparse.py), None if it is dense."""
    conv = conv_of(stage)
    if number == 0 and needs_input and conv.halo != NO_HALO:
        return None  # the caller's array for the gradient of the input has no halo
    return sparse.taps_held(conv, stage.pool, item)


class Packed(NamedTuple):
    """Where the packed weights of a stage are: for the forward pass, and for the gradient of its input (flipped, or turned where
    that works from lists); and which of its products are of bfloat16."""

    forward: Pointer
    backward: Pointer
    narrow: Narrow = Narrow()


class Kept(NamedTuple):
    """What the backward pass of a stage needs: its input, its output, and with pooling the places of the maxima."""

    x: Images
    y: Images
    places: Pointer


class Run(NamedTuple):
    """What a plan's kernels share.

    packed: by the number of the stage; training: whether a backward pass follows; key: an int64, the key of this step's masks;
    first: number of the plan's first image in its part.
    """

    packed: Sequence[Packed | None]
    training: bool = False
    key: Pointer = NOWHERE
    first: int = 0


def _reshaped(x: Images, shape: Shape) -> Images:
    """The same numbers as images of another shape."""
    if (x.h, x.w, x.c) == shape:
        return x
    assert x.halo == NO_HALO
    return Images(x.start, x.n, *shape)


def _halo_wanted(stages: Sequence[Stage], number: int):
    """The halo that the output of a stage should have, so that the next convolution need not copy it."""
    if number + 1 < len(stages):
        after = stages[number + 1]
        if isinstance(after, ConvStage) and after.in_shape == stages[number].out_shape:
            return conv_of(after).halo
    return NO_HALO


def _item(plan: Plan, stages: Sequence[Stage], number: int, run: Run) -> int:
    """Bytes of the numbers that a stage puts out: those of bfloat16 where the next product would round them anyway."""
    pair = stages[number : number + 2]
    both = len(pair) == 2 and all(
        packed is not None and packed.narrow.forward for packed in run.packed[number : number + 2]
    )
    if both and getattr(pair[0], "activation", None) in (None, "relu"):
        return bfloat16_conv2d.BYTES
    return plan.item


def _room(plan: Plan, n: int, shape: Shape, halo=NO_HALO) -> Images:
    images = Images(NOWHERE, n, *shape, halo)
    return images._replace(start=plan.scratch(images.size * plan.item))


def forward(
    plan: Plan, stages: Sequence[Stage], x: Images, run: Run, *, keep: bool, out: Pointer | None = None
) -> list[Kept]:
    """Emits all stages on the images x.

    Args:
        keep: keep every stage's output, and places of maxima, for the backward pass; otherwise only two at a time have room.
        out: where the last stage's output goes; in scratch if None.
    """
    kept, x_item = [], plan.item
    rooms = None if keep else _two_rooms(plan, stages, x.n)
    for number, stage in enumerate(stages):
        x = _reshaped(x, stage.in_shape)
        halo = _halo_wanted(stages, number)
        mark = plan.mark()
        if number == len(stages) - 1 and out is not None:
            y = Images(out, x.n, *stage.out_shape)
        elif rooms is not None:
            y = Images(rooms[number % 2], x.n, *stage.out_shape, halo)
        else:
            y = _room(plan, x.n, stage.out_shape, halo)
        y_item = plan.item if keep else _item(plan, stages, number, run)
        index = NOWHERE
        if keep and isinstance(stage, ConvStage) and stage.pool:
            index = plan.scratch(y.size)
        elif keep and isinstance(stage, PoolStage):
            index = plan.scratch(y.size * 4)
        add_clear_halo(plan, y, y_item)
        _stage_forward(plan, stage, x, x_item, y, y_item, index, run, number)
        if not keep:
            plan.free(mark)
        kept.append(Kept(x, y, index))
        x, x_item = y, y_item
    return kept


def _two_rooms(plan: Plan, stages: Sequence[Stage], n: int) -> list[Pointer]:
    sizes = [0, 0]
    for number, stage in enumerate(stages):
        size = Images(NOWHERE, n, *stage.out_shape, _halo_wanted(stages, number)).size
        sizes[number % 2] = max(sizes[number % 2], size * plan.item)
    return [plan.scratch(size) for size in sizes]


def _stage_forward(
    plan: Plan, stage: Stage, x: Images, x_item: int, y: Images, y_item: int, index: Pointer, run: Run, number: int
) -> None:  # fmt: skip
    if isinstance(stage, ConvStage):
        packed = run.packed[number]
        assert packed is not None
        conv = conv_of(stage)._replace(used=None)
        bias = None if stage.bias is None else where(stage.bias)
        relu = stage.activation == "relu"
        if packed.narrow.forward:
            mark = plan.mark()
            if x_item != bfloat16_conv2d.BYTES:
                x = narrow.rounded(plan, x, conv.halo)
            bfloat16_conv2d.add_forward(
                plan, conv, x, packed.forward, bias, y, item=y_item, relu=relu, pool=stage.pool, index=index
            )
            plan.free(mark)
        elif stage.pool is not None and few_taps.fits(conv, stage.pool):
            few_taps.add_forward(plan, conv, stage.pool, x, where(stage.kernel), bias, y, relu, index)
        else:
            conv2d.add_forward(
                plan, conv, x, packed.forward, bias, y, relu=relu, pool=stage.pool, index=index
            )
        if stage.activation and not relu:
            activations.add_forward(plan, stage.activation, y, y)
    elif isinstance(stage, PoolStage):
        max_pool2d.add_forward(plan, stage.window, x, y, index)
    elif isinstance(stage, ActivationStage):
        activations.add_forward(plan, stage.activation, x, y)
    elif isinstance(stage, DropoutStage):
        dropout.add_dropout(plan, x, y, stage.rate, run.key, stage.stream, Pointer(Base.PART, 0), run.first)
    else:
        raise TypeError(f"no kernels for {stage}")


class Gradients(NamedTuple):
    """Where a part's gradients go: the layout of the parameters that are trained, at Base.GRADS; added to what is there or not."""

    layout: Layout
    accumulate: bool = False

    def of(self, parameter: Parameter | None, item: int) -> Pointer:
        """The place of a parameter's gradient, NOWHERE if it is not trained."""
        if parameter is None or parameter not in self.layout:
            return NOWHERE
        return Pointer(Base.GRADS, self.layout.place(parameter) * item)


def backward(
    plan: Plan, stages: Sequence[Stage], kept: Sequence[Kept], grads: dict[int, Images], run: Run, to: Gradients,
    grad_input: Images | None = None,
) -> None:  # fmt: skip
    """Emits the backward pass.

    Args:
        grads: gradients with respect to the outputs of some stages, by number; each may be overwritten. They are added up.
        to: where the parameters' gradients go.
        grad_input: where the gradient with respect to the network's input goes, if wanted.
    """
    needed = needs_grad_input(stages, to.layout, grad_input is not None)
    grad: Images | None = None
    for number in reversed(range(len(stages))):
        stage, (x, y, index) = stages[number], kept[number]
        if grad is not None:
            grad = _reshaped(grad, stage.out_shape)
        if number in grads:
            given = _reshaped(grads[number], stage.out_shape)
            if grad is not None:
                activations.add_sum(plan, given, grad)
            else:
                grad = given
        if grad is None:
            continue
        if isinstance(stage, ConvStage) and lists_of(stage, number, needed[number], plan.item):
            x = with_halo(plan, x, conv_of(stage).halo)
        grad_x = None
        if needed[number]:
            grad_x = (
                _reshaped(grad_input, stage.in_shape)
                if number == 0 and grad_input
                else _room(plan, x.n, stage.in_shape, x.halo)
            )
        _stage_backward(plan, stage, number, x, y, index, grad, grad_x, run, to)
        grad = grad_x


def _stage_backward(
    plan: Plan, stage: Stage, number: int, x: Images, y: Images, index: Pointer, grad: Images, grad_x: Images | None, run: Run,
    to: Gradients,
) -> None:  # fmt: skip
    if isinstance(stage, ConvStage):
        _conv_backward(plan, stage, number, x, y, index, grad, grad_x, run, to)
    elif grad_x is None:
        return
    elif isinstance(stage, PoolStage):
        max_pool2d.add_grad(plan, stage.window, grad, index, grad_x)
    elif isinstance(stage, ActivationStage):
        activations.add_grad(plan, stage.activation, y, grad, grad_x)
    elif isinstance(stage, DropoutStage):
        dropout.add_dropout(
            plan, grad, grad_x, stage.rate, run.key, stage.stream, Pointer(Base.PART, 0), run.first
        )


def _conv_backward(
    plan: Plan, stage: ConvStage, number: int, x: Images, y: Images, index: Pointer, grad: Images, grad_x: Images | None, run: Run,
    to: Gradients,
) -> None:  # fmt: skip
    conv = conv_of(stage)
    packed = run.packed[number]
    assert packed is not None
    grad_w, grad_b = to.of(stage.kernel, plan.item), to.of(stage.bias, plan.item)
    mark = plan.mark()
    taps = lists_of(stage, number, grad_x is not None, plan.item)
    if taps is not None and stage.pool is not None:
        sparse.add_backward(
            plan, conv, taps, stage.pool, x, grad, index, y, packed.backward, grad_x, grad_w, grad_b, to.accumulate
        )  # fmt: skip
        plan.free(mark)
        return
    if stage.pool is not None and grad_x is None and grad_w != NOWHERE and few_taps.fits(conv, stage.pool):
        few_taps.add_backward(plan, conv, stage.pool, x, grad, index, y, grad_w, grad_b, to.accumulate)
        plan.free(mark)
        return
    # the gradient before activation and pooling, with zeros around it where grad_input reads them
    before = grad
    if stage.pool or stage.activation:
        wide = grad_x is not None and not packed.narrow.grad_input  # else it gets its halo when it is rounded
        halo = conv2d.grad_halo(conv) if wide else NO_HALO
        before = _room(plan, x.n, (*conv.output, conv.cout), halo)
    if grad_x is not None:
        add_clear_halo(plan, before)
    if stage.pool:
        activations.add_unpool(plan, grad, index, y, before, stage.pool, grad_b, to.accumulate)
    elif stage.activation:
        activations.add_grad(plan, stage.activation, y, grad, before, grad_b, to.accumulate)
    elif grad_b != NOWHERE:
        activations.add_grad(plan, None, grad, grad, grad, grad_b, to.accumulate)
    flags = ACCUMULATE if to.accumulate else 0
    if grad_w != NOWHERE and packed.narrow.grad_weights:
        narrow.add_grad_weights(plan, conv, x, before, grad_w, flags)
    elif grad_w != NOWHERE:
        conv2d.add_grad_weights(plan, conv, x, before, grad_w, flags=flags)
    if grad_x is not None and packed.narrow.grad_input:
        narrow.add_grad_input(plan, conv, before, packed.backward, grad_x)
    elif grad_x is not None:
        conv2d.add_grad_input(plan, conv, before, packed.backward, grad_x)
    plan.free(mark)
