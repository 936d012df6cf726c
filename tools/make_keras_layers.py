"""Make tests/data/keras_layers.json with Keras: what its layers compute of small arrays in float64, with their gradients.

Run it in an environment with keras and tensorflow-cpu; the library under test needs neither:

    python tools/make_keras_layers.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

FIGURES = Path(__file__).resolve().parent.parent / "tests" / "data" / "keras_layers.json"


def normals(*shape: int) -> np.ndarray:
    """The same numbers in every run, short enough to be written exactly."""
    return np.random.default_rng(sum(shape)).standard_normal(shape).round(3)


def gradients(
    forward: Callable[..., Any], *inputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """(y, grad_y, gradients): what `forward` makes of the inputs, some gradient of y, and those of the inputs."""
    variables = [tf.Variable(array) for array in inputs]
    with tf.GradientTape() as tape:
        y = forward(*variables)
        grad_y = normals(*y.shape)
        loss = tf.reduce_sum(y * grad_y)
    return y.numpy(), grad_y, [grad.numpy() for grad in tape.gradient(loss, variables)]


def average_pool2d() -> dict[str, Any]:
    """Overlapping windows, some of which reach into the padding."""
    layer = keras.layers.AveragePooling2D(3, strides=2, padding="same")
    x = normals(2, 4, 5, 3)
    y, grad_y, (grad_x,) = gradients(layer, x)
    return {"x": x, "y": y, "grad_y": grad_y, "grad_x": grad_x}


def batch_normalization() -> dict[str, Any]:
    """In training, where moving averages start from 0 and 1, and then outside training."""
    layer = keras.layers.BatchNormalization()
    layer.build((None, 3, 2, 4))
    x, gamma, beta = 2 * normals(2, 3, 2, 4) + 1, normals(4) + 2, normals(1, 4)[0]
    layer.set_weights([gamma, beta, np.zeros(4), np.ones(4)])
    y, grad_y, (grad_x,) = gradients(lambda x: layer(x, training=True), x)
    moving = [layer.moving_mean.numpy(), layer.moving_variance.numpy()]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True) * grad_y)
    grad_gamma, grad_beta = (
        grad.numpy() for grad in tape.gradient(loss, [layer.gamma.value, layer.beta.value])
    )
    layer.set_weights([gamma, beta, *moving])
    return {
        "x": x, "gamma": gamma, "beta": beta, "y": y, "moving": moving, "y_after": layer(x).numpy(),
        "grad_y": grad_y, "grad_x": grad_x, "grad_gamma": grad_gamma, "grad_beta": grad_beta,
    }  # fmt: skip


def conv2d_transpose() -> dict[str, Any]:
    """Keras's sizes, with and without output_padding, for either padding."""
    x, w, b = normals(2, 3, 4, 2), normals(3, 2, 3, 2), normals(1, 3)[0]
    found = {}
    some: tuple[dict[str, Any], ...] = (
        {"strides": 2},
        {"strides": [2, 3], "padding": "same"},
        {"strides": [3, 3], "output_padding": [2, 1]},
        {"strides": [3, 3], "padding": "same", "output_padding": [1, 1]},
    )
    for number, options in enumerate(some):
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        layer = keras.layers.Conv2DTranspose(3, (3, 2), **given)
        layer.build(x.shape)
        layer.set_weights([w, b])
        found[str(number)] = {"options": options, "x": x, "w": w, "b": b, "y": layer(x).numpy()}
    return found


def up_sampling2d() -> dict[str, Any]:
    """Either interpolation, by 2 rows and 3 columns, of an image that has a middle and of one that has none."""
    x = normals(2, 3, 4, 2)
    found: dict[str, Any] = {"x": x}
    for name in ("nearest", "bilinear"):
        layer = keras.layers.UpSampling2D((2, 3), interpolation=name)
        found[name], found["grad_y"], (found[f"{name}_grad"],) = gradients(layer, x)
    return found


def plain(value: Any) -> Any:
    """Lists of floats with eleven significant digits."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return float(f"{value:.11g}") if isinstance(value, float) else value


def main() -> None:
    """Write the file: a line for each array, readable in a diff."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__}
    figures: dict[str, dict[str, Any]] = {
        "versions": versions,
        "average_pool2d": average_pool2d(),
        "batch_normalization": batch_normalization(),
        "conv2d_transpose": conv2d_transpose(),
        "up_sampling2d": up_sampling2d(),
    }
    groups = []
    for name, values in figures.items():
        lines = ",\n".join(
            f"  {json.dumps(key)}: {json.dumps(plain(value))}" for key, value in values.items()
        )
        groups.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
    FIGURES.write_text("{\n" + ",\n".join(groups) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
