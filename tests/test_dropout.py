"""Dropout: its share, its scale, and masks that depend on the seed, the step, the layer and the place, not on threads."""

from __future__ import annotations

from typing import Any

import networks
import numpy as np
import pytest

import cnnlite
from cnnlite import layers, models

pytestmark = pytest.mark.usefixtures("seeded", "any_threads")
THREADS = (1, 2, 3, 8)


def dropped(n: int, rate: float = 0.3, size: int = 1000, **arguments: Any) -> np.ndarray:
    """What dropout makes of ones."""
    model = models.Sequential([layers.Input((size,)), layers.Dropout(rate, **arguments)])
    return model.forward(np.ones((n, size), np.float32), training=True)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_share_and_scale(rate: float) -> None:
    """Of 64,000 numbers the share that is kept lies within five standard deviations; those are divided by 1 - rate."""
    y = dropped(64, rate)
    kept = y != 0
    assert abs(kept.mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / y.size)
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-6)
    # Neither images nor places have the same mask.
    assert len({row.tobytes() for row in kept}) == 64
    assert np.abs(kept.mean(axis=0) - (1 - rate)).max() < 6 * np.sqrt(rate * (1 - rate) / 64)


def test_only_in_training() -> None:
    model = models.Sequential([layers.Input((5,)), layers.Dropout(0.5)])
    x = networks.samples(model, 4)
    assert np.array_equal(model.predict(x), x)
    assert np.array_equal(model(x), x)
    assert np.array_equal(model.forward(x), x)
    assert not np.array_equal(model(x, training=True), x)


def test_a_rate_of_zero_changes_nothing() -> None:
    assert (dropped(3, 0.0) == 1).all()


def test_masks_follow_the_seed_and_change_with_each_step() -> None:
    cnnlite.set_random_seed(1)
    first, second = dropped(2), dropped(2)
    cnnlite.set_random_seed(1)
    assert np.array_equal(dropped(2), first)
    assert not np.array_equal(first, second)


def test_a_layers_own_seed_makes_other_masks() -> None:
    found = []
    for arguments in ({}, {"seed": 1}, {"seed": 2}, {"seed": 1}):
        cnnlite.set_random_seed(1)
        found.append(dropped(2, **arguments))
    assert not np.array_equal(found[0], found[1])
    assert not np.array_equal(found[1], found[2])
    assert np.array_equal(found[1], found[3])


def test_layers_draw_different_masks() -> None:
    model = models.Sequential(
        [layers.Input((500,)), layers.Dropout(0.5, name="a"), layers.Dropout(0.5, name="b")]
    )
    found = model.forward(np.ones((1, 500)), training=True, outputs=["a", "b"])
    kept = (found["b"] != 0).mean() / (found["a"] != 0).mean()
    assert 0.3 < kept < 0.7


def test_a_place_has_its_mask_however_the_batch_is_cut_and_whatever_is_fused() -> None:
    """The first images of a large batch have the masks of a small one, and layers that somebody looks at change none."""
    model = networks.with_dropout()
    model.build()  # first weights are drawn too
    x = networks.samples(model, 300)
    names = [layer.name for layer in model.layers]
    found = []
    for n, outputs in ((300, names), (37, names), (1, names), (300, [names[2]]), (300, names[-1:])):
        cnnlite.set_random_seed(3)
        found.append(model.forward(x[:n], training=True, outputs=outputs))
    for other in found[1:]:
        for name, y in other.items():
            np.testing.assert_array_equal(y == 0, found[0][name][: len(y)] == 0)


def test_backward_has_the_mask_of_forward() -> None:
    model = models.Sequential([layers.Input((6, 5, 3)), layers.Dropout(0.4)])
    x = np.ones((21, 6, 5, 3), np.float32)
    y = model.forward(x, training=True)
    np.testing.assert_array_equal(model.backward(np.ones_like(y)), y)


def test_training_has_the_same_bits_for_any_number_of_threads() -> None:
    """Steps with dropout, of batches of many sizes."""
    trained = []
    for threads in THREADS:
        cnnlite.set_num_threads(threads)
        cnnlite.set_random_seed(7)
        model = networks.with_dropout()
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        x = networks.samples(model, 130)
        values = []
        for n in (1, 2, 7, 37, 130):
            values.append(model.train_on_batch(x[:n], np.arange(n) % 3))
        values.append(model.evaluate(x, np.arange(130) % 3, verbose=0))
        trained.append([*model.get_weights(), np.array(values)])
    for other in trained[1:]:
        assert networks.same(other, trained[0])


def test_gradients_have_the_same_bits_for_any_number_of_threads() -> None:
    found = []
    for threads in THREADS:
        cnnlite.set_num_threads(threads)
        cnnlite.set_random_seed(7)
        model = networks.with_dropout()
        x = networks.samples(model, 53)
        y = model.forward(x, training=True)
        model.zero_gradients()
        found.append([y, model.backward(np.ones_like(y)), *model.gradients])
    for other in found[1:]:
        assert networks.same(other, found[0])
