"""The documented network on both devices: prediction and training steps over batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import networks
import numpy as np

from cnnlite import models
from cnnlite.engine.network import engine_for
from devices.sweeps import Point, Sweep

INPUT, CLASSES = (28, 28, 1), 10
WEIGHTS = 4 * 93_322  # bytes


def documented(device: str) -> models.Sequential:
    """The network on a device, with the same weights every time."""
    model = networks.documented(device=device)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.build()
    rng = np.random.default_rng(7)
    model.set_weights([rng.normal(0, 0.05, weight.shape) for weight in model.get_weights()])
    return model


class OnDevices:
    """One model a device, made when it is first asked for."""

    def __init__(self) -> None:
        self._models: dict[str, models.Sequential] = {}

    def on(self, device: str) -> models.Sequential:
        if device not in self._models:
            self._models[device] = documented(device)
        return self._models[device]

    def predict(self, x: np.ndarray, device: str) -> np.ndarray:
        return self.on(device).predict_on_batch(x)

    def train(self, x: np.ndarray, labels: np.ndarray, device: str) -> np.ndarray:
        return np.asarray(self.on(device).train_on_batch(x, labels))

    def resident_predict(self, x: np.ndarray, timed: Any) -> Callable[[], None]:
        """The launches of a prediction, on images that lie on the GPU."""
        network = self.on(timed.name).network
        program = engine_for(timed.device, np.dtype(np.float32)).predict(network.stages(), len(x))
        program(x, np.empty((len(x), CLASSES), np.float32))
        return program.run

    def resident_train(self, x: np.ndarray, labels: np.ndarray, timed: Any) -> Callable[[], None]:
        """The launches of a training step, on a batch that lies on the GPU."""
        model = self.on(timed.name)
        model.train_on_batch(x, labels)  # builds the optimizer's state
        loss = model.loss.kernel("softmax")  # type: ignore[union-attr]
        program = model.network.train(len(x), loss, model.optimizer, 1.0 / len(x))
        return program.run


def all_sweeps(quick: bool) -> list[Sweep]:
    """Both over batches; each size has models of its own, so that both devices have taken as many steps."""
    sizes: Sequence[int] = (1, 8) if quick else (1, 8, 32, 128, 512, 2048)
    forward = 2 * (26 * 26 * 9 * 32 + 11 * 11 * 288 * 64 + 3 * 3 * 576 * 64 + 576 * 64 + 64 * CLASSES)

    def images(n: int) -> tuple[np.ndarray, ...]:
        return (np.random.default_rng(8).random((n, *INPUT), np.float32),)

    def batch(n: int) -> tuple[np.ndarray, ...]:
        return *images(n), np.arange(n, dtype=np.int32) % CLASSES

    def predicting(n: int) -> Point:
        pair = OnDevices()
        moved = WEIGHTS + 4.0 * n * 28 * 28
        return Point(n, forward * n, moved, lambda: images(n), pair.predict, pair.resident_predict)

    def training(n: int) -> Point:
        pair = OnDevices()
        moved = 3 * WEIGHTS + 4.0 * n * 28 * 28
        return Point(n, 3 * forward * n, moved, lambda: batch(n), pair.train, pair.resident_train)

    return [
        Sweep("documented network, predict", "images", tuple(map(predicting, sizes))),
        Sweep("documented network, training step", "images", tuple(map(training, sizes))),
    ]
