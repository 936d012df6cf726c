"""Small networks that several test files train, differentiate and save: between them they take every path of the engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlite import layers, models
from cnnlite.initializers import Constant
from cnnlite.layers import (
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Cropping2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Layer,
    LeakyReLU,
    MaxPooling2D,
    MinPooling2D,
    PReLU,
    ReLU,
    Reshape,
    SeparableConv2D,
    UpSampling2D,
    ZeroPadding2D,
)

Shape = tuple[int, ...]


def documented(**arguments: Any) -> models.Sequential:
    """The documented network."""
    return models.Sequential(
        [
            layers.Input((28, 28, 1)),
            Conv2D(32, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Conv2D(64, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Conv2D(64, (3, 3), activation="relu"),
            Flatten(),
            Dense(64, activation="relu"),
            Dense(10, activation="softmax"),
        ],
        **arguments,
    )


def small(outputs: int = 3, activation: str | None = "softmax", **arguments: Any) -> models.Sequential:
    """Six features, two dense layers: steps of microseconds."""
    return models.Sequential(
        [layers.Input((6,)), Dense(5, activation="tanh"), Dense(outputs, activation=activation)], **arguments
    )


def with_dropout(**arguments: Any) -> models.Sequential:
    """A convolution, pooling and two dropouts, over images of 12 x 12 pixels."""
    return models.Sequential(
        [
            layers.Input((12, 12, 2)),
            Conv2D(8, 3, activation="relu"),
            MaxPooling2D(2),
            Dropout(0.25),
            Flatten(),
            Dense(16, activation="relu"),
            Dropout(0.5),
            Dense(3, activation="softmax"),
        ],
        **arguments,
    )


def paths() -> dict[str, tuple[Shape, list[Layer]]]:
    """Input shape and layers by what they try."""
    return {
        "lists behind pooling": (
            (8, 9, 8),
            [Conv2D(6, 3, activation="relu"), MaxPooling2D(2), Flatten(), Dense(4)],
        ),
        "lists with padding": (
            (6, 6, 8),
            [
                Conv2D(8, 3, padding="same", activation="relu"),
                MaxPooling2D(2),
                Conv2D(8, 3, padding="same", activation="relu"),
                MaxPooling2D((3, 2)),
                Flatten(),
                Dense(3),
            ],
        ),
        "unpooled, one channel": ((9, 8, 1), [Conv2D(5, 3, activation="relu"), MaxPooling2D(2), Flatten(), Dense(4)]),
        "unpooled, groups": ((6, 7, 4), [Conv2D(4, 3, groups=2, activation="relu"), MaxPooling2D(2), Flatten(), Dense(3)]),
        "pooling without relu": ((7, 7, 2), [Conv2D(4, 2), MaxPooling2D((2, 3)), Flatten(), Dense(3)]),
        "overlapping pools": (
            (8, 8, 3),
            [Conv2D(4, 3, activation="tanh"), MaxPooling2D(3, strides=2, padding="same"), MaxPooling2D(2, strides=1), Flatten()],
        ),
        "strides": (
            (9, 10, 3),
            [Conv2D(4, (3, 2), strides=(2, 3), activation="sigmoid"), Conv2D(5, 2, strides=2, padding="same"), Flatten(), Dense(3)],
        ),
        "groups and dilation": (
            (9, 9, 4),
            [Conv2D(6, 3, groups=2, activation="tanh"), Conv2D(4, 3, dilation_rate=2, use_bias=False), Flatten(), Dense(3)],
        ),
        "depthwise": ((7, 6, 4), [Conv2D(8, 3, groups=4, padding="same", activation="tanh"), Flatten(), Dense(2)]),
        "explicit padding": ((5, 6, 2), [Conv2D(3, 3, padding=((2, 0), (1, 3)), activation="tanh"), Flatten(), Dense(2)]),
        "activations": (
            (4, 4, 3),
            [Activation("softmax"), Conv2D(3, 2), Activation("relu"), Activation("sigmoid"), Flatten(), Activation("linear"), Dense(3)],
        ),
        "softmax inside": ((5,), [Dense(4, activation="softmax"), Dense(3, activation="softmax"), Dense(2)]),
        "dense over images": ((3, 4, 5), [Dense(6, activation="relu"), Dense(3, activation="softmax")]),
        "dropout": ((5, 5, 2), [Conv2D(4, 2, activation="tanh"), Dropout(0.4), Flatten(), Dropout(0.2), Dense(3)]),
        "flatten alone": ((3, 2, 2), [Flatten()]),
        "dropout alone": ((7,), [Dropout(0.5)]),
    }  # fmt: skip


def graphs() -> dict[str, tuple[Shape, list[Layer]]]:
    """The same of networks that make and edit images: normalization, joins, transposed convolutions."""
    return {
        "generator": (
            (5,),
            [
                Dense(2 * 3 * 8, use_bias=False), BatchNormalization(), LeakyReLU(0.2), Reshape((2, 3, 8)),
                Conv2DTranspose(6, 4, strides=2, padding="same", use_bias=False), BatchNormalization(scale=False), ReLU(),
                Conv2DTranspose(3, 3, strides=(1, 2), activation="tanh"),
            ],
        ),
        "discriminator": (
            (8, 9, 2),
            [
                Conv2D(4, 3, strides=2, padding="same"), LeakyReLU(0.3), Dropout(0.3),
                Conv2D(5, 3, padding="same"), BatchNormalization(center=False), LeakyReLU(0.1), Flatten(), Dense(1),
            ],
        ),
        "normalization alone": ((3, 4, 5), [BatchNormalization()]),
        "normalization first and last": (
            (6, 5, 3),
            [BatchNormalization(), Conv2D(4, 3, activation="relu"), MaxPooling2D(2), BatchNormalization(), BatchNormalization()],
        ),
        "normalization of rows": (
            (7,), [Dense(6, activation="tanh"), BatchNormalization(), Dense(2), BatchNormalization(scale=False, center=False)]
        ),
        "residual": (
            (6, 6, 4),
            [
                Conv2D(4, 3, padding="same", name="a"), BatchNormalization(name="b"), ReLU(name="c"),
                Conv2D(4, 3, padding="same"), BatchNormalization(), Add("c", name="d"), LeakyReLU(),
                Conv2D(4, 3, padding="same"), Add("d", "a", "input"), BatchNormalization(), Flatten(), Dense(3),
            ],
        ),
        "inverted residual": (
            (5, 6, 3),
            [
                BatchNormalization(gamma_initializer=Constant(8), name="a"), Conv2D(8, 1, activation="relu6"),
                DepthwiseConv2D(3, padding="same", use_bias=False), BatchNormalization(gamma_initializer=Constant(4)), ReLU(6),
                Conv2D(3, 1), BatchNormalization(), Add("a"),
            ],
        ),
        "u-net": (
            (8, 8, 2),
            [
                Conv2D(3, 3, padding="same", activation="relu", name="a"), MaxPooling2D(2),
                Conv2D(4, 3, padding="same", name="b"), BatchNormalization(name="c"), ReLU(name="d"), AveragePooling2D(2),
                Conv2D(5, 3, padding="same", activation="tanh"), UpSampling2D(2), Concatenate("d"),
                Conv2D(4, 3, padding="same", activation="leaky_relu"), UpSampling2D(2, interpolation="bilinear"),
                Concatenate("a", "input"), Conv2D(3, 3, padding="same"),
            ],
        ),
        "joins of joins": (
            (3, 3, 2),
            [
                Add("input", name="twice"), Concatenate("input", "twice", name="six"), Conv2D(6, 1, name="conv"), Add("six", name="sum"),
                Add("sum", "sum", "conv", name="more"), Concatenate("more", "sum"), Conv2D(2, 2), Flatten(),
            ],
        ),
        "joins of rows": (
            (2, 2, 3),
            [
                Conv2D(2, 1, name="conv"), Flatten(name="flat"), Dense(8), Add("flat"), Dense(4, activation="tanh"),
                Concatenate("flat"), Dense(3),
            ],
        ),
        "a halo that a join reads flat": (
            (4, 4, 2),
            [
                Flatten(name="flat"), Reshape((4, 4, 2)), Conv2D(2, 3, padding="same"), Reshape((32,), name="row"),
                Reshape((4, 4, 2)), Conv2D(2, 3, padding="same"), Flatten(), Add("row", "flat"),
            ],
        ),
        "depthwise layers": (
            (7, 6, 3),
            [
                DepthwiseConv2D(3, padding="same"), BatchNormalization(), DepthwiseConv2D(2, strides=2, depth_multiplier=2),
                SeparableConv2D(5, 3, padding="same", activation="relu"), GlobalAveragePooling2D(), Dense(2),
            ],
        ),
        "frames": (
            (5, 6, 2),
            [
                ZeroPadding2D(((1, 0), (2, 1))), Conv2D(3, 2), Cropping2D(((0, 1), (1, 2))), ZeroPadding2D(1), MaxPooling2D(2),
                Cropping2D(((1, 0), (0, 0))), GlobalMaxPooling2D(keepdims=True), Flatten(), Dense(2),
            ],
        ),
        "slopes": (
            (6, 5, 3),
            [
                PReLU(alpha_initializer="random_normal"), Conv2D(4, 3), PReLU("random_normal", shared_axes=[1, 2]), MinPooling2D(2),
                PReLU("random_normal", shared_axes=1), Flatten(), Dense(3), PReLU("random_normal"),
            ],
        ),
        "average pools": ((7, 7, 3), [AveragePooling2D(3, strides=2, padding="same"), Conv2D(4, 2), AveragePooling2D(2, strides=1)]),
        "transposed": (
            (3, 4, 2),
            [
                Conv2DTranspose(3, 3, strides=2, output_padding=1), Conv2DTranspose(2, (2, 3), padding="same"),
                Conv2DTranspose(4, 1, strides=3), Conv2DTranspose(2, 3, dilation_rate=2, activation="sigmoid"), Conv2D(2, 3),
            ],
        ),
    }  # fmt: skip


def path(name: str, **arguments: Any) -> models.Sequential:
    """One of `paths` or `graphs` as a model."""
    shape, stacked = (paths() | graphs())[name]
    return models.Sequential([layers.Input(shape), *stacked], **arguments)


def scattered(model: models.Sequential) -> models.Sequential:
    """A model with every weight drawn anew, biases and moving averages too; variances are positive."""
    model.build()
    rng = np.random.default_rng(7)
    for parameter in model.weights:
        drawn = rng.standard_normal(parameter.shape) / np.sqrt(max(1, parameter.size // parameter.shape[-1]))
        parameter.assign(np.abs(drawn) + 0.5 if parameter.name == "moving_variance" else drawn)
    return model


def samples(model: models.Sequential, n: int, seed: int = 1) -> np.ndarray:
    """n random samples for a model, of its dtype."""
    return np.random.default_rng(seed).standard_normal((n, *model.input_shape)).astype(model.dtype)  # type: ignore[misc]


def same(first: Any, second: Any) -> bool:
    """Whether two lists of arrays are the same bit for bit."""
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
