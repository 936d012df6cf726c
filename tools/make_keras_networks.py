"""Make tests/data/keras_networks.json with Keras: how the networks of tests/keras_networks.py train in float64.

Run it in an environment with keras and tensorflow-cpu; the library under test needs neither:

    python tools/make_keras_networks.py
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import keras
import keras_networks
import numpy as np
import tensorflow as tf

FIGURES = ROOT / "tests" / "data" / "keras_networks.json"


def line(value: object) -> str:
    """JSON with eleven significant digits."""
    return json.dumps(json.loads(json.dumps(value), parse_float=lambda text: float(f"{float(text):.11g}")))


def main() -> None:
    """Write the file: a line for each list of numbers, readable in a diff."""
    # One thread: the order of sums, and with it the last digit, stays the same from run to run.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__}
    groups = [f' "versions": {json.dumps(versions)}']
    for name in keras_networks.NETWORKS:
        found = keras_networks.train(keras, name)
        lines = ",\n".join(f"  {json.dumps(key)}: {line(value)}" for key, value in found.items())
        groups.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
        print(f"{name:12} loss {found['loss'][0]:.4f} -> {found['loss'][-1]:.4f}", flush=True)
    FIGURES.write_text("{\n" + ",\n".join(groups) + "\n}\n", encoding="utf-8")
    print(f"wrote {FIGURES.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
