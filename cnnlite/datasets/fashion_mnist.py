"""Fashion-MNIST: pictures of clothes, 60,000 + 10,000 images of 28 x 28, by Zalando SE, MIT licence."""

from __future__ import annotations

from pathlib import Path

from . import sample as _sample
from .source import Source, find_or_fetch, read_idx_files, say
from .split import Split

__all__ = ["CLASSES", "load_data"]

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

SOURCE = Source(
    name="fashion_mnist",
    counts=(60_000, 10_000),
    image_shape=(28, 28),
    label_shape=(),
    digests={
        "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    gunzip=True,
    read_files=read_idx_files,
    mirrors=("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",),
    megabytes=31,
    advice=(
        "For the full set install Debian's package dataset-fashion-mnist, or put fashion_mnist.npz or "
        "the four idx .gz files in a folder and name it in CNNLITE_DATA."
    ),
    system_folders=(Path("/usr/share/datasets/fashion-mnist"),),
)


def load_data(sample: bool = False) -> Split:
    """Return Fashion-MNIST, from this machine or downloaded; if it cannot be had, the sample in this package.

    The sample is the first 1,000 training and 200 test images of each class, in the original order. One line
    on stderr says what was used, and how to get the full set where it was the sample.

    Args:
        sample: return the sample without looking for the full set.

    Returns:
        ((x_train, y_train), (x_test, y_test)): images uint8, 0 to 255, of shapes (60000, 28, 28) and
        (10000, 28, 28); labels uint8, indices into `CLASSES`, of shapes (60000,) and (10000,). The sample has
        10,000 and 2,000.

    Raises:
        ValueError, TypeError: a file was found and is damaged or holds something else.
        OSError: CNNLITE_DATA names no folder, or a file cannot be opened.

    Example:
        >>> (x_train, y_train), (x_test, y_test) = load_data(sample=True)
        >>> x_train.shape, x_test.shape, x_train.dtype
        ((10000, 28, 28), (2000, 28, 28), dtype('uint8'))
        >>> CLASSES[y_train[0]]
        'Ankle boot'
    """
    if sample:
        return _sample.load()
    try:
        return find_or_fetch(SOURCE)
    except FileNotFoundError as error:
        split = _sample.load()
        counts = f"{len(split[0][0]):,} training and {len(split[1][0]):,} test images"
        say(f"fashion_mnist: using the sample that comes with cnnlite, {counts}. {error}")
        return split
