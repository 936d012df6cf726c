"""What a network computes with `mixed_precision="bfloat16"` on the CPU: with integers exactly what float32 does, else rounded factors."""

from __future__ import annotations

import warnings
from typing import Any

import networks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensor_errors import bound

import cnnlite
from cnnlite import layers, models
from cnnlite.datasets import sample
from cnnlite.engine.cpu import engine, narrow
from cnnlite.engine.cpu.convolution import conv_of
from cnnlite.engine.cpu.narrow import Narrow, chosen
from cnnlite.engine.stages import ConvStage
from cnnlite.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from cnnlite_kernels import precision
from cnnlite_kernels.cpu.host import host

needs_instructions = pytest.mark.skipif(
    host().bfloat16 is None, reason="this processor has no instructions for bfloat16"
)
pytestmark = pytest.mark.usefixtures("seeded", "any_threads")

# Input shape and layers. Between them they take every product of bfloat16, alone and next to each of the others.
EXACT: dict[str, tuple[tuple[int, ...], list[Any]]] = {
    "documented": (
        (12, 12, 1),
        [Conv2D(16, 3, activation="relu"), MaxPooling2D(2), Conv2D(24, 3, activation="relu"), Flatten(), Dense(20), Dense(5)],
    ),
    "convolution after convolution": (
        (8, 8, 16),
        [Conv2D(32, 3, padding="same", activation="relu"), Conv2D(20, 3, padding="same"), MaxPooling2D(2), Conv2D(16, 1), Flatten()],
    ),
    "strides and dilation": (
        (13, 14, 6),
        [Conv2D(17, (5, 4), strides=(2, 1), activation="relu"), Conv2D(6, 3, dilation_rate=2), Conv2D(5, 2, padding="same"), Flatten()],
    ),
    "odd numbers of channels": ((9, 7, 5), [Conv2D(7, 2, activation="relu"), Conv2D(3, 1), Conv2D(9, 3), Flatten(), Dense(3)]),
    "groups between": ((6, 6, 8), [Conv2D(8, 3), Conv2D(8, 3, groups=2, padding="same"), Conv2D(4, 3, activation="relu")]),
    "other layers between": (
        (10, 10, 4),
        [Conv2D(8, 3), MaxPooling2D(3, strides=2), Conv2D(8, 2), Activation("relu"), Dropout(0.5), Conv2D(8, 2), Dense(4)],
    ),
    "pooling behind single pixels": (
        (9, 8, 48),
        [Conv2D(192, 1, activation="relu"), MaxPooling2D(2), Conv2D(192, 1), MaxPooling2D((1, 2)), Flatten(), Dense(4)],
    ),
    "lists": ((12, 12, 16), [Conv2D(16, 3, padding="same"), Conv2D(24, 3, activation="relu"), MaxPooling2D(2), Flatten(), Dense(4)]),
}  # fmt: skip


def with_integers(stacked: tuple[tuple[int, ...], list[Any]], own: str | None) -> models.Sequential:
    """A model whose weights are 0 and, about five times in a sum, 1 or -1; a copy, so that models share no layers."""
    shape, templates = stacked
    copies = [type(layer).from_config({**layer.get_config(), "name": None}) for layer in templates]
    model = models.Sequential([layers.Input(shape), *copies], mixed_precision=own)
    rng = np.random.default_rng(7)
    for parameter in model.weights:
        depth = int(np.prod(parameter.shape[:-1]))
        ones = rng.random(parameter.shape) < min(0.6, 5 / max(1, depth))
        parameter.assign(ones * rng.choice([-1, 1], parameter.shape))
    return model


def results(model: models.Sequential, x: np.ndarray) -> list[np.ndarray]:
    """[prediction, output of a training pass, gradient of x, gradients of the weights], of integers below 3."""
    cnnlite.set_random_seed(3)
    y = model.forward(x, training=True)
    grad_y = np.random.default_rng(5).integers(-2, 3, y.shape).astype(np.float32)
    model.zero_gradients()
    grad_x = model.backward(grad_y)
    return [model.predict(x), y, grad_x, *model.gradients]


@needs_instructions
@pytest.mark.parametrize("worth", [narrow.WORTH, 1e9], ids=["what_pays", "everything"])
@pytest.mark.parametrize("name", EXACT)
def test_integers_equal_float32(name: str, worth: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole numbers up to 256 are exact in bfloat16, and so are their sums in float32: nothing may differ."""
    monkeypatch.setattr(narrow, "WORTH", worth)
    exact, mixed = (with_integers(EXACT[name], own) for own in (None, "bfloat16"))
    x = np.random.default_rng(2).integers(-1, 2, (21, *EXACT[name][0])).astype(np.float32)
    wanted = results(exact, x)
    assert max(np.abs(array).max() for array in wanted) > 4, "numbers that a wrong sum would change"
    for one, other in zip(wanted, results(mixed, x), strict=True):
        np.testing.assert_array_equal(other, one)


@needs_instructions
@settings(deadline=None, max_examples=15)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    cin=st.integers(1, 9),
    cout=st.sampled_from([1, 3, 16, 33]),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.sampled_from([1, (1, 2), (3, 1)]),
    n=st.integers(1, 9),
)
def test_integers_over_random_geometry(
    size: tuple[int, int], cin: int, cout: int, kernel: tuple[int, int], strides: Any, n: int
) -> None:
    stacked = ((*size, cin), [Conv2D(cout, kernel, strides, padding="same", activation="relu")])
    x = np.random.default_rng(2).integers(-3, 4, (n, *stacked[0])).astype(np.float32)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(narrow, "WORTH", 1e9)
        wanted, found = (results(with_integers(stacked, own), x) for own in (None, "bfloat16"))
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(other, one)


def choices(model: models.Sequential) -> list[Narrow]:
    return [chosen(conv_of(stage), False) for stage in model.network.stages() if isinstance(stage, ConvStage)]


def test_what_is_chosen_for_the_documented_network() -> None:
    """Not the first layer, whose rows of three numbers are no pairs, nor gradients of weights that sum over the batch alone."""
    assert choices(networks.documented()) == [
        Narrow(False, True, False),
        Narrow(True, True, True),  # dense gradients, which lists are better than
        Narrow(True, True, True),
        Narrow(True, True, False),
        Narrow(True, True, False),
    ]


def test_convolutions_in_groups_stay_float32() -> None:
    model = models.Sequential([layers.Input((8, 8, 32)), Conv2D(32, 3, groups=2)])
    assert choices(model) == [Narrow(False, False, False)]


@needs_instructions
@pytest.mark.parametrize("n", [1, 6, 37])
def test_normals_are_as_close_as_rounding_lets_them(n: int) -> None:
    """One layer: its factors are rounded, to nearest, and nothing else is."""
    shape, cout = (16, 16, 12), 24
    exact, mixed = (
        models.Sequential(
            [layers.Input(shape), Conv2D(cout, 3, padding="same", name="c")], mixed_precision=own
        )
        for own in (None, "bfloat16")
    )
    mixed.set_weights(exact.get_weights())
    x, grad_y = (
        np.random.default_rng(seed).standard_normal((n, 16, 16, c)).astype(np.float32)
        for seed, c in ((1, 12), (2, cout))
    )
    found = []
    for model in (exact, mixed):
        y = model.forward(x)
        found.append([y, model.backward(grad_y), *model.gradients])
    kernel, bias = exact.get_weights()
    exact.set_weights([np.abs(kernel), np.abs(bias)])
    magnitudes = [exact.forward(np.abs(x))]
    exact.zero_gradients()
    magnitudes += [exact.backward(np.abs(grad_y)), *exact.gradients]
    terms = [9 * 12, 9 * cout, n * 256, n * 256]
    for one, other, magnitude, count in zip(*found, magnitudes, terms, strict=True):
        # both have errors of their own: float32's are those of the sum alone
        far = bound(magnitude.astype(np.float64), count, "bfloat16")
        assert np.all(np.abs(one.astype(np.float64) - other) <= far)
    assert np.abs(found[0][0] - found[1][0]).max() > 1e-4, "it was rounded"
    np.testing.assert_array_equal(found[0][3], found[1][3], "the gradient of a bias is a sum of float32")


@needs_instructions
def test_gradients_are_those_of_float32_within_the_rounding() -> None:
    """A network without kinks. Each of the four products between x and a gradient is off by at most 2 * 2^-8 of a number, and on
    average over many by far less: as norms they may not add up to more."""
    stacked = [Conv2D(32, 3, activation="tanh"), Conv2D(32, 3, activation="tanh"), Flatten(), Dense(8)]
    found = []
    for own in (None, "bfloat16"):
        cnnlite.set_random_seed(1)
        model = models.Sequential(
            [layers.Input((14, 14, 8)), *[type(each).from_config(each.get_config()) for each in stacked]],
            mixed_precision=own,
        )
        x = networks.samples(model, 20)
        y = model.forward(x)
        found.append([y, model.backward(np.ones_like(y)), *model.gradients])
    for one, other in zip(*found, strict=True):
        assert np.linalg.norm(one - other) <= 4 * 2 * 2.0**-8 * np.linalg.norm(one)


@needs_instructions
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_same_bits_every_time(threads: int) -> None:
    """For any number of threads, twice in a row, in training and out of it, and whatever else is in the batch."""
    x = np.random.default_rng(1).random((40, 28, 28, 1), np.float32)
    y = np.arange(40) % 10
    found = []
    for count in (3, threads):
        cnnlite.set_num_threads(count)
        cnnlite.set_random_seed(1)
        model = networks.documented(mixed_precision="bfloat16")
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        loss = model.fit(x, y, batch_size=20, epochs=2, verbose=0).history["loss"]
        found.append([np.array(loss), *model.get_weights(), model.predict(x)])
        assert networks.same([model.predict(x), model.forward(x), model(x)], [found[-1][-1]] * 3)
        for n in (1, 2, 9, 23):
            assert networks.same([model.predict(x[:n])], [found[-1][-1][:n]])
    assert networks.same(*found)


@needs_instructions
def test_nan_and_infinity_pass() -> None:
    model = models.Sequential(
        [layers.Input((6, 6, 8)), Conv2D(16, 3), Conv2D(16, 3)], mixed_precision="bfloat16"
    )
    x = networks.samples(model, 3)
    x[1, 2, 2, 3], x[2, 3, 3, 1] = np.nan, np.inf
    y = model.predict(x)
    assert np.isfinite(y[0]).all()
    assert np.isnan(y[1]).all()
    assert not np.isfinite(y[2]).any()


@needs_instructions
def test_models_of_float32_follow_what_is_set_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_precision", "float32")
    found = {}
    for own in (None, "bfloat16"):
        cnnlite.set_random_seed(1)
        model = networks.path("lists behind pooling", mixed_precision=own)
        x = networks.samples(model, 5)
        found[own] = model.predict(x)
    assert not np.array_equal(found[None], found["bfloat16"])
    cnnlite.set_random_seed(1)
    model = networks.path("lists behind pooling")
    cnnlite.set_matmul_precision("bfloat16")
    assert networks.same([model.predict(x)], [found["bfloat16"]])
    cnnlite.set_matmul_precision("tf32")  # of GPUs alone
    assert networks.same([model.predict(x)], [found[None]])
    cnnlite.set_random_seed(1)
    wide = networks.path("lists behind pooling", dtype="float64")
    cnnlite.set_matmul_precision("float32")
    exact = wide.predict(x.astype(np.float64))
    cnnlite.set_matmul_precision("bfloat16")
    assert networks.same([wide.predict(x.astype(np.float64))], [exact])


def test_a_processor_without_the_instructions_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "host", lambda: host()._replace(bfloat16=None))
    found = []
    for own in (None, "bfloat16"):
        cnnlite.set_random_seed(1)
        model = networks.small(mixed_precision=own)
        x = networks.samples(model, 9)
        if own is None:
            found.append(model.predict(x))
            continue
        with pytest.warns(
            UserWarning,
            match="expected a processor with AVX512-BF16 or AMX for bfloat16; models compute in float32",
        ):
            found.append(model.predict(x))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.predict(x)
    assert networks.same(found[:1], found[1:])


@needs_instructions
def test_margins_that_one_pass_fuses_and_another_keeps() -> None:
    """Both have as many stages with the same weights, but the last convolution's image is 12 x 12 or 14 x 14: packed by other rules."""
    model = models.Sequential(
        [
            layers.Input((12, 12, 2)), layers.Conv2D(16, 1, name="fused_or_not"), layers.Activation("relu"),
            layers.ZeroPadding2D(1, name="margins"), layers.Conv2D(64, 3),
        ],
        mixed_precision="bfloat16",
    )  # fmt: skip
    x = networks.samples(model, 3)
    found = []
    for name in ("fused_or_not", "margins"):
        y = model.forward(x, outputs=[name, model.layers[-1].name])[model.layers[-1].name]
        model.zero_gradients()
        found.append([y, model.backward(np.ones_like(y)), *model.gradients])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * abs(one).max())


@needs_instructions
def test_training_on_the_sample_reaches_float32s_accuracy() -> None:
    """Within three standard deviations of the difference between two counts of right answers among 2,000."""
    (x, y), (x_test, y_test) = sample.load()
    x, x_test = (images[..., None].astype(np.float32) / 255 for images in (x, x_test))
    found = {}
    for own in (None, "bfloat16"):
        cnnlite.set_random_seed(1)
        model = networks.documented()
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"], mixed_precision=own)
        model.fit(x, y, batch_size=64, epochs=2, verbose=0)
        found[own] = model.evaluate(x_test, y_test, verbose=0)[1]
    p = found[None]
    assert p > 0.78
    assert abs(found["bfloat16"] - p) < 3 * (2 * p * (1 - p) / len(x_test)) ** 0.5
