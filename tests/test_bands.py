"""A few large images are cut into bands of rows on the CPU: the same outputs and gradients as whole."""

from __future__ import annotations

import networks
import numpy as np
import pytest
import reference_network
from test_network_gradients import check_passes

import cnnlite
from cnnlite import layers, models
from cnnlite.engine.cpu import bands
from cnnlite.layers import Conv2D, MaxPooling2D
from cnnlite_kernels.cpu.host import host

pytestmark = pytest.mark.usefixtures("seeded", "any_threads")


@pytest.fixture
def small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks are cut too, into pieces of a row or more."""
    monkeypatch.setattr(bands, "WORTH", 0)
    monkeypatch.setattr(bands, "ROWS", 1)


def tall() -> dict[str, tuple[networks.Shape, list[layers.Layer]]]:
    """Networks that keep many rows, between them with every window that bands are cut for."""
    return {
        "padded": (
            (17, 5, 3),
            [
                Conv2D(4, 3, padding="same", activation="tanh"), Conv2D(4, 3, padding="same", activation="relu"),
                Conv2D(2, 5, padding="same"),
            ],
        ),
        "strides": (
            (19, 7, 2), [Conv2D(4, 3, strides=2, padding="same"), Conv2D(3, 2, strides=(3, 1)), Conv2D(3, (1, 2), strides=2)]
        ),
        "explicit padding": (
            (12, 6, 2),
            [Conv2D(3, 3, padding=((2, 0), (1, 1)), activation="tanh"), Conv2D(3, 3, padding=((0, 2), (0, 0)))],
        ),
        "dilation and groups": (
            (18, 6, 4), [Conv2D(4, 3, dilation_rate=(2, 1), padding="same", groups=2), Conv2D(4, (2, 3), dilation_rate=(3, 1))]
        ),
        "pools behind": (
            (23, 8, 8),
            [Conv2D(8, 3, padding="same", activation="relu"), MaxPooling2D(2), Conv2D(8, 3, activation="relu"), MaxPooling2D(2)],
        ),
        "pools of three": (
            (22, 7, 1), [Conv2D(5, (2, 3), strides=(2, 1), activation="relu"), MaxPooling2D((3, 2)), Conv2D(3, 2)]
        ),
        "overlapping pools": (
            (16, 7, 2),
            [
                MaxPooling2D(3, strides=2, padding="same"), Conv2D(3, 2), layers.AveragePooling2D(3, strides=1, padding="same"),
                layers.MinPooling2D(2, strides=1),
            ],
        ),
        "pools side by side, shifted": (
            (16, 6, 2), [MaxPooling2D(2, padding=((1, 0), (0, 1))), Conv2D(3, 1), layers.MinPooling2D(2, padding=((0, 1), (1, 0)))]
        ),
        "pools side by side": ((16, 6, 2), [MaxPooling2D(2), Conv2D(3, 1, activation="tanh"), layers.MinPooling2D((2, 3))]),
        "elementwise": (
            (9, 4, 3),
            [
                layers.BatchNormalization(), layers.LeakyReLU(), Conv2D(3, 1, name="a"),
                layers.PReLU("random_normal", shared_axes=[1, 2]), layers.Add("a"), layers.PReLU("random_normal"),
                layers.Concatenate("a", "input"), layers.Activation("softmax"),
            ],
        ),
        "enlarged": (
            (6, 5, 2),
            [
                layers.UpSampling2D(2), layers.Conv2DTranspose(3, 4, strides=2, padding="same"),
                layers.UpSampling2D((2, 1), interpolation="bilinear"), Conv2D(1, 3, padding="same"), layers.Conv2DTranspose(1, 3),
            ],
        ),
        "odd kernels transposed": (
            (7, 5, 2),
            [layers.Conv2DTranspose(3, 3, strides=2, padding="same"), layers.Conv2DTranspose(2, (3, 5), strides=(3, 2), padding="same")],
        ),
        "depthwise": (
            (13, 5, 3),
            [
                layers.DepthwiseConv2D(3, padding="same"), layers.DepthwiseConv2D(2, strides=2),
                layers.SeparableConv2D(2, 3, padding="same"),
            ],
        ),
        "rows in the end": ((11, 4, 2), [Conv2D(3, 3), layers.Dropout(0.3), layers.Flatten(), layers.Dense(3)]),
    }  # fmt: skip


def model_of(name: str, **arguments: str) -> models.Sequential:
    shape, stacked = (tall() | networks.graphs())[name]
    return networks.scattered(models.Sequential([layers.Input(shape), *stacked], **arguments))


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("name", [*tall(), *networks.graphs()])
def test_outputs(name: str, n: int, small_bands: None) -> None:
    model = model_of(name, dtype="float64")
    x = networks.samples(model, n)
    wanted = reference_network.outputs_of(model, x, training=False)
    last = wanted[model.layers[-1].name].reshape(n, *model.output_shape)
    np.testing.assert_allclose(model.predict(x), last, rtol=1e-10, atol=1e-10)
    found = model.forward(x, outputs=list(wanted))
    for layer, y in found.items():
        np.testing.assert_allclose(y.ravel(), wanted[layer].ravel(), rtol=1e-10, atol=1e-10, err_msg=layer)


@pytest.mark.parametrize("name", tall())
def test_gradients(name: str, small_bands: None) -> None:
    check_passes(model_of(name, dtype="float64"), 2, most=24, kinks=3)


@pytest.mark.parametrize("name", [*networks.paths(), *networks.graphs()])
def test_the_same_gradients_as_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for worth in (1 << 60, 0):
        monkeypatch.setattr(bands, "WORTH", worth)
        monkeypatch.setattr(bands, "ROWS", 2)
        cnnlite.set_random_seed(0)
        model = networks.scattered(networks.path(name, dtype="float64"))
        x = networks.samples(model, 2)
        cnnlite.set_random_seed(1)
        y = model.forward(x, training=True)
        model.zero_gradients()
        grad_y = np.cos(np.arange(y.size)).reshape(y.shape)
        found.append([y, model.backward(grad_y), *model.gradients])
        assert np.array_equal(model.backward(grad_y, weights=False), found[-1][1])
    for whole, cut in zip(*found, strict=True):
        np.testing.assert_allclose(cut, whole, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["padded", "pools behind", "overlapping pools", "enlarged", "elementwise"])
def test_the_same_bits_for_any_number_of_threads_and_as_in_a_batch(name: str, small_bands: None) -> None:
    found = []
    for threads in (1, 2, 3, 8):
        cnnlite.set_num_threads(threads)
        model = model_of(name)
        x = networks.samples(model, 9)
        model.forward(x[:3])
        model.zero_gradients()
        found.append(
            [model.predict(x[:3]), model.backward(np.ones((3, *model.output_shape))), *model.gradients]
        )
        assert networks.same(found[-1], found[0]), threads
    assert np.array_equal(found[0][0], model.predict(x)[:3])


def by_terms() -> dict[str, tuple[networks.Shape, list[layers.Layer]]]:
    """Layers whose sums are in another order where a band alone, or the whole image, decides it."""
    return {
        "taps one by one": ((16, 16, 32), [Conv2D(8, 3, padding="same")]),
        "taps one by one, few rows": ((8, 8, 64), [Conv2D(8, 3, padding="same", activation="relu")]),
        "dilation": ((24, 9, 8), [Conv2D(4, 3, padding="same", dilation_rate=4)]),
        "large kernels": ((32, 32, 32), [Conv2D(8, 5, padding="same")]),
        "zeros around it": ((12, 12, 16), [Conv2D(64, 1), Conv2D(16, 3, padding="same")]),
        "depthwise": ((16, 12, 17), [layers.DepthwiseConv2D(3, padding="same")]),
        "depthwise, strides": ((32, 20, 17), [layers.DepthwiseConv2D((3, 5), strides=2, padding="same")]),
        "transposed": ((33, 33, 16), [layers.Conv2DTranspose(16, 5)]),
    }


@pytest.mark.parametrize("name", by_terms())
def test_the_bits_of_an_image_do_not_depend_on_the_batch(name: str, small_bands: None) -> None:
    shape, stacked = by_terms()[name]
    model = networks.scattered(models.Sequential([layers.Input(shape), *stacked]))
    x = networks.samples(model, 5)
    whole = model.predict(x)
    for n in (1, 2, 3):
        assert np.array_equal(model.predict(x[:n]), whole[:n]), n
        assert np.array_equal(model.forward(x[:n]), whole[:n]), n


@pytest.mark.parametrize("name", ["padded", "pools behind", "enlarged"])
def test_mixed_precision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of bfloat16 where the host has them: as whole, to their rounding."""
    if host().bfloat16 is None:
        pytest.skip("this processor has no products of bfloat16")
    found = []
    for worth in (1 << 60, 0):
        monkeypatch.setattr(bands, "WORTH", worth)
        monkeypatch.setattr(bands, "ROWS", 1)
        shape, stacked = tall()[name]
        model = networks.scattered(
            models.Sequential([layers.Input(shape), *stacked], mixed_precision="bfloat16")
        )
        x = networks.samples(model, 2)
        y = model.forward(x)
        model.zero_gradients()
        found.append([model.predict(x), y, model.backward(np.ones_like(y)), *model.gradients])
    for whole, cut in zip(*found, strict=True):
        np.testing.assert_allclose(cut, whole, rtol=0.05, atol=0.02 * np.abs(whole).max())


def test_only_few_large_images_are_cut() -> None:
    large = models.Sequential([layers.Input((64, 64, 16)), Conv2D(32, 3, padding="same"), Conv2D(32, 3)])
    large.build()
    small = networks.documented()
    small.build()
    stages = large.network.stages()
    assert [bands.worthwhile(stages, n) for n in (0, 1, 3, 4)] == [False, True, True, False]
    assert not bands.worthwhile(small.network.stages(), 1)
    cut = bands.by_outputs(stages[0], 1)
    assert cut is not None
    assert [band.y for band in cut] == [(first, first + 8) for first in range(0, 64, 8)]
    assert [band.x for band in cut[:2]] == [(0, 9), (7, 17)]
    stages_in_memory = bands.by_outputs(stages[0], 1, ((1, 1), (1, 1)))
    assert stages_in_memory is not None
    assert [band.x for band in stages_in_memory[:2]] == [(-1, 9), (7, 17)]
