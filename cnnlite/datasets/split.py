"""The arrays of a data set in the form Keras gives them, and the checks that bring any file into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["NAMES", "Pair", "Split", "as_split"]

Pair: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Split: TypeAlias = tuple[Pair, Pair]

NAMES = ("x_train", "y_train", "x_test", "y_test")


def as_split(
    arrays: Mapping[str, NDArray[Any]],
    image_shape: tuple[int, ...],
    label_shape: tuple[int, ...],
    classes: int,
    where: object,
) -> Split:
    """Check the four arrays of a data set and return them as Keras does.

    Args:
        arrays: x_train and x_test, uint8 of shape (n,) + image_shape; y_train and y_test, integers in
            [0, classes), of shape (n,) or (n, 1).
        image_shape: of one image, such as (28, 28).
        label_shape: of one label in the result, () or (1,).
        classes: how many classes there are.
        where: the file the arrays came from, for the messages.

    Returns:
        ((x_train, y_train), (x_test, y_test)), all uint8; y of shape (n,) + label_shape.

    Raises:
        ValueError: an array is missing, has another shape, or holds a label outside [0, classes).
        TypeError: images that are not uint8, or labels that are not integers.

    Example:
        >>> x, y = np.zeros((2, 28, 28), np.uint8), np.array([3, 9])
        >>> arrays = dict(x_train=x, y_train=y, x_test=x, y_test=y)
        >>> (_, labels), _ = as_split(arrays, (28, 28), (1,), 10, "here")
        >>> labels.shape, labels.dtype
        ((2, 1), dtype('uint8'))
    """
    missing = [name for name in NAMES if name not in arrays]
    if missing:
        raise ValueError(
            f"{where}: expected arrays {', '.join(NAMES)}, got no {', '.join(missing)}. "
            "Save the file again with all four."
        )
    (x_train, y_train), (x_test, y_test) = (
        (
            _images(arrays[f"x_{part}"], f"x_{part}", image_shape, where),
            _labels(arrays[f"y_{part}"], f"y_{part}", len(arrays[f"x_{part}"]), label_shape, classes, where),
        )
        for part in ("train", "test")
    )
    return (x_train, y_train), (x_test, y_test)


def _images(x: NDArray[Any], name: str, image_shape: tuple[int, ...], where: object) -> NDArray[np.uint8]:
    if x.ndim != 1 + len(image_shape) or x.shape[1:] != image_shape:
        wanted = ", ".join(map(str, ("n", *image_shape)))
        raise ValueError(
            f"{where}: expected {name} of shape ({wanted}), got {x.shape}. Is it another data set?"
        )
    if x.dtype != np.uint8:
        raise TypeError(
            f"{where}: expected {name} as uint8, 0 to 255, got {x.dtype}. Convert and save it again."
        )
    return x


def _labels(
    y: NDArray[Any], name: str, n: int, label_shape: tuple[int, ...], classes: int, where: object
) -> NDArray[np.uint8]:
    if y.shape not in ((n,), (n, 1)):
        raise ValueError(f"{where}: expected {name} of shape ({n},) to match the images, got {y.shape}.")
    if y.dtype.kind not in "iu":
        raise TypeError(f"{where}: expected {name} as integers, got {y.dtype}. Convert and save it again.")
    if n and not (y.min() >= 0 and y.max() < classes):
        raise ValueError(
            f"{where}: expected {name} in [0, {classes}), got labels from {y.min()} to {y.max()}. "
            "Is it another data set?"
        )
    return y.astype(np.uint8, copy=False).reshape((n, *label_shape))
