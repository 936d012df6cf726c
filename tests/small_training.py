"""Data and compiled models that the tests of training share: steps of microseconds, the same first weights every time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import networks
import numpy as np

import cnnlite
from cnnlite import models

N = 50


def data(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Six features and the number, of three, that the first two give."""
    x = np.random.default_rng(seed).standard_normal((n, 6)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)


def compiled(
    loss: Any = "sparse_categorical_crossentropy",
    optimizer: Any = "sgd",
    more: Any = ("accuracy",),
    **arguments: Any,
):
    """`networks.small` with the same first weights in every call."""
    cnnlite.set_random_seed(1)
    model = networks.small(**arguments)
    model.compile(optimizer, loss, list(more))
    model.build()
    return model


def fit(model: models.Sequential, *arguments: Any, **named: Any) -> dict[str, list[float]]:
    """History of a silent fit that shuffles as every other one does."""
    cnnlite.set_random_seed(2)
    return model.fit(*arguments, **{"verbose": 0, **named}).history


def endless(batch_size: int = 10) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    x, y = data()
    while True:
        for start in range(0, N, batch_size):
            yield x[start : start + batch_size], y[start : start + batch_size]
