"""Image data sets as Keras gives them: found on this machine, downloaded, or a sample that comes along.

Each module has `load_data()`, which returns `((x_train, y_train), (x_test, y_test))` as uint8 arrays. It
looks in this order:

1. the folder that the environment variable CNNLITE_DATA names,
2. the user's cache folder (`$XDG_CACHE_HOME/cnnlite/datasets` or the platform's own),
3. for Fashion-MNIST, the folder of Debian's package `dataset-fashion-mnist`,
4. the published originals, downloaded into the cache folder and checked; not with CNNLITE_OFFLINE=1,
5. for Fashion-MNIST, the sample in this folder.

A folder may hold `<name>.npz` with the arrays x_train, y_train, x_test, y_test, or the published files: the
four idx .gz files (in a folder of the data set's name, or directly) or CIFAR-10's `cifar-10-binary.tar.gz`.
One line on stderr says what was used.
"""

from . import cifar10, fashion_mnist, mnist

__all__ = ["cifar10", "fashion_mnist", "mnist"]
