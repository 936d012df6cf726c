"""Layers: shapes, names, weights and configurations, and what they refuse."""

from __future__ import annotations

import json
from typing import Any

import networks
import numpy as np
import pytest

from cnnlite import initializers, layers, models, naming, regularizers
from cnnlite_kernels.reference.conv2d import conv2d

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (layers.Conv2D(32, 3), (28, 28, 1), (26, 26, 32)),
        (layers.Conv2D(5, (3, 2), strides=(2, 1), padding="same"), (7, 8, 3), (4, 8, 5)),
        (layers.Conv2D(4, 3, dilation_rate=2, groups=2), (9, 9, 6), (5, 5, 4)),
        (layers.Conv2D(4, 3, padding=((1, 0), (2, 2))), (5, 5, 1), (4, 7, 4)),
        (layers.MaxPooling2D(), (11, 11, 64), (5, 5, 64)),
        (layers.MaxPooling2D(3, strides=2, padding="same"), (11, 10, 2), (6, 5, 2)),
        (layers.Flatten(), (3, 3, 64), (576,)),
        (layers.Dense(10), (64,), (10,)),
        (layers.Dense(10), (4, 5, 64), (4, 5, 10)),
        (layers.Activation("softmax"), (4, 5), (4, 5)),
        (layers.Dropout(0.5), (4, 5, 6), (4, 5, 6)),
    ],
)  # fmt: skip
def test_output_shapes(layer: layers.Layer, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert layer.compute_output_shape(shape) == expected
    model = models.Sequential([layers.Input(shape), layer])
    assert model.output_shape == expected
    assert model.predict(np.zeros((2, *shape), np.float32)).shape == (2, *expected)


def test_kernels_lie_as_in_keras() -> None:
    """HWIO kernels with the channels of a group, (features, units) matrices; the formula is cross-correlation."""
    model = models.Sequential(
        [layers.Input((6, 7, 4)), layers.Conv2D(6, (3, 2), groups=2, strides=(1, 2)), layers.Dense(5)]
    )
    conv, dense = model.layers
    assert [weight.shape for weight in model.weights] == [(3, 2, 2, 6), (6,), (6, 5), (5,)]
    x = networks.samples(model, 2)
    y = conv2d(x.astype(float), *[w.astype(float) for w in conv.get_weights()], strides=(1, 2), groups=2)
    w, b = dense.get_weights()
    np.testing.assert_allclose(model.predict(x), y @ w + b, rtol=1e-5, atol=1e-5)


def test_first_weights() -> None:
    """Glorot's uniform ones and zeros, unless something else is asked for."""
    conv, dense = (
        layers.Conv2D(64, 3),
        layers.Dense(8, kernel_initializer="ones", bias_initializer=initializers.Constant(0.5)),
    )
    conv.build((10, 10, 32))
    dense.build((None, 4))
    limit = np.sqrt(6 / (9 * 32 + 9 * 64))
    assert 0.99 * limit < np.abs(conv.kernel.value).max() <= limit
    assert not conv.bias.value.any()
    assert (dense.kernel.value == 1).all()
    assert (dense.bias.value == 0.5).all()
    assert dense.kernel.value.dtype == np.float32


def test_use_bias() -> None:
    layer = layers.Dense(3, use_bias=False)
    layer.build((4,))
    assert layer.bias is None
    assert [weight.name for weight in layer.weights] == ["kernel"]
    assert layer.count_params() == 12


def test_names_and_paths() -> None:
    naming.reset_names()
    assert [layers.Dense(2).name, layers.Dense(2).name, layers.MaxPooling2D().name] == [
        "dense",
        "dense_1",
        "max_pooling2d",
    ]
    layer = layers.Conv2D(2, 3, name="first")
    layer.build((5, 5, 1))
    assert [weight.path for weight in layer.weights] == ["first/kernel", "first/bias"]
    assert repr(layer) == "<Conv2D first>"
    assert repr(layer.kernel) == "<Parameter first/kernel (3, 3, 1, 2)>"


def test_parameters() -> None:
    layer = layers.Dense(2)
    layer.build((3,))
    weight = layer.kernel
    weight.assign([[1, 2], [3, 4], [5, 6]])
    assert np.asarray(weight).tolist() == [[1, 2], [3, 4], [5, 6]]
    copied = weight.numpy()
    copied[:] = 0
    assert weight.value[2, 1] == 6
    with pytest.raises(ValueError, match="read-only"):
        weight.value[0, 0] = 1
    with pytest.raises(ValueError, match=r"kernel: expected weights of shape \(3, 2\), got \(2, 3\)"):
        weight.assign(np.zeros((2, 3)))


def test_weights_that_are_not_there_yet() -> None:
    """The layer's shapes are known, its weights are drawn with those of the whole model."""
    model = models.Sequential([layers.Input((3,)), layers.Dense(2, name="d")])
    for use in (model.layers[0].get_weights, lambda: np.asarray(model.layers[0].kernel)):
        with pytest.raises(RuntimeError, match=r"d/kernel: has no numbers yet; model.build\(\) draws them"):
            use()
    model.build()
    assert model.layers[0].get_weights()[0].shape == (3, 2)


def test_trainable_weights() -> None:
    layer = layers.Dense(2, trainable=False)
    layer.build((3,))
    assert not layer.trainable_weights
    assert layer.non_trainable_weights == layer.weights
    layer.trainable = True
    assert layer.trainable_weights == layer.weights


def test_set_weights_changes_all_or_nothing() -> None:
    layer = layers.Dense(2)
    layer.build((3,))
    before = layer.get_weights()
    with pytest.raises(
        ValueError, match=r"bias of shape \(2,\), got \(3,\); get_weights\(\) shows the order"
    ):
        layer.set_weights([np.ones((3, 2)), np.ones(3)])
    with pytest.raises(ValueError, match="set_weights expected 2 arrays, got 1"):
        layer.set_weights([np.ones((3, 2))])
    assert networks.same(before, layer.get_weights())


def configured() -> list[layers.Layer]:
    return [
        layers.Conv2D(
            6, (3, 2), strides=(2, 1), padding="same", activation="tanh", name="a", trainable=False
        ),
        layers.Conv2D(4, 3, dilation_rate=(2, 1), groups=2, padding=((1, 0), (2, 3)), use_bias=False),
        layers.Conv2D(
            1, 1, kernel_initializer=initializers.HeNormal(seed=3), bias_regularizer=regularizers.L1(0.5)
        ),
        layers.Dense(
            7, activation="softmax", kernel_regularizer="l1_l2", bias_initializer="ones", input_shape=(3,)
        ),
        layers.MaxPooling2D((2, 3), strides=2, padding="same"),
        layers.Flatten(),
        layers.Dropout(0.3, seed=7),
        layers.Activation("sigmoid"),
        layers.Activation("linear"),
    ]


@pytest.mark.parametrize("layer", configured(), ids=lambda layer: type(layer).__name__)
def test_configurations_come_back(layer: layers.Layer) -> None:
    config = layer.get_config()
    again = type(layer).from_config(json.loads(json.dumps(config)))
    assert json.dumps(again.get_config()) == json.dumps(config)
    assert again.name == layer.name
    assert again.trainable == layer.trainable


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Conv2D(0, 3), "expected filters as a positive integer, got 0"),
        (lambda: layers.Conv2D(2.5, 3), "expected filters as a positive integer, got 2.5"),
        (lambda: layers.Conv2D(4, 3, groups=3), "expected filters to be a multiple of groups, got 4 and 3"),
        (lambda: layers.Conv2D(4, 0), "expected kernel_size as .* of at least 1, got 0; pass, say, kernel_size=2 or"),
        (lambda: layers.Conv2DTranspose(4, 3, dilation_rate=0), "expected dilation_rate as an int or a pair"),
        (lambda: layers.Conv2D(4, 3, padding="full"), 'expected padding "valid", "same" or'),
        (lambda: layers.Conv2D(4, 3, activation="gelu"), "expected activation None, 'linear' or one of .*, got 'gelu'"),
        (lambda: layers.Conv2D(4, 3, data_format="channels_first"), 'expected data_format "channels_last"'),
        (lambda: layers.MaxPooling2D(data_format="channels_first"), 'expected data_format "channels_last"'),
        (lambda: layers.Flatten(data_format="channels_first"), 'expected data_format "channels_last"'),
        (lambda: layers.Dense(True), "expected units as a positive integer, got True"),
        (lambda: layers.Activation("swish"), "got 'swish'"),
        (lambda: layers.Dropout(1.0), "expected rate from 0 up to 1, got 1.0"),
        (lambda: layers.Dropout("half"), "expected rate from 0 up to 1, got 'half'"),
        (lambda: layers.Dropout(np.float32(1)), r"expected rate from 0 up to 1, got np.float32\(1.0\)|got 1.0"),
        (lambda: layers.Dropout(0.5, (None, 1)), "expected noise_shape None"),
        (lambda: layers.Dense(3, name=""), "Dense: expected name as a string, got ''"),
        (lambda: layers.Dense(3, input_shape=(0,)), "expected input_shape as positive integers"),
        (lambda: layers.Input((28, None, 1)), r"Input: expected input_shape as positive .* got \(28, None, 1\)"),
        (lambda: layers.Dense(3, kernel_initializer="glorot"), "expected an initializer, one of"),
        (lambda: layers.Dense(3, kernel_regularizer="l3"), "expected a regularizer"),
        (lambda: layers.Conv2D(4, 3, groups=2).compute_output_shape((8, 8, 3)), "channels to be a multiple of groups 2, got 3"),
        (lambda: layers.Conv2D(4, 3).compute_output_shape((8, 8)), r"axes \(h, w, channels\), got shape \(8, 8\); add the channel axis"),
        (lambda: layers.MaxPooling2D().compute_output_shape((8,)), r"expected samples of 3 axes .*, got shape \(8,\)\."),
        (lambda: layers.Conv2D(4, 3).compute_output_shape((2, 2, 1)), "expected an image of at least 3 x 3 pixels"),
    ],
)  # fmt: skip
def test_refusals(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_arguments() -> None:
    with pytest.raises(
        TypeError, match=r"Dense: unknown arguments \['units_'\]; it takes units, .*, input_shape, dtype\."
    ):
        layers.Dense(3, units_=4)
    for layer, sizes in ((layers.DepthwiseConv2D, (3,)), (layers.SeparableConv2D, (3, 3))):
        with pytest.raises(
            TypeError, match=r"unknown arguments \['kernel_initializer'\]; it takes .*depthwise_initializer, "
        ):
            layer(*sizes, kernel_initializer="ones")
    with pytest.raises(
        TypeError, match=r"Input: unknown arguments \['batch_size'\]; it takes shape and name"
    ):
        layers.Input((3,), batch_size=4)


def test_short_names() -> None:
    pools = (layers.MaxPool2D(), layers.AvgPool2D(), layers.GlobalMaxPool2D(), layers.GlobalAvgPool2D())
    long = ["MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D"]
    assert [type(pool).__name__ for pool in pools] == long


def test_there_are_no_functional_models() -> None:
    with pytest.raises(TypeError, match=r"d: layers are not called; .* puts each on top of the one before"):
        layers.Dense(3, name="d")(layers.Input((3,)))


def test_a_layer_of_ones_own_says_what_is_missing() -> None:
    class Own(layers.Layer):
        pass

    with pytest.raises(NotImplementedError, match="Own: define compute_output_shape"):
        Own().build((3,))
    with pytest.raises(NotImplementedError, match="Own: define stages"):
        Own().stages()
