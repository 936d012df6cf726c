"""Make tests/data/keras_figures.json, and with --fashion-mnist or --mnist the file of full runs, with Keras.

Run it in an environment with keras and tensorflow-cpu; the library under test needs neither:

    python tools/make_keras_figures.py
    python tools/make_keras_figures.py --fashion-mnist FOLDER --mnist FILE.npz
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# One thread: the order of sums, and with it the last digit, stays the same from run to run.
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import keras
import keras_twin
import numpy as np
import tensorflow as tf

FIGURES = ROOT / "tests" / "data" / "keras_figures.json"
FULL_RUNS = ROOT / "tests" / "data" / "keras_full_runs.json"

SCHEDULES: dict[str, tuple[str, dict[str, Any]]] = {
    "exponential": ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9}),
    "exponential_staircase": (
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9, "staircase": True},
    ),
    "cosine": ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 40, "alpha": 0.1}),
    "cosine_warmup": (
        "CosineDecay",
        {"initial_learning_rate": 0.0, "decay_steps": 40, "warmup_target": 0.1, "warmup_steps": 10},
    ),
    "piecewise": ("PiecewiseConstantDecay", {"boundaries": [5, 20], "values": [0.1, 0.05, 0.01]}),
    "polynomial": (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 40, "end_learning_rate": 0.01, "power": 2.0},
    ),
    "polynomial_cycle": (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 15, "end_learning_rate": 0.01, "cycle": True},
    ),
    "inverse_time": ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.5}),
    "inverse_time_staircase": (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.5, "staircase": True},
    ),
}
SCHEDULE_STEPS = [0, 1, 5, 6, 7, 10, 15, 20, 21, 40, 100]


def versions() -> dict[str, str]:
    """What made the figures."""
    return {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__}


def schedules() -> dict[str, Any]:
    """Learning rates at some steps."""
    found = {}
    for name, (kind, arguments) in SCHEDULES.items():
        schedule = getattr(keras.optimizers.schedules, kind)(**arguments)
        values = [float(keras.ops.convert_to_numpy(schedule(step))) for step in SCHEDULE_STEPS]
        found[name] = {"kind": kind, "arguments": arguments, "steps": SCHEDULE_STEPS, "values": values}
    return found


def losses() -> list[dict[str, Any]]:
    """Losses of small arrays, with probabilities of exactly 0 and 1 among them."""
    logits = [[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-3.0, 80.0, 1.0]]
    probabilities = [[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]]
    onehot, sparse = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], [0, 1, 0]
    binary, binary_p, binary_logits = [[1.0], [0.0], [1.0]], [[0.8], [0.3], [0.0]], [[2.0], [90.0], [-1.0]]
    weights = [1.0, 0.5, 2.0]
    cases: list[tuple[str, dict[str, Any], Any, Any]] = [
        ("SparseCategoricalCrossentropy", {}, sparse, probabilities),
        ("SparseCategoricalCrossentropy", {"from_logits": True}, sparse, logits),
        ("CategoricalCrossentropy", {}, onehot, probabilities),
        ("CategoricalCrossentropy", {"from_logits": True}, onehot, logits),
        ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, onehot, logits),
        # Rows that do not sum to one: Keras divides by the sum first.
        ("CategoricalCrossentropy", {}, onehot, [[1.4, 0.4, 0.2], [0.1, 0.2, 0.1], [0.5, 0.5, 1.0]]),
        ("BinaryCrossentropy", {}, binary, binary_p),
        ("BinaryCrossentropy", {"from_logits": True}, binary, binary_logits),
        ("BinaryCrossentropy", {"label_smoothing": 0.1}, binary, binary_p),
        ("MeanSquaredError", {}, onehot, probabilities),
    ]
    found = []
    for name, arguments, y_true, y_pred in cases:
        true = np.array(y_true, np.int64 if y_true is sparse else np.float32)
        pred = np.array(y_pred, np.float32)
        loss = getattr(keras.losses, name)(**arguments)
        found.append(
            {
                "loss": name,
                "arguments": arguments,
                "y_true": y_true,
                "y_pred": y_pred,
                "value": float(loss(true, pred)),
                "sample_weight": weights,
                "weighted_value": float(loss(true, pred, sample_weight=np.array(weights, np.float32))),
            }
        )
    return found


def fit_with_validation() -> dict[str, Any]:
    """What `fit`, `evaluate` and `train_on_batch` return and print over a few batches, the last one short."""
    run = keras_twin.RUNS["sgd_momentum"]
    x, y, _ = keras_twin.batches(run, 300)
    model = keras_twin.build(keras, run)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        history = model.fit(
            x,
            y,
            batch_size=32,
            epochs=3,
            shuffle=False,
            validation_split=0.2,
            validation_batch_size=25,
            verbose=2,
        )
        evaluated = model.evaluate(x, y, batch_size=64, verbose=2)
    as_dict = model.evaluate(x, y, batch_size=64, verbose=0, return_dict=True)
    model = keras_twin.build(keras, run)
    on_batch = [model.train_on_batch(x[i : i + 32], y[i : i + 32]) for i in (0, 32, 64)]
    tested = model.test_on_batch(x[:32], y[:32])
    seen: list[dict[str, float]] = []
    model = keras_twin.build(keras, run)
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: seen.append(dict(logs)))
    model.fit(x, y, batch_size=32, shuffle=False, verbose=0, callbacks=[watch])
    return {
        "run": run.name,
        "images": 300,
        "keys": list(history.history),
        "history": history.history,
        "epochs": history.epoch,
        "params": history.params,
        "evaluate": evaluated,
        "evaluate_dict": as_dict,
        "train_on_batch": [[float(value) for value in values] for values in on_batch],
        "test_on_batch_after": [float(value) for value in tested],
        "batch_logs": seen,
        "printed": printed.getvalue().splitlines(),
    }


def names_and_summary() -> dict[str, Any]:
    """Names Keras gives by default, for a first and a second model, and what `summary` prints."""
    keras.utils.clear_session()
    run = keras_twin.RUNS["adam"]
    first, second = keras_twin.build(keras, run), keras_twin.build(keras, run)
    lines: list[str] = []
    first.summary(print_fn=lambda text, **_: lines.extend(text.splitlines()), line_length=80)
    x, y, _ = keras_twin.batches(run, 32)
    first.train_on_batch(x, y)
    return {
        "summary": lines,
        "parameters": first.count_params(),
        "parameters_by_layer": [layer.count_params() for layer in first.layers],
        "model_names": [first.name, second.name],
        "layer_names": [[layer.name for layer in model.layers] for model in (first, second)],
        "weight_names": [weight.name for weight in first.weights],
        "weight_paths": [weight.path for weight in first.weights],
        "optimizer_variables": [variable.path for variable in first.optimizer.variables],
        "output_shapes": [list(layer.output.shape) for layer in first.layers],
    }


def fashion_mnist(folder: Path) -> list[Any]:
    """The four .gz files of the published data set."""
    found = []
    for name in ("train", "t10k"):
        for what, header in (("images-idx3", 16), ("labels-idx1", 8)):
            raw = gzip.decompress((folder / f"{name}-{what}-ubyte.gz").read_bytes())
            array = np.frombuffer(raw, np.uint8, offset=header)
            found.append(array.reshape(-1, 28, 28) if header == 16 else array)
    return found


def full_run(data: list[Any], epochs: int = 5) -> dict[str, Any]:
    """Test accuracy of the documented program, for three seeds."""
    x_train, y_train, x_test, y_test = data
    x_train, x_test = x_train[..., None] / 255.0, x_test[..., None] / 255.0
    runs = []
    for seed in (0, 1, 2):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input((28, 28, 1))])
        for name, arguments in keras_twin.DOCUMENTED:
            model.add(getattr(keras.layers, name)(**arguments))
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(x_train, y_train, epochs=epochs, verbose=0).history
        loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
        runs.append({"seed": seed, "history": history, "test_loss": loss, "test_accuracy": accuracy})
        print(f"seed {seed}: test accuracy {accuracy:.4f}", flush=True)
    mean = float(np.mean([run["test_accuracy"] for run in runs]))
    return {"epochs": epochs, "mean_test_accuracy": mean, "runs": runs}


def shortened(value: Any) -> Any:
    """Floats with eleven significant digits: more than a float32 holds, and than float64 runs agree in."""
    if isinstance(value, float):
        return float(f"{value:.11g}")
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    return [shortened(item) for item in value] if isinstance(value, (list, tuple)) else value


def write(path: Path, figures: dict[str, Any]) -> None:
    """One JSON file, readable in a diff."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(shortened(figures), indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")


def main() -> None:
    """Make the figures that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fashion-mnist", type=Path, help="folder with the four .gz files")
    parser.add_argument("--mnist", type=Path, help="mnist.npz with x_train, y_train, x_test, y_test")
    chosen = parser.parse_args()
    if chosen.fashion_mnist or chosen.mnist:
        full: dict[str, Any] = {"versions": versions()}
        if chosen.fashion_mnist:
            full["fashion_mnist"] = full_run(fashion_mnist(chosen.fashion_mnist))
        if chosen.mnist:
            with np.load(chosen.mnist, allow_pickle=False) as file:
                full["mnist"] = full_run([file[name] for name in ("x_train", "y_train", "x_test", "y_test")])
        write(FULL_RUNS, full)
        return
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    runs: dict[str, dict[str, Any]] = {}
    for dtype in ("float32", "float64"):
        # The first is for losses, metrics and optimizers, the second for layers.
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        runs[dtype] = {}
        for name, run in keras_twin.RUNS.items():
            found = runs[dtype][name] = keras_twin.train(keras, run)
            print(f"{dtype} {name:20} loss {found['loss'][0]:.4f} -> {found['loss'][-1]:.4f}", flush=True)
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    write(
        FIGURES,
        {
            "versions": versions(),
            "batch": keras_twin.BATCH,
            "steps": keras_twin.STEPS,
            "runs": runs,
            "schedules": schedules(),
            "losses": losses(),
            "fit": fit_with_validation(),
            "names": names_and_summary(),
        },
    )


if __name__ == "__main__":
    main()
