"""Small networks that generate, edit or judge images: between them every kind of stage, and joins of all kinds."""

from __future__ import annotations

from typing import Any

from cnnlite import layers, models
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
    Reshape,
    SeparableConv2D,
    UpSampling2D,
    ZeroPadding2D,
)

Shape = tuple[int, ...]


def paths() -> dict[str, tuple[Shape, list[Layer]]]:
    """Input shape and layers by what they try."""
    return {
        "generator": (
            (5,),
            [
                Dense(24, use_bias=False), Reshape((2, 3, 4)), BatchNormalization(), LeakyReLU(),
                Conv2DTranspose(3, 3, strides=2, padding="same", use_bias=False), BatchNormalization(momentum=0.5), Activation("relu"),
                Conv2DTranspose(2, (4, 3), strides=(2, 1), padding="same", activation="tanh"),
            ],
        ),
        "judge": (
            (6, 7, 2),
            [
                Conv2D(4, 3, strides=2, padding="same", activation="leaky_relu"), Dropout(0.3),
                Conv2D(6, 3, padding="same", use_bias=False), BatchNormalization(scale=False), LeakyReLU(0.1), Flatten(), Dense(1),
            ],
        ),
        "u-net": (
            (6, 8, 2),
            [
                Conv2D(4, 3, padding="same", activation="relu", name="fine"), MaxPooling2D(2),
                Conv2D(5, 3, padding="same", activation="relu", name="coarse"), MaxPooling2D((3, 2)), Conv2D(3, 1),
                UpSampling2D((3, 2)), Concatenate("coarse"), Conv2DTranspose(4, 2, strides=2), Concatenate("fine", "input"),
                Conv2D(2, 3, padding="same"),
            ],
        ),
        "residual": (
            (5, 6, 3),
            [
                Conv2D(4, 3, padding="same", use_bias=False), BatchNormalization(), Activation("relu", name="first"),
                Conv2D(4, 3, padding="same"), BatchNormalization(center=False), Add("first"), Activation("relu", name="second"),
                DepthwiseConv2D(3, padding="same", name="third"), Add("second", "first"), AveragePooling2D(2, padding="same"),
                GlobalAveragePooling2D(), Dense(3),
            ],
        ),
        "joins of joins": (
            (3, 4, 4),
            [
                BatchNormalization(center=False, scale=False, name="a"), Add("input", "a", name="b"), Add("a", "b", "input", name="c"),
                Concatenate("c", "a", name="d"), Concatenate("d", "input"), Conv2D(4, 1, name="e"), Add("e", "b", "e"),
                BatchNormalization(),
            ],
        ),
        "joins of other shapes": (
            (2, 3, 4),
            [Flatten(name="flat"), Dense(24, "tanh"), Add("flat"), Dense(5), Concatenate("flat"), Dense(3, activation="softmax")],
        ),
        "frames": (
            (5, 4, 3),
            [
                ZeroPadding2D(((1, 0), (2, 1))), MaxPooling2D(2, strides=1), PReLU("random_uniform", shared_axes=[1, 2]),
                Cropping2D(((0, 1), (1, 0))), SeparableConv2D(4, 2, depth_multiplier=2), PReLU("random_uniform"),
                UpSampling2D(2, interpolation="bilinear"), Cropping2D(1, name="cut"), Conv2D(4, 1), Add("cut"), Conv2D(2, 1),
                MinPooling2D(2, padding="same"), GlobalMaxPooling2D(), Dense(2),
            ],
        ),
        "pooling a relu that is read twice": (
            (4, 4, 2),
            [Conv2D(3, 3, padding="same", activation="relu", name="r"), MaxPooling2D(1), Add("r"), MinPooling2D(2), Flatten(), Dense(2)],
        ),
    }  # fmt: skip


def path(name: str, **arguments: Any) -> models.Sequential:
    """One of `paths` as a model."""
    shape, stacked = paths()[name]
    return models.Sequential([layers.Input(shape), *stacked], **arguments)
