"""Checks a gradient against central differences, index by index in float64, and detects kinks.

A ReLU or a pool has kinks, where a difference across them is no derivative. Per index the checker measures,
at steps e and e / 2, the central difference C and the asymmetry S = (f(x + e) + f(x - e) - 2 f(x)) / e, and
calls the index a kink where |S(e) - 2 S(e / 2)| + |C(e) - C(e / 2)| exceeds the tolerance. For smooth f both
terms vanish with e. A slope that jumps by J at distance t * e makes C(e / 2), the gradient given, wrong by
J max(0, 1 - 2 t) / 2, and the sum is never less: an index not called a kink is right within the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Differences(NamedTuple):
    """gradient and kinks: float64 and bool arrays of the shape of x."""

    gradient: np.ndarray
    kinks: np.ndarray


def differences(
    f: Callable[[np.ndarray], float], x: np.ndarray, eps: float = 1e-4, tolerance: float = 1e-6
) -> Differences:
    """The numeric gradient of the scalar function f at x, at every index, and where it is none.

    Args:
        f: called with a changed copy of x, four times an index.
        x: any shape, real.
        eps: the larger of the two steps.
        tolerance: how large a doubt makes a kink, relative to 1 + the largest gradient.

    >>> differences(lambda x: np.abs(x).sum(), np.array([-2.0, 0.0, 3.0])).kinks.tolist()
    [False, True, False]
    """
    x = np.array(x, dtype=np.float64)
    middle = float(f(x))
    gradient, doubt = np.zeros(x.shape), np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        central, asymmetry = np.zeros(2), np.zeros(2)
        here = x[index]
        for which, step in enumerate((eps, eps / 2)):
            x[index] = here + step
            above = float(f(x))
            x[index] = here - step
            below = float(f(x))
            central[which] = (above - below) / (2 * step)
            asymmetry[which] = (above + below - 2 * middle) / step
        x[index] = here
        gradient[index] = central[1]
        doubt[index] = abs(asymmetry[0] - 2 * asymmetry[1]) + abs(central[0] - central[1])
    return Differences(gradient, doubt > tolerance * _scale(gradient))


def numeric_gradient(f: Callable[[np.ndarray], float], x: np.ndarray, eps: float = 1e-4) -> np.ndarray:
    """The gradient of `differences` alone.

    >>> numeric_gradient(lambda x: (x * x).sum(), np.array([1.0, -3.0])).round(6).tolist()
    [2.0, -6.0]
    """
    return differences(f, x, eps).gradient


def assert_gradient(
    gradient: np.ndarray,
    f: Callable[[np.ndarray], float],
    x: np.ndarray,
    *,
    eps: float = 1e-4,
    tolerance: float = 1e-6,
    most_kinks: int = 0,
) -> int:
    """Assert that `gradient` is the derivative of the scalar function f at x, at every index that is no kink.

    Args:
        gradient: of the shape of x.
        f, x, eps: see `differences`.
        tolerance: largest error allowed, relative to 1 + the largest gradient. Where f is near F, differences
            carry about 1e-16 * F / eps of rounding.
        most_kinks: how many kinks may be passed over.

    Returns:
        how many kinks there were.

    Raises:
        AssertionError: another shape, more kinks than allowed, or a wrong gradient, with the worst index.

    >>> assert_gradient(np.array([1.0, 7.0]), lambda x: np.abs(x).sum(), np.array([5.0, 0.0]), most_kinks=1)
    1
    """
    gradient = np.asarray(gradient)
    assert gradient.shape == np.shape(x), f"expected a gradient of shape {np.shape(x)}, got {gradient.shape}"
    numeric, kinks = differences(f, x, eps, tolerance)
    assert kinks.sum() <= most_kinks, f"expected at most {most_kinks} kinks, found {kinks.sum()}"
    error = np.where(kinks, 0.0, np.abs(gradient - numeric))
    bound = tolerance * _scale(numeric)
    # Written so that a NaN, which is larger than nothing, fails as well.
    if not (error <= bound).all():
        worst = tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape))
        raise AssertionError(
            f"wrong gradient at {np.sum(~(error <= bound))} of {error.size} indices; at {worst} it is "
            f"{gradient[worst]}, central differences give {numeric[worst]}"
        )
    return int(kinks.sum())


def _scale(gradient: np.ndarray) -> float:
    return 1.0 + float(np.abs(gradient).max(initial=0.0))
