"""A smoke test that ends in seconds: the API's main road, from images to a saved model that predicts the same."""

from __future__ import annotations

from pathlib import Path

import keras_twin
import networks
import numpy as np

import cnnlite
import cnnlite_kernels
from cnnlite import models


def test_learns_saves_and_predicts(seeded, tmp_path: Path) -> None:
    x, y = keras_twin.images_and_labels(512, (28, 28, 1))
    model = networks.documented()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=6, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] / 2
    loss, accuracy = model.evaluate(x, y, verbose=0)
    assert loss < 1.2
    assert accuracy > 0.7
    model.save(tmp_path / "model.cnnlite")
    loaded = models.load_model(tmp_path / "model.cnnlite")
    assert np.array_equal(loaded.predict(x), model.predict(x))


def test_type_checkers_read_the_hints() -> None:
    for package in (cnnlite, cnnlite_kernels):
        assert Path(package.__file__).with_name("py.typed").exists()
