"""Layers side by side whose plans meet in memory: halos, shared packings, fused activations."""

from __future__ import annotations

import numpy as np
import pytest
from central_differences import assert_gradient

from cnnlite import layers, models, optimizers


def _model(*stack, shape=(8, 8, 3)) -> models.Sequential:
    return models.Sequential([layers.Input(shape), *stack], dtype="float64")


def _assert_gradient_of_input(model: models.Sequential, n: int = 2) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, *model.input_shape))
    grad = rng.standard_normal(model.forward(x).shape)
    grad_x = model.backward(grad)
    assert_gradient(
        grad_x, lambda x: float((model.predict(x) * grad).sum()), x, eps=1e-6, tolerance=1e-6, most_kinks=4
    )


@pytest.mark.parametrize("above", ["relu", "pool"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_linear_convolution_below_a_padded_one(seeded, above: str, use_bias: bool) -> None:
    # The gradient of the upper one's input has a halo with leftovers, which the linear one must not read.
    top = [layers.Conv2D(16, 3, padding="same", activation="relu")]
    if above == "pool":
        top.append(layers.MaxPooling2D(2))
    model = _model(
        layers.Conv2D(8, 3, padding="same", activation="tanh"),
        layers.Conv2D(8, 3, padding="same", use_bias=use_bias),
        *top,
        shape=(14, 14, 3),
    )
    _assert_gradient_of_input(model, n=1)


def test_packed_weights_of_another_way_back_are_not_taken(seeded) -> None:
    stack = [layers.Conv2D(33, 3, name="c0"), layers.MaxPooling2D(2), layers.Dropout(0.5)]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 8, 8, 16))
    grad = rng.standard_normal((2, 6, 6, 33))
    both = _model(*stack, shape=(8, 8, 16))
    both.forward(x, training=True)
    both.forward(x, outputs=["c0"])
    grad_x = both.backward({"c0": grad})
    alone = _model(layers.Conv2D(33, 3), shape=(8, 8, 16))
    alone.set_weights(both.get_weights())
    alone.forward(x)
    np.testing.assert_allclose(grad_x, alone.backward(grad), rtol=1e-12)


def test_softmax_behind_flatten_is_over_the_whole_row(seeded) -> None:
    model = _model(layers.Conv2D(4, 3), layers.Flatten(), layers.Activation("softmax"), shape=(6, 6, 3))
    y = model.predict(np.random.default_rng(0).standard_normal((3, 6, 6, 3)))
    np.testing.assert_allclose(y.sum(axis=1), 1)


def test_network_of_softmax_alone_has_a_loss() -> None:
    model = _model(layers.Activation("softmax"), shape=(3,))
    model.compile("sgd", "sparse_categorical_crossentropy")
    loss = model.evaluate(np.zeros((2, 3)), np.array([0, 1]), verbose=0)
    assert loss == pytest.approx(np.log(3))


def test_backward_after_a_layer_was_added_asks_for_a_forward_pass(seeded) -> None:
    model = _model(layers.Conv2D(4, 3))
    model.forward(np.zeros((1, 8, 8, 3)))
    model.add(layers.Activation("relu"))
    with pytest.raises(RuntimeError, match="expected a forward pass before it"):
        model.backward(np.zeros((1, 6, 6, 4)))


def test_nan_has_no_gradient_whether_pooling_is_fused_or_not(seeded) -> None:
    conv = layers.Conv2D(4, 3, activation="relu", name="conv")
    fused = _model(conv, layers.MaxPooling2D(2))
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 3))
    x[0, 4, 4, 0] = np.nan
    grad = np.ones((1, 3, 3, 4))
    gradients = []
    for outputs in (None, ["conv"]):  # an output that is asked for is not fused away
        fused.zero_gradients()
        fused.forward(x, outputs=outputs)
        fused.backward(grad)
        gradients.append(conv.bias.gradient.copy())
    np.testing.assert_array_equal(gradients[0], gradients[1])


def test_pool_whose_window_may_have_no_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match="expected padding smaller than the pool size"):
        _model(layers.MaxPooling2D(2, strides=1, padding=((4, 4), (4, 4))))


def test_seed_of_dropout_is_checked() -> None:
    with pytest.raises(ValueError, match=r"expected seed as an integer from 0 to 2\*\*32 - 1"):
        layers.Dropout(0.5, seed=2**60)


def test_optimizer_refuses_parameters_of_two_dtypes(seeded) -> None:
    one = models.Sequential([layers.Input((2,)), layers.Dense(1)])
    other = _model(layers.Dense(1), shape=(2,))
    with pytest.raises(TypeError, match=r"expected parameters of one dtype, got \['float32', 'float64'\]"):
        optimizers.SGD(0.5).apply(one.weights + other.weights)


def test_apply_leaves_the_gradients_as_they_are(seeded) -> None:
    model = _model(layers.Dense(3, kernel_regularizer="l2"), shape=(4,))
    model.zero_gradients()
    model.forward(np.ones((2, 4)))
    model.backward(np.ones((2, 3)))
    before = model.gradients
    optimizers.SGD(0.1, clipnorm=0.01).apply(model.trainable_weights)
    for a, b in zip(before, model.gradients, strict=True):
        np.testing.assert_array_equal(a, b)


def test_numbers_of_an_optimizer_may_change_between_steps(seeded) -> None:
    x, y = np.ones((4, 4)), np.ones((4, 3))
    weights = []
    for change in (False, True):
        optimizer = optimizers.SGD(0.1, momentum=0.9)
        model = _model(layers.Dense(3, kernel_initializer="ones"), shape=(4,))
        model.compile(optimizer, "mse")
        model.train_on_batch(x, y)
        if change:
            optimizer.momentum, optimizer.clipnorm = 0.5, 1e-3
        model.train_on_batch(x, y)
        weights.append(model.get_weights()[0])
    assert not np.array_equal(weights[0], weights[1])
