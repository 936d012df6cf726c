"""Operands of ops: exact or random, in every memory layout, and the tolerance that their sums allow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cases import ConvCase

DTYPES = (np.float32, np.float64)

# Images and products large enough to be cut into parts: between images, inside one, padded and not, with strides;
# few outputs, which pack their weights piece by piece; taps of which some reach fewer outputs than are one table; pixels that
# collide in L1 and are copied further apart.
CUT_CONVS = (
    ConvCase("cut_rows_same", 1, 61, 40, 16, 33, (3, 3), padding="same"),
    ConvCase("cut_rows_strides_2", 2, 75, 40, 16, 40, (3, 3), (2, 2), ((1, 0), (0, 1))),
    ConvCase("cut_rows_strides_3_kernel_2", 1, 200, 31, 17, 64, (2, 2), (3, 3)),
    ConvCase("cut_rows_dilation", 1, 64, 33, 16, 48, (3, 2), (2, 1), "same", (3, 2)),
    ConvCase("cut_images", 17, 14, 14, 40, 34, (3, 3), padding="same"),
    ConvCase("cut_first_layer", 1, 112, 112, 3, 64, (7, 7), (2, 2), ((3, 3), (3, 3))),
    ConvCase("cut_1x1_strides_2", 1, 57, 56, 64, 70, (1, 1), (2, 2)),
    ConvCase("cut_groups", 1, 50, 40, 24, 40, (3, 3), padding="same", groups=4),
    ConvCase("cut_depthwise", 2, 90, 64, 96, 96, (3, 3), (1, 2), "same", groups=96),
    ConvCase("cut_depthwise_dilated", 1, 80, 70, 33, 33, (3, 5), (2, 1), ((2, 3), (1, 4)), (2, 3), 33),
    ConvCase("cut_few_channels_dilated", 2, 101, 50, 5, 24, (3, 2), (2, 1), "same", (3, 2)),
    ConvCase("cut_deep", 1, 7, 7, 256, 200, (3, 3), padding="same"),
    ConvCase("cut_column_of_padding", 1, 90, 40, 16, 16, (3, 3), padding=((5, 4), (4, 5))),
    ConvCase("tap_by_tap_12x12", 3, 12, 12, 64, 8, (3, 3), padding="same"),
    ConvCase("cut_deep_dilated", 1, 9, 9, 300, 100, (2, 2), dilation=(2, 3)),
    ConvCase("cut_deep_rows_of_prime_length", 1, 5, 6, 1, 2000, (5, 6), padding="same"),
    ConvCase("collide_1x1", 2, 12, 12, 256, 512, (1, 1)),
    ConvCase("collide_1x1_strides_2", 2, 13, 12, 256, 256, (1, 1), (2, 2)),
    ConvCase("evict_1x1_strides_2", 2, 15, 13, 512, 260, (1, 1), (2, 2)),
    ConvCase("collide_3x3", 1, 9, 9, 24, 256, (3, 3), padding="same"),
)


def draw_integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Small integers: sums of a million products are exact in float32."""
    return rng.integers(-4, 5, shape).astype(dtype)


def draw_normals(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


def nans(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An output in which whatever is not written shows."""
    return np.full(shape, np.nan, dtype)


def assert_close(actual: np.ndarray, expected: np.ndarray, terms: int) -> None:
    """Sums of `terms` products of numbers of about 1, each at most 20.

    Rounding errors are at most eps / 2 of the partial sums, which are of about sqrt(terms), and add up like a random walk:
    eps * terms, times 4 for the unluckiest of many.
    """
    assert actual.shape == expected.shape
    tolerance = 4 * np.finfo(actual.dtype).eps * max(terms, 1)
    np.testing.assert_allclose(actual, expected, rtol=4 * np.finfo(actual.dtype).eps, atol=tolerance)


def variants(array: np.ndarray) -> Iterator[np.ndarray]:
    """Equal arrays that lie differently in memory."""
    yield array
    frozen = array.copy()
    frozen.flags.writeable = False
    yield frozen
    yield np.asfortranarray(array)
    yield np.repeat(array, 2, axis=-1)[..., ::2]
    yield np.ascontiguousarray(array[::-1])[::-1]
    flipped = tuple(slice(None, None, -1) for _ in range(array.ndim))
    yield np.ascontiguousarray(array[flipped])[flipped]
    yield np.ascontiguousarray(array.T).T
    yield array.astype(array.dtype.newbyteorder(">"))
    yield unaligned(array)


def unaligned(array: np.ndarray) -> np.ndarray:
    """An equal array that begins one byte after a place where its numbers should."""
    memory = np.empty(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view
