"""The launches of each kind of stage, backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnlite.engine.cuda.operands import Gradients, Kept, Run, geometry, transposed_geometry, where
from cnnlite.engine.cuda.sizes import outputs, rows_of
from cnnlite.engine.stages import (
    ActivationStage,
    AverageStage,
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
    gradients,
    max_pool2d,
    prelu,
    up_sampling2d,
)

ELEMENTWISE = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh")


def pools_relu(first: Stage, second: Stage) -> bool:
    """Whether the gradient of pooling can go through the relu before it in the same launch."""
    return isinstance(second, PoolStage) and isinstance(first, ConvStage) and first.activation == "relu"


def add_backward(
    run: Run, stage: Stage, kept: Kept, grad: Any, grad_x: Any, to: Gradients, through: bool, relu: bool
) -> None:
    """Emits the gradients with respect to the stage's input and its parameters; not of stages that join several outputs.

    Args:
        grad: with respect to its output; may be overwritten.
        grad_x: where the one with respect to its input goes; None if nobody needs it.
        to: where the parameters' gradients go; what was there is overwritten.
        through: whether grad has gone through the stage's own activation already.
        relu: whether grad_x is to go through the relu of the stage before.
    """
    if isinstance(stage, ConvStage):
        _conv(run, stage, kept, grad, grad_x, to, through)
    elif type(stage) in WITH_PARAMETERS:
        WITH_PARAMETERS[type(stage)](run, stage, kept, grad, grad_x, to)
    elif grad_x is not None:
        if isinstance(stage, PoolStage):
            _pool(run, stage, kept, grad, grad_x, relu)
        else:
            PLAIN[type(stage)](run, stage, kept, grad, grad_x)


def _conv(
    run: Run, stage: ConvStage, kept: Kept, grad: Any, grad_x: Any, to: Gradients, through: bool
) -> None:
    plan, g = run.plan, geometry(stage, run.n)
    rows, cout = rows_of(stage, run.n), stage.out_shape[-1]
    grad_w, grad_b = to.of(stage.kernel), to.of(stage.bias)
    activation = None if through else stage.activation
    if grad_b is not None and activation in ELEMENTWISE:
        gradients.add_activation_and_bias_grad(
            plan, activation, kept.y, grad, grad, grad_b, rows, cout, stage.slope
        )
    else:
        if activation is not None:
            activations.add_grad(plan, activation, kept.y, grad, grad, rows, cout, slope=stage.slope)
        if grad_b is not None:
            gradients.add_bias_grad(plan, grad, grad_b, rows, cout)
    if grad_w is not None:
        conv2d.add_grad_weights(plan, g, kept.x, grad, grad_w)
    if grad_x is not None:
        conv2d.add_grad_input(plan, g, grad, where(plan.device, stage.kernel), grad_x)


def _transposed_conv(
    run: Run, stage: TransposedConvStage, kept: Kept, grad: Any, grad_x: Any, to: Gradients
) -> None:
    plan, g = run.plan, transposed_geometry(stage, run.n)
    grad_w, grad_b = to.of(stage.kernel), to.of(stage.bias)
    if grad_b is not None:
        gradients.add_bias_grad(plan, grad, grad_b, rows_of(stage, run.n), stage.out_shape[-1])
    if grad_w is not None:
        conv2d.add_grad_weights(plan, g, grad, kept.x, grad_w)
    if grad_x is not None:
        conv2d.add_forward(plan, g, grad, where(plan.device, stage.kernel), None, grad_x)


def _normalization(
    run: Run, stage: NormalizationStage, kept: Kept, grad: Any, grad_x: Any, to: Gradients
) -> None:
    plan, rows, c = run.plan, rows_of(stage, run.n), stage.out_shape[-1]
    mean, variance = kept.more
    if stage.activation is not None:
        activations.add_grad(plan, stage.activation, kept.y, grad, grad, rows, c, slope=stage.slope)
    batch_normalization.add_grad(
        plan, grad, kept.x, mean, variance, where(plan.device, stage.gamma), stage.epsilon, grad_x,
        to.of(stage.gamma), to.of(stage.beta), rows, c, training=stage.batch,
    )  # fmt: skip


def _prelu(run: Run, stage: PReLUStage, kept: Kept, grad: Any, grad_x: Any, to: Gradients) -> None:
    alpha = where(run.plan.device, stage.alpha)
    prelu.add_grad(
        run.plan, run.n, *stage.in_shape, kept.x, alpha, stage.alpha_shape, grad, grad_x, to.of(stage.alpha)
    )


def _pool(run: Run, stage: PoolStage, kept: Kept, grad: Any, grad_x: Any, relu: bool) -> None:
    (index,) = kept.more
    pooled = kept.y if relu else None
    max_pool2d.add_grad(run.plan, stage.window, run.n, *stage.in_shape, grad, index, grad_x, pooled)


def _average(run: Run, stage: AverageStage, kept: Kept, grad: Any, grad_x: Any) -> None:
    average_pool2d.add_grad(run.plan, stage.window, run.n, *stage.in_shape, grad, grad_x)


def _up_sampling(run: Run, stage: UpSamplingStage, kept: Kept, grad: Any, grad_x: Any) -> None:
    how = stage.size, stage.interpolation
    up_sampling2d.add_grad(run.plan, *how, run.n, *stage.in_shape, grad, grad_x)


def _frame(run: Run, stage: FrameStage, kept: Kept, grad: Any, grad_x: Any) -> None:
    frames.add_grad(run.plan, stage.margins, run.n, *stage.in_shape, grad, grad_x)


def _activation(run: Run, stage: ActivationStage, kept: Kept, grad: Any, grad_x: Any) -> None:
    rows, c = rows_of(stage, run.n), stage.out_shape[-1]
    activations.add_grad(run.plan, stage.activation, kept.y, grad, grad_x, rows, c, slope=stage.slope)


def _dropout(run: Run, stage: DropoutStage, kept: Kept, grad: Any, grad_x: Any) -> None:
    count = outputs(stage, run.n)
    dropout.add_dropout(run.plan, grad, grad_x, count, stage.rate, run.key, stage.stream)


WITH_PARAMETERS: dict[type[Stage], Callable[..., None]] = {
    TransposedConvStage: _transposed_conv,
    NormalizationStage: _normalization,
    PReLUStage: _prelu,
}
PLAIN: dict[type[Stage], Callable[..., None]] = {
    AverageStage: _average,
    UpSamplingStage: _up_sampling,
    FrameStage: _frame,
    ActivationStage: _activation,
    DropoutStage: _dropout,
}
