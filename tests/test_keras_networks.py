"""Networks over all kinds of layers train as Keras trains them, step for step: tests/keras_networks.py against what Keras stored.

In float64, to all digits that the file has, eleven: losses of five steps, and then what depends on all weights and on the moving
averages of batch normalization.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras_networks
import networks
import numpy as np
import pytest
from keras_networks import NETWORKS

import cnnlite
from cnnlite import models

DIGITS = 1e-10
# What TensorFlow rounds to float32 though all else is float64: 0.2 and 0.3 by 1.5e-8 and 4e-8 of themselves; pixels by 6e-8.
ROUNDED = {"rounded slopes": 1e-7, "enlarged bilinearly": 1e-7}


def differences(found: dict[str, Any], stored: dict[str, Any]) -> dict[str, float]:
    """The largest difference of each figure, over the largest number in it."""
    pairs = {key: (np.array(found[key]), np.array(stored[key])) for key in stored}
    assert all(ours.shape == keras.shape for ours, keras in pairs.values())
    return {key: float(abs(ours - keras).max() / abs(keras).max()) for key, (ours, keras) in pairs.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_as_keras(keras_networks_figures: dict[str, Any], name: str) -> None:
    found = differences(keras_networks.train(cnnlite, name), keras_networks_figures[name])
    assert max(found.values()) < ROUNDED.get(name, DIGITS), found


@pytest.mark.parametrize(
    ("name", "layer", "changed"),
    [
        ("generator", 5, {"momentum": 0.75, "epsilon": 2e-5}),
        ("generator", 5, {"momentum": 0.76, "epsilon": 1e-5}),
        ("generator", 2, {"negative_slope": 0.2}),
        ("u_net", 8, {"size": 2, "interpolation": "bilinear"}),
        ("residual", 5, {"trainable": False}),
        ("residual", 2, {"center": False, "momentum": 0.9}),
        ("frozen", 1, {}),
        ("pooling", 1, {"pool_size": 3, "strides": 2, "padding": ((1, 0), (1, 0)), "name": "mean"}),
        ("slopes", 1, {"negative_slope": 0.51}),
        ("bounded", 2, {}),
        ("learnt slopes", 3, {"shared_axes": [1]}),
        ("learnt slopes", 1, {"alpha_regularizer": "l2"}),
    ],
)
def test_another_formula_would_show(
    keras_networks_figures: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    layer: int,
    changed: dict[str, Any],
) -> None:
    """Neighbouring formulas are off by far more than is allowed."""
    network = NETWORKS[name]
    described = list(network.layers)
    described[layer] = (described[layer][0], changed, *described[layer][2:])  # type: ignore[misc]
    monkeypatch.setitem(NETWORKS, name, network._replace(layers=described))
    found = differences(keras_networks.train(cnnlite, name), keras_networks_figures[name])
    assert max(found.values()) > 1000 * DIGITS


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_models_are_the_same(tmp_path: Path, name: str) -> None:
    """All layers come back from a file, with their weights and the optimizer's state: training goes on bit for bit."""
    model = keras_networks.build(cnnlite, name)
    shapes = model.input_shape, model.output_shape
    x, y = (keras_networks.numbers(4, *shape, seed=seed) for seed, shape in enumerate(shapes))
    model.train_on_batch(x, y)
    model.save(tmp_path / "model")
    loaded = models.load_model(tmp_path / "model")
    assert loaded.get_config() == model.get_config()
    assert np.array_equal(loaded.predict(x), model.predict(x))
    assert loaded.train_on_batch(x, y) == model.train_on_batch(x, y)
    assert networks.same(loaded.get_weights(), model.get_weights())
