"""Batch normalization in networks on the CPU: moving averages, frozen layers, layers in two models, steps by hand and by fit."""

from __future__ import annotations

import networks
import numpy as np
import pytest

import cnnlite
from cnnlite import layers, models, optimizers
from cnnlite.layers import BatchNormalization, Conv2D, Dense, Flatten

pytestmark = pytest.mark.usefixtures("seeded")


def normalizing(dtype: str = "float64", **arguments) -> models.Sequential:
    return models.Sequential(
        [
            layers.Input((5, 4, 3)),
            Conv2D(4, 3, activation="tanh"),
            BatchNormalization(name="norm", **arguments),
            Flatten(),
            Dense(2),
        ],
        dtype=dtype,
    )


def moving(model: models.Sequential) -> list[np.ndarray]:
    norm = model.get_layer("norm")
    return [norm.moving_mean.numpy(), norm.moving_variance.numpy()]


def below(model: models.Sequential, x: np.ndarray) -> np.ndarray:
    """What the normalization is given, its pixels in rows."""
    first = model.layers[0].name
    return model.forward(x, outputs=[first])[first].reshape(-1, 4)


def moved(before: list[np.ndarray], pixels: np.ndarray, momentum: float) -> list[np.ndarray]:
    return [
        momentum * old + (1 - momentum) * new
        for old, new in zip(before, (pixels.mean(axis=0), pixels.var(axis=0)), strict=True)
    ]


@pytest.mark.parametrize("how", ["forward", "train_on_batch"])
@pytest.mark.parametrize("n", [1, 6, 37])
def test_moving_averages_follow_the_batches(how: str, n: int) -> None:
    model = normalizing(momentum=0.7)
    model.compile(optimizers.SGD(0.0), "mse")
    x, y = networks.samples(model, n), np.zeros((n, 2))
    wanted = moved([np.zeros(4), np.ones(4)], below(model, x), 0.7)
    if how == "forward":
        model.forward(x, training=True)
    else:
        model.train_on_batch(x, y)
    np.testing.assert_allclose(moving(model), wanted, rtol=1e-12)
    wanted = moved(wanted, below(model, 2 * x), 0.7)
    if how == "forward":
        model.forward(2 * x, training=True)
    else:
        model.train_on_batch(2 * x, y)
    np.testing.assert_allclose(moving(model), wanted, rtol=1e-12)


def test_nothing_else_moves_them() -> None:
    model = normalizing()
    model.compile("sgd", "mse")
    x, y = networks.samples(model, 9), np.zeros((9, 2))
    model.train_on_batch(x, y)
    before = moving(model)
    model.predict(x), model.evaluate(x, y, verbose=0), model.forward(x), model(x)
    model.backward(np.ones((9, 2)))
    assert networks.same(moving(model), before)


def test_predictions_follow_the_moving_averages() -> None:
    model = normalizing(momentum=0.0)
    model.compile(optimizers.SGD(0.0), "mse")
    x = networks.samples(model, 6)
    first = model.predict(x)
    model.train_on_batch(x, np.zeros((6, 2)))
    second = model.predict(x)
    assert not np.allclose(first, second)
    # with a momentum of 0 they are the batch's own
    np.testing.assert_allclose(second, model.forward(x, training=True), rtol=1e-12)
    np.testing.assert_allclose(model.predict(x), second, rtol=1e-12)
    np.testing.assert_allclose(model.evaluate(x, np.zeros((6, 2)), verbose=0), (second**2).mean(), rtol=1e-12)


@pytest.mark.parametrize("name", [*networks.graphs()])
def test_a_step_by_hand_is_the_step_of_train_on_batch(name: str) -> None:
    """forward, the loss's gradient, backward, apply: the same weights and moving averages to rounding."""

    def make() -> models.Sequential:
        cnnlite.set_random_seed(3)
        model = networks.path(name, dtype="float64")
        model.build()
        return model

    by_fit, by_hand = make(), make()
    n = 11
    x = networks.samples(by_fit, n)
    y = np.random.default_rng(5).standard_normal((n, *by_fit.output_shape))
    by_fit.compile(optimizers.SGD(0.1, momentum=0.5), "mse")
    optimizer = optimizers.SGD(0.1, momentum=0.5)
    for step in range(3):
        cnnlite.set_random_seed(step)
        by_fit.train_on_batch(x, y)
        cnnlite.set_random_seed(step)
        by_hand.zero_gradients()
        predicted = by_hand.forward(x, training=True)
        by_hand.backward(2 * (predicted - y) / y.size)
        optimizer.apply(by_hand.trainable_weights)
    for parameter, one, other in zip(
        by_fit.weights, by_fit.get_weights(), by_hand.get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-11, err_msg=parameter.path)


@pytest.mark.parametrize("arguments", [{}, {"scale": False, "center": False}])
def test_frozen_layers_use_the_moving_averages_in_training(arguments: dict) -> None:
    """Programs from before a layer was frozen, or freed, are not taken; without gamma and beta nothing else tells them apart."""
    model = normalizing(momentum=0.5, **arguments)
    model.compile(optimizers.SGD(0.0), "mse")
    model.build()
    x, y = networks.samples(model, 6), np.zeros((6, 2))
    norm = model.get_layer("norm")

    def states() -> tuple[bool, bool]:
        """Whether a forward pass in training, and a step, change the moving averages."""
        changes = []
        for call in (lambda: model.forward(x, training=True), lambda: model.train_on_batch(x, y)):
            before = moving(model)
            call()
            changes.append(not networks.same(moving(model), before))
        return changes[0], changes[1]

    assert states() == (True, True)
    trained = model.forward(x, training=True)
    norm.trainable = False
    assert states() == (False, False)
    frozen = model.forward(x, training=True)
    np.testing.assert_allclose(frozen, model.predict(x), rtol=1e-12)
    assert not np.allclose(frozen, trained)
    norm.trainable = True
    assert states() == (True, True)
    np.testing.assert_allclose(model.forward(x, training=True), trained, rtol=1e-12)


def test_gradients_through_a_frozen_layer() -> None:
    """They are those of an affine map; gamma and beta get none."""
    model = normalizing()
    model.build()
    norm = model.get_layer("norm")
    norm.moving_variance.assign([0.5, 1.0, 2.0, 3.0])
    norm.gamma.assign([1.0, -2.0, 0.5, 3.0])
    x = networks.samples(model, 5)
    grad = np.random.default_rng(0).standard_normal((5, 2))
    model.forward(x)
    model.zero_gradients()
    wanted = model.backward(grad)  # outside training the layer is that map too
    assert norm.gamma.gradient.any()
    assert norm.beta.gradient.any()
    norm.trainable = False
    model.forward(x, training=True)
    model.zero_gradients()
    np.testing.assert_allclose(model.backward(grad), wanted, rtol=1e-12)
    assert not norm.gamma.gradient.any()
    assert not norm.beta.gradient.any()


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("slope", "most", "channels"), [
    (0, None, 3), (0.125, None, 20), (0, None, 64), (0.3, None, 70), (0, 6, 33),
])  # fmt: skip
def test_a_rectifier_inside_has_the_bits_of_one_behind(
    slope: float, most: int | None, channels: int, dtype: str, trainable: bool
) -> None:
    """An output that somebody looks at is not fused."""
    norm = BatchNormalization(name="norm", trainable=trainable)
    rectifier = layers.ReLU(most, negative_slope=slope, name="y")
    model = models.Sequential([layers.Input((5, 7, channels)), norm, rectifier], dtype=dtype)
    model.build()
    rng = np.random.default_rng(channels)
    norm.gamma.assign([0, *4 * rng.integers(-2, 3, channels - 1)])  # the rectifier of channel 0 gets beta
    norm.beta.assign([0, 6, *4 * rng.integers(-2, 3, channels - 2)])
    x = rng.integers(-2, 3, (6, 5, 7, channels))
    x[..., 1] = 1  # no spread: here too, in training
    grad = rng.standard_normal((6, 5, 7, channels))
    found = []
    for looked_at in (["y"], ["norm", "y"]):
        y = model.forward(x, training=True, outputs=looked_at)["y"]
        model.zero_gradients()
        found.append([y, model.backward({"y": grad}), *model.gradients])
    assert not found[0][0][..., 0].any()
    assert networks.same(*found)


FOLDED = {
    "few channels, pooled": [Conv2D(7, 3), BatchNormalization(), layers.ReLU(), layers.MaxPooling2D()],
    "same, pooled, groups": [Conv2D(8, 3, padding="same", groups=2), BatchNormalization(), layers.MaxPooling2D()],
    "strides, leaky": [Conv2D(33, 3, strides=2, use_bias=False), BatchNormalization(), layers.LeakyReLU(0.1)],
    "one output": [Conv2D(1, 5, padding="same"), BatchNormalization(scale=False)],
    "depthwise": [layers.DepthwiseConv2D(3, depth_multiplier=1), BatchNormalization(), layers.ReLU()],
    "separable": [layers.SeparableConv2D(20, 3, depth_multiplier=2), BatchNormalization(center=False)],
    "dense": [Flatten(), Dense(9, use_bias=False), BatchNormalization(), layers.Activation("softmax")],
}  # fmt: skip


@pytest.mark.usefixtures("any_threads")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FOLDED)
def test_predictions_where_it_is_folded_into_the_weights(name: str, dtype: str) -> None:
    """Of a forward pass, which does not fold, to rounding; of the same bits in any batch; and made anew when only statistics change."""
    made = [type(layer).from_config(layer.get_config()) for layer in FOLDED[name]]
    model = models.Sequential([layers.Input((9, 10, 4)), *made], dtype=dtype)
    model.compile("sgd", "mse")
    model.build()
    assert any(getattr(stage, "normalization", None) for stage in model.network.stages())
    (norm,) = (layer for layer in made if isinstance(layer, BatchNormalization))
    x, rng = networks.samples(model, 13), np.random.default_rng(3)
    tolerance = 64 * np.finfo(dtype).eps
    for parameter in [*norm.weights, None]:
        if parameter is not None:
            parameter.assign(rng.uniform(0.5, 1.5, parameter.shape))
        wanted = model.forward(x)
        predicted = model.predict(x)
        np.testing.assert_allclose(predicted, wanted, rtol=0, atol=tolerance * max(1, np.abs(wanted).max()))
        assert np.array_equal(model.predict(x[:3]), predicted[:3])
    for threads in (1, 2, 3, 8):
        cnnlite.set_num_threads(threads)
        assert np.array_equal(model.predict(x), predicted)
    loss = model.evaluate(x, np.zeros_like(wanted), verbose=0)
    np.testing.assert_allclose(loss, (wanted**2).mean(), rtol=1e3 * np.finfo(dtype).eps)


def test_a_layer_of_two_models_has_one_pair_of_averages() -> None:
    shared = BatchNormalization(momentum=0.5, name="shared")
    one = models.Sequential([layers.Input((3,)), shared], dtype="float64")
    other = models.Sequential([layers.Input((3,)), Dense(3, name="dense"), shared], dtype="float64")
    for model in (one, other):
        model.compile(optimizers.SGD(0.0), "mse")
        model.build()
    x = networks.samples(one, 8)
    one.predict(x), other.predict(x)
    one.train_on_batch(x, x)
    np.testing.assert_allclose(shared.moving_mean.numpy(), 0.5 * x.mean(axis=0))
    dense = other.get_layer("dense")
    hidden = x @ dense.kernel.numpy() + dense.bias.numpy()
    other.train_on_batch(x, x)
    np.testing.assert_allclose(
        shared.moving_mean.numpy(), 0.25 * x.mean(axis=0) + 0.5 * hidden.mean(axis=0), rtol=1e-12
    )
    z = (x - shared.moving_mean.numpy()) / np.sqrt(shared.moving_variance.numpy() + 1e-3)
    np.testing.assert_allclose(one.predict(x), z, rtol=1e-12)


def test_a_network_without_anything_to_train_still_moves_the_averages() -> None:
    model = models.Sequential([layers.Input((3,)), BatchNormalization(scale=False, center=False)])
    model.compile("sgd", "mse")
    x = networks.samples(model, 8)
    model.train_on_batch(x, x)
    np.testing.assert_allclose(model.layers[0].moving_mean.numpy(), 0.01 * x.mean(axis=0), rtol=1e-5)


def test_two_backward_passes_over_one_forward_pass() -> None:
    model = normalizing()
    x = networks.samples(model, 20)
    model.forward(x, training=True, outputs=["norm"])
    grad = np.random.default_rng(0).standard_normal((20, 2))
    model.zero_gradients()
    first = model.backward(grad).copy()
    once = model.gradients
    inside = model.backward({"norm": np.zeros((20, 3, 2, 4))})
    assert not inside.any()
    second = model.backward(grad)
    assert np.array_equal(first, second)
    for twice, single in zip(model.gradients, once, strict=True):
        np.testing.assert_allclose(twice, 2 * single, rtol=1e-12)
