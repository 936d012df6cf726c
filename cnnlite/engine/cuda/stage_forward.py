"""The launches of each kind of stage, forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cnnlite.engine.cuda.operands import Run, geometry, transposed_geometry, where
from cnnlite.engine.cuda.sizes import outputs, rows_of
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
)
from cnnlite_kernels.cuda import (
    activations,
    average_pool2d,
    batch_normalization,
    conv2d,
    dropout,
    frames,
    joins,
    max_pool2d,
    prelu,
    up_sampling2d,
)

OF_A_PRODUCT = ("relu", "sigmoid", "tanh")  # activations that a product applies to what it writes
More = tuple[Any, ...]


def add_forward(
    run: Run, stage: Stage, x: Any, sources: Sequence[Any], y: Any, keep: bool
) -> tuple[Any, ...]:
    """Emits y = the stage's output, of x and the outputs of its sources.

    Args:
        keep: whether a backward pass follows.

    Returns:
        What that needs besides x and y: `Kept.more`.
    """
    if isinstance(stage, AddStage):
        return _sum(run, stage, x, sources, y)
    if isinstance(stage, ConcatenateStage):
        return _concatenation(run, stage, x, sources, y)
    if type(stage) not in FORWARD:
        raise TypeError(f"no kernels for {stage}")
    return FORWARD[type(stage)](run, stage, x, y, keep)


def _conv(run: Run, stage: ConvStage, x: Any, y: Any, keep: bool) -> More:
    plan = run.plan
    w, bias = where(plan.device, stage.kernel), where(plan.device, stage.bias)
    fused = stage.activation if stage.activation in OF_A_PRODUCT else None
    conv2d.add_forward(plan, geometry(stage, run.n), x, w, bias, y, fused)
    if stage.activation != fused:  # softmax needs whole rows, which a block of a product does not have
        rows, c = rows_of(stage, run.n), stage.out_shape[-1]
        activations.add_forward(plan, stage.activation, y, y, rows, c, slope=stage.slope)
    return ()


def _transposed_conv(run: Run, stage: TransposedConvStage, x: Any, y: Any, keep: bool) -> More:
    device = run.plan.device
    w, bias = where(device, stage.kernel), where(device, stage.bias)
    conv2d.add_grad_input(run.plan, transposed_geometry(stage, run.n), x, w, y, bias=bias)
    return ()


def _normalization(run: Run, stage: NormalizationStage, x: Any, y: Any, keep: bool) -> More:
    plan, rows, c = run.plan, rows_of(stage, run.n), stage.out_shape[-1]
    gamma, beta, *moving = (
        where(plan.device, parameter) for parameter in (stage.gamma, stage.beta, stage.mean, stage.variance)
    )
    mean, variance = (plan.scratch(c), plan.scratch(c)) if stage.batch else moving
    if stage.batch:
        batch_normalization.add_statistics(plan, x, mean, variance, rows, c, tuple(moving), stage.momentum)
    batch_normalization.add_forward(plan, x, y, mean, variance, gamma, beta, stage.epsilon, rows, c)
    if stage.activation is not None:
        activations.add_forward(plan, stage.activation, y, y, rows, c, slope=stage.slope)
    return mean, variance


def _pool(run: Run, stage: PoolStage, x: Any, y: Any, keep: bool) -> More:
    index = run.plan.scratch(outputs(stage, run.n), np.int32) if keep else None
    max_pool2d.add_forward(run.plan, stage.window, run.n, *stage.in_shape, x, y, index, stage.minimum)
    return () if index is None else (index,)


def _average(run: Run, stage: AverageStage, x: Any, y: Any, keep: bool) -> More:
    average_pool2d.add_forward(run.plan, stage.window, run.n, *stage.in_shape, x, y)
    return ()


def _up_sampling(run: Run, stage: UpSamplingStage, x: Any, y: Any, keep: bool) -> More:
    how = stage.size, stage.interpolation
    up_sampling2d.add_forward(run.plan, *how, run.n, *stage.in_shape, x, y)
    return ()


def _activation(run: Run, stage: ActivationStage, x: Any, y: Any, keep: bool) -> More:
    rows, c = rows_of(stage, run.n), stage.out_shape[-1]
    activations.add_forward(run.plan, stage.activation, x, y, rows, c, slope=stage.slope)
    return ()


def _prelu(run: Run, stage: PReLUStage, x: Any, y: Any, keep: bool) -> More:
    alpha = where(run.plan.device, stage.alpha)
    prelu.add_forward(run.plan, run.n, *stage.in_shape, x, alpha, stage.alpha_shape, y)
    return ()


def _dropout(run: Run, stage: DropoutStage, x: Any, y: Any, keep: bool) -> More:
    dropout.add_dropout(run.plan, x, y, outputs(stage, run.n), stage.rate, run.key, stage.stream)
    return ()


def _frame(run: Run, stage: FrameStage, x: Any, y: Any, keep: bool) -> More:
    frames.add_forward(run.plan, stage.margins, run.n, *stage.in_shape, x, y)
    return ()


def _sum(run: Run, stage: AddStage, x: Any, sources: Sequence[Any], y: Any) -> More:
    for source in sources:
        activations.add_total(run.plan, x, source, y, outputs(stage, run.n))
        x = y
    return ()


def _concatenation(run: Run, stage: ConcatenateStage, x: Any, sources: Sequence[Any], y: Any) -> More:
    rows, c, first = rows_of(stage, run.n), stage.out_shape[-1], 0
    for part in (x, *sources):
        channels = part.size // rows
        joins.add_join(run.plan, part, y, rows, channels, c, first)
        first += channels
    return ()


FORWARD: dict[type[Stage], Callable[..., More]] = {
    ConvStage: _conv,
    TransposedConvStage: _transposed_conv,
    NormalizationStage: _normalization,
    PoolStage: _pool,
    AverageStage: _average,
    UpSamplingStage: _up_sampling,
    FrameStage: _frame,
    ActivationStage: _activation,
    PReLUStage: _prelu,
    DropoutStage: _dropout,
}
