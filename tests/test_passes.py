"""forward, backward, gradients and optimizer.apply: the passes that other programs than fit are made of."""

from __future__ import annotations

from typing import Any

import networks
import numpy as np
import pytest

import cnnlite
from cnnlite import layers, models, optimizers

pytestmark = pytest.mark.usefixtures("seeded")


def test_outputs_of_layers_inside() -> None:
    """They are those of the network cut off behind the layer, fused in one and not in the other."""
    model = networks.documented()
    x = networks.samples(model, 11)
    names = [layer.name for layer in model.layers]
    found = model.forward(x, outputs=names)
    assert list(found) == names
    for number, layer in enumerate(model.layers):
        start = models.Sequential([layers.Input((28, 28, 1)), *model.layers[: number + 1]])
        assert found[layer.name].shape == (11, *layer.output_shape)
        np.testing.assert_allclose(found[layer.name], start.predict(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[names[-1]], model.predict(x), rtol=1e-5, atol=1e-6)
    flat, pooled = found[names[5]], found[names[4]]
    assert np.array_equal(flat, pooled.reshape(11, -1))


def test_outputs_are_copies() -> None:
    model = networks.small()
    x = networks.samples(model, 4)
    first = model.forward(x)
    kept = first.copy()
    model.forward(-x)
    assert np.array_equal(first, kept)


def test_gradients_of_several_outputs_add_up() -> None:
    """backward is linear: the sum of two calls with one gradient each is one call with both."""
    model = networks.path("lists with padding", dtype="float64")
    x = networks.samples(model, 3)
    names = [model.layers[0].name, model.layers[3].name, model.layers[-1].name]
    rng = np.random.default_rng(0)
    grads = {name: rng.standard_normal(y.shape) for name, y in model.forward(x, outputs=names).items()}
    model.zero_gradients()
    together = model.backward(grads)
    both = model.gradients
    model.zero_gradients()
    alone = [model.backward({name: grad}) for name, grad in grads.items()]
    np.testing.assert_allclose(sum(alone), together, rtol=1e-10, atol=1e-12)
    for one, other in zip(model.gradients, both, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_layers_that_share_an_output_may_differ_in_shape() -> None:
    model = models.Sequential(
        [layers.Input((3,)), layers.Dense(6, name="flat"), layers.Reshape((2, 3), name="table")],
        dtype="float64",
    )
    y = model.forward(networks.samples(model, 6), outputs=["flat", "table"])
    together = model.backward({name: np.ones_like(numbers) for name, numbers in y.items()})
    np.testing.assert_allclose(together, 2 * model.backward({"flat": np.ones((6, 6))}), rtol=1e-12)


def test_the_networks_own_output_may_be_named_as_well() -> None:
    model = networks.small(dtype="float64")
    x = networks.samples(model, 3)
    last = model.layers[-1].name
    grad = np.random.default_rng(0).standard_normal((3, 3))
    model.forward(x, outputs=[last])
    by_name = model.backward({last: grad})
    assert np.array_equal(model.backward(grad), by_name)
    assert list(model.forward(x, outputs=last)) == [last]


def test_gradients_add_up_until_they_are_set_to_zero() -> None:
    model = networks.path("unpooled, one channel", dtype="float64")
    x = networks.samples(model, 6)
    grad = np.random.default_rng(0).standard_normal(model.forward(x).shape)
    model.zero_gradients()
    model.backward(grad)
    once = model.gradients
    model.backward(grad)
    for twice, single in zip(model.gradients, once, strict=True):
        np.testing.assert_allclose(twice, 2 * single, rtol=1e-12)
    model.zero_gradients()
    assert not any(gradient.any() for gradient in model.gradients)
    model.gradients[0][...] = 1  # copies
    assert not model.gradients[0].any()


def test_backward_is_that_of_the_last_forward() -> None:
    """A second forward pass replaces what the first has left, of any batch size; predictions and training in between do not."""
    model = networks.with_dropout(dtype="float64")
    model.compile(optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    x, other = networks.samples(model, 5), networks.samples(model, 3, seed=9)
    grad = np.random.default_rng(0).standard_normal((5, 3))

    def passes(between: Any) -> list[np.ndarray]:
        cnnlite.set_random_seed(4)
        model.forward(other, training=True)
        cnnlite.set_random_seed(5)
        model.forward(x, training=True)
        between()
        model.zero_gradients()
        return [model.backward(grad), *model.gradients]

    wanted = passes(lambda: None)
    assert networks.same(passes(lambda: model.predict(other)), wanted)
    assert networks.same(passes(lambda: model.train_on_batch(other, [0, 1, 2])), wanted)
    assert networks.same(passes(lambda: model.evaluate(other, [0, 1, 2], verbose=0)), wanted)
    model.forward(other)
    with pytest.raises(ValueError, match=r"backward: expected a gradient of shape \(3, 3\), got \(5, 3\)"):
        model.backward(grad)


def test_training_step_by_hand_is_the_step_of_train_on_batch() -> None:
    """forward, the loss's gradient, backward, apply: the same weights to rounding, with regularisers, limits and momentum."""
    arguments = {"learning_rate": 0.1, "momentum": 0.5, "clipnorm": 0.05}

    def make() -> models.Sequential:
        cnnlite.set_random_seed(3)
        shape, stacked = networks.paths()["lists behind pooling"]
        head = layers.Dense(3, activation="softmax", kernel_regularizer="l2")
        model = models.Sequential([layers.Input(shape), *stacked[:-1], head], dtype="float64")
        model.build()
        return model

    by_fit, by_hand = make(), make()
    x = networks.samples(by_fit, 9)
    y = np.eye(3)[np.arange(9) % 3]
    loss = cnnlite.losses.CategoricalCrossentropy()
    by_fit.compile(optimizers.SGD(**arguments), loss)
    optimizer = optimizers.SGD(**arguments)
    for _ in range(3):
        by_fit.train_on_batch(x, y)
        by_hand.zero_gradients()
        predicted = by_hand.forward(x, training=True)
        by_hand.backward(loss.gradient(y, predicted) / len(x))
        optimizer.apply(by_hand.trainable_weights)
    assert optimizer.iterations == 3
    for one, other in zip(by_fit.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)


def test_frozen_layers_get_no_gradient_and_let_it_through() -> None:
    model = networks.path("strides", dtype="float64")
    x = networks.samples(model, 2)
    grad = np.random.default_rng(0).standard_normal(model.forward(x).shape)
    model.zero_gradients()
    through = model.backward(grad)
    wanted = model.gradients
    model.layers[1].trainable = False
    model.forward(x)
    model.zero_gradients()
    assert np.array_equal(model.backward(grad), through)
    frozen = model.layers[1].parameters
    assert not any(parameter.gradient.any() for parameter in frozen)
    kept = [g for g, p in zip(wanted, model.weights, strict=True) if p not in frozen]
    assert networks.same(model.gradients, kept)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*networks.paths(), *networks.graphs()])
def test_the_input_gradient_without_those_of_weights(name: str, dtype: str) -> None:
    """The same bits, of normalization with the batch's mean too, in either order; the gradients of weights stay what they were."""
    model = networks.path(name, dtype=dtype)
    x = networks.samples(model, 3)
    grad = np.random.default_rng(0).standard_normal(model.forward(x, training=True).shape)
    model.zero_gradients()
    alone = model.backward(grad, weights=False)
    assert not any(gradient.any() for gradient in model.gradients)
    assert np.array_equal(model.backward(grad), alone)
    gradients = model.gradients
    assert np.array_equal(model.backward(grad, weights=False), alone)
    assert networks.same(model.gradients, gradients)


def test_freezing_after_steps_and_freeing_again() -> None:
    """Frozen weights stay; their optimizer's state is there when they are freed."""
    model = networks.small()
    model.compile(optimizers.SGD(0.1, momentum=0.9), "mse")
    x, y = networks.samples(model, 8), np.zeros((8, 3))
    model.train_on_batch(x, y)
    first, last = model.layers
    momentum = [slot.copy() for slot in model.optimizer.state_of(first.kernel)]
    assert momentum[0].any()
    first.trainable = False
    before = first.get_weights()
    model.train_on_batch(x, y)
    assert networks.same(first.get_weights(), before)
    assert networks.same(model.optimizer.state_of(first.kernel), momentum)
    first.trainable = True
    model.optimizer.learning_rate = 0.0  # no gradient moves it: momentum alone does
    model.train_on_batch(x, y)
    np.testing.assert_allclose(first.kernel.value, before[0] + np.float32(0.9) * momentum[0], rtol=1e-6)
    assert optimizers.SGD(momentum=0.9).state_of(last.kernel) is None


def test_a_discriminator_shared_and_frozen_in_one_model() -> None:
    """Two players: D learns alone, then G through D, which stays; both see each other's steps at once."""
    generator = [layers.Dense(8, activation="tanh", name="g1"), layers.Dense(6, name="g2")]
    discriminator = [
        layers.Dense(8, activation="relu", name="d1"),
        layers.Dense(1, activation="sigmoid", name="d2"),
    ]
    d = models.Sequential([layers.Input((6,)), *discriminator])
    both = models.Sequential([layers.Input((4,)), *generator, *discriminator])
    g = models.Sequential([layers.Input((4,)), *generator])
    d.compile(optimizers.Adam(0.02), "binary_crossentropy")
    both.compile(optimizers.Adam(0.02), "binary_crossentropy")
    rng = np.random.default_rng(0)
    for _ in range(3):
        noise, real = rng.standard_normal((8, 4)).astype("f"), rng.standard_normal((8, 6)).astype("f")
        d.trainable = True
        before = g.get_weights()
        d.train_on_batch(np.concatenate([real, g.predict(noise)]), np.repeat([1, 0], 8))
        assert networks.same(g.get_weights(), before)
        np.testing.assert_allclose(both.predict(noise), d.predict(g.predict(noise)), rtol=1e-5)
        d.trainable = False
        frozen = d.get_weights()
        both.train_on_batch(noise, np.ones(8))
        assert networks.same(d.get_weights(), frozen)
        assert not networks.same(g.get_weights(), before)
        np.testing.assert_allclose(both.predict(noise), d.predict(g.predict(noise)), rtol=1e-5)
    # By hand, through both models: the gradient that D gives for its input is what G's backward pass takes.
    noise = rng.standard_normal((8, 4)).astype("f")
    fake = g.forward(noise)
    d.forward(fake)
    through = g.backward(d.backward(np.ones((8, 1))))
    both.forward(noise)
    np.testing.assert_allclose(both.backward(np.ones((8, 1))), through, rtol=1e-4, atol=1e-7)


def test_one_optimizer_for_two_models_keeps_both_states() -> None:
    def trained(shared: bool) -> list[np.ndarray]:
        cnnlite.set_random_seed(0)
        pair = [networks.small(), networks.small()]
        one = optimizers.SGD(0.1, momentum=0.9)
        for model in pair:
            model.compile(one if shared else optimizers.SGD(0.1, momentum=0.9), "mse")
            model.build()
        x = networks.samples(pair[0], 8)
        for _ in range(3):
            for model in pair:
                model.train_on_batch(x, np.ones((8, 3)))
        return [w for model in pair for w in model.get_weights()]

    assert networks.same(trained(True), trained(False))


def test_apply_skips_frozen_weights_and_nothing_at_all() -> None:
    model = networks.small()
    model.zero_gradients()
    for parameter in model.weights:
        parameter.gradient[...] = 1
    model.layers[0].trainable = False
    before = model.get_weights()
    optimizer = optimizers.SGD(0.5)
    optimizer.apply(model.weights)
    after = model.get_weights()
    assert networks.same(after[:2], before[:2])
    np.testing.assert_allclose(after[2], before[2] - 0.5)
    optimizer.apply([])
    optimizer.apply(model.layers[0].weights)
    assert optimizer.iterations == 1


def test_the_input_gradient_of_large_and_odd_batches() -> None:
    """The gradient for each image is that of the image alone."""
    model = networks.documented(dtype="float64")
    x = networks.samples(model, 37)
    grad = np.random.default_rng(0).standard_normal((37, 10))
    model.forward(x)
    whole = model.backward(grad)
    for first in (0, 8, 36):
        model.forward(x[first : first + 1])
        np.testing.assert_allclose(
            model.backward(grad[first : first + 1]), whole[first : first + 1], rtol=1e-9, atol=1e-14
        )


def refused() -> dict[str, tuple[Any, type[Exception], str]]:
    def backward(grad: Any, outputs: Any = None) -> Any:
        def call() -> None:
            model = models.Sequential(
                [layers.Input((6,)), layers.Dense(4, name="a"), layers.Dense(3, name="b")]
            )
            model.forward(np.zeros((2, 6)), outputs=outputs)
            model.backward(grad)

        return call

    return {
        "no forward": (lambda: networks.small().backward(np.ones((1, 3))), RuntimeError, "backward: expected a forward pass before it"),
        "shape": (backward(np.ones((2, 4))), ValueError, r"backward: expected a gradient of shape \(2, 3\), got \(2, 4\)"),
        "name": (backward({"a": np.ones((2, 4))}), ValueError, r"outputs that forward was asked for, \[\], got 'a'"),
        "named shape": (backward({"a": np.ones(4)}, ["a"]), ValueError, r"expected a gradient of shape \(2, 4\), got \(4,\)"),
        "empty": (backward({}), ValueError, "backward: expected at least one gradient, got an empty dict"),
        "unknown": (lambda: networks.small().forward(np.ones((1, 6)), outputs=["z"]), ValueError, "has no layer 'z'; it has"),
        "nothing": (lambda: networks.small()(np.ones((0, 6))), ValueError, "forward: expected at least one sample"),
        "features": (lambda: networks.small()(np.ones((1, 7))), ValueError, r"forward: expected x of shape \(n, 6\), got \(n, 7\)"),
        "text": (lambda: networks.small()(["a"]), TypeError, "forward: expected x to hold numbers"),
    }  # fmt: skip


@pytest.mark.parametrize("name", refused())
def test_refusals(name: str) -> None:
    call, error, message = refused()[name]
    with pytest.raises(error, match=message):
        call()
