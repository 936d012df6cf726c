"""Checks of what belongs to the channels of x (..., c): arrays of one number for each, some of them updated in place; of slopes and
factors.

With checks.py these are all the errors of the ops, raised before an op is dispatched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnlite_kernels import checks
from cnnlite_kernels.checks import Shape


def channels(op: str, name: str, value: Any, x: Any) -> Any:
    """`value` as an array (c,) that a kernel can read, of x's dtype.

    Raises:
        TypeError: another dtype than x (..., c).
        ValueError: another shape.
    """
    array = checks.operand(op, name, value, like=x)
    if array.shape != x.shape[-1:]:
        raise ValueError(
            f"{op}: expected {name} of shape {x.shape[-1:]}, one number for each channel of x {x.shape}, got {array.shape}; "
            "pass the array that belongs to it."
        )
    return array


def optional_channels(op: str, name: str, value: Any, x: Any) -> Any:
    """As `channels`, or None for None."""
    return None if value is None else channels(op, name, value, x)


def updated(op: str, name: str, value: Any, x: Any) -> Any:
    """An array (c,) that the op updates where it is, so that it cannot be copied first; None for None.

    Raises:
        TypeError: no array, or another dtype than x (..., c).
        ValueError: another shape, read-only, or not C-contiguous.
    """
    if value is None:
        return None
    array = checks.array_of(op, name, value)
    if isinstance(array, np.ndarray):
        if not isinstance(value, np.ndarray):
            raise TypeError(
                f"{op}: expected {name} as an array that can be updated, got {type(value).__name__}; pass a NumPy array."
            )
        writeable = array.flags.writeable and array.flags.c_contiguous and array.flags.aligned
    else:
        writeable = array.writeable
    if array.dtype != x.dtype:
        raise TypeError(
            f"{op}: expected {name} of dtype {x.dtype} as x has, got {array.dtype}; "
            f'convert it with {name}.astype("{x.dtype}") and pass what that returns.'
        )
    if array.shape != x.shape[-1:]:
        raise ValueError(
            f"{op}: expected {name} of shape {x.shape[-1:]}, one number for each channel of x {x.shape}, got {array.shape}; "
            "pass the array that belongs to it."
        )
    if not writeable:
        raise ValueError(
            f"{op}: expected {name} to be writeable and C-contiguous, for it is updated, got an array that is not; pass a copy."
        )
    return array


def apart(op: str, name: str, value: Any, others: Sequence[Any]) -> None:
    """Raises a ValueError if an array that is updated (None for none) shares memory with one of `others`, or is one of them."""
    if value is not None and any(other is not None and checks.overlap(value, other) for other in others):
        raise ValueError(
            f"{op}: expected {name} to share no memory with other arrays of the call, for it is updated, got one that overlaps; "
            "pass a copy."
        )


def slopes(op: str, value: Any, x: Any) -> tuple[Any, tuple[Shape, Shape]]:
    """(`value` as an array that a kernel can read, ((n, h, w, c), (ah, aw, ac))) of a slope for the numbers of x (n, ...).

    The shapes are x's and the slope's with axes of 1 put in front; the slope's are x's or, where it is shared, 1.

    Raises:
        TypeError: another dtype than x.
        ValueError: x of too few or too many axes or with empty ones, a slope of another shape.
    """
    sample = x.shape[1:]
    if not 1 <= len(sample) <= 3 or 0 in sample:
        raise ValueError(
            f"{op}: expected x (n, ...) with two to four axes, none but the first empty, got shape {x.shape}; reshape it."
        )
    array = checks.operand(op, "alpha", value, like=x)
    if array.ndim != len(sample) or any(
        size not in (1, whole) for size, whole in zip(array.shape, sample, strict=True)
    ):
        raise ValueError(
            f"{op}: expected alpha of x's shape without n, {sample}, or with 1 where it is shared, got {array.shape}; "
            "reshape it."
        )
    ones = (1,) * (3 - len(sample))
    return array, ((x.shape[0], *ones, *sample), (*ones, *array.shape))


def factor(op: str, name: str, value: Any, most: float = math.inf) -> float:
    """A number from 0 to `most`.

    Raises:
        TypeError: no number.
        ValueError: a negative one, one above `most`, NaN or infinity.

    >>> factor("batch_normalization", "epsilon", -1)
    Traceback (most recent call last):
    ValueError: batch_normalization: expected epsilon as a finite number of at least 0, got -1.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{op}: expected {name} as a number, got {value!r}; pass an int or a float."
        ) from None
    if not (0 <= number <= most and math.isfinite(number)):
        range_ = "a finite number of at least 0" if most == math.inf else f"a number from 0 to {most:g}"
        raise ValueError(f"{op}: expected {name} as {range_}, got {value!r}.")
    return number
