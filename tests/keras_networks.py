"""Small networks over all kinds of layers that Keras and this library must train alike, step for step: the recipe both follow.

A network is a list of (layer, arguments, names of layers that it joins): a `Sequential` here, the functional form for Keras.
`train(keras, name)` made data/keras_networks.json (tools/make_keras_networks.py), which the tests compare with `train(cnnlite, name)`.
All numbers are float64, drawn by NumPy and rounded, so that both begin with the same.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Described: TypeAlias = tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], tuple[str, ...]]

BATCH = 6
STEPS = 5


class Network(NamedTuple):
    """The shape of a sample, the layers, and the optimizer's learning rate; trained to the mean squared error."""

    shape: tuple[int, ...]
    layers: list[Described]
    rate: float = 0.0625


NETWORKS = {
    # a DCGAN's generator: normalised, from a vector to an image
    "generator": Network(
        (5,),
        [
            ("Dense", {"units": 3 * 4 * 6, "use_bias": False}),
            ("BatchNormalization", {}),
            ("LeakyReLU", {"negative_slope": 0.25}),
            ("Reshape", {"target_shape": (3, 4, 6)}),
            ("Conv2DTranspose", {"filters": 4, "kernel_size": 5, "padding": "same", "use_bias": False}),
            ("BatchNormalization", {"momentum": 0.75, "epsilon": 1e-5}),
            ("LeakyReLU", {"negative_slope": 0.125}),
            (
                "Conv2DTranspose",
                {"filters": 3, "kernel_size": 4, "strides": 2, "padding": "same", "activation": "relu"},
            ),
            ("BatchNormalization", {"scale": False}),
            (
                "Conv2DTranspose",
                {"filters": 1, "kernel_size": (3, 2), "strides": (1, 2), "activation": "tanh"},
            ),
        ],
    ),
    "u_net": Network(
        (8, 8, 2),
        [
            (
                "Conv2D",
                {"filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu", "name": "above"},
            ),
            ("MaxPooling2D", {"pool_size": 2}),
            (
                "Conv2D",
                {"filters": 6, "kernel_size": 3, "padding": "same", "activation": "tanh", "name": "middle"},
            ),
            ("AveragePooling2D", {"pool_size": 2}),
            ("Conv2D", {"filters": 8, "kernel_size": 3, "padding": "same", "activation": "tanh"}),
            ("Conv2DTranspose", {"filters": 6, "kernel_size": 2, "strides": 2}),
            ("Concatenate", {}, ("middle",)),
            ("Conv2D", {"filters": 6, "kernel_size": 3, "padding": "same", "activation": "relu"}),
            ("UpSampling2D", {"size": 2}),
            ("Concatenate", {}, ("above", "input")),
            ("Conv2D", {"filters": 2, "kernel_size": 1, "activation": "sigmoid"}),
        ],
    ),
    "residual": Network(
        (7, 6, 3),
        [
            ("ZeroPadding2D", {"padding": ((1, 0), (2, 1))}),
            ("Conv2D", {"filters": 5, "kernel_size": 3, "name": "first"}),
            ("BatchNormalization", {"center": False}),
            ("ReLU", {}),
            ("Conv2D", {"filters": 5, "kernel_size": 3, "padding": "same", "use_bias": False}),
            ("BatchNormalization", {}),
            ("Add", {"name": "joined"}, ("first",)),
            ("Activation", {"activation": "relu"}),
            ("Conv2D", {"filters": 5, "kernel_size": 3, "padding": "same"}),
            ("Add", {}, ("joined", "first")),
            ("BatchNormalization", {"momentum": 0.5}),
            ("GlobalAveragePooling2D", {}),
            ("Dense", {"units": 4}),
        ],
    ),
    "frozen": Network(
        (6, 6, 2),
        [
            ("Conv2D", {"filters": 4, "kernel_size": 3}),
            ("BatchNormalization", {"trainable": False}),
            ("LeakyReLU", {"negative_slope": 0.25}),
            ("Conv2D", {"filters": 3, "kernel_size": 3, "trainable": False}),
            ("BatchNormalization", {}),
            ("Flatten", {}),
            ("Dense", {"units": 3}),
        ],
    ),
    "separable": Network(
        (9, 8, 3),
        [
            ("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 2, "activation": "tanh"}),
            (
                "SeparableConv2D",
                {"filters": 5, "kernel_size": (2, 3), "padding": "same", "activation": "relu"},
            ),
            ("DepthwiseConv2D", {"kernel_size": 3, "strides": 2, "padding": "same", "use_bias": False}),
            ("SeparableConv2D", {"filters": 4, "kernel_size": 2, "depth_multiplier": 2}),
            ("GlobalMaxPooling2D", {"keepdims": True}),
            ("Flatten", {}),
            ("Dense", {"units": 3}),
        ],
    ),
    "slopes": Network(
        (5, 6, 2),
        [
            ("Conv2D", {"filters": 4, "kernel_size": 2}),
            ("LeakyReLU", {"negative_slope": 0.5}),
            ("Cropping2D", {"cropping": ((1, 0), (0, 1))}),
            ("Flatten", {}),
            ("Dense", {"units": 6}),
            ("ReLU", {"negative_slope": 0.25}),
            ("Dense", {"units": 5}),
            ("Softmax", {}),
        ],
    ),
    "learnt slopes": Network(
        (5, 6, 2),
        [
            ("Conv2D", {"filters": 4, "kernel_size": 2}),
            ("PReLU", {}),
            ("Conv2D", {"filters": 4, "kernel_size": 2}),
            ("PReLU", {"shared_axes": [1, 2]}),
            ("Cropping2D", {"cropping": ((1, 0), (0, 1))}),
            ("LeakyReLU", {"negative_slope": 0.5}),
            ("Flatten", {}),
            ("Dense", {"units": 6}),
            ("PReLU", {"shared_axes": 1}),
            ("Dense", {"units": 5}),
            ("PReLU", {}),
            ("Softmax", {}),
        ],
    ),
    # TensorFlow rounds these slopes to float32
    "rounded slopes": Network(
        (5, 6, 2),
        [
            ("Conv2D", {"filters": 4, "kernel_size": 2, "activation": "leaky_relu"}),
            ("Conv2D", {"filters": 4, "kernel_size": 2}),
            ("LeakyReLU", {}),
            ("Conv2DTranspose", {"filters": 3, "kernel_size": 2, "activation": "leaky_relu"}),
            ("Flatten", {}),
            ("Dense", {"units": 3}),
            ("Activation", {"activation": "leaky_relu"}),
        ],
    ),
    # MobileNet's activation, of numbers on both sides of 6
    "bounded": Network(
        (5, 6, 3),
        [
            ("Conv2D", {"filters": 4, "kernel_size": 1, "name": "conv"}),
            ("Add", {}, ("conv", "conv", "conv")),
            ("ReLU", {"max_value": 6}),
            ("DepthwiseConv2D", {"kernel_size": 3, "padding": "same", "activation": "relu6"}),
            ("Activation", {"activation": "relu6"}),
            ("Conv2D", {"filters": 3, "kernel_size": 2}),
        ],
    ),
    "pooling": Network(
        (11, 10, 3),
        [
            ("Conv2D", {"filters": 4, "kernel_size": 2, "activation": "tanh"}),
            ("AveragePooling2D", {"pool_size": 3, "strides": 2, "padding": "same", "name": "mean"}),
            ("Conv2D", {"filters": 4, "kernel_size": 2, "padding": "same", "activation": "tanh"}),
            ("AveragePooling2D", {"pool_size": (2, 1)}),
            ("MaxPooling2D", {"pool_size": 2, "strides": 1, "padding": "same"}),
            ("GlobalMaxPooling2D", {}),
            ("Dense", {"units": 3}),
        ],
    ),
    "smallest": Network(
        (9, 8, 3),
        [
            ("Conv2D", {"filters": 4, "kernel_size": 2, "activation": "tanh"}),
            ("MinPooling2D", {"pool_size": 2, "strides": 1}),
            ("Conv2D", {"filters": 4, "kernel_size": 2, "padding": "same"}),
            ("MinPooling2D", {"pool_size": (2, 3), "padding": "same"}),
            ("Flatten", {}),
            ("Dense", {"units": 3}),
        ],
    ),
    "enlarged": Network(
        (3, 4, 3),
        [
            ("UpSampling2D", {"size": (3, 2)}),
            ("Conv2D", {"filters": 3, "kernel_size": 3, "activation": "tanh"}),
            ("Conv2DTranspose", {"filters": 1, "kernel_size": 2, "strides": 3, "output_padding": (1, 2)}),
        ],
    ),
    # whose pixels TensorFlow computes in float32
    "enlarged bilinearly": Network(
        (3, 4, 3),
        [
            ("Conv2D", {"filters": 3, "kernel_size": 2, "activation": "tanh"}),
            ("UpSampling2D", {"size": (1, 2), "interpolation": "bilinear"}),
            ("Conv2D", {"filters": 2, "kernel_size": 2, "activation": "tanh"}),
            ("UpSampling2D", {"size": (3, 2), "interpolation": "bilinear"}),
        ],
    ),
}


def numbers(*shape: int, seed: int) -> np.ndarray:
    """The same in every run, with few digits."""
    return np.random.default_rng(seed).standard_normal(shape).round(3)


def first_weights(weights: list[Any]) -> list[np.ndarray]:
    """Arrays for a model's weights: kernels of some size 1 / sqrt(inputs), others around 1, variances positive."""
    made = []
    for number, weight in enumerate(weights):
        shape = tuple(weight.shape)
        value = numbers(*shape, seed=number)
        if weight.name in ("kernel", "depthwise_kernel", "pointwise_kernel"):
            value = value / round(np.sqrt(np.prod(shape) / shape[-1]), 2)
        elif weight.name in ("gamma", "moving_variance"):
            value = 1 + abs(value) / 4
        else:
            value = value / 4
        made.append(value)
    return made


def build(api: ModuleType, name: str) -> Any:
    """The network with its first weights, compiled; `api` is keras, told to compute in float64, or cnnlite."""
    network = NETWORKS[name]
    model = _sequential(api, network) if api.__name__ == "cnnlite" else _functional(api, network)
    model.set_weights(first_weights(model.weights))
    model.compile(api.optimizers.SGD(network.rate, momentum=0.5), api.losses.MeanSquaredError())
    return model


def _sequential(api: ModuleType, network: Network) -> Any:
    model = api.models.Sequential([api.layers.Input(network.shape)], dtype="float64")
    for kind, arguments, *sources in network.layers:
        model.add(getattr(api.layers, kind)(*(sources[0] if sources else ()), **arguments))
    return model


def _functional(api: ModuleType, network: Network) -> Any:
    x = api.layers.Input(network.shape)
    made = {"input": x}
    for kind, arguments, *sources in network.layers:
        if kind == "MinPooling2D":  # Keras has none
            x = -api.layers.MaxPooling2D(**arguments)(-x)
            continue
        layer = getattr(api.layers, kind)(**arguments)
        x = layer([x, *(made[source] for source in sources[0])] if sources else x)
        made[layer.name] = x
    return api.Model(made["input"], x)


def train(api: ModuleType, name: str) -> dict[str, Any]:
    """The loss of every step before its update; then what the network predicts, its loss outside training, and its weights' sums."""
    network, model = NETWORKS[name], build(api, name)
    losses = []
    shape = tuple(model.output_shape[-len(model.output_shape) + (api.__name__ != "cnnlite") :])
    for step in range(STEPS):
        x, y = numbers(BATCH, *network.shape, seed=100 + step), numbers(BATCH, *shape, seed=200 + step) / 2
        history = model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0).history
        losses.append(float(history["loss"][0]))
    x, y = numbers(BATCH, *network.shape, seed=300), numbers(BATCH, *shape, seed=301)
    return {
        "loss": losses,
        "evaluated": float(model.evaluate(x, y, batch_size=BATCH, verbose=0)),
        "predictions": np.asarray(model.predict(x[:2], verbose=0)).reshape(2, -1)[:, :12].tolist(),
        "weights": [float(np.asarray(weight).sum()) for weight in model.get_weights()],
    }
