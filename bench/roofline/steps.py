"""Optimizer steps as calls: what a training step runs after its gradients, on all parameters of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnnlite import layers, models, optimizers
from cnnlite.engine.cpu.update import Update
from roofline import work
from roofline.calls import TOLERANCE, Call, one_at_a_time

RATE = 0.01

# Of a Dense layer and of its input: weights that stay in a cache, and that do not.
WIDTHS = (256, 2048)


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: optimizers.SGD(RATE),
    "momentum": lambda: optimizers.SGD(RATE, momentum=0.9),
    "rmsprop": lambda: optimizers.RMSprop(RATE),
    "adam": lambda: optimizers.Adam(RATE),
}


def first_step(name: str, w: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Weights after the first step from a state of zeros, in float64.

    Every mean begins as (1 - beta) times its first value; Adam divides that out again.
    """
    w, g = w.astype(np.float64), g.astype(np.float64)
    if name == "rmsprop":
        return w - RATE * g / np.sqrt((1 - 0.9) * g * g + 1e-7)
    if name == "adam":
        m, v = (1 - 0.9) * g, (1 - 0.999) * g * g
        return w - RATE * np.sqrt(1 - 0.999) / (1 - 0.9) * m / (np.sqrt(v) + 1e-7)
    return w - RATE * g


@one_at_a_time
def optimizer_step(name: str, width: int) -> Call:
    """One step on the weights of a Dense layer of `width` by `width`, with gradients as training leaves them."""
    model = models.Sequential([layers.Input((width,)), layers.Dense(width, use_bias=False)])
    model.build()
    (parameter,) = model.weights
    rng = np.random.default_rng(4)
    # Small beside the step, or the check would see little of it.
    weights = rng.standard_normal((width, width), np.float32) * np.float32(RATE)
    gradients = rng.standard_normal((width, width), np.float32)

    def first() -> Update:
        model.set_weights([weights])
        optimizer = OPTIMIZERS[name]()
        optimizer.build(model.weights)
        parts = np.zeros((1, optimizer.layout.size), np.float32)
        place = optimizer.layout.place(parameter)
        parts[0, place : place + gradients.size] = gradients.ravel()
        return Update(optimizer, optimizer.layout, parts)

    def answer() -> np.ndarray:
        first().run()
        return model.get_weights()[0]

    return Call(
        f"optimizer {name} {width}x{width}",
        work.of_optimizer(name, weights.size),
        first().run,
        lambda: first_step(name, weights, gradients),
        TOLERANCE,
        answer,
    )
