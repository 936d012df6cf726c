"""How far products on tensor cores may be from exact ones."""

from __future__ import annotations

import numpy as np

# The largest relative error of rounding to nearest: half of the last of 8 and of 11 bits.
UNIT = {"bfloat16": 2.0**-8, "tf32": 2.0**-11}


def bound(magnitude: np.ndarray, terms: int, precision: str) -> np.ndarray:
    """The most that a sum of `terms` products of rounded factors can be off.

    A product of two factors, each off by at most u = UNIT, is off by (1 + u)^2 - 1 = 2u + u^2 of itself, and is exact in float32. Adding
    it to the sum is off by at most 2^-23 of the partial sum, which is at most `magnitude`: tensor cores may cut off what they
    add, rather than round it. `terms` such additions are off by terms * 2^-23 of it; a few more terms are for the epilogue and for the
    adding up of parts.

    Args:
        magnitude: the sum of the products' absolute values, in float64.
    """
    u = UNIT[precision]
    return magnitude * (2 * u + u * u + (terms + 100) * 2.0**-23)
