"""Emits the stages of a network into a CUDA plan: forward over a batch, and backward over the same.

Activations are flat arrays of the device, (n, h, w, c) without gaps. Weights are read where their store's mirror is, so nothing is
packed. Every function takes the batch size n.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cnnlite.engine.stages import (
    ActivationStage,
    ConvStage,
    DropoutStage,
    PoolStage,
    Stage,
    needs_grad_input,
)
from cnnlite.parameters import Layout, Parameter
from cnnlite_kernels.cuda import activations, conv2d, dropout, gradients, max_pool2d
from cnnlite_kernels.cuda.plan import Plan

ELEMENTWISE = ("relu", "sigmoid", "tanh")
NOWHERE: Mapping[int, Any] = {}
POOLABLE = 1  # outputs in a pooling window that a convolution pools itself: none here


class Kept(NamedTuple):
    """What the backward pass of a stage needs: its input, its output, and with pooling the places of the maxima."""

    x: Any
    y: Any
    index: Any = None


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


def where(device: Any, parameter: Parameter) -> Any:
    """Where a parameter's values are on a device."""
    assert parameter.store is not None
    return parameter.store.values.on(device)[parameter.offset : parameter.offset + parameter.size]


def geometry(stage: ConvStage, n: int) -> conv2d.Geometry:
    """Of a convolution, or of a dense layer: that is one of 1 x 1 pixels, which conv2d knows for a product."""
    h, w, cin = stage.in_shape
    return conv2d.Geometry.of(stage.window, n, h, w, cin, stage.out_shape[-1], groups=stage.groups)


def rows_of(stage: Stage, n: int) -> int:
    """Rows of a stage's output, of which each has all channels."""
    h, w, _ = stage.out_shape
    return n * h * w


def inputs(stage: Stage, n: int) -> int:
    """How many numbers go into a stage."""
    return n * math.prod(stage.in_shape)


def outputs(stage: Stage, n: int) -> int:
    """How many numbers come out of a stage."""
    return n * math.prod(stage.out_shape)


def forward(
    plan: Plan, stages: Sequence[Stage], n: int, x: Any, key: Any = None, *, keep: bool, outs: Mapping[int, Any] = NOWHERE
) -> list[Kept]:  # fmt: skip
    """Emits all stages on the batch x.

    Args:
        key: int64 (1,), the key of this step's masks of dropout.
        keep: keep every stage's output, and places of maxima, for the backward pass; otherwise two of them share all memory.
        outs: where outputs of stages go, by number; the others are in scratch.
    """
    kept = []
    rooms = None if keep else _two_rooms(plan, [outputs(stage, n) for stage in stages])
    for number, stage in enumerate(stages):
        count = outputs(stage, n)
        y = outs.get(number)
        if y is None:
            y = plan.scratch(count) if rooms is None else rooms[number % 2][:count]
        index = plan.scratch(count, "int32") if keep and isinstance(stage, PoolStage) else None
        _stage_forward(plan, stage, n, x, y, index, key)
        kept.append(Kept(x, y, index))
        x = y
    return kept


def _two_rooms(plan: Plan, counts: Sequence[int]) -> list[Any]:
    """Room for counts[i] numbers in rooms[i % 2]: whatever has an even number, and whatever has an odd one."""
    return [plan.scratch(max(counts[first::2], default=0) or 1) for first in (0, 1)]


def _stage_forward(plan: Plan, stage: Stage, n: int, x: Any, y: Any, index: Any, key: Any) -> None:
    if isinstance(stage, ConvStage):
        _conv_forward(plan, stage, n, x, y)
    elif isinstance(stage, PoolStage):
        max_pool2d.add_forward(plan, stage.window, n, *stage.in_shape, x, y, index)
    elif isinstance(stage, ActivationStage):
        activations.add_forward(plan, stage.activation, x, y, rows_of(stage, n), stage.out_shape[-1])
    elif isinstance(stage, DropoutStage):
        _add_dropout(plan, stage, n, x, y, key)
    else:
        raise TypeError(f"no kernels for {stage}")


def _add_dropout(plan: Plan, stage: DropoutStage, n: int, x: Any, y: Any, key: Any) -> None:
    dropout.add_dropout(plan, x, y, outputs(stage, n), stage.rate, key, stage.stream)


def _conv_forward(plan: Plan, stage: ConvStage, n: int, x: Any, y: Any) -> None:
    w = where(plan.device, stage.kernel)
    bias = None if stage.bias is None else where(plan.device, stage.bias)
    softmax = stage.activation == "softmax"  # needs whole rows, which a block of the product does not have
    conv2d.add_forward(plan, geometry(stage, n), x, w, bias, y, None if softmax else stage.activation)
    if softmax:
        activations.add_forward(plan, "softmax", y, y, rows_of(stage, n), stage.out_shape[-1])


class Rooms:
    """Two pieces of memory that gradients with respect to stages' inputs and outputs take in turn."""

    def __init__(self, plan: Plan, stages: Sequence[Stage], n: int) -> None:
        self._counts = [inputs(stage, n) for stage in stages] + [outputs(stages[-1], n)]
        self._rooms = _two_rooms(plan, self._counts)

    def into(self, number: int) -> Any:
        """Room for the gradient with respect to the input of a stage, which is the output of the one before."""
        return self._rooms[number % 2][: self._counts[number]]


def backward(
    plan: Plan, stages: Sequence[Stage], n: int, kept: Sequence[Kept], grads: Mapping[int, Any], key: Any, to: Gradients,
    rooms: Rooms, grad_input: Any = None,
) -> None:  # fmt: skip
    """Emits the backward pass.

    Args:
        grads: gradients with respect to the outputs of some stages, by number; each may be overwritten. They are added up.
        to: where the parameters' gradients go; what was there is overwritten.
        grad_input: where the gradient with respect to the network's input goes, if wanted.
    """
    needed = needs_grad_input(stages, to.layout, grad_input is not None)
    grad, through = None, False  # whether grad has gone through the activation of the stage before already
    for number in reversed(range(len(stages))):
        stage = stages[number]
        if number in grads:
            if grad is None:
                grad = grads[number]
            else:
                activations.add_sum(plan, grads[number], grad, outputs(stage, n))
        if grad is None:
            continue
        grad_x = None
        if needed[number]:
            grad_x = grad_input if number == 0 and grad_input is not None else rooms.into(number)
        fused = number > 0 and number - 1 not in grads and pools_relu(stages[number - 1], stage)
        if isinstance(stage, ConvStage):
            _conv_backward(plan, stage, n, kept[number], grad, grad_x, to, through)
        elif grad_x is not None:
            _plain_backward(plan, stage, n, kept[number], grad, grad_x, key, fused)
        grad, through = grad_x, fused


def pools_relu(first: Stage, second: Stage) -> bool:
    """Whether the gradient of pooling can go through the relu before it in the same launch."""
    return isinstance(second, PoolStage) and isinstance(first, ConvStage) and first.activation == "relu"


def _plain_backward(
    plan: Plan, stage: Stage, n: int, kept: Kept, grad: Any, grad_x: Any, key: Any, relu: bool
) -> None:  # fmt: skip
    """The backward pass of a stage without weights; relu: and of the relu that pooling's input comes from."""
    if isinstance(stage, PoolStage):
        pooled = kept.y if relu else None
        max_pool2d.add_grad(plan, stage.window, n, *stage.in_shape, grad, kept.index, grad_x, pooled)
    elif isinstance(stage, ActivationStage):
        rows, c = rows_of(stage, n), stage.out_shape[-1]
        activations.add_grad(plan, stage.activation, kept.y, grad, grad_x, rows, c)
    elif isinstance(stage, DropoutStage):
        _add_dropout(plan, stage, n, grad, grad_x, key)


def _conv_backward(
    plan: Plan, stage: ConvStage, n: int, kept: Kept, grad: Any, grad_x: Any, to: Gradients, through: bool
) -> None:
    """The backward pass of a stage with weights; through: grad is that before the activation already."""
    g, rows, cout = geometry(stage, n), rows_of(stage, n), stage.out_shape[-1]
    grad_w, grad_b = to.of(stage.kernel), to.of(stage.bias)
    activation = None if through else stage.activation
    if grad_b is not None and activation in ELEMENTWISE:
        gradients.add_activation_and_bias_grad(plan, activation, kept.y, grad, grad, grad_b, rows, cout)
    else:
        if activation is not None:
            activations.add_grad(plan, activation, kept.y, grad, grad, rows, cout)
        if grad_b is not None:
            gradients.add_bias_grad(plan, grad, grad_b, rows, cout)
    if grad_w is not None:
        conv2d.add_grad_weights(plan, g, kept.x, grad, grad_w)
    if grad_x is not None:
        conv2d.add_grad_input(plan, g, grad, where(plan.device, stage.kernel), grad_x)
