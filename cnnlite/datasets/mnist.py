"""MNIST: handwritten digits, 60,000 + 10,000 images of 28 x 28, by LeCun, Cortes and Burges."""

from __future__ import annotations

from .source import Source, find_or_fetch, read_idx_files
from .split import Split

__all__ = ["load_data"]

# The author's own site no longer gives the files out; these are the copies other libraries use. The digests
# are of the decompressed files, and agree with the arrays of Keras's mnist.npz.
SOURCE = Source(
    name="mnist",
    counts=(60_000, 10_000),
    image_shape=(28, 28),
    label_shape=(),
    digests={
        "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    gunzip=True,
    read_files=read_idx_files,
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    megabytes=12,
    advice="Put mnist.npz or the four idx .gz files in a folder and name it in CNNLITE_DATA.",
)


def load_data() -> Split:
    """Return MNIST, from this machine or downloaded.

    Returns:
        ((x_train, y_train), (x_test, y_test)): images uint8, 0 to 255, of shapes (60000, 28, 28) and
        (10000, 28, 28); labels uint8, the digits 0 to 9, of shapes (60000,) and (10000,).

    Raises:
        FileNotFoundError: it is nowhere and could not be downloaded.
        ValueError, TypeError: a file was found and is damaged or holds something else.
        OSError: CNNLITE_DATA names no folder, or a file cannot be opened.

    Example:
        With a file of one's own, here a tiny one:

        >>> import os, tempfile, unittest.mock, numpy as np
        >>> x, y = np.zeros((6, 28, 28), np.uint8), np.arange(6)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(os.path.join(folder, "mnist.npz"), x_train=x, y_train=y, x_test=x, y_test=y)
        ...     with unittest.mock.patch.dict(os.environ, CNNLITE_DATA=folder):
        ...         (x_train, y_train), (x_test, y_test) = load_data()
        >>> x_train.shape, y_train.shape
        ((6, 28, 28), (6,))
    """
    return find_or_fetch(SOURCE)
