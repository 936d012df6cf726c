"""Enlarging images by whole factors, forward and backward: each axis is a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..window import pair


def up_sampling2d(x: np.ndarray, size: Any = 2, *, interpolation: str = "nearest") -> np.ndarray:
    """Images with `size` times as many rows and columns.

    y[n, p, q, c] = sum over i, k of rows[p, i] * columns[q, k] * x[n, i, k, c], the matrices as of `weights`.

    Args:
        x: images (n, h, w, c).
        size: rows and columns made of each, an int or a pair.
        interpolation: "nearest" or "bilinear".

    Returns:
        y (n, h * size[0], w * size[1], c), float64.

    >>> up_sampling2d(np.array([1, 2]).reshape(1, 1, 2, 1), 2, interpolation="bilinear")[0, :, :, 0].tolist()
    [[1.0, 1.25, 1.75, 2.0], [1.0, 1.25, 1.75, 2.0]]
    """
    x = np.asarray(x, dtype=np.float64)
    rows, columns = _matrices(x.shape, size, interpolation)
    return np.einsum("qk,npkc->npqc", columns, np.einsum("pi,nikc->npkc", rows, x))


def up_sampling2d_grad(grad_y: np.ndarray, size: Any = 2, *, interpolation: str = "nearest") -> np.ndarray:
    """Gradient of a loss with respect to the input of `up_sampling2d`: the matrices, transposed.

    Args:
        grad_y: gradient with respect to the output, (n, h * size[0], w * size[1], c).
        size, interpolation: as given to `up_sampling2d`.

    Returns:
        grad_x (n, h, w, c), float64.

    >>> up_sampling2d_grad(np.arange(4).reshape(1, 1, 4, 1), (1, 2))[0, :, :, 0].tolist()
    [[1.0, 5.0]]
    """
    grad_y = np.asarray(grad_y, dtype=np.float64)
    sh, sw = pair(size, "size", "up_sampling2d_grad")
    n, oh, ow, c = grad_y.shape
    rows, columns = _matrices((n, oh // sh, ow // sw, c), size, interpolation)
    return np.einsum("qk,niqc->nikc", columns, np.einsum("pi,npqc->niqc", rows, grad_y))


def weights(pixels: int, factor: int, interpolation: str) -> np.ndarray:
    """(pixels * factor, pixels): how much each pixel of an axis counts in each of those that are made.

    The middle of new pixel p lies at (p + 1/2) / factor - 1/2, where that of old pixel i is i (half-pixel centres, as in Keras and
    TensorFlow; PyTorch's align_corners=False). Nearest: old pixel p // factor. Bilinear: an old pixel at distance d < 1 counts 1 - d,
    and beyond the first and the last middle the image goes on as it ends.

    >>> weights(2, 2, "bilinear").tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    new, old = np.arange(pixels * factor)[:, None], np.arange(pixels)
    if interpolation == "nearest":
        return (new // factor == old).astype(np.float64)
    middle = np.clip((new + 0.5) / factor - 0.5, 0, pixels - 1)
    return np.maximum(0.0, 1.0 - np.abs(middle - old))


def _matrices(shape: tuple[int, ...], size: Any, interpolation: str) -> tuple[np.ndarray, np.ndarray]:
    sh, sw = pair(size, "size", "up_sampling2d")
    return weights(shape[1], sh, interpolation), weights(shape[2], sw, interpolation)
