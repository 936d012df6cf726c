"""Ops give the same bits for any number of threads, and may be called from several Python threads at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cnnlite_kernels as kernels
from cnnlite_kernels.cpu import threads

RNG = np.random.default_rng(0)


def normals(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


X, W, BIAS, GRAD_Y = normals(3, 41, 37, 20), normals(3, 3, 20, 70), normals(70), normals(3, 41, 37, 70)
DEPTHWISE = normals(3, 3, 1, 20)
DEEP, DEEP_W = normals(2, 7, 7, 256), normals(3, 3, 256, 256)
LINES, LINES_W = normals(2, 60, 84, 3), normals(3, 3, 3, 64)
PAGES, PAGES_W = normals(1, 14, 14, 1024), normals(1, 1, 1024, 256)
A, B = normals(300, 700), normals(700, 130)
X_POOLED = normals(3, 41, 37, 70)
LABELS = RNG.integers(0, 700, 300)

CALLS: dict[str, Callable[[], object]] = {
    "conv2d": lambda: kernels.conv2d(X, W, BIAS, padding="same", activation="tanh"),
    "conv2d_one_image": lambda: kernels.conv2d(X[:1], W, strides=2),
    "conv2d_few_channels": lambda: kernels.conv2d(LINES, LINES_W, padding="same"),
    "conv2d_1x1_pages_apart": lambda: kernels.conv2d(PAGES, PAGES_W, activation="relu"),
    "conv2d_grad_input": lambda: kernels.conv2d_grad_input(GRAD_Y, W, X.shape, padding="same"),
    "conv2d_grad_weights": lambda: kernels.conv2d_grad_weights(X, GRAD_Y, W.shape, padding="same"),
    "conv2d_deep": lambda: kernels.conv2d(DEEP, DEEP_W, padding="same", activation="relu"),
    "conv2d_deep_grad_input": lambda: kernels.conv2d_grad_input(DEEP, DEEP_W, DEEP.shape, padding="same"),
    "conv2d_deep_grad_weights": lambda: kernels.conv2d_grad_weights(DEEP, DEEP, DEEP_W.shape, padding="same"),
    "conv2d_winograd": lambda: kernels.conv2d(X, W, BIAS, padding="same", algorithm="winograd"),
    "conv2d_winograd_deep": lambda: kernels.conv2d(DEEP, DEEP_W, padding="same", algorithm="winograd"),
    "conv2d_winograd_grad_input": lambda: kernels.conv2d_grad_input(
        GRAD_Y, W, X.shape, padding="same", algorithm="winograd2x2"
    ),
    "conv2d_transpose": lambda: kernels.conv2d_transpose(GRAD_Y, W, BIAS[:20], strides=2),
    "conv2d_depthwise": lambda: kernels.conv2d(X, DEPTHWISE, groups=20),
    "average_pool2d": lambda: kernels.average_pool2d(GRAD_Y[:1], 3, strides=2, padding="same"),
    "average_pool2d_grad": lambda: kernels.average_pool2d_grad(GRAD_Y[:, :20, :18], X_POOLED.shape, 2),
    "global_average_pool2d": lambda: kernels.global_average_pool2d(X_POOLED),
    "batch_normalization": lambda: kernels.batch_normalization_train(GRAD_Y)[0],
    "batch_normalization_grad": lambda: np.append(
        *kernels.batch_normalization_grad(GRAD_Y, X_POOLED, BIAS, BIAS * BIAS)[:2]
    ),
    "max_pool2d": lambda: kernels.max_pool2d(GRAD_Y, 3, strides=2),
    "max_pool2d_grad": lambda: kernels.max_pool2d_grad(GRAD_Y[:, :20, :18], X_POOLED, 2),
    "zero_padding2d": lambda: kernels.zero_padding2d(X[:1], 3),
    "up_sampling2d": lambda: kernels.up_sampling2d(X, interpolation="bilinear"),
    "up_sampling2d_grad": lambda: kernels.up_sampling2d_grad(GRAD_Y[:, :40, :36], interpolation="bilinear"),
    "matmul": lambda: kernels.matmul(A, B, activation="sigmoid"),
    "matmul_row": lambda: kernels.matmul(A[:1], B),
    "matmul_column": lambda: kernels.matmul(A, B[:, :1]),
    "relu": lambda: kernels.relu(X),
    "leaky_relu": lambda: kernels.leaky_relu(X),
    "prelu": lambda: kernels.prelu(X, X[:1, :1, :1][0]),
    "prelu_grad": lambda: kernels.prelu_grad(X, X, X[0, :1])[1],
    "softmax": lambda: kernels.softmax(A),
    "softmax_cross_entropy": lambda: kernels.softmax_cross_entropy(A, LABELS, return_grad=True)[1],
}


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@pytest.mark.parametrize("name", CALLS)
def test_same_bits_for_any_number_of_threads(name: str) -> None:
    results = []
    for count in (1, 2, 3, 5):
        threads.set_num_threads(count)
        results.append(CALLS[name]())
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_calls_from_four_threads_at_once() -> None:
    threads.set_num_threads(2)
    expected = {name: call() for name, call in CALLS.items()}

    def several(seed: int) -> None:
        for name in np.random.default_rng(seed).permutation(list(CALLS) * 4):
            np.testing.assert_array_equal(CALLS[name](), expected[name])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(several, range(4)))


def test_one_work_on_different_arrays_at_once() -> None:
    """The same shapes from all threads: the jobs are kept, and no two callers may share one."""
    rng = np.random.default_rng(1)
    lefts = [rng.integers(-4, 5, (100, 80)).astype(np.float32) for _ in range(4)]
    right = rng.integers(-4, 5, (80, 90)).astype(np.float32)

    def several(left: np.ndarray) -> None:
        expected = left @ right
        for _ in range(100):
            np.testing.assert_array_equal(kernels.matmul(left, right), expected)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(several, lefts))
