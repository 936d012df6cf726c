"""Gradients of whole networks in float64 against central differences: forward and backward passes, and training steps."""

from __future__ import annotations

from collections.abc import Callable

import central_differences
import networks
import numpy as np
import pytest

import cnnlite
from cnnlite import layers, losses, models, optimizers
from cnnlite.engine.cpu.convolution import lists_of
from cnnlite.engine.stages import ConvStage

# Rounding of a difference is about 1e-16 * f / EPS, far below the tolerance of 1e-6; few kinks lie within so small a step.
EPS = 1e-6
KEY = 11  # every forward pass of a check draws the same masks


def chosen(shape: tuple[int, ...], most: int) -> np.ndarray:
    """Flat indices of an array: all of a small one, some of a large one."""
    size = int(np.prod(shape))
    return (
        np.arange(size)
        if size <= most
        else np.sort(np.random.default_rng(size).choice(size, most, replace=False))
    )


def check(
    gradient: np.ndarray, value: np.ndarray, f: Callable[[np.ndarray], float], most: int, kinks: int
) -> int:
    """`central_differences.assert_gradient` at some indices of a value that f is called with."""
    assert gradient.shape == value.shape
    where = chosen(value.shape, most)

    def at(numbers: np.ndarray) -> float:
        changed = value.copy()
        changed.flat[where] = numbers
        return f(changed)

    return central_differences.assert_gradient(
        gradient.ravel()[where], at, value.ravel()[where], eps=EPS, most_kinks=kinks
    )


def check_passes(
    model: models.Sequential, n: int, most: int = 10**9, training: bool = False, kinks: int = 0
) -> int:
    """Checks what `backward` gives for the input and for every parameter; returns how many kinks were passed over."""
    model.build()
    x = networks.samples(model, n)

    def forward(x: np.ndarray) -> np.ndarray:
        cnnlite.set_random_seed(KEY)
        return model.forward(x, training=training)

    grad_y = np.random.default_rng(2).standard_normal(forward(x).shape)
    model.zero_gradients()
    grad_x = model.backward(grad_y)
    gradients = model.gradients
    found = check(grad_x, x, lambda x: float((forward(x) * grad_y).sum()), most, kinks)
    for parameter, gradient in zip(model.trainable_weights, gradients, strict=True):
        value = parameter.numpy()

        def at(changed: np.ndarray, parameter=parameter) -> float:
            parameter.assign(changed)
            return float((forward(x) * grad_y).sum())

        found += check(gradient, value, at, most, kinks)
        parameter.assign(value)
    return found


@pytest.mark.parametrize("name", networks.paths())
def test_every_index_of_small_networks(seeded, name: str) -> None:
    model = networks.path(name, dtype="float64")
    check_passes(model, 2, most=150, training="dropout" in name, kinks=2)


def test_the_paths_are_taken() -> None:
    """Behind pooling the lists are used where there are channels for them, the dense way for groups; for one channel the host's
    vectors decide."""

    def listed(name: str) -> list[bool]:
        stages = networks.path(name, dtype="float64").network.stages()
        convs = [stage for stage in stages if isinstance(stage, ConvStage) and stage.pool]
        return [lists_of(stage, number, number > 0, 8) is not None for number, stage in enumerate(convs)]

    assert listed("lists behind pooling") == [True]
    assert listed("lists with padding") == [True, True]
    assert listed("unpooled, groups") == [False]
    assert listed("overlapping pools") == []


def test_the_documented_network(seeded) -> None:
    """Every parameter tensor and the input, at some of their indices."""
    model = networks.documented(dtype="float64")
    assert check_passes(model, 3, most=25, kinks=3) <= 6


@pytest.mark.parametrize("n", [1, 4, 9, 20])
def test_batches_of_several_parts(seeded, n: int) -> None:
    """Gradients of the parts are added up, whatever their sizes."""
    check_passes(networks.path("lists behind pooling", dtype="float64"), n, most=15, kinks=2)


def losses_and_heads() -> dict[str, tuple[losses.Loss, str | None, str]]:
    return {
        "sparse softmax": (losses.SparseCategoricalCrossentropy(), "softmax", "labels"),
        "sparse logits": (losses.SparseCategoricalCrossentropy(from_logits=True), None, "labels"),
        "sparse behind sigmoid": (losses.SparseCategoricalCrossentropy(), "sigmoid", "labels"),
        "categorical softmax": (losses.CategoricalCrossentropy(), "softmax", "shares"),
        "categorical logits": (losses.CategoricalCrossentropy(from_logits=True), None, "shares"),
        "categorical behind sigmoid": (losses.CategoricalCrossentropy(), "sigmoid", "shares"),
        "smoothed": (losses.CategoricalCrossentropy(label_smoothing=0.2), "softmax", "shares"),
        "binary": (losses.BinaryCrossentropy(), "sigmoid", "shares"),
        "binary logits": (losses.BinaryCrossentropy(from_logits=True), None, "shares"),
        "binary smoothed": (losses.BinaryCrossentropy(label_smoothing=0.2), "sigmoid", "shares"),
        "squared": (losses.MeanSquaredError(), "tanh", "shares"),
        "sum": (losses.MeanSquaredError(reduction="sum"), None, "shares"),
        "absolute": (losses.MeanAbsoluteError(), "tanh", "shares"),
        "divergence": (losses.KLDivergence(), "softmax", "shares"),
        "hinge": (losses.Hinge(), None, "shares"),
        "huber": (losses.Huber(0.25), None, "shares"),
    }  # fmt: skip


@pytest.mark.parametrize("name", losses_and_heads())
def test_training_steps(seeded, name: str) -> None:
    """A step of SGD with a rate of 1 moves each weight by minus the gradient of the loss that is reported."""
    loss, activation, kind = losses_and_heads()[name]
    model = models.Sequential(
        [
            layers.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(3, activation=activation, kernel_regularizer="l1_l2"),
        ],
        dtype="float64",
    )
    rng = np.random.default_rng(3)
    n = 5
    y = rng.integers(0, 3, n) if kind == "labels" else rng.dirichlet(np.ones(3), n)
    check_step(model, loss, networks.samples(model, n), y, rng.uniform(0.5, 2.0, n), most=60)


def test_training_step_of_the_documented_network(seeded) -> None:
    model = networks.documented(dtype="float64")
    x = networks.samples(model, 4)
    check_step(model, losses.SparseCategoricalCrossentropy(), x, np.array([3, 0, 9, 5]), None, most=12)


def test_outputs_like_images(seeded) -> None:
    """Losses of pixels: the mean over an image's pixels, then over images."""
    segmenter = models.Sequential(
        [layers.Input((4, 3, 2)), layers.Conv2D(3, 3, padding="same", activation="softmax")], dtype="float64"
    )
    y = np.random.default_rng(4).integers(0, 3, (3, 4, 3))
    check_step(
        segmenter, losses.SparseCategoricalCrossentropy(), networks.samples(segmenter, 3), y, None, most=40
    )
    coder = models.Sequential(
        [layers.Input((4, 3, 2)), layers.Conv2D(2, 3, padding="same", activation="sigmoid")], dtype="float64"
    )
    x = networks.samples(coder, 3)
    check_step(coder, losses.MeanSquaredError(), x, x, None, most=40)
    check_step(
        coder, losses.BinaryCrossentropy(), x, (x > 0).astype(float), np.array([1.0, 0.0, 2.0]), most=40
    )


def check_step(
    model: models.Sequential,
    loss: losses.Loss,
    x: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None,
    most: int,
) -> None:
    """Compares the step that `train_on_batch` takes with central differences of what `test_on_batch` reports."""
    model.compile(optimizers.SGD(1.0), loss)
    before = model.get_weights()
    reported = model.train_on_batch(x, y, sample_weight=sample_weight)
    steps = [old - new for old, new in zip(before, model.get_weights(), strict=True)]
    model.set_weights(before)
    assert model.test_on_batch(x, y, sample_weight=sample_weight) == pytest.approx(reported, rel=1e-12)
    for parameter, step in zip(model.trainable_weights, steps, strict=True):
        value = parameter.numpy()

        def at(changed: np.ndarray, parameter=parameter) -> float:
            parameter.assign(changed)
            return float(model.test_on_batch(x, y, sample_weight=sample_weight))

        check(step, value, at, most, kinks=1)
        parameter.assign(value)


def test_the_check_can_fail(seeded) -> None:
    model = networks.path("strides", dtype="float64")
    bias = model.layers[0].bias
    honest = type(bias).read_gradient
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(bias),
            "read_gradient",
            lambda self: honest(self) * (1 if self is not bias else 1.01),
        )
        with pytest.raises(AssertionError, match="wrong gradient"):
            check_passes(model, 2, most=20)
