"""Training follows Keras step for step: the runs of keras_twin.py against what Keras stored in data/keras_figures.json.

In float64 all 20 steps of every run agree in all the digits that the file has, eleven: 1e-10 relative to a loss of about 2 is
its last digit and a few roundings. The exceptions are stated beside `ROUNDED`. In float32 rounding decides, sooner or later, on
which side of zero a ReLU's input lies, and from there on two right programs drift apart; so the first steps are compared on the
network with ReLUs, and all steps on the network without.
"""

from __future__ import annotations

from typing import Any

import keras_twin
import numpy as np
import pytest

import cnnlite
from cnnlite import callbacks, naming
from cnnlite.optimizers import schedules

DIGITS = 1e-10
# Keras keeps these runs' constants in float32 (beta_2 = 0.999, powers of a decay), 6e-6 off a step's length for Adam and 6e-8
# for the schedule: what that may change in a loss, for as long as no ReLU's side depends on it.
ROUNDED = {"adam": (4, 1e-6), "tiny_adam": (keras_twin.STEPS, 6e-6), "schedule": (keras_twin.STEPS, 6e-8)}
# float32: a sum of 576 products is off by some sqrt(576) / 2 roundings of 6e-8, and the loss by about as much.
FLOAT32 = 1e-6
FIRST_STEPS = 2  # of a network with ReLUs: forward, backward and one update


@pytest.mark.parametrize("name", keras_twin.RUNS)
def test_float64_runs(keras_figures: dict[str, Any], name: str) -> None:
    figures = keras_twin.train(cnnlite, keras_twin.RUNS[name], dtype="float64")
    stored = keras_figures["runs"]["float64"][name]
    steps, tolerance = ROUNDED.get(name, (keras_twin.STEPS, DIGITS))
    np.testing.assert_allclose(figures["loss"][:steps], stored["loss"][:steps], rtol=tolerance)
    assert figures["accuracy"][:steps] == pytest.approx(stored["accuracy"][:steps], rel=1e-7)
    if steps == keras_twin.STEPS:
        np.testing.assert_allclose(figures["predictions"], stored["predictions"], rtol=10 * tolerance)


@pytest.mark.parametrize("name", keras_twin.RUNS)
def test_float32_runs(keras_figures: dict[str, Any], name: str) -> None:
    run = keras_twin.RUNS[name]
    figures, stored = keras_twin.train(cnnlite, run), keras_figures["runs"]["float32"][name]
    steps = keras_twin.STEPS if run.network == "tiny" and name != "tiny_adam" else FIRST_STEPS
    np.testing.assert_allclose(figures["loss"][:steps], stored["loss"][:steps], rtol=FLOAT32)
    assert figures["accuracy"][:steps] == pytest.approx(stored["accuracy"][:steps], rel=1e-6)


@pytest.mark.parametrize(
    ("ours", "other"),
    [
        ("sgd_momentum", "sgd_nesterov"),
        ("clipnorm", "global_clipnorm"),
        ("rmsprop_defaults", "rmsprop_centered"),
        ("adam_exact", "adam_arguments"),
        ("sgd", "sample_weight"),
    ],
)
def test_a_wrong_formula_would_show(keras_figures: dict[str, Any], ours: str, other: str) -> None:
    """Neighbouring formulas differ by far more than is allowed."""
    stored = keras_figures["runs"]["float64"]
    difference = np.abs(np.array(stored[ours]["loss"]) - stored[other]["loss"]).max()
    assert difference > 1000 * DIGITS * max(stored[ours]["loss"])


def test_fit_evaluate_and_single_batches(keras_figures: dict[str, Any]) -> None:
    """What they return, in keys, order and values; batches of 32, the last one smaller, and a validation split."""
    stored = keras_figures["fit"]
    run = keras_twin.RUNS[stored["run"]]
    x, y, _ = keras_twin.batches(run, stored["images"])

    model = keras_twin.build(cnnlite, run)
    history = model.fit(
        x,
        y,
        batch_size=32,
        epochs=3,
        shuffle=False,
        validation_split=0.2,
        validation_batch_size=25,
        verbose=0,
    )
    assert list(history.history) == stored["keys"]
    assert history.epoch == stored["epochs"]
    assert history.params == {**stored["params"], "verbose": 0}
    # 24 steps of momentum, in float32, on a network with ReLUs.
    for key in stored["keys"]:
        np.testing.assert_allclose(history.history[key], stored["history"][key], atol=5e-3, err_msg=key)
    assert all(type(value) is float for values in history.history.values() for value in values)
    assert model.evaluate(x, y, batch_size=64, verbose=0) == pytest.approx(stored["evaluate"], abs=5e-3)
    as_dict = model.evaluate(x, y, batch_size=64, verbose=0, return_dict=True)
    assert list(as_dict) == list(stored["evaluate_dict"])
    assert [as_dict["loss"], as_dict["accuracy"]] == model.evaluate(x, y, batch_size=64, verbose=0)

    model = keras_twin.build(cnnlite, run)
    on_batch = [model.train_on_batch(x[i : i + 32], y[i : i + 32]) for i in (0, 32, 64)]
    np.testing.assert_allclose(on_batch[:2], stored["train_on_batch"][:2], rtol=FLOAT32)
    np.testing.assert_allclose(on_batch[2], stored["train_on_batch"][2], rtol=1e-5)
    np.testing.assert_allclose(model.test_on_batch(x[:32], y[:32]), stored["test_on_batch_after"], rtol=1e-5)

    model = keras_twin.build(cnnlite, run)
    seen: list[dict[str, float]] = []
    watch = callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: seen.append(dict(logs)))
    model.fit(x, y, batch_size=32, shuffle=False, verbose=0, callbacks=[watch])
    assert [list(logs) for logs in seen] == [list(logs) for logs in stored["batch_logs"]]
    for step, (ours, keras) in enumerate(
        zip(seen, stored["batch_logs"], strict=True)
    ):  # running means, not batches'
        assert ours == pytest.approx(
            keras, rel=FLOAT32 if step < FIRST_STEPS else 1e-3, abs=1e-8 if step < 4 else 4e-3
        )


def test_names_and_counts(keras_figures: dict[str, Any]) -> None:
    """Names that Keras gives by default, in a first and in a second model."""
    stored = keras_figures["names"]
    naming.reset_names()
    run = keras_twin.RUNS["adam"]
    pair = [keras_twin.build(cnnlite, run), keras_twin.build(cnnlite, run)]
    assert [model.name for model in pair] == stored["model_names"]
    assert [[layer.name for layer in model.layers] for model in pair] == stored["layer_names"]
    model = pair[0]
    assert [weight.name for weight in model.weights] == stored["weight_names"]
    # Keras puts the model's name before it, which a shared layer would not know.
    assert [f"sequential/{weight.path}" for weight in model.weights] == stored["weight_paths"]
    assert model.count_params() == stored["parameters"] == 93_322
    assert [layer.count_params() for layer in model.layers] == stored["parameters_by_layer"]
    assert [[None, *layer.output_shape] for layer in model.layers] == stored["output_shapes"]


def test_summary_has_the_same_cells(keras_figures: dict[str, Any]) -> None:
    stored = keras_figures["names"]["summary"]
    naming.reset_names()
    lines: list[str] = []
    keras_twin.build(cnnlite, keras_twin.RUNS["adam"]).summary(print_fn=lines.append)

    def cells(table: list[str]) -> list[list[str]]:
        rows = [line.replace("┃", "│") for line in table]
        return [[cell.strip() for cell in row.split("│")[1:-1]] for row in rows if row.startswith("│")]

    assert cells(lines) == cells(stored)
    assert [line.strip() for line in lines if "params" in line] == [
        line.strip() for line in stored if "params" in line
    ]
    assert lines[0] == stored[0]


def test_losses(keras_figures: dict[str, Any]) -> None:
    """Values for probabilities of exactly 0 and 1, rows that do not sum to one, smoothed labels and weights."""
    for case in keras_figures["losses"]:
        loss = getattr(cnnlite.losses, case["loss"])(**case["arguments"])
        y_true, y_pred = np.array(case["y_true"]), np.array(case["y_pred"], np.float64)
        # Keras has computed these in float32, where a probability of 1 - 1e-7 is off by 2e-8.
        assert loss(y_true, y_pred) == pytest.approx(case["value"], rel=2e-6), case
        weighted = loss(y_true, y_pred, sample_weight=np.array(case["sample_weight"]))
        assert weighted == pytest.approx(case["weighted_value"], rel=2e-6), case


def test_schedules(keras_figures: dict[str, Any]) -> None:
    for case in keras_figures["schedules"].values():
        schedule = getattr(schedules, case["kind"])(**case["arguments"])
        # Keras computes them in float32; near the end of a cosine the difference of two numbers near 1 is left.
        np.testing.assert_allclose(
            [schedule(step) for step in case["steps"]], case["values"], rtol=1e-6, atol=1e-8
        )
