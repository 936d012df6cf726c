"""BatchNormalization in models: who moves the moving mean and variance, who does not, and who counts them among the weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest

from cnnlite import layers, losses, models, optimizers

pytestmark = pytest.mark.usefixtures("seeded")


def normalised(**arguments: Any) -> models.Sequential:
    """Two normalizations, one of images and one of features without gamma and beta."""
    model = models.Sequential(
        [
            layers.Input((4, 5, 2)),
            layers.Conv2D(3, 2, name="conv"),
            layers.BatchNormalization(momentum=0.75, name="images"),
            layers.LeakyReLU(),
            layers.Flatten(),
            layers.Dense(4, name="dense"),
            layers.BatchNormalization(center=False, scale=False, name="features"),
            layers.Dense(3, activation="softmax", name="last"),
        ],
        **arguments,
    )
    model.build()  # copies have its weights
    return model


def data(n: int = 10, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 4, 5, 2)).astype(dtype), np.arange(n) % 3


def moving(model: models.Sequential) -> list[np.ndarray]:
    """Moving means and variances, layer by layer."""
    return [weight.numpy() for weight in model.weights if weight.name.startswith("moving")]


def test_weights_that_training_moves_and_others() -> None:
    model = normalised()
    images = model.get_layer("images")
    assert [weight.path for weight in model.non_trainable_weights] == [
        *("images/moving_mean", "images/moving_variance"),
        *("features/moving_mean", "features/moving_variance"),
    ]
    assert [weight.path for weight in images.trainable_weights] == ["images/gamma", "images/beta"]
    assert len(model.weights) == len(model.trainable_weights) + 4 == len(model.get_weights())
    images.trainable = False
    assert images.trainable_weights == []
    assert images.non_trainable_weights == images.weights
    images.trainable = True
    assert not images.moving_mean.trainable
    assert images.gamma.trainable


def test_summary_counts_them() -> None:
    model = normalised()
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert any("images (BatchNormalization)" in line and "12" in line for line in lines)
    assert lines[-3:] == [
        "Total params: 210 (840.00 B)",
        "Trainable params: 196 (784.00 B)",
        "Non-trainable params: 14 (56.00 B)",
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_moves_them_by_the_formula(dtype: str) -> None:
    model = normalised(dtype=dtype)
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = data(dtype=dtype)
    conv = model.forward(x, outputs=["conv"])["conv"].astype(float)
    model.train_on_batch(x, y)
    mean, variance = moving(model)[:2]
    tolerance = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(mean, 0.25 * conv.mean((0, 1, 2)), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(variance, 0.75 + 0.25 * conv.var((0, 1, 2)), rtol=tolerance)


def test_who_moves_them_and_who_does_not() -> None:
    model = normalised()
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    x, y = data()
    first = moving(model)
    model.predict(x)
    model.evaluate(x, y, verbose=0)
    model.test_on_batch(x, y)
    model.forward(x)
    assert networks.same(moving(model), first)
    seen = first
    for move in (
        lambda: model.forward(x, training=True),
        lambda: model(x, training=True),
        lambda: model.train_on_batch(x, y),
        lambda: model.fit(x, y, batch_size=4, verbose=0),
    ):
        move()
        now = moving(model)
        assert all((a != b).any() for a, b in zip(now, seen, strict=True))
        seen = now
    model.forward(x, training=True)
    seen = moving(model)
    model.backward(np.ones((10, 3)))
    optimizers.SGD(0.5, weight_decay=0.5).apply(model.weights)
    assert networks.same(moving(model), seen)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_forward_and_fit_move_them_alike() -> None:
    """A pass by `forward` is a training step's, bit for bit, in what it does to the moving ones."""
    model = normalised()
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = data(6)
    other = copy.deepcopy(model)
    model.train_on_batch(x, y)
    other.forward(x, training=True)
    assert networks.same(moving(model), moving(other))


def test_losses_of_the_users_own_move_them_once() -> None:
    def own(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return ((y_pred - y_true) ** 2).mean(axis=-1), 2 * (y_pred - y_true) / y_pred.shape[-1]

    model = normalised(dtype="float64")
    other = copy.deepcopy(model)
    x, _ = data(6, "float64")
    y = np.eye(3)[np.arange(6) % 3]
    for one, loss in ((model, own), (other, "mse")):
        one.compile("sgd", loss)
        one.train_on_batch(x, y)
    for ours, kernels in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(ours, kernels, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("frozen", [["images"], ["features"], ["images", "features"]])
def test_frozen_ones_normalise_with_the_moving_ones(frozen: list[str]) -> None:
    """And leave them as they are, in programs that were made before too."""
    model = normalised()
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = data()
    model.fit(x, y, verbose=0)
    model.forward(x, training=True)
    for name in frozen:
        model.get_layer(name).trainable = False
    before = {name: model.get_layer(name).get_weights() for name in frozen}
    model.fit(x, y, verbose=0)
    outputs = model.forward(x, training=True, outputs=["images", "features", "conv", "dense"])
    for name, source in (("images", "conv"), ("features", "dense")):
        layer = model.get_layer(name)
        if name in frozen:
            assert networks.same(layer.get_weights(), before[name])
            mean, variance = (weight.value for weight in layer.weights[-2:])
        else:
            mean, variance = (
                getattr(outputs[source], of)(tuple(range(outputs[source].ndim - 1))) for of in ("mean", "var")
            )
        wanted = (outputs[source] - mean) / np.sqrt(variance + layer.epsilon)
        if layer.scale:
            wanted = wanted * layer.gamma.value + layer.beta.value
        np.testing.assert_allclose(outputs[name], wanted, rtol=1e-4, atol=1e-5)
    for name in frozen:
        model.get_layer(name).trainable = True
        model.fit(x, y, verbose=0)
        assert not networks.same(model.get_layer(name).get_weights()[-2:], before[name][-2:])


@pytest.mark.parametrize(
    "optimizer", [optimizers.SGD(0.1, momentum=0.5, weight_decay=0.5), optimizers.Adam(clipnorm=0.1)]
)
def test_optimizers_leave_them_alone(optimizer: optimizers.Optimizer) -> None:
    """Weight decay and momentum move what lies before and after them in memory, not them."""
    model = normalised()
    model.compile(copy.deepcopy(optimizer), "sparse_categorical_crossentropy")
    plain = copy.deepcopy(model)
    plain.compile(optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    x, y = data()
    for one in (model, plain):
        one.train_on_batch(x, y)
    assert networks.same(moving(model)[:2], moving(plain)[:2])
    assert all(model.optimizer.state_of(weight) is None for weight in model.non_trainable_weights)
    assert all(model.optimizer.state_of(weight) is not None for weight in model.trainable_weights)


def test_saved_models_go_on_with_them(tmp_path: Path) -> None:
    """Bit for bit, as if never stopped; weights alone hold them too."""
    model = normalised()
    model.compile(optimizers.Adam(0.01), losses.SparseCategoricalCrossentropy())
    x, y = data()
    model.fit(x, y, batch_size=5, shuffle=False, verbose=0)
    model.save(tmp_path / "model")
    model.save_weights(tmp_path / "weights")
    loaded, other = models.load_model(tmp_path / "model"), normalised()
    other.load_weights(tmp_path / "weights")
    assert networks.same(moving(loaded), moving(model))
    assert np.array_equal(loaded.predict(x), model.predict(x))
    assert np.array_equal(other.predict(x), model.predict(x))
    for one in (model, loaded):
        one.fit(x, y, batch_size=5, shuffle=False, verbose=0)
    assert networks.same(loaded.get_weights(), model.get_weights())


def test_set_weights_is_seen_by_programs_made_before() -> None:
    model = normalised()
    x, _ = data()
    first = model.predict(x)
    weights = model.get_weights()
    model.get_layer("images").moving_variance.assign([4.0, 4.0, 4.0])
    assert not np.array_equal(model.predict(x), first)
    model.set_weights(weights)
    assert np.array_equal(model.predict(x), first)


def test_layers_shared_by_two_models() -> None:
    """A discriminator's moving mean goes on in the model that it is part of."""
    model = normalised()
    head = models.Sequential([layers.Input((4, 5, 2)), *model.layers[:2]])
    x, _ = data()
    head.forward(x, training=True)
    changed = moving(model)
    assert (changed[0] != 0).all()
    assert (changed[2] == 0).all()
    assert networks.same(moving(head), changed[:2])
    model.forward(x, training=True)
    assert not np.array_equal(moving(head)[0], changed[0])
