"""Make tests/data/keras_losses.json with Keras: losses and their gradients, and steps of AdamW, in float64.

Run it in an environment with keras and tensorflow-cpu; the library under test needs neither:

    python tools/make_keras_losses.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

FIGURES = Path(__file__).resolve().parent.parent / "tests" / "data" / "keras_losses.json"
SHARES = [[0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [0.25, 0.25, 0.5]]
PREDICTED = [[0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]]
SCORES = [[2.0, -1.0, 0.5], [0.0, 1.0, -1.0], [-3.0, 8.0, 1.25]]
SIDES = [[1.0, -1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]
BITS = [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
CASES: tuple[tuple[str, dict[str, Any], Any, Any], ...] = (
    ("MeanAbsoluteError", {}, SHARES, PREDICTED),
    ("KLDivergence", {}, SHARES, PREDICTED),
    ("Hinge", {}, SIDES, SCORES),
    ("Hinge", {}, BITS, SCORES),
    ("Huber", {}, SHARES, SCORES),
    ("Huber", {"delta": 0.25}, SHARES, SCORES),
)
ADAMW: tuple[dict[str, Any], ...] = (
    {"learning_rate": 0.0625, "beta_1": 0.875, "beta_2": 1 - 2**-10},
    {"learning_rate": 0.0625, "beta_1": 0.875, "beta_2": 1 - 2**-10, "weight_decay": 0.5, "clipnorm": 0.5},
)


def loss(name: str, arguments: dict[str, Any], y_true: Any, y_pred: Any) -> dict[str, Any]:
    """A loss's value, weighted and not, and the derivative of the sum of its numbers."""
    made = getattr(keras.losses, name)(**arguments)
    true, pred = np.array(y_true), tf.Variable(np.array(y_pred))
    weights = [1.0, 0.5, 2.0]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(made.call(true, pred))
    return {
        "loss": name, "arguments": arguments, "name": made.name, "y_true": y_true, "y_pred": y_pred,
        "value": float(made(true, pred)), "sample_weight": weights,
        "weighted_value": float(made(true, pred, sample_weight=np.array(weights))),
        "gradient": tape.gradient(total, pred).numpy().tolist(),
    }  # fmt: skip


def steps(arguments: dict[str, Any]) -> dict[str, Any]:
    """A weight and its gradients, and the weight after each step."""
    rng = np.random.default_rng(0)
    weight, grads = rng.standard_normal(4).round(3), rng.standard_normal((5, 4)).round(3)
    optimizer, variable = keras.optimizers.AdamW(**arguments), keras.Variable(weight)
    optimizer.build([variable])
    found = []
    for grad in grads:
        optimizer.apply([tf.constant(grad)])
        found.append(variable.numpy().tolist())
    return {"arguments": arguments, "weight": weight.tolist(), "grads": grads.tolist(), "weights": found}


def main() -> None:
    """Write the file: a line for each case."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    figures: dict[str, Any] = {
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__},
        "losses": [loss(*case) for case in CASES],
        "adamw": [steps(arguments) for arguments in ADAMW],
        "adamw_defaults": {
            name: keras.optimizers.AdamW().get_config()[name] for name in ("weight_decay", "beta_1", "beta_2", "epsilon")
        },
    }  # fmt: skip
    groups = []
    for name, values in figures.items():
        lines = values if isinstance(values, list) else [values]
        text = ",\n  ".join(json.dumps(line) for line in lines)
        groups.append(f" {json.dumps(name)}: " + (f"[\n  {text}\n ]" if isinstance(values, list) else text))
    FIGURES.write_text("{\n" + ",\n".join(groups) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
