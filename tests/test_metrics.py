"""Metrics: the accuracies that Keras chooses, in NumPy and in a model's kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnlite import layers, losses, metrics, models

RNG = np.random.default_rng(0)


def test_the_accuracy_follows_the_shapes() -> None:
    """One output: the side of a half; labels or a column of them: the largest output; rows of targets: the largest of both."""
    p = RNG.dirichlet(np.ones(3), 20)
    labels = RNG.integers(0, 3, 20)
    right = (p.argmax(axis=1) == labels).astype(float)
    for y in (labels, labels[:, None], np.eye(3)[labels]):
        assert np.array_equal(metrics.accuracy(y, p), right)
    one = RNG.random((20, 1))
    sides = RNG.integers(0, 2, 20)
    for y in (sides, sides[:, None], sides.astype(bool)):
        assert metrics.accuracy(y, one).mean() == ((one[:, 0] > 0.5) == sides).mean()


def test_of_images() -> None:
    p, labels = RNG.dirichlet(np.ones(3), (2, 4, 5)), RNG.integers(0, 3, (2, 4, 5))
    right = (p.argmax(axis=-1) == labels).mean()
    assert metrics.get("accuracy")(labels, p) == right
    assert metrics.get("accuracy")(labels[..., None], p) == right
    assert metrics.get("accuracy")(np.eye(3)[labels], p) == right
    assert metrics.get("binary_accuracy")(np.eye(3)[labels], p) == ((p > 0.5) == np.eye(3)[labels]).mean()


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        *[
            (name, outputs)
            for name in ("accuracy", "acc", "binary_accuracy", "categorical_accuracy")
            for outputs in (1, 3)
        ],
        ("sparse_categorical_accuracy", 3),
    ],
)
def test_in_a_model(name: str, outputs: int) -> None:
    """What evaluate reports is the function's mean, counted by the loss's kernel or not."""
    loss = "sparse_categorical_crossentropy" if "sparse" in name else "binary_crossentropy"
    model = models.Sequential([layers.Input((6,)), layers.Dense(outputs, activation="sigmoid")])
    model.compile("sgd", loss, [name])
    x = RNG.standard_normal((40, 6)).astype(np.float32)
    y = RNG.integers(0, 3, 40) if loss.startswith("sparse") else RNG.integers(0, 2, (40, outputs))
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    assert set(found) == {"loss", name}
    assert found[name] == pytest.approx(metrics.get(name)(y, model.predict(x)), rel=1e-6)
    assert model.fit(x, y, batch_size=40, verbose=0).history[name][0] == pytest.approx(found[name], rel=1e-6)


def test_logits_are_compared_with_a_half() -> None:
    """As in Keras, where "accuracy" does not know that the loss takes logits."""
    model = models.Sequential([layers.Input((1,)), layers.Activation("linear")])
    model.compile("sgd", losses.BinaryCrossentropy(from_logits=True), ["accuracy"])
    assert model.evaluate(np.array([[0.25], [0.75]]), [1, 1], verbose=0)[1] == 0.5


def test_several_metrics_keep_their_order_in_lists() -> None:
    def second(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        return 2.0

    model = models.Sequential([layers.Input((2,)), layers.Dense(2, activation="softmax")])
    model.compile(
        "sgd",
        "sparse_categorical_crossentropy",
        [second, "acc", metrics.Metric(lambda t, p: p[:, 0] * 0 + 3, "third")],
    )
    x, y = np.zeros((5, 2)), np.zeros(5)
    assert model.metrics_names == ["loss", "second", "acc", "third"]
    assert model.evaluate(x, y, verbose=0)[1::2] == [2.0, 3.0]
    assert list(model.fit(x, y, verbose=0).history) == ["acc", "loss", "second", "third"]
    model.compile("sgd", "mse", "accuracy")
    assert model.metrics_names == ["loss", "accuracy"]


def test_losses_are_metrics_too() -> None:
    """By name or as objects, as in Keras: the mean over samples, without their weights."""
    model = models.Sequential([layers.Input((1,)), layers.Activation("linear")])
    logits = losses.BinaryCrossentropy(from_logits=True, name="logits")
    model.compile("sgd", "mse", ["mae", "mean_squared_error", logits])
    found = model.evaluate(np.zeros((2, 1)), [1, 3], sample_weight=[1.0, 0.0], verbose=0)
    assert model.metrics_names == ["loss", "mae", "mean_squared_error", "logits"]
    assert found == [0.5, 2.0, 5.0, pytest.approx(np.log(2))]


def test_what_its_name_says_comes_back_from_a_file(tmp_path: Path) -> None:
    """The others are left out, as functions are: a name alone must not bring back another metric."""
    model = models.Sequential([layers.Input((2,)), layers.Dense(2, activation="softmax")])
    given = [
        losses.MeanAbsoluteError(),
        "mse",
        losses.CategoricalCrossentropy(from_logits=True),
        losses.Huber(2.0),
    ]
    model.compile(
        "sgd", "categorical_crossentropy", ["accuracy", *given, metrics.Metric(np.multiply, "hinge")]
    )
    model.save(tmp_path / "model")
    assert models.load_model(tmp_path / "model").metrics_names == [
        "loss",
        "accuracy",
        "mean_absolute_error",
        "mse",
    ]


def test_weights_do_not_change_metrics() -> None:
    model = models.Sequential([layers.Input((1,)), layers.Activation("linear")])
    model.compile("sgd", "mse", ["accuracy"])
    assert model.evaluate(np.array([[1.0], [0.0]]), [1, 1], sample_weight=[5.0, 0.0], verbose=0) == [0.0, 0.5]


@pytest.mark.parametrize(
    ("identifier", "error", "message"),
    [
        (
            "f1",
            ValueError,
            r"metrics: expected one of \['accuracy', .*'mae', .*\], a function or a Metric, got 'f1'",
        ),
        (3, TypeError, "metrics: expected names, functions or Metrics, got int"),
        (metrics.Metric, TypeError, "metrics: .* got the class Metric; call it first"),
    ],
)
def test_refusals(identifier: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        metrics.get(identifier)
