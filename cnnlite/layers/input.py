"""Input: says what one sample looks like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnlite.layers.layer import as_shape


class Input:
    """The shape of one sample, as the first entry of a `Sequential`. It is not a layer and computes nothing.

    Args:
        shape: without the batch: (h, w, channels) or (features,).

    Raises:
        ValueError: anything but positive integers.

    >>> Input(shape=(28, 28, 1)).shape
    (28, 28, 1)
    """

    def __init__(self, shape: Sequence[int], *, name: str | None = None, **unsupported: Any) -> None:
        if unsupported:
            raise TypeError(f"Input: unknown arguments {sorted(unsupported)}; it takes shape and name.")
        self.shape = as_shape(shape, "Input")
        self.name = name or "input"
