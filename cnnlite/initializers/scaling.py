"""Initializers that take the spread of the values from the shape, so that activations keep their size."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cnnlite.initializers.base import Initializer, Shape
from cnnlite.initializers.plain import standard_truncated

# standard deviation of a standard normal distribution cut off at -2 and 2
TRUNCATED_STDDEV = 0.87962566103423978


def fans(shape: Shape) -> tuple[int, int]:
    """Return (fan_in, fan_out) of weights of ``shape``, a kernel (kh, kw, cin, cout) or (inputs, units).

    >>> fans((3, 3, 32, 64)), fans((64, 10)), fans((64,))
    ((288, 576), (64, 10), (64, 64))
    """
    if len(shape) < 2:
        fan = int(math.prod(shape))
        return fan, fan
    receptive_field = math.prod(shape[:-2])
    return int(shape[-2] * receptive_field), int(shape[-1] * receptive_field)


class VarianceScaling(Initializer):
    """Values whose variance is ``scale`` / fan, so that activations keep their size from layer to layer.

    Args:
        scale: above 0.
        mode: the fan: "fan_in" (inputs of one output), "fan_out", or "fan_avg", their mean. A convolution's
            kernel (kh, kw, cin, cout) has fan_in = kh * kw * cin and fan_out = kh * kw * cout.
        distribution: "uniform", "truncated_normal" (or "normal", the same) or "untruncated_normal".
        seed: see ``Initializer``.

    Raises:
        ValueError: another mode or distribution, or a scale of 0 or less.

    >>> w = VarianceScaling(2.0, "fan_in", "untruncated_normal", seed=0)((3, 3, 16, 64))
    >>> round(float(w.var()) * (3 * 3 * 16), 1)
    2.0
    """

    _arguments: tuple[str, ...] = ("scale", "mode", "distribution", "seed")

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        distribution = "truncated_normal" if distribution == "normal" else distribution
        _check_choice("mode", mode, ("fan_in", "fan_out", "fan_avg"))
        _check_choice("distribution", distribution, ("uniform", "truncated_normal", "untruncated_normal"))
        if not scale > 0:
            raise ValueError(f"VarianceScaling: expected scale above 0, got {scale}. Use 1.0 or 2.0.")
        self.scale, self.mode, self.distribution = float(scale), mode, distribution

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(1.0, fan))
        if self.distribution == "uniform":
            # a uniform distribution over [-limit, limit] has the variance limit^2 / 3
            limit = math.sqrt(3) * stddev
            return rng.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return rng.normal(0.0, stddev, shape)
        return stddev / TRUNCATED_STDDEV * standard_truncated(shape, rng)


class _Scaled(VarianceScaling):
    """A ``VarianceScaling`` with a name: its formula is fixed, only the seed is left to choose."""

    _arguments = ("seed",)
    _formula: tuple[float, str, str]

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(*self._formula, seed=seed)


class GlorotUniform(_Scaled):
    """Uniform over [-limit, limit], limit = sqrt(6 / (fan_in + fan_out)): the default of kernels.

    >>> GlorotUniform(seed=1)((3, 3, 1, 32)).dtype
    dtype('float32')
    """

    _formula = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Scaled):
    """Truncated normal with stddev sqrt(2 / (fan_in + fan_out)).

    >>> GlorotNormal(seed=1)((64, 10)).shape
    (64, 10)
    """

    _formula = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Scaled):
    """Uniform over [-limit, limit], limit = sqrt(6 / fan_in): for layers with relu.

    >>> HeUniform(seed=1)((64, 10)).shape
    (64, 10)
    """

    _formula = (2.0, "fan_in", "uniform")


class HeNormal(_Scaled):
    """Truncated normal with stddev sqrt(2 / fan_in): for layers with relu.

    >>> HeNormal(seed=1)((64, 10)).shape
    (64, 10)
    """

    _formula = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Scaled):
    """Uniform over [-limit, limit], limit = sqrt(3 / fan_in).

    >>> LecunUniform(seed=1)((64, 10)).shape
    (64, 10)
    """

    _formula = (1.0, "fan_in", "uniform")


class LecunNormal(_Scaled):
    """Truncated normal with stddev sqrt(1 / fan_in).

    >>> LecunNormal(seed=1)((64, 10)).shape
    (64, 10)
    """

    _formula = (1.0, "fan_in", "truncated_normal")


class Orthogonal(Initializer):
    """``gain`` times a kernel whose rows or columns, whichever are fewer, are orthonormal.

    A convolution's kernel counts as the matrix (kh * kw * cin, cout).

    >>> import numpy as np
    >>> w = Orthogonal(seed=1)((8, 4), np.float64)
    >>> bool(np.allclose(w.T @ w, np.eye(4)))
    True
    """

    _arguments = ("gain", "seed")

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = float(gain)

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: expected a shape of two axes or more, got {shape}. Use zeros.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
        # with r's diagonal made positive, q is uniform over the orthogonal matrices
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"VarianceScaling: expected {name} to be one of {choices}, got {value!r}.")
