"""Initializers whose values do not depend on the shape: constants and plain distributions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnlite.initializers.base import Initializer


class Constant(Initializer):
    """Every value is ``value``: a number, or an array that broadcasts to the shape.

    >>> Constant(0.5)((2, 2)).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """

    _arguments = ("value",)

    def __init__(self, value: ArrayLike = 0.0) -> None:
        super().__init__()
        self.value = np.asarray(value, np.float64).tolist()

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        try:
            return np.full(shape, self.value)
        except ValueError:
            raise ValueError(
                f"Constant: expected a value that broadcasts to {shape}, got one of shape "
                f"{np.shape(self.value)}. Pass a number or an array of the weights' shape."
            ) from None


class Zeros(Initializer):
    """Every value is 0.

    >>> Zeros()((3,)).tolist()
    [0.0, 0.0, 0.0]
    """

    _arguments = ()

    def __init__(self) -> None:
        super().__init__()

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        return np.zeros(shape)


class Ones(Zeros):
    """Every value is 1.

    >>> Ones()((3,)).tolist()
    [1.0, 1.0, 1.0]
    """

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        return np.ones(shape)


class RandomUniform(Initializer):
    """Values spread evenly over [minval, maxval).

    >>> bool(abs(RandomUniform(seed=1)((100,))).max() <= 0.05)
    True
    """

    _arguments = ("minval", "maxval", "seed")

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.minval, self.maxval = float(minval), float(maxval)
        if not self.minval <= self.maxval:
            raise ValueError(
                f"RandomUniform: expected minval <= maxval, got {minval} and {maxval}. Exchange the two."
            )

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        return rng.uniform(self.minval, self.maxval, shape)


class RandomNormal(Initializer):
    """Normally distributed values.

    >>> RandomNormal(stddev=0.1, seed=1)((2, 3)).shape
    (2, 3)
    """

    _arguments = ("mean", "stddev", "seed")

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean, self.stddev = float(mean), float(stddev)
        if not self.stddev >= 0:
            raise ValueError(f"{type(self).__name__}: expected stddev of 0 or more, got {stddev}.")

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        return rng.normal(self.mean, self.stddev, shape)


class TruncatedNormal(RandomNormal):
    """Normally distributed values; those more than two stddev from the mean are drawn again.

    >>> bool(abs(TruncatedNormal(stddev=1.0, seed=1)((1000,))).max() <= 2)
    True
    """

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        return self.mean + self.stddev * standard_truncated(shape, rng)


def standard_truncated(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return standard normal values of ``shape``, float64; those outside [-2, 2] are drawn again."""
    values = np.atleast_1d(rng.standard_normal(shape))
    while (outside := np.abs(values) > 2).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return values.reshape(shape)
