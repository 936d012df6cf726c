"""What the stages of a network compute, each by the plain reference of its op, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnlite import models
from cnnlite.engine.stages import (
    ActivationStage,
    AddStage,
    AverageStage,
    ConcatenateStage,
    ConvStage,
    FrameStage,
    NormalizationStage,
    PoolStage,
    PReLUStage,
    Stage,
    TransposedConvStage,
    UpSamplingStage,
    lower,
    numbers_of,
)
from cnnlite.parameters import Parameter
from cnnlite_kernels import reference
from cnnlite_kernels.window import Window2D


def value(parameter: Parameter | None) -> np.ndarray | None:
    return None if parameter is None else parameter.numpy().astype(np.float64)


def activated(x: np.ndarray, activation: str | None, slope: float) -> np.ndarray:
    """An activation of the stages."""
    if activation == "leaky_relu":
        return np.where(x < 0, slope * x, x)
    return x if activation is None else getattr(reference, activation)(x)


def outputs_of(model: models.Sequential, x: np.ndarray, training: bool) -> dict[str, np.ndarray]:
    """What the layers of a model put out, by name, in the shapes of their stages."""
    stages = lower(model.layers, [layer.name for layer in model.layers], 1, training)
    found = run(stages, x)
    return {name: y for stage, y in zip(stages, found, strict=True) for name in stage.names}


def run(stages: Sequence[Stage], x: np.ndarray) -> list[np.ndarray]:
    """The output of every stage for images x (n, ...), float64; dropout is none of them."""
    outputs: list[np.ndarray] = []
    given = x = np.asarray(x, np.float64).reshape(len(x), *stages[0].in_shape)
    for stage in stages:
        n = len(x)
        x = x.reshape(n, *stage.in_shape)
        sources = [given if number < 0 else outputs[number] for number in numbers_of(stages, stage)]
        x = _stage(stage, x, sources)
        assert x.shape == (n, *stage.out_shape), stage
        outputs.append(x)
    return outputs


def _stage(stage: Stage, x: np.ndarray, sources: Sequence[np.ndarray]) -> np.ndarray:
    if isinstance(stage, ConvStage):
        kernel = value(stage.kernel)
        assert kernel is not None
        depth = stage.in_shape[-1] // stage.groups
        w = kernel.reshape(*stage.window.kernel, depth, stage.out_shape[-1])
        y = reference.conv2d(x, w, value(stage.bias), groups=stage.groups, **_window(stage.window))
        y = activated(y, stage.activation, stage.slope)
        return y if stage.pool is None else reference.max_pool2d(y, stage.pool)
    if isinstance(stage, TransposedConvStage):
        return reference.conv2d_transpose(
            x, value(stage.kernel), value(stage.bias), y_size=stage.out_shape[:2], **_window(stage.window)
        )
    if isinstance(stage, NormalizationStage):
        mean, variance = value(stage.mean), value(stage.variance)
        if stage.batch:
            pixels = x.reshape(-1, x.shape[-1])
            mean, variance = pixels.mean(axis=0), pixels.var(axis=0)
        y = reference.batch_normalization(
            x, mean, variance, value(stage.gamma), value(stage.beta), epsilon=stage.epsilon
        )
        return activated(y, stage.activation, stage.slope)
    if isinstance(stage, PoolStage):
        sign = -1 if stage.minimum else 1
        window = stage.window
        return sign * reference.max_pool2d(
            sign * x, window.kernel, strides=window.strides, padding=window.padding
        )
    if isinstance(stage, AverageStage):
        window = stage.window
        return reference.average_pool2d(x, window.kernel, strides=window.strides, padding=window.padding)
    if isinstance(stage, UpSamplingStage):
        return reference.up_sampling2d(x, stage.size, interpolation=stage.interpolation)
    if isinstance(stage, FrameStage):
        zeros = [(max(before, 0), max(after, 0)) for before, after in stage.margins]
        (top, bottom), (left, right) = stage.margins
        h, w = x.shape[1:3]
        cut = x[:, max(-top, 0) : h - max(-bottom, 0), max(-left, 0) : w - max(-right, 0)]
        return np.pad(cut, ((0, 0), *zeros, (0, 0)))
    if isinstance(stage, AddStage):
        return x + sum(source.reshape(x.shape) for source in sources)
    if isinstance(stage, ConcatenateStage):
        n, (h, w, _) = len(x), stage.out_shape
        return np.concatenate([image.reshape(n, h, w, -1) for image in (x, *sources)], axis=-1)
    if isinstance(stage, ActivationStage):
        return activated(x, stage.activation, stage.slope)
    if isinstance(stage, PReLUStage):
        alpha = value(stage.alpha)
        assert alpha is not None
        return np.where(x > 0, x, alpha.reshape(stage.alpha_shape) * x)
    raise TypeError(stage)


def _window(window: Window2D) -> dict:
    return {"strides": window.strides, "padding": window.padding, "dilation": window.dilation}
