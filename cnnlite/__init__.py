"""cnnlite: convolutional networks whose every kernel is Python, compiled by Numba for CPUs and by numba-cuda for NVIDIA GPUs.

    from cnnlite import layers, models, datasets

The modules are layers, models, losses, optimizers, metrics, callbacks, initializers, regularizers and datasets; the array-level ops
are in the package cnnlite_kernels. Importing compiles nothing and imports no Numba.
"""

from cnnlite import (
    callbacks,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
)
from cnnlite.seeds import set_random_seed
from cnnlite_kernels.precision import get_matmul_precision, set_matmul_precision

__version__ = "0.1.0"
__all__ = [
    "callbacks",
    "datasets",
    "get_matmul_precision",
    "get_num_threads",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "regularizers",
    "set_matmul_precision",
    "set_num_threads",
    "set_random_seed",
]


def set_num_threads(threads: int | None) -> None:
    """Sets how many CPU threads are used from now on; None goes back to the default, which follows CNNLITE_NUM_THREADS, else the
    process's CPU affinity and the container's quota. Any number gives the same results, bit for bit.

    Raises:
        ValueError: not a positive integer.

    >>> import cnnlite
    >>> cnnlite.set_num_threads(None)
    """
    from cnnlite_kernels.cpu import threads as pool

    pool.set_num_threads(threads)


def get_num_threads() -> int:
    """How many CPU threads are used.

    >>> import cnnlite
    >>> cnnlite.get_num_threads() >= 1
    True
    """
    from cnnlite_kernels.cpu import threads as pool

    return pool.get_num_threads()
