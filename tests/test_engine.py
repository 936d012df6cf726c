"""The engine between layers and kernels: what is fused, how batches are cut, when weights are packed anew, the same bits."""

from __future__ import annotations

import networks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cnnlite
from cnnlite import layers, models
from cnnlite.engine.cpu import emit
from cnnlite.engine.cpu.parts import IMAGES, MOST_SUMS, cut
from cnnlite.engine.stages import (
    ActivationStage,
    ConvStage,
    DropoutStage,
    PoolStage,
    Stage,
    image_shape,
    lower,
)
from cnnlite_kernels.cpu.images import NO_HALO

pytestmark = pytest.mark.usefixtures("seeded", "any_threads")
POOLABLE = 4


def lowered(model: models.Sequential, keep: tuple[str, ...] = (), with_dropout: bool = True) -> list[Stage]:
    model.build()
    return lower(model.layers, keep, POOLABLE, with_dropout)


def kinds(stages: list[Stage]) -> list[str]:
    """Stages in short: conv, conv+relu, conv+relu+pool ..."""
    names = {PoolStage: "pool", ActivationStage: "activation", DropoutStage: "dropout"}
    found = []
    for stage in stages:
        if isinstance(stage, ConvStage):
            found.append(
                "+".join(
                    [
                        "conv",
                        *([stage.activation] if stage.activation else []),
                        *(["pool"] if stage.pool else []),
                    ]
                )
            )
        else:
            found.append(names[type(stage)])
    return found


def names(model: models.Sequential) -> list[str]:
    return [layer.name for layer in model.layers]


def test_the_documented_network_is_five_stages() -> None:
    model = networks.documented()
    stages = lowered(model)
    assert kinds(stages) == ["conv+relu+pool", "conv+relu+pool", "conv+relu", "conv+relu", "conv+softmax"]
    conv, pool, _, pool_1, conv_2, flatten, dense, dense_1 = names(model)
    assert [stage.names for stage in stages] == [(pool,), (pool_1,), (conv_2, flatten), (dense,), (dense_1,)]
    assert conv not in str([stage.names for stage in stages])
    assert stages[0].in_shape == (28, 28, 1)
    assert [stage.out_shape for stage in stages] == [
        (13, 13, 32),
        (5, 5, 64),
        (3, 3, 64),
        (1, 1, 64),
        (1, 1, 10),
    ]


def test_what_somebody_looks_at_is_not_fused_away() -> None:
    model = networks.documented()
    stages = lowered(model, keep=(names(model)[0],))
    assert kinds(stages) == ["conv+relu", "pool", "conv+relu+pool", "conv+relu", "conv+relu", "conv+softmax"]
    assert [stage.names for stage in stages][:2] == [(names(model)[0],), (names(model)[1],)]


@pytest.mark.parametrize(
    ("stacked", "expected"),
    [
        ([layers.Conv2D(2, 3), layers.Activation("relu"), layers.MaxPooling2D(2)], ["conv+relu+pool"]),
        ([layers.Conv2D(2, 3), layers.MaxPooling2D(2)], ["conv+pool"]),
        ([layers.Conv2D(2, 3, activation="tanh"), layers.MaxPooling2D(2)], ["conv+tanh", "pool"]),
        ([layers.Conv2D(2, 3), layers.MaxPooling2D(2), layers.Activation("relu")], ["conv+pool", "activation"]),
        ([layers.Conv2D(2, 3), layers.MaxPooling2D(3)], ["conv", "pool"]),  # more than POOLABLE
        ([layers.Conv2D(2, 3), layers.MaxPooling2D(1)], ["conv", "pool"]),
        ([layers.Conv2D(2, 3), layers.MaxPooling2D(2, strides=1)], ["conv", "pool"]),
        ([layers.Conv2D(2, 4), layers.MaxPooling2D(2, padding="same")], ["conv", "pool"]),  # 5 x 5: padded
        ([layers.Conv2D(2, 3), layers.MaxPooling2D(2, padding="same")], ["conv+pool"]),  # 6 x 6: nothing to pad
        ([layers.Conv2D(2, 3, activation="relu"), layers.Activation("sigmoid")], ["conv+relu", "activation"]),
        ([layers.Conv2D(2, 3), layers.Dropout(0.5), layers.MaxPooling2D(2)], ["conv", "dropout", "pool"]),
        ([layers.MaxPooling2D(2), layers.MaxPooling2D(2)], ["pool", "pool"]),
        ([layers.Activation("linear"), layers.Flatten()], ["pool"]),  # of one pixel: a network that changes nothing
    ],
)  # fmt: skip
def test_fusing(stacked: list[layers.Layer], expected: list[str]) -> None:
    assert kinds(lowered(models.Sequential([layers.Input((8, 8, 1)), *stacked]))) == expected


def test_dropout_is_a_stage_in_training_alone() -> None:
    model = networks.with_dropout()
    assert "dropout" in kinds(lowered(model))
    evaluated = lowered(model, with_dropout=False)
    assert "dropout" not in kinds(evaluated)
    assert evaluated[0].names == tuple(names(model)[1:4])  # pooling, dropout and flatten have one output
    streams = [stage.stream for stage in lowered(model) if isinstance(stage, DropoutStage)]
    kept = [
        stage.stream for stage in lowered(model, keep=tuple(names(model))) if isinstance(stage, DropoutStage)
    ]
    assert len(set(streams)) == 2
    assert kept == streams


def test_shapes_of_any_sample_as_images() -> None:
    assert [image_shape(shape) for shape in ((5,), (4, 5), (2, 3, 4, 5))] == [(1, 1, 5), (1, 4, 5), (6, 4, 5)]


@given(st.integers(1, 3000), st.sampled_from([None, 1, MOST_SUMS]))
@settings(deadline=None)
def test_parts_cover_the_batch_evenly(n: int, most: int | None) -> None:
    bounds = cut(n, most)
    assert [first for first, _ in bounds] == [0, *[stop for _, stop in bounds[:-1]]]
    assert bounds[-1][1] == n
    sizes = {stop - first for first, stop in bounds}
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    assert most is None or len(bounds) <= most
    if most is None:
        assert max(sizes) < 2 * IMAGES
    if n >= 2 * IMAGES:
        assert len(bounds) > 1 or most == 1


def test_no_images_are_no_parts() -> None:
    assert cut(0) == []


def test_parts_do_not_depend_on_threads() -> None:
    found = []
    for threads in (1, 2, 3, 8):
        cnnlite.set_num_threads(threads)
        found.append([cut(n) for n in range(1, 200)])
    assert all(other == found[0] for other in found)


def test_a_convolution_before_padding_leaves_room_for_the_halo() -> None:
    """Its output is written where the next one reads it with the padding around: no copy in between."""
    model = models.Sequential(
        [
            layers.Input((6, 6, 2)),
            layers.Conv2D(3, 3),
            layers.Conv2D(4, 3, padding="same"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    stages = lowered(model)
    assert emit.halo_wanted(stages, 0) == ((1, 1), (1, 1))
    assert emit.halo_wanted(stages, 1) == NO_HALO
    assert emit.halo_wanted(stages, 2) == NO_HALO


@pytest.mark.parametrize("change", ["model", "layer", "parameter", "training", "apply"])
def test_packed_weights_follow_every_change(change: str) -> None:
    """After each way to change weights, every program sees them: predict, evaluate, forward and training."""
    model, other = networks.documented(), networks.documented()
    x, y = networks.samples(model, 9), np.arange(9) % 10
    for one in (model, other):
        one.compile("sgd", "sparse_categorical_crossentropy")
    model.train_on_batch(x, y), model.predict(x), model.evaluate(x, y, verbose=0), model(x)
    if change == "model":
        model.set_weights([w * 0.5 for w in model.get_weights()])
    elif change == "layer":
        model.layers[2].set_weights([w * 0.5 for w in model.layers[2].get_weights()])
    elif change == "parameter":
        model.weights[0].assign(model.weights[0].numpy() * 0.5)
    elif change == "training":
        model.train_on_batch(x, y)
    else:
        model.forward(x)
        model.zero_gradients()
        model.backward(np.ones((9, 10)))
        model.optimizer.apply(model.trainable_weights)
    other.set_weights(model.get_weights())
    assert np.array_equal(model.predict(x), other.predict(x))
    assert np.array_equal(model(x), other(x))
    assert model.evaluate(x, y, verbose=0) == other.evaluate(x, y, verbose=0)
    assert model.train_on_batch(x, y) == other.train_on_batch(x, y)
    assert networks.same(model.get_weights(), other.get_weights())


@pytest.mark.parametrize("name", ["documented", *networks.paths()])
def test_an_image_has_the_same_bits_in_any_batch_and_for_any_threads(name: str) -> None:
    model = networks.documented() if name == "documented" else networks.path(name)
    x = networks.samples(model, 300)
    wanted = model.predict(x)
    for threads in (1, 2, 3, 8):
        cnnlite.set_num_threads(threads)
        for n in (1, 2, 7, 37, 130, 300):
            assert np.array_equal(model.predict(x[:n]), wanted[:n]), (threads, n)
        assert np.array_equal(model.predict(x, batch_size=300), wanted)
        assert np.array_equal(model.predict(x.tolist(), batch_size=7), wanted)


def test_programs_of_many_batch_sizes() -> None:
    """Only some are kept; all are right, and an epoch's two sizes stay."""
    model = networks.small()
    model.compile("sgd", "mse")
    x = networks.samples(model, 40)
    wanted = model.predict(x)
    for n in [*range(1, 41), *range(1, 41)]:
        assert np.array_equal(model.predict(x[:n]), wanted[:n])
        model.test_on_batch(x[:n], wanted[:n])
