"""CIFAR-10: photographs of ten kinds of things, 50,000 + 10,000 images of 32 x 32 x 3, by Krizhevsky."""

from __future__ import annotations

from .source import Source, find_or_fetch, read_cifar_files
from .split import Split

__all__ = ["CLASSES", "load_data"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

SOURCE = Source(
    name="cifar10",
    counts=(50_000, 10_000),
    image_shape=(32, 32, 3),
    label_shape=(1,),
    digests={"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
    gunzip=False,
    read_files=read_cifar_files,
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
    megabytes=170,
    advice="Put cifar10.npz or cifar-10-binary.tar.gz in a folder and name it in CNNLITE_DATA.",
    parts=("cifar10_12k.npz",),
)


def load_data() -> Split:
    """Return CIFAR-10, from this machine or downloaded.

    Returns:
        ((x_train, y_train), (x_test, y_test)): images uint8, 0 to 255, RGB, of shapes (50000, 32, 32, 3) and
        (10000, 32, 32, 3); labels uint8, indices into `CLASSES`, of shapes (50000, 1) and (10000, 1), as in
        Keras. Fewer where only a part was found; stderr then says so.

    Raises:
        FileNotFoundError: it is nowhere and could not be downloaded.
        ValueError, TypeError: a file was found and is damaged or holds something else.
        OSError: CNNLITE_DATA names no folder, or a file cannot be opened.

    Example:
        With a file of one's own, here a tiny one:

        >>> import os, tempfile, unittest.mock, numpy as np
        >>> x, y = np.zeros((6, 32, 32, 3), np.uint8), np.arange(6)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(os.path.join(folder, "cifar10.npz"), x_train=x, y_train=y, x_test=x, y_test=y)
        ...     with unittest.mock.patch.dict(os.environ, CNNLITE_DATA=folder):
        ...         (x_train, y_train), (x_test, y_test) = load_data()
        >>> x_train.shape, y_train.shape, CLASSES[y_train[5, 0]]
        ((6, 32, 32, 3), (6, 1), 'dog')
    """
    return find_or_fetch(SOURCE)
