"""The networks that every peer is asked to train and run, described once, with the same weights for all.

Needs numpy only: each peer's worker imports it in the environment of that peer. The images are those in the
file that the driver names (Fashion-MNIST, where it has them), or made from the recipe that the tests share
with Keras.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from keras_twin import images_and_labels, initial_weights
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
Pads: TypeAlias = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Conv:
    """A convolution with bias and ReLU."""

    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: str = "valid"

    def pads(self, h: int, w: int) -> Pads:
        """Zeros before and after, for an image of h x w; TensorFlow's rule, in which the odd one goes after.

        >>> Conv(8, (3, 3), strides=(2, 2), padding="same").pads(32, 32)
        ((0, 1), (0, 1))
        """
        if self.padding == "valid":
            return (0, 0), (0, 0)
        (kh, kw), (sh, sw) = self.kernel, self.strides
        tall = max((-(-h // sh) - 1) * sh + kh - h, 0)
        wide = max((-(-w // sw) - 1) * sw + kw - w, 0)
        return (tall // 2, tall - tall // 2), (wide // 2, wide - wide // 2)

    def output_size(self, h: int, w: int) -> tuple[int, int]:
        """Height and width after the convolution of an image of h x w."""
        (top, bottom), (left, right) = self.pads(h, w)
        (kh, kw), (sh, sw) = self.kernel, self.strides
        return (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1


@dataclass(frozen=True)
class Pool:
    """Max pooling with windows that do not overlap."""

    size: tuple[int, int] = (2, 2)


@dataclass(frozen=True)
class Flatten:
    """(n, h, w, c) to (n, h * w * c)."""


@dataclass(frozen=True)
class Dense:
    """A fully connected layer; activation is "relu" or "softmax"."""

    units: int
    activation: str


@dataclass(frozen=True)
class Network:
    """Layers in order, for images of input_shape (h, w, c)."""

    name: str
    input_shape: tuple[int, int, int]
    layers: tuple[Conv | Pool | Flatten | Dense, ...]


NETWORKS = {
    network.name: network
    for network in (
        Network(
            "documented",
            (28, 28, 1),
            (
                Conv(32, (3, 3)),
                Pool(),
                Conv(64, (3, 3)),
                Pool(),
                Conv(64, (3, 3)),
                Flatten(),
                Dense(64, "relu"),
                Dense(10, "softmax"),
            ),
        ),
        # Odd on purpose: channel counts that are no power of two, 'same' padding that is uneven, stride 2.
        Network(
            "second",
            (32, 32, 3),
            (
                Conv(48, (5, 5), padding="same"),
                Pool(),
                Conv(80, (3, 3), strides=(2, 2), padding="same"),
                Conv(80, (3, 3), padding="same"),
                Flatten(),
                Dense(10, "softmax"),
            ),
        ),
    )
}
CLASSES = 10

# Training is checked by what the network predicts after some steps of plain SGD: Adam's epsilon stands in
# another place in PyTorch than in Keras, so with it even right gradients give answers that differ in the
# third digit.
CHECK_STEPS, CHECK_RATE = 4, 0.1


def shapes(network: Network) -> list[tuple[int, ...]]:
    """What goes into each layer, without the batch, and last what the network puts out.

    >>> shapes(NETWORKS["documented"])[-4:]
    [(3, 3, 64), (576,), (64,), (10,)]
    """
    shape: tuple[int, ...] = network.input_shape
    found = [shape]
    for layer in network.layers:
        if isinstance(layer, Conv):
            shape = (*layer.output_size(shape[0], shape[1]), layer.filters)
        elif isinstance(layer, Pool):
            shape = (shape[0] // layer.size[0], shape[1] // layer.size[1], shape[2])
        elif isinstance(layer, Flatten):
            shape = (int(np.prod(shape)),)
        else:
            shape = (layer.units,)
        found.append(shape)
    return found


def weights(network: Network) -> list[F32]:
    """w and b of each layer that has them, in Keras's order and layout: HWIO, and (inputs, units).

    >>> [w.shape for w in weights(NETWORKS["documented"])][:4]
    [(3, 3, 1, 32), (32,), (3, 3, 32, 64), (64,)]
    """
    found: list[tuple[int, ...]] = []
    for layer, shape in zip(network.layers, shapes(network), strict=False):
        if isinstance(layer, Conv):
            found += [(*layer.kernel, shape[-1], layer.filters), (layer.filters,)]
        elif isinstance(layer, Dense):
            found += [(shape[0], layer.units), (layer.units,)]
    return initial_weights(found)


def asked_for(request: Mapping[str, Any]) -> tuple[Network, F32, NDArray[np.int64]]:
    """The network of a request, `images` images (n, h, w, c) in [0, 1] and their classes (n,).

    Repeats what there is, chunk by chunk: the peak of memory is measured in this process.
    """
    network, n = NETWORKS[request["network"]], request["images"]
    if request.get("data"):
        with np.load(request["data"], allow_pickle=False) as file:
            some, classes = file["x"], file["y"]
    else:
        some, classes = images_and_labels(1024, network.input_shape)
    scale = np.float32(1 / 255 if some.dtype == np.uint8 else 1)
    x = np.empty((n, *network.input_shape), np.float32)
    chosen = np.arange(n) % len(some)
    for start in range(0, n, 1024):
        part = slice(start, start + 1024)
        np.multiply(some[chosen[part]].reshape(-1, *network.input_shape), scale, out=x[part])
    return network, x, classes[chosen].astype(np.int64)
