"""relu, relu6, leaky_relu and prelu, bit by bit: special numbers, ends of rows, slopes that registers hold and do not, in place."""

from __future__ import annotations

import numpy as np
import pytest

import cnnlite_kernels as kernels
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.rectifiers import ALONG, TURN, held_vectors

SPECIAL = (0.0, -0.0, 1.0, 6.0, 7.0, -1.0, np.nan, np.inf, -np.inf, 1e-40, -1e-40, 3e38, -3e38)
DTYPES = ("float32", "float64")


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal(shape)
    return np.where(rng.random(shape) < 0.3, rng.choice(SPECIAL, shape), drawn).astype(dtype)


def same_bits(found: np.ndarray, expected: np.ndarray) -> bool:
    nan = np.isnan(expected)
    bits = f"u{expected.itemsize}"
    return np.array_equal(np.isnan(found), nan) and np.array_equal(
        found[~nan].view(bits), expected[~nan].view(bits)
    )


def rectified(x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.where(x > 0, x, alpha * x)


def in_both_places(op, x: np.ndarray, expected: np.ndarray) -> None:
    """The op's result, beside x and in its place, in the middle of NaN."""
    for in_place in (False, True):
        room = np.full(x.size + 64, np.nan, x.dtype)
        out = room[16 : 16 + x.size].reshape(x.shape)
        out[...] = x
        op(out if in_place else x, out=out)
        assert same_bits(out, expected)
        assert np.isnan(room[:16]).all()
        assert np.isnan(room[16 + x.size :]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 130, 70_001])
def test_relu_and_leaky_relu(size: int, dtype: str) -> None:
    x = numbers((size,), dtype)
    positive = np.where(x < 0, x.dtype.type(0), x)
    in_both_places(kernels.relu, x, positive)
    in_both_places(kernels.relu6, x, np.where(x > 6, x.dtype.type(6), positive))
    slope = x.dtype.type(0.3)
    with np.errstate(all="ignore"):
        leaky = np.where(x < 0, slope * x, x)
    in_both_places(lambda x, out: kernels.leaky_relu(x, 0.3, out=out), x, leaky)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", [1, 2, 3, 5, 8, 10, 16, 24, 33, 48, 64, 100, 256, 513])
def test_prelu(c: int, dtype: str) -> None:
    """A slope for each channel, one for each pixel, one for each number."""
    x = numbers((2, 3, 5, c), dtype)
    rng = np.random.default_rng(1)
    for shape in ((1, 1, c), (3, 5, 1), (3, 5, c), (1, 5, c), (3, 1, c), (1, 1, 1)):
        alpha = rng.standard_normal(shape).astype(dtype)
        in_both_places(lambda x, out, alpha=alpha: kernels.prelu(x, alpha, out=out), x, rectified(x, alpha))


@pytest.mark.parametrize("shape", [(1, 300, 40, 24), (9, 28, 28, 64), (700, 1, 1, 130), (5, 90, 31, 10)])
def test_prelu_in_parts(shape: tuple[int, ...]) -> None:
    """Pieces of images, whole images, dense layers: several parts."""
    x = numbers(shape, "float32")
    alpha = np.random.default_rng(1).standard_normal((1, 1, shape[-1])).astype("f")
    assert same_bits(kernels.prelu(x, alpha), rectified(x, alpha))


@pytest.mark.parametrize("item", [4, 8])
def test_held_slopes_fall_on_the_same_lanes(item: int) -> None:
    lanes = host().lanes(item)
    for c in range(1, 300):
        vectors = held_vectors(c, item)
        assert vectors == ALONG or (vectors >= TURN and vectors * lanes % c == 0)
    assert held_vectors(1, item) == TURN
    assert held_vectors(lanes * host().registers, item) == ALONG
