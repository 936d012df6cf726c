"""Layers for making and editing images: shapes, weights, stages, configurations, and what they refuse."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from cnnlite import layers, models, naming
from cnnlite.engine import stages
from cnnlite.layers import (
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Cropping2D,
    DepthwiseConv2D,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    LeakyReLU,
    MinPooling2D,
    PReLU,
    ReLU,
    Reshape,
    SeparableConv2D,
    Softmax,
    UpSampling2D,
    ZeroPadding2D,
)

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (Conv2DTranspose(5, 3), (7, 8, 2), (9, 10, 5)),
        (Conv2DTranspose(5, 4, strides=2, padding="same"), (7, 8, 2), (14, 16, 5)),
        (Conv2DTranspose(5, 2, strides=(3, 1)), (7, 8, 2), (21, 9, 5)),
        (Conv2DTranspose(1, (3, 2), strides=3, output_padding=(2, 1)), (3, 4, 2), (11, 12, 1)),
        (Conv2DTranspose(1, 3, dilation_rate=2), (3, 4, 2), (7, 8, 1)),
        (Conv2DTranspose(1, 4, strides=2, padding=((1, 1), (1, 1))), (3, 4, 2), (6, 8, 1)),
        (DepthwiseConv2D(3, strides=2, padding="same"), (7, 8, 6), (4, 4, 6)),
        (DepthwiseConv2D((3, 2), depth_multiplier=3), (7, 8, 2), (5, 7, 6)),
        (SeparableConv2D(9, 3, depth_multiplier=2, dilation_rate=2), (7, 8, 2), (3, 4, 9)),
        (AveragePooling2D(), (11, 11, 4), (5, 5, 4)),
        (AveragePooling2D(3, strides=2, padding="same"), (11, 10, 2), (6, 5, 2)),
        (MinPooling2D((2, 3), padding="same"), (5, 5, 2), (3, 2, 2)),
        (GlobalAveragePooling2D(), (5, 4, 3), (3,)),
        (GlobalAveragePooling2D(keepdims=True), (5, 4, 3), (1, 1, 3)),
        (GlobalMaxPooling2D(), (5, 4, 3), (3,)),
        (UpSampling2D(), (5, 4, 3), (10, 8, 3)),
        (UpSampling2D((1, 3), interpolation="bilinear"), (5, 4, 3), (5, 12, 3)),
        (ZeroPadding2D(), (5, 4, 3), (7, 6, 3)),
        (ZeroPadding2D((1, 2)), (5, 4, 3), (7, 8, 3)),
        (ZeroPadding2D(((1, 0), (0, 3))), (5, 4, 3), (6, 7, 3)),
        (Cropping2D(), (5, 4, 3), (5, 4, 3)),
        (Cropping2D(((1, 0), (0, 3))), (5, 4, 3), (4, 1, 3)),
        (Reshape((6, -1)), (4, 3, 2), (6, 4)),
        (Reshape((24,)), (4, 3, 2), (24,)),
        (BatchNormalization(), (4, 3, 2), (4, 3, 2)),
        (BatchNormalization(axis=1), (4,), (4,)),
        (LeakyReLU(), (4, 3), (4, 3)),
        (ReLU(), (4,), (4,)),
        (PReLU(), (4, 3, 2), (4, 3, 2)),
        (Softmax(), (4, 3), (4, 3)),
    ],
)  # fmt: skip
def test_output_shapes(layer: layers.Layer, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """As told beforehand, and as the layer's stages have them; the network ends in a stage of the layer's name."""
    assert layer.compute_output_shape(shape) == expected
    model = models.Sequential([layers.Input(shape), layer])
    model.build()
    assert model.output_shape == expected
    lowered = stages.lower(model.layers)
    assert lowered[0].in_shape == stages.image_shape(shape)
    for before, after in pairwise(lowered):
        assert before.out_shape == after.in_shape
    assert lowered[-1].names == (layer.name,)
    if not isinstance(layer, Reshape):
        assert lowered[-1].out_shape == stages.image_shape(expected)
    assert model.predict(np.zeros((2, *shape), np.float32)).shape == (2, *expected)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Conv2DTranspose(5, (3, 2)), {"kernel": (3, 2, 5, 4), "bias": (5,)}),
        (DepthwiseConv2D((3, 2), depth_multiplier=2), {"kernel": (3, 2, 4, 2), "bias": (8,)}),
        (DepthwiseConv2D(3, use_bias=False), {"kernel": (3, 3, 4, 1)}),
        (SeparableConv2D(5, 3, depth_multiplier=2),
         {"depthwise_kernel": (3, 3, 4, 2), "pointwise_kernel": (1, 1, 8, 5), "bias": (5,)}),
        (BatchNormalization(), {"gamma": (4,), "beta": (4,), "moving_mean": (4,), "moving_variance": (4,)}),
        (BatchNormalization(center=False), {"gamma": (4,), "moving_mean": (4,), "moving_variance": (4,)}),
        (BatchNormalization(scale=False), {"beta": (4,), "moving_mean": (4,), "moving_variance": (4,)}),
        (PReLU(), {"alpha": (6, 7, 4)}),
        (PReLU(shared_axes=[1, 2]), {"alpha": (1, 1, 4)}),
        (PReLU(shared_axes=2), {"alpha": (6, 1, 4)}),
    ],
)  # fmt: skip
def test_weights_lie_as_in_keras(layer: layers.Layer, expected: dict[str, tuple[int, ...]]) -> None:
    layer.build((6, 7, 4))
    assert {weight.name: weight.shape for weight in layer.weights} == expected
    assert [weight.name for weight in layer.weights] == list(expected)


def test_first_weights() -> None:
    normal = BatchNormalization(gamma_initializer="zeros", moving_mean_initializer="ones")
    normal.build((3, 3, 2))
    assert [weight.value.tolist() for weight in normal.weights] == [[0, 0], [0, 0], [1, 1], [1, 1]]
    normal = BatchNormalization()
    normal.build((2,))
    assert [weight.value.tolist() for weight in normal.weights] == [[1, 1], [0, 0], [0, 0], [1, 1]]
    prelu = PReLU("ones", shared_axes=[1, 2])
    prelu.build((3, 3, 2))
    assert prelu.alpha.value.tolist() == [[[1, 1]]]


def test_names_as_keras_counts() -> None:
    naming.reset_names()
    made = [
        *(LeakyReLU(), PReLU(), ReLU(), LeakyReLU(), Conv2DTranspose(1, 1), UpSampling2D(), ZeroPadding2D()),
        *(DepthwiseConv2D(1), SeparableConv2D(1, 1), GlobalAveragePooling2D(), BatchNormalization()),
    ]
    assert [layer.name for layer in made] == [
        *("leaky_re_lu", "p_re_lu", "re_lu", "leaky_re_lu_1", "conv2d_transpose", "up_sampling2d"),
        *("zero_padding2d", "depthwise_conv2d", "separable_conv2d", "global_average_pooling2d"),
        "batch_normalization",
    ]


def lowered(*stacked: layers.Layer, keep: tuple[str, ...] = ()) -> list[Any]:
    """The stages of layers over images of 8 x 9 pixels and 4 channels."""
    model = models.Sequential([layers.Input((8, 9, 4)), *stacked])
    model.build()
    return stages.lower(model.layers, keep)


def test_activations_have_slopes() -> None:
    """0.2 as a name, 0.3 as a layer: so Keras has it."""
    found = lowered(
        Conv2D(3, 3, activation="leaky_relu"),
        layers.Activation("leaky_relu"),
        LeakyReLU(),
        LeakyReLU(0),
        ReLU(negative_slope=0.125),
        ReLU(),
    )
    assert [(stage.activation, stage.slope) for stage in found] == [
        *(("leaky_relu", 0.2), ("leaky_relu", 0.2), ("leaky_relu", 0.3), ("leaky_relu", 0.0)),
        *(("leaky_relu", 0.125), ("relu", 0.0)),
    ]
    (fused,) = lowered(Conv2D(3, 3), LeakyReLU(0.25))
    assert (fused.activation, fused.slope) == ("leaky_relu", 0.25)
    (fused,) = lowered(Conv2D(3, 3), ReLU(6))
    assert fused.activation == "relu6"


def test_a_rectifier_behind_a_normalization_is_part_of_it() -> None:
    found = lowered(BatchNormalization(name="a"), LeakyReLU(0.25, name="b"), ReLU(), BatchNormalization())
    assert [getattr(stage, "activation", None) for stage in found] == ["leaky_relu", "relu", None]
    assert (found[0].names, found[0].slope) == (("b",), 0.25)
    for kept in (
        lowered(BatchNormalization(name="a"), ReLU(), keep=("a",)),
        lowered(BatchNormalization(), Softmax()),
    ):
        assert [type(stage) for stage in kept] == [stages.NormalizationStage, stages.ActivationStage]


def test_a_normalization_by_moving_statistics_is_folded_where_asked() -> None:
    def folded(*stacked: layers.Layer, training: bool = False, keep: tuple[str, ...] = ()) -> list[tuple]:
        model = models.Sequential([layers.Input((8, 9, 4)), *stacked])
        model.build()
        found = stages.lower(model.layers, keep, 4, training, fold=True)
        return [(type(stage), getattr(stage, "normalization", None) is not None) for stage in found]

    conv, norm = stages.ConvStage, stages.NormalizationStage
    whole = folded(Conv2D(3, 3, name="a"), BatchNormalization(), ReLU(), layers.MaxPooling2D())
    assert whole == [(conv, True)]
    assert folded(Conv2D(3, 3), BatchNormalization(), training=True) == [(conv, False), (norm, False)]
    assert folded(Conv2D(3, 3, name="a"), BatchNormalization(), keep=("a",)) == [(conv, False), (norm, False)]
    assert folded(Conv2D(3, 3), ReLU(), BatchNormalization()) == [(conv, False), (norm, False)]
    assert folded(Conv2D(3, 3), BatchNormalization(), BatchNormalization()) == [(conv, True), (norm, False)]
    reshaped = folded(layers.GlobalMaxPooling2D(), layers.Dense(6), Reshape((1, 3, 2)), BatchNormalization())
    assert reshaped[1:] == [(conv, False), (norm, False)]


def test_depthwise_is_a_convolution_in_groups() -> None:
    depthwise, pointwise = lowered(SeparableConv2D(5, 3, depth_multiplier=2, activation="relu", name="both"))
    assert (depthwise.groups, depthwise.out_shape, depthwise.bias, depthwise.names) == (
        4,
        (6, 7, 8),
        None,
        (),
    )
    assert (pointwise.groups, pointwise.in_shape, pointwise.activation) == (1, (6, 7, 8), "relu")
    assert pointwise.names == ("both",)
    (conv,) = lowered(DepthwiseConv2D(3, depth_multiplier=2))
    assert (conv.groups, conv.out_shape) == (4, (6, 7, 8))


def test_pooling_of_whole_images_is_pooling() -> None:
    average, *_ = lowered(GlobalAveragePooling2D())
    largest, *_ = lowered(GlobalMaxPooling2D())
    assert isinstance(average, stages.AverageStage)
    assert isinstance(largest, stages.PoolStage)
    assert average.window.kernel == largest.window.kernel == (8, 9)
    assert average.out_shape == largest.out_shape == (1, 1, 4)
    (smallest,) = lowered(MinPooling2D())
    assert smallest.minimum
    assert len(lowered(Conv2D(2, 3), MinPooling2D())) == 2  # convolutions pool maxima alone


def test_margins_become_a_convolutions_padding() -> None:
    (conv,) = lowered(ZeroPadding2D(((1, 0), (2, 3))), Conv2D(2, 3, name="conv"))
    assert (conv.in_shape, conv.out_shape, conv.names) == ((8, 9, 4), (7, 12, 2), ("conv",))
    assert conv.window.padding == ((1, 0), (2, 3))
    (conv,) = lowered(ZeroPadding2D(1), DepthwiseConv2D(3, strides=2, padding="same"))
    assert conv.window.padding == ((1, 2), (2, 2))  # of 10 x 11 pixels: one below, one on either side
    assert conv.window.output_size(8, 9) == conv.out_shape[:2] == (5, 6)


def test_margins_stay_where_somebody_wants_them_or_some_are_cut_off() -> None:
    frame, conv = lowered(ZeroPadding2D(1, name="frame"), Conv2D(2, 3), keep=("frame",))
    assert (frame.margins, conv.window.padding) == (((1, 1), (1, 1)), "valid")
    frame, conv = lowered(Cropping2D(((0, 1), (2, 0))), Conv2D(2, 3))
    assert (frame.margins, frame.out_shape) == (((0, -1), (-2, 0)), (7, 7, 4))
    assert [type(stage).__name__ for stage in lowered(Cropping2D(0), Conv2D(2, 3))] == ["ConvStage"]


def test_alpha_has_the_axes_of_images() -> None:
    for shape, shared, expected in (
        ((6, 7, 4), None, (6, 7, 4)),
        ((6, 7, 4), [1, 2], (1, 1, 4)),
        ((7, 4), [1], (1, 1, 4)),
        ((4,), None, (1, 1, 4)),
    ):
        model = models.Sequential([layers.Input(shape), PReLU(shared_axes=shared)])
        model.build()
        (stage,) = stages.lower(model.layers)
        assert stage.alpha_shape == expected


def configured() -> list[layers.Layer]:
    return [
        Conv2DTranspose(6, (3, 2), strides=(2, 3), padding="same", output_padding=(1, 0), activation="leaky_relu"),
        Conv2DTranspose(6, 3, dilation_rate=2, padding=((1, 0), (0, 2)), use_bias=False, name="a", trainable=False),
        DepthwiseConv2D(3, depth_multiplier=2, depthwise_initializer="he_normal", depthwise_regularizer="l2"),
        SeparableConv2D(6, 3, depthwise_initializer="ones", pointwise_regularizer="l1", activation="tanh"),
        BatchNormalization(momentum=0.5, epsilon=0.25, center=False, gamma_regularizer="l2"),
        BatchNormalization(axis=3, scale=False, moving_variance_initializer="zeros", beta_initializer="ones"),
        AveragePooling2D((2, 3), strides=2, padding="same"),
        MinPooling2D(3),
        GlobalAveragePooling2D(keepdims=True),
        GlobalMaxPooling2D(),
        UpSampling2D((1, 3), interpolation="bilinear"),
        ZeroPadding2D(((1, 2), (3, 4))),
        Cropping2D((1, 2)),
        Reshape((3, -1)),
        LeakyReLU(0.5),
        PReLU("ones", "l2", [1, 2]),
        PReLU(),
        ReLU(negative_slope=0.5),
        Softmax(),
        layers.Add("a", "b"),
        layers.Concatenate("a", name="c"),
    ]  # fmt: skip


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
        (lambda: Conv2DTranspose(0, 3), "expected filters as a positive integer, got 0"),
        (lambda: Conv2DTranspose(4, 3, output_padding=-1), "expected output_padding as an int or a pair of ints of at least 0, got -1"),
        (lambda: Conv2DTranspose(4, 3, data_format="channels_first"), 'expected data_format "channels_last"'),
        (lambda: Conv2DTranspose(4, 3).compute_output_shape((8, 8)), "add the channel axis"),
        (lambda: Conv2DTranspose(4, 3, strides=2, output_padding=2).compute_output_shape((8, 8, 1)),
         "leave output_padding out, or pass less than the strides"),
        (lambda: DepthwiseConv2D(3, depth_multiplier=0), "expected depth_multiplier as a positive integer, got 0"),
        (lambda: DepthwiseConv2D(3).compute_output_shape((2, 2, 1)), "expected an image of at least 3 x 3 pixels"),
        (lambda: SeparableConv2D(0, 3), "expected filters as a positive integer, got 0"),
        (lambda: SeparableConv2D(2, 3, depth_multiplier=1.5), "expected depth_multiplier as a positive integer, got 1.5"),
        (lambda: BatchNormalization(momentum=1.5), "expected momentum from 0 to 1, got 1.5"),
        (lambda: BatchNormalization(epsilon=-1), "expected epsilon of at least 0, got -1"),
        (lambda: BatchNormalization(axis=1).compute_output_shape((8, 8, 3)),
         r"expected axis -1, the channels, or 3, .* shape \(8, 8, 3\), got 1"),
        (lambda: AveragePooling2D(0), "expected pool_size as an int or a pair of ints of at least 1, got 0"),
        (lambda: AveragePooling2D(padding=((2, 0), (0, 0))).compute_output_shape((8, 8, 1)),
         "expected padding smaller than the pool size"),
        (lambda: MinPooling2D(3).compute_output_shape((2, 2, 1)), "expected an image of at least 3 x 3 pixels"),
        (lambda: MinPooling2D(data_format="channels_first"), 'expected data_format "channels_last"'),
        (lambda: GlobalMaxPooling2D().compute_output_shape((8,)), r"expected samples of 3 axes .*, got shape \(8,\)\."),
        (lambda: GlobalAveragePooling2D("channels_first"), 'expected data_format "channels_last"'),
        (lambda: UpSampling2D(0), "expected size as an int or a pair of ints of at least 1, got 0"),
        (lambda: UpSampling2D(interpolation="bicubic"), 'expected interpolation "nearest" or "bilinear", got \'bicubic\''),
        (lambda: UpSampling2D().compute_output_shape((8, 8)), "add the channel axis"),
        (lambda: ZeroPadding2D(-1), r"expected padding as an int, \(rows, columns\) or .* of at least 0, got -1"),
        (lambda: ZeroPadding2D((1, 2, 3)), r"expected padding as an int, .* got \(1, 2, 3\)"),
        (lambda: ZeroPadding2D("same"), "expected padding as an int, .* got 'same'"),
        (lambda: Cropping2D(((1, -1), (0, 0))), r"expected cropping as an int, .* got \(\(1, -1\), \(0, 0\)\)"),
        (lambda: Cropping2D(4).compute_output_shape((8, 9, 1)),
         r"larger than cropping \(\(4, 4\), \(4, 4\)\) takes off, got shape \(8, 9, 1\)"),
        (lambda: Reshape((3, 0)), r"expected target_shape as positive integers .* one of them perhaps -1, got \(3, 0\)"),
        (lambda: Reshape((-1, -1)), r"expected target_shape as positive integers .* got \(-1, -1\)"),
        (lambda: Reshape(()), r"expected target_shape .* got \(\)"),
        (lambda: Reshape(5), "expected target_shape .* got 5"),
        (lambda: Reshape((5, -1)).compute_output_shape((4, 3, 2)), r"fill \(5, -1\), got shape \(4, 3, 2\), which has 24"),
        (lambda: Reshape((5, 5)).compute_output_shape((4, 3, 2)), r"fill \(5, 5\), got shape \(4, 3, 2\), which has 24"),
        (lambda: LeakyReLU(-0.1), "expected negative_slope as a finite number of at least 0, got -0.1"),
        (lambda: LeakyReLU(np.inf), "expected negative_slope as a finite number of at least 0, got inf"),
        (lambda: LeakyReLU(None), "expected negative_slope as a finite number of at least 0, got None"),
        (lambda: ReLU(max_value=1), "expected max_value None or 6 and threshold 0, got 1 and 0.0"),
        (lambda: ReLU(threshold=1), "expected max_value None or 6 and threshold 0, got None and 1"),
        (lambda: ReLU(6, 0.5), "expected negative_slope 0 with max_value 6, got 0.5"),
        (lambda: PReLU(shared_axes=[0]), r"expected shared_axes as integers from 1, the batch being 0, got \[0\]"),
        (lambda: PReLU(shared_axes=[[1], [2, 3]]), r"expected shared_axes as integers from 1, .*, got \[\[1\], \[2, 3\]\]"),
        (lambda: PReLU(shared_axes=[1, 4]).compute_output_shape((8, 8, 3)), r"shared_axes from 1 to 3 .*, got \[1, 4\]"),
        (lambda: PReLU().compute_output_shape((8, 8, 8, 3)), r"expected samples of up to three axes, got shape \(8, 8, 8, 3\)"),
        (lambda: Softmax(axis=1), "expected axis -1, the last one, got 1"),
    ],
)  # fmt: skip
def test_refusals(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_kerass_old_name_of_the_slope() -> None:
    with pytest.warns(UserWarning, match="alpha is called negative_slope now"):
        assert LeakyReLU(alpha=0.5).negative_slope == 0.5


def test_numbers_of_numpy_are_numbers() -> None:
    assert LeakyReLU(np.float32(0.5)).negative_slope == 0.5
    assert PReLU(shared_axes=np.arange(1, 3)).shared_axes == [1, 2]
    config = BatchNormalization(momentum=np.float32(0.5), epsilon=np.float32(0.25)).get_config()
    assert json.dumps((config["momentum"], config["epsilon"])) == "[0.5, 0.25]"
