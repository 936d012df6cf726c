"""Arrays that tests make again and again."""

from __future__ import annotations

import numpy as np


def integers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Small integers in float64: sums of their products are exact."""
    return rng.integers(-4, 5, shape).astype(np.float64)


def image(rows: list[list[float]]) -> np.ndarray:
    """One image of one channel."""
    return np.array(rows, dtype=np.float64)[None, :, :, None]
