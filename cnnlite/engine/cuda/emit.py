"""Emits the stages of a network into a CUDA plan: forward over a batch, and backward over the same.

Activations are flat arrays of the device, (n, h, w, c) without gaps. Weights are read where their store's mirror is, so nothing is
packed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnnlite.engine.cuda.operands import Gradients, Kept, Run
from cnnlite.engine.cuda.rooms import for_outputs
from cnnlite.engine.cuda.stage_backward import add_backward, pools_relu
from cnnlite.engine.cuda.stage_forward import add_forward
from cnnlite.engine.cuda.waiting import Waiting
from cnnlite.engine.stages import AddStage, ConcatenateStage, Stage, numbers_of

NOWHERE: Mapping[int, Any] = {}
POOLABLE = 1  # outputs in a pooling window that a convolution pools itself: none here


def forward(
    run: Run, stages: Sequence[Stage], x: Any, *, keep: bool, outs: Mapping[int, Any] = NOWHERE
) -> list[Kept]:
    """Emits all stages on the batch x.

    Args:
        keep: keep what the backward pass needs; otherwise outputs share memory.
        outs: where outputs of stages go, by number; the others are in scratch.
    """
    places = for_outputs(run.plan, stages, run.n, outs, keep)
    kept: list[Kept] = []
    last = x
    for number, stage in enumerate(stages):
        y = places[number]
        sources = [x if source < 0 else kept[source].y for source in numbers_of(stages, stage)]
        kept.append(Kept(last, y, add_forward(run, stage, last, sources, y, keep)))
        last = y
    return kept


def backward(
    run: Run, stages: Sequence[Stage], kept: Sequence[Kept], grads: Mapping[int, Any], to: Gradients,
    grad_input: Any = None,
) -> None:  # fmt: skip
    """Emits the backward pass.

    Args:
        grads: gradients with respect to the outputs of some stages, by number; each may be overwritten. They are added up.
        to: where the parameters' gradients go; what was there is overwritten.
        grad_input: where the gradient with respect to the network's input goes, if wanted.
    """
    waiting = Waiting(run, stages, grads, to.layout, grad_input)
    through = False  # whether the gradient has gone through the activation of the next stage already
    for number in reversed(range(len(stages))):
        stage, before = stages[number], number - 1
        grad = waiting.take(number)
        if grad is None:
            continue
        if isinstance(stage, (AddStage, ConcatenateStage)):
            waiting.split(stage, number, grad)
            through = False
            continue
        grad_x = waiting.room(before)
        fused = number > 0 and not waiting.has(before) and pools_relu(stages[before], stage)
        add_backward(run, stage, kept[number], grad, grad_x, to, through, fused)
        waiting.put(before, grad_x)
        through = fused
