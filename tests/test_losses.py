"""Losses: the formulas in NumPy, their gradients, and the kernels that compute them in a model; Keras's values are in
test_keras_figures.py."""

from __future__ import annotations

import json
from typing import Any

import central_differences
import numpy as np
import pytest

from cnnlite import layers, losses, models

N, CLASSES = 7, 4


def probabilities(shape: tuple[int, ...] = (N, CLASSES)) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.full(shape[-1], 4.0), shape[:-1])  # none is near 0


def logits(shape: tuple[int, ...] = (N, CLASSES)) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape) * 3


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def huber(error: np.ndarray, delta: float) -> np.ndarray:
    return np.array(
        [e * e / 2 if abs(e) <= delta else delta * (abs(e) - delta / 2) for e in error.flat]
    ).reshape(error.shape)


LABELS = np.random.default_rng(2).integers(0, CLASSES, N)
SHARES = np.random.default_rng(3).dirichlet(np.ones(CLASSES), N)
SIDES = np.random.default_rng(4).integers(0, 2, (N, CLASSES))


def formulas() -> dict[str, tuple[losses.Loss, np.ndarray, np.ndarray, np.ndarray]]:
    """The loss, its arguments, and the value of each sample."""
    p, z = probabilities(), logits()
    chosen = np.arange(N), LABELS
    smooth = SHARES * 0.7 + 0.3 / CLASSES
    binary = -(SIDES * np.log(p) + (1 - SIDES) * np.log(1 - p)).mean(axis=1)
    side = SIDES * 0.6 + 0.2
    return {
        "sparse": (losses.SparseCategoricalCrossentropy(), LABELS, p, -np.log(p[chosen])),
        "sparse column": (losses.SparseCategoricalCrossentropy(), LABELS[:, None], p, -np.log(p[chosen])),
        "sparse logits": (losses.SparseCategoricalCrossentropy(True), LABELS, z, -np.log(softmax(z)[chosen])),
        "categorical": (losses.CategoricalCrossentropy(), SHARES, p, -(SHARES * np.log(p)).sum(axis=1)),
        "unscaled": (losses.CategoricalCrossentropy(), SHARES, 3 * p, -(SHARES * np.log(p)).sum(axis=1)),
        "categorical logits": (losses.CategoricalCrossentropy(True), SHARES, z, -(SHARES * np.log(softmax(z))).sum(axis=1)),
        "smoothed": (losses.CategoricalCrossentropy(label_smoothing=0.3), SHARES, p, -(smooth * np.log(p)).sum(axis=1)),
        "binary": (losses.BinaryCrossentropy(), SIDES, p, binary),
        "binary logits": (
            losses.BinaryCrossentropy(True), SIDES, z,
            -(SIDES * np.log(sigmoid(z)) + (1 - SIDES) * np.log(1 - sigmoid(z))).mean(axis=1),
        ),
        "binary smoothed": (
            losses.BinaryCrossentropy(label_smoothing=0.4), SIDES, p, -(side * np.log(p) + (1 - side) * np.log(1 - p)).mean(axis=1),
        ),
        "squared": (losses.MeanSquaredError(), SHARES, z, ((z - SHARES) ** 2).mean(axis=1)),
        "absolute": (losses.MeanAbsoluteError(), SHARES, z, np.abs(z - SHARES).mean(axis=1)),
        "divergence": (losses.KLDivergence(), SHARES, p, (SHARES * np.log(SHARES / p)).sum(axis=1)),
        "hinge": (losses.Hinge(), 2 * SIDES - 1, z, np.maximum(1 - (2 * SIDES - 1) * z, 0).mean(axis=1)),
        "hinge of 0 and 1": (losses.Hinge(), SIDES, z, np.maximum(1 - (2 * SIDES - 1) * z, 0).mean(axis=1)),
        "huber": (losses.Huber(), SHARES, z, huber(z - SHARES, 1.0).mean(axis=1)),
        "huber of 3": (losses.Huber(delta=3), SHARES, z, huber(z - SHARES, 3.0).mean(axis=1)),
    }  # fmt: skip


@pytest.mark.parametrize("name", formulas())
def test_formulas_weights_and_reductions(name: str) -> None:
    loss, y_true, y_pred, each = formulas()[name]
    np.testing.assert_allclose(loss.per_sample(y_true, y_pred), each, rtol=1e-12)
    assert loss(y_true, y_pred) == pytest.approx(each.mean(), rel=1e-12)
    weights = np.arange(N)
    assert loss(y_true, y_pred, sample_weight=weights) == pytest.approx((each * weights).mean(), rel=1e-12)
    for reduction, value in (("sum", each.sum()), ("none", each), (None, each)):
        other = type(loss)(**{**loss.get_config(), "reduction": reduction})
        np.testing.assert_allclose(other(y_true, y_pred), value, rtol=1e-12)
    assert loss(y_true.tolist(), y_pred.tolist()) == pytest.approx(each.mean(), rel=1e-12)


@pytest.mark.parametrize("name", formulas())
def test_gradients(name: str) -> None:
    loss, y_true, y_pred, _ = formulas()[name]
    central_differences.assert_gradient(
        loss.gradient(y_true, y_pred),
        lambda y: float(loss.call(y_true, y).sum()),
        y_pred,
        eps=1e-6,
        tolerance=1e-5,
    )


@pytest.mark.parametrize("name", formulas())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_in_a_model(name: str, dtype: str) -> None:
    """What evaluate reports is the formula, also where a kernel computes it together with the last activation."""
    loss, y_true, _, _ = formulas()[name]
    head = (
        None
        if getattr(loss, "from_logits", False) or name.split()[0] in ("squared", "absolute", "hinge", "huber")
        else "sigmoid"
        if "binary" in name
        else "softmax"
    )
    model = models.Sequential([layers.Input((5,)), layers.Dense(CLASSES, activation=head)], dtype=dtype)
    model.compile("sgd", loss)
    x = np.random.default_rng(5).standard_normal((N, 5)).astype(dtype)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    assert model.evaluate(x, y_true, verbose=0) == pytest.approx(
        loss(y_true, model.predict(x)), rel=tolerance
    )


@pytest.mark.parametrize(
    "loss",
    [
        losses.MeanSquaredError(),
        losses.BinaryCrossentropy(),
        losses.MeanAbsoluteError(),
        losses.KLDivergence(),
        losses.Hinge(),
        losses.Huber(0.25),
    ],
    ids=lambda loss: loss.name,
)
def test_of_images(loss: losses.Loss) -> None:
    """(n, h, w, c): the mean over an image's numbers, then over images; targets may lack the last axis if it is one."""
    p, t = probabilities((3, 4, 5, 2)), probabilities((3, 4, 5, 2))[::-1]
    each = loss.call(t, p)
    assert each.shape == (3, 4, 5)
    np.testing.assert_allclose(loss.per_sample(t, p), each.reshape(3, -1).mean(axis=1))
    model = models.Sequential([layers.Input((4, 5, 2)), layers.Activation("linear")], dtype="float64")
    model.compile("sgd", loss)
    assert model.evaluate(p, t, verbose=0) == pytest.approx(loss(t, p), rel=1e-12)
    narrow = models.Sequential([layers.Input((4, 5, 1)), layers.Activation("linear")], dtype="float64")
    narrow.compile("sgd", loss)
    one, other = p[..., :1], t[..., 0]
    assert narrow.evaluate(one, other, verbose=0) == pytest.approx(loss(other[..., None], one), rel=1e-12)


def test_labels_of_pixels() -> None:
    loss = losses.SparseCategoricalCrossentropy()
    p, labels = probabilities((2, 3, 4, 5)), np.random.default_rng(0).integers(0, 5, (2, 3, 4))
    wanted = -np.log(np.take_along_axis(p, labels[..., None], axis=-1)).mean()
    assert loss(labels, p) == pytest.approx(wanted)
    model = models.Sequential([layers.Input((3, 4, 5)), layers.Activation("linear")], dtype="float64")
    model.compile("sgd", loss, ["accuracy"])
    found = model.evaluate(p, labels, verbose=0)
    assert found == pytest.approx([wanted, (p.argmax(axis=-1) == labels).mean()])
    with pytest.raises(ValueError, match=r"expected labels y of shape \(n, 3, 4\) .*, got \(n,\)"):
        model.evaluate(p, [0, 1], verbose=0)
    with pytest.raises(ValueError, match="expected labels from 0 to 4"):
        model.evaluate(p, labels + 1, verbose=0)


@pytest.mark.parametrize("name", formulas())
def test_no_samples(name: str) -> None:
    loss, y_true, y_pred, _ = formulas()[name]
    assert loss(y_true[:0], y_pred[:0]) == 0
    assert loss.per_sample(y_true[:0], y_pred[:0]).shape == (0,)
    assert loss.gradient(y_true[:0], y_pred[:0]).shape == (0, CLASSES)


def test_probabilities_of_zero_and_one_are_finite() -> None:
    """They are kept 1e-7 away, as in Keras; there the gradient is zero."""
    loss = losses.BinaryCrossentropy()
    assert loss([[1.0], [0.0]], [[0.0], [1.0]]) == pytest.approx(-np.log(1e-7), rel=1e-6)
    assert not loss.gradient(np.array([[1.0]]), np.array([[0.0]])).any()
    sparse = losses.SparseCategoricalCrossentropy()
    assert sparse([1], [[1.0, 0.0]]) == pytest.approx(-np.log(1e-7), rel=1e-6)
    assert np.isfinite(sparse.gradient(np.array([1]), np.array([[1.0, 0.0]]))).all()


def test_divergence_of_zero_and_one_is_finite() -> None:
    """Targets and predictions are kept from 1e-7 on, as in Keras; below there the gradient is zero."""
    loss = losses.KLDivergence()
    assert loss([[0.0, 1.0]], [[1.0, 0.0]]) == pytest.approx(-np.log(1e-7) * (1 - 1e-7), rel=1e-6)
    np.testing.assert_allclose(loss.gradient(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])), [[-1e-7, 0]])


def test_kinks() -> None:
    """As Keras has them: no gradient where prediction and target are equal, one where a margin is just reached."""
    one = np.array([[1.0, 1.0]])
    np.testing.assert_array_equal(losses.MeanAbsoluteError().gradient(one, one), [[0, 0]])
    np.testing.assert_array_equal(losses.Hinge().gradient(one, np.array([[1.0, 1.5]])), [[-0.5, 0]])
    np.testing.assert_array_equal(
        losses.Huber(0.5).gradient(0 * one, np.array([[0.5, -9.0]])), [[0.25, -0.25]]
    )


def test_large_logits_do_not_overflow() -> None:
    z = np.array([[1000.0, 0.0], [-1000.0, 0.0]])
    assert losses.CategoricalCrossentropy(True)([[0, 1], [0, 1]], z) == pytest.approx(500)
    assert losses.BinaryCrossentropy(True)([[0.0]], [[1000.0]]) == pytest.approx(1000)
    assert losses.BinaryCrossentropy(True)([[1.0]], [[-1000.0]]) == pytest.approx(1000)


def test_names_as_in_keras() -> None:
    names = [
        "sparse_categorical_crossentropy",
        "categorical_crossentropy",
        "binary_crossentropy",
        "mean_squared_error",
        "mean_absolute_error",
        "kl_divergence",
        "hinge",
    ]
    assert [losses.get(name).name for name in names] == names
    assert type(losses.get("mse")) is type(losses.get("MeanSquaredError")) is losses.MeanSquaredError
    assert type(losses.get("mae")) is losses.MeanAbsoluteError
    assert type(losses.get("kld")) is losses.KLDivergence
    assert losses.get("huber").name == "huber_loss"
    loss = losses.MeanSquaredError(name="mine")
    assert losses.get(loss) is loss
    assert loss.name == "mine"


@pytest.mark.parametrize("name", formulas())
def test_configurations_come_back(name: str) -> None:
    loss = formulas()[name][0]
    again = losses.deserialize(json.loads(json.dumps(losses.serialize(loss))))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


class Half(losses.Loss):
    def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return y_pred[: len(y_pred) // 2, 0]


def refused() -> dict[str, tuple[Any, type[Exception], str]]:
    one = np.ones((4, 2))
    sparse, mse = losses.SparseCategoricalCrossentropy(), losses.MeanSquaredError()
    return {
        "name": (lambda: losses.get("poisson"), ValueError, r"loss: expected one of \['binary_crossentropy', .*, got 'poisson'"),
        "type": (lambda: losses.get(3), TypeError, "loss: expected a name, a Loss or a function, got int"),
        "reduction": (lambda: losses.MeanSquaredError(reduction="mean"), ValueError, "got 'mean'"),
        "smoothing": (lambda: losses.BinaryCrossentropy(label_smoothing=2), ValueError, "label_smoothing from 0 to 1, got 2"),
        "delta": (lambda: losses.Huber(0), ValueError, "huber_loss: expected delta as a finite number above 0, got 0"),
        "no delta": (lambda: losses.Huber("1"), ValueError, "huber_loss: expected delta as a finite number above 0, got '1'"),
        "call": (lambda: losses.Loss()(one, one), NotImplementedError, r"Loss: define call\(y_true, y_pred\)"),
        "gradient": (lambda: Half().gradient(one, one), NotImplementedError, "Half: define gradient.*there is no autograd"),
        "shape": (lambda: Half()(one, one), ValueError, r"half: expected call\(y_true, y_pred\) to return one loss a sample"),
        "function": (lambda: losses.get(lambda a, b: b)(one, one), ValueError, "to return .*because there is no autograd; got ndarray"),
        "targets": (lambda: losses.Huber()(one, one[:, :1]), ValueError, r"huber_loss: expected y_true of .* \(4, 1\), got \(4, 2\)"),
        "classes": (lambda: losses.CategoricalCrossentropy()(one[:, 0], one), ValueError, r"expected y_true of y_pred's shape \(4, 2\)"),
        "labels": (lambda: sparse(one, one), ValueError, r"expected labels of shape \(4,\), got \(4, 2\)"),
        "high": (lambda: sparse([2], one[:1]), ValueError, "expected labels from 0 to 1 for .* got 2 to 2"),
        "low": (lambda: sparse([-1], one[:1]), ValueError, "expected labels from 0 to 1 for .* got -1 to -1"),
        "fraction": (lambda: sparse([0.5], one[:1]), ValueError, "expected whole numbers as labels, .* 0.5"),
        "flat": (lambda: mse([1.0], [2.0]), ValueError, r"expected y_pred of shape \(n, outputs\), got \(1,\); y_pred\[:, None\]"),
        "number": (lambda: mse(1.0, 2.0), ValueError, "expected y_pred of shape .*, got a number"),
        "weights": (lambda: mse(one, one, [1, 2]), ValueError, r"sample_weight of shape \(4,\), got \(2,\)"),
        "own": (lambda: losses.serialize(Half()), ValueError, "half is not one of cnnlite's and cannot be saved"),
    }  # fmt: skip


@pytest.mark.parametrize("name", refused())
def test_refusals(name: str) -> None:
    call, error, message = refused()[name]
    with pytest.raises(error, match=message):
        call()
