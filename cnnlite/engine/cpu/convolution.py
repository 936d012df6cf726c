"""Convolutions and transposed ones in a plan: their geometry, what is packed for them, forward and backward."""

from __future__ import annotations

from typing import NamedTuple

from cnnlite.engine.cpu import narrow
from cnnlite.engine.cpu.flow import room
from cnnlite.engine.cpu.narrow import Narrow
from cnnlite.engine.cpu.places import Places
from cnnlite.engine.stages import ConvStage, Stage, TransposedConvStage
from cnnlite_kernels.cpu import (
    activations,
    bfloat16_conv2d,
    conv2d,
    depthwise,
    few_channels,
    few_outputs,
    few_taps,
    sparse,
)
from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.images import NO_HALO, Images, add_clear_halo, with_halo
from cnnlite_kernels.cpu.memory import NOWHERE, Pointer
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.tile import ACCUMULATE


def conv_of(stage: ConvStage | TransposedConvStage, whole: Stage | None = None) -> Conv:
    """The geometry of a stage's convolution; what its pooling drops counts as not used. Of a transposed one, that of the convolution
    whose gradient it computes: from its output to its input. whole: the stage whose band this one is."""
    if isinstance(whole, (ConvStage, TransposedConvStage)):
        return conv_of(stage)._replace(like=conv_of(whole))
    if isinstance(stage, TransposedConvStage):
        return Conv(stage.window, *stage.out_shape, stage.in_shape[-1])
    h, w, cin = stage.in_shape
    conv = Conv(stage.window, h, w, cin, stage.out_shape[-1], stage.groups)
    if stage.pool is None:
        return conv
    (oh, ow), (ph, pw) = conv.output, stage.pool
    return conv._replace(used=(oh // ph * ph, ow // pw * pw))


def lane_by_lane(stage: ConvStage) -> bool:
    """Whether a stage is a depthwise convolution by depthwise.py, which reads weights and images as they lie."""
    return stage.pool is None and depthwise.is_depthwise(conv_of(stage))


def skips_padding(stage: ConvStage) -> bool:
    """Whether nothing is computed of the padding in the forward pass of a convolution."""
    return lane_by_lane(stage) or (stage.pool is None and conv2d.skips_padding(conv_of(stage)))


def by_dots(stage: ConvStage | TransposedConvStage) -> bool:
    """Whether what a convolution's input has few channels of, its gradient or a transposed one's output, is made by few_channels.py,
    which reads weights and images as they lie."""
    return few_channels.is_better(conv_of(stage))


def to_few(stage: ConvStage) -> bool:
    """Whether a convolution has so few outputs that few_outputs.py makes them, and the gradient of its weights."""
    return stage.pool is None and not lane_by_lane(stage) and few_outputs.is_better(conv_of(stage))


def halo_read(stage: Stage):
    """The halo that a stage reads around its input; without it the input is copied."""
    if isinstance(stage, TransposedConvStage):
        return NO_HALO if by_dots(stage) else conv2d.grad_halo(conv_of(stage))
    if isinstance(stage, ConvStage) and not lane_by_lane(stage):
        return conv_of(stage).halo
    return NO_HALO


def lists_of(stage: ConvStage, number: int, needs_input: bool, item: int) -> sparse.Taps | None:
    """How the backward pass of a stage holds its taps if it works from lists (sparse.py), None if it is dense."""
    conv = conv_of(stage)
    if number == 0 and needs_input and conv.halo != NO_HALO:
        return None  # the caller's array for the gradient of the input has no halo
    return sparse.taps_held(conv, stage.pool, item)


class Packed(NamedTuple):
    """Where the weights and the bias of a stage are, as they lie; where its packed weights are, for the forward pass, and for the
    gradient of its input (flipped, or turned where that works from lists, which hold these taps); and which of its products are of
    bfloat16."""

    kernel: Pointer
    bias: Pointer | None
    forward: Pointer = NOWHERE
    backward: Pointer = NOWHERE
    narrow: Narrow = Narrow()
    lists: sparse.Taps | None = None


def add_forward(
    plan: Plan, stage: ConvStage, packed: Packed, x: Images, x_item: int, y: Images, y_item: int, index: Pointer,
    whole: Stage | None = None,
) -> None:  # fmt: skip
    """Emits a convolution with its activation and pooling. x_item, y_item: bytes of a number of x and of y; whole: see conv_of."""
    conv, bias = conv_of(stage, whole)._replace(used=None), packed.bias
    relu = stage.activation == "relu"
    if packed.narrow.forward:
        mark = plan.mark()
        if x_item != bfloat16_conv2d.BYTES:
            x = narrow.rounded(plan, x, conv.halo)
        bfloat16_conv2d.add_forward(
            plan, conv, x, packed.forward, bias, y, item=y_item, relu=relu, pool=stage.pool, index=index
        )
        plan.free(mark)
    elif lane_by_lane(stage):
        depthwise.add_forward(plan, conv, x, packed.kernel, bias, y, relu=relu)
    elif to_few(stage):
        few_outputs.add_forward(plan, conv, x, packed.forward, bias, y)
        if relu:
            activations.add_forward(plan, "relu", y, y)
    elif stage.pool is not None and few_taps.fits(conv, stage.pool):
        few_taps.add_forward(plan, conv, stage.pool, x, packed.kernel, bias, y, relu, index)
    else:
        conv2d.add_forward(plan, conv, x, packed.forward, bias, y, relu=relu, pool=stage.pool, index=index)
    if stage.activation and not relu:
        activations.add_forward(plan, stage.activation, y, y, slope=stage.slope)


def add_backward(
    plan: Plan, stage: ConvStage, packed: Packed, x: Images, y: Images, index: Pointer, grad: Images, grad_x: Images | None,
    to: Places,
) -> None:  # fmt: skip
    """Emits the gradients of a convolution with its activation and pooling: of its weights, and of its input unless grad_x is None."""
    conv = conv_of(stage)
    grad_w, grad_b = to.of(stage.kernel, plan.item), to.of(stage.bias, plan.item)
    if packed.lists is not None and stage.pool is not None:
        sparse.add_backward(
            plan, conv, packed.lists, stage.pool, x, grad, index, y, packed.backward, grad_x, grad_w, grad_b, to.accumulate
        )  # fmt: skip
        return
    if stage.pool is not None and grad_x is None and grad_w != NOWHERE and few_taps.fits(conv, stage.pool):
        few_taps.add_backward(plan, conv, stage.pool, x, grad, index, y, grad_w, grad_b, to.accumulate)
        return
    # the gradient before activation and pooling, with zeros around it where grad_input reads them
    before, by_lanes = grad, lane_by_lane(stage)
    as_it_lies = by_lanes or by_dots(stage)
    if stage.pool or stage.activation:
        # else it gets its halo when it is rounded
        wide = grad_x is not None and not packed.narrow.grad_input and not as_it_lies
        halo = conv2d.grad_halo(conv) if wide else NO_HALO
        before = room(plan, x.n, (*conv.output, conv.cout), halo)
    if grad_x is not None and not as_it_lies:
        add_clear_halo(plan, before)
    if stage.pool:
        activations.add_unpool(plan, grad, index, y, before, stage.pool, grad_b, to.accumulate)
    elif stage.activation:
        activations.add_grad(
            plan, stage.activation, y, grad, before, grad_b, to.accumulate, slope=stage.slope
        )
    else:
        add_grad_bias(plan, grad, grad_b, to.accumulate)
    flags = ACCUMULATE if to.accumulate else 0
    if grad_w != NOWHERE and packed.narrow.grad_weights:
        narrow.add_grad_weights(plan, conv, x, before, grad_w, flags)
    elif grad_w != NOWHERE and to_few(stage):
        few_outputs.add_grad_weights(plan, conv, x, before, grad_w, to.accumulate)
    elif grad_w != NOWHERE and by_lanes:
        depthwise.add_grad_weights(plan, conv, x, before, grad_w, flags=flags)
    elif grad_w != NOWHERE:
        conv2d.add_grad_weights(plan, conv, x, before, grad_w, flags=flags)
    if grad_x is not None and packed.narrow.grad_input:
        narrow.add_grad_input(plan, conv, before, packed.backward, grad_x)
    elif grad_x is not None and by_lanes:
        depthwise.add_grad_input(plan, conv, before, packed.kernel, grad_x)
    elif grad_x is not None and as_it_lies:
        few_channels.add_grad_input(plan, conv, before, packed.kernel, grad_x)
    elif grad_x is not None:
        conv2d.add_grad_input(plan, conv, before, packed.backward, grad_x)


def add_grad_bias(plan: Plan, grad: Images, grad_b: Pointer, accumulate: bool) -> None:
    """Emits the gradient of a bias, the sum of grad over all pixels, unless it is not wanted."""
    if grad_b != NOWHERE:
        activations.add_grad(plan, None, grad, grad, grad, grad_b, accumulate)


def add_transposed_forward(
    plan: Plan, stage: TransposedConvStage, packed: Packed, x: Images, y: Images, whole: Stage | None = None
) -> None:
    """Emits y = conv2d_transpose(x) + bias. whole: see conv_of."""
    if by_dots(stage):
        few_channels.add_grad_input(plan, conv_of(stage), x, packed.kernel, y, packed.bias)
    else:
        conv2d.add_grad_input(plan, conv_of(stage, whole), x, packed.forward, y, bias=packed.bias)


def add_transposed_backward(
    plan: Plan, stage: TransposedConvStage, packed: Packed, x: Images, grad: Images, grad_x: Images | None, to: Places
) -> None:  # fmt: skip
    """Emits the gradients of a transposed convolution: of its weights, and of its input unless grad_x is None."""
    conv, grad_w = conv_of(stage), to.of(stage.kernel, plan.item)
    add_grad_bias(plan, grad, to.of(stage.bias, plan.item), to.accumulate)
    padded = with_halo(plan, grad, conv.halo) if grad_w != NOWHERE or grad_x is not None else grad
    if padded is grad:
        add_clear_halo(plan, grad)
    if grad_w != NOWHERE:
        flags = ACCUMULATE if to.accumulate else 0
        conv2d.add_grad_weights(plan, conv, padded, x, grad_w, flags=flags)
    if grad_x is not None:
        conv2d.add_forward(plan, conv, padded, packed.backward, None, grad_x)
