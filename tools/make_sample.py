"""Make the sample of Fashion-MNIST that comes with cnnlite: python tools/make_sample.py

It takes the first images of each class from the full set, in the original order, and writes
cnnlite/datasets/fashion_mnist_sample.xz. The same input gives the same bytes, with one version of liblzma.
"""

from __future__ import annotations

import lzma

import numpy as np
from numpy.typing import NDArray

from cnnlite.datasets import fashion_mnist, sample
from cnnlite.datasets.split import Pair
from cnnlite.files import atomic_write

# Settings tried against the others on this data. The mask's rows are four bytes, hence pb and lp of 2.
LABELS = {"lc": 0, "lp": 0, "pb": 0}
MASK = {"lc": 2, "lp": 2, "pb": 2}
VALUES = {"lc": 4, "lp": 0, "pb": 0}


def first_of_each_class(x: NDArray[np.uint8], y: NDArray[np.uint8], n: int) -> Pair:
    """The first n / 10 images of each class, in their original order, with their labels."""
    chosen = np.sort(np.concatenate([np.flatnonzero(y == c)[: n // 10] for c in range(10)]))
    if len(chosen) != n:
        raise ValueError(
            f"make_sample: expected {n // 10} images of each class, got {len(chosen)} of {n} in all."
        )
    return x[chosen], y[chosen]


def pack(train: Pair, test: Pair) -> bytes:
    """The bytes that `cnnlite.datasets.sample.unpack` turns into these images and labels again."""
    labels = np.concatenate([train[1], test[1]])
    images = np.concatenate([train[0], test[0]])[sample.storage_order(labels)]
    padding = ((0, 0), (0, 0), (0, sample.PADDED - sample.SIDE))
    mask = np.packbits(np.pad(images > 0, padding), bitorder="little")
    columns = np.ascontiguousarray(images.transpose(0, 2, 1))
    streams = ((labels, LABELS), (mask, MASK), (columns[columns > 0], VALUES))
    return b"".join(_compress(array.tobytes(), settings) for array, settings in streams)


def _compress(content: bytes, settings: dict[str, int]) -> bytes:
    lzma2 = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 23, **settings}
    return lzma.compress(content, format=lzma.FORMAT_XZ, check=lzma.CHECK_SHA256, filters=[lzma2])


def main() -> None:
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
    if (len(x_train), len(x_test)) != fashion_mnist.SOURCE.counts:
        raise SystemExit(
            "make_sample: expected the full Fashion-MNIST, got a part of it; see the line above."
        )
    train = first_of_each_class(x_train, y_train, sample.TRAIN)
    test = first_of_each_class(x_test, y_test, sample.TEST)
    packed = pack(train, test)
    with atomic_write(sample.FILE) as file:
        file.write(packed)
    print(f"{sample.FILE}: {sample.TRAIN} + {sample.TEST} images in {len(packed):,} bytes")


if __name__ == "__main__":
    main()
