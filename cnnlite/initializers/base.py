"""What every initializer can do, and the wrapper of a caller's own function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from cnnlite.naming import call_of

Shape = Sequence[int]


class Initializer:
    """Base class. A subclass draws float64 values in ``_draw`` and names its arguments in ``_arguments``.

    Args:
        seed: an integer makes every call give the same values; None leaves it to the generator handed in.

    >>> import numpy as np
    >>> from cnnlite import initializers
    >>> w = initializers.GlorotUniform()((3, 3, 32, 64), rng=np.random.default_rng(0))
    >>> w.shape, w.dtype, bool(abs(w).max() < (6 / (9 * 32 + 9 * 64)) ** 0.5)
    ((3, 3, 32, 64), dtype('float32'), True)
    """

    _arguments: tuple[str, ...] = ("seed",)

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed

    def __call__(
        self, shape: Shape, dtype: DTypeLike = np.float32, rng: np.random.Generator | None = None
    ) -> NDArray[Any]:
        """Return new values of ``shape`` and ``dtype``.

        Args:
            shape: kernels are (..., inputs, outputs): (kh, kw, cin, cout) or (inputs, units).
            dtype: float32 or float64.
            rng: where values come from without a seed; a new, unseeded generator if None.

        Raises:
            ValueError: a shape the initializer has no formula for (orthogonal needs two axes).
        """
        if self.seed is not None:
            rng = np.random.default_rng(self.seed)
        elif rng is None:
            rng = np.random.default_rng()
        return np.asarray(self._draw(tuple(shape), rng), dtype=dtype)

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        raise NotImplementedError(f"{type(self).__name__}: define _draw(shape, rng).")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer, as JSON can hold them."""
        return {name: getattr(self, name) for name in self._arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """Return the initializer that ``get_config`` described."""
        return cls(**config)

    def __repr__(self) -> str:
        return call_of(self)


class FromFunction(Initializer):
    """A caller's own function ``f(shape, dtype)``, as Keras takes it. Made by ``get``.

    A model saved with one loads again, since its weights are in the file; only drawing new values is an
    error then.

    >>> FromFunction("ones", lambda shape, dtype: np.ones(shape, dtype))((2,))
    array([1., 1.], dtype=float32)
    """

    _arguments = ("name",)

    def __init__(self, name: str, function: Callable[..., ArrayLike] | None = None) -> None:
        super().__init__()
        self.name, self.function = name, function

    def __call__(
        self, shape: Shape, dtype: DTypeLike = np.float32, rng: np.random.Generator | None = None
    ) -> NDArray[Any]:
        """Return what the function gives, as ``dtype``; ValueError if it has another shape."""
        if self.function is None:
            raise ValueError(
                f"initializer {self.name!r}: expected the function itself to draw new values, got its name "
                "alone from a saved model. Build the layer anew with it."
            )
        values = np.asarray(self.function(tuple(shape), dtype=dtype), dtype=dtype)
        if values.shape != tuple(shape):
            raise ValueError(
                f"initializer {self.name!r}: expected values of shape {tuple(shape)}, got {values.shape}. "
                "Return an array of the shape that is passed in."
            )
        return values
