"""Networks that make and edit images on the CPU: every stage against the reference of its op, gradients, the same bits."""

from __future__ import annotations

from collections.abc import Iterator

import networks
import numpy as np
import pytest
import reference_network
from test_network_gradients import check_passes

import cnnlite
from cnnlite import models, optimizers

pytestmark = pytest.mark.usefixtures("seeded", "any_threads")


@pytest.mark.parametrize("n", [1, 5, 37])
@pytest.mark.parametrize("name", networks.graphs())
def test_outputs(name: str, n: int) -> None:
    """Of all layers at once, of the last one alone (others are fused, their rooms used again), and in training."""
    model = networks.scattered(networks.path(name, dtype="float64"))
    x = networks.samples(model, n)
    wanted = reference_network.outputs_of(model, x, training=False)
    found = model.forward(x, outputs=list(wanted))
    for layer, y in found.items():
        np.testing.assert_allclose(y.ravel(), wanted[layer].ravel(), rtol=1e-10, atol=1e-10, err_msg=layer)
    last = wanted[model.layers[-1].name].reshape(n, *model.output_shape)
    np.testing.assert_allclose(model.predict(x), last, rtol=1e-10, atol=1e-10)
    if name != "discriminator":  # which drops some
        wanted = reference_network.outputs_of(model, x, training=True)
        found = model.forward(x, training=True, outputs=list(wanted))
        for layer, y in found.items():
            np.testing.assert_allclose(y.ravel(), wanted[layer].ravel(), rtol=1e-8, atol=1e-8, err_msg=layer)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", networks.graphs())
def test_gradients(name: str, training: bool) -> None:
    check_passes(
        networks.scattered(networks.path(name, dtype="float64")), 5, most=24, training=training, kinks=3
    )


def bits(model: models.Sequential, n: int) -> Iterator[np.ndarray]:
    """All that a model computes with n images: predictions, gradients, and weights after two steps."""
    x = networks.samples(model, n)
    y = np.zeros((n, *model.output_shape), model.dtype)
    yield model.predict(x)
    cnnlite.set_random_seed(4)
    grad = np.random.default_rng(3).standard_normal(model.forward(x, training=True).shape)
    model.zero_gradients()
    yield model.backward(grad)
    yield from model.gradients
    for _ in range(2):
        model.train_on_batch(x, y)
    yield from model.get_weights()
    yield np.array(model.evaluate(x, y, verbose=0))


@pytest.mark.parametrize("n", [1, 7, 20])
@pytest.mark.parametrize("name", ["generator", "residual", "u-net", "joins of joins", "depthwise layers"])
def test_the_same_bits_for_any_number_of_threads(name: str, n: int) -> None:
    wanted = None
    for threads in (1, 2, 3, 8):
        cnnlite.set_num_threads(threads)
        cnnlite.set_random_seed(1)
        model = networks.path(name)
        model.compile(optimizers.Adam(0.01), "mse")
        found = list(bits(model, n))
        assert all(np.isfinite(array).all() for array in found)
        wanted = wanted or found
        assert networks.same(found, wanted), threads


def test_an_image_has_the_same_bits_in_any_batch() -> None:
    for name in ("generator", "residual", "u-net", "joins of joins", "frames", "depthwise layers"):
        model = networks.scattered(networks.path(name))
        x = networks.samples(model, 37)
        wanted = model.predict(x)
        for n in (1, 2, 7, 37):
            assert np.array_equal(model.predict(x[:n]), wanted[:n]), (name, n)
