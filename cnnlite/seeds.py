"""The one seed: initial weights, shuffling and dropout all draw from here."""

from __future__ import annotations

import numpy as np

_rng = np.random.default_rng()


def set_random_seed(seed: int) -> None:
    """Makes everything random that follows repeatable: initial weights, the order of batches, dropout.

    A model draws its first weights when they are first needed (by `fit`, `summary`, `get_weights`, ...), not when it is made.

    Args:
        seed: an integer of at least 0.

    Raises:
        ValueError: anything else.

    >>> import cnnlite
    >>> cnnlite.set_random_seed(1)
    """
    global _rng
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"set_random_seed: expected an integer of at least 0, got {seed!r}.")
    _rng = np.random.default_rng(int(seed))


def generator() -> np.random.Generator:
    """The generator that everything random is drawn from."""
    return _rng


def draw_key() -> int:
    """A new key for a counter-based generator: 63 random bits."""
    return int(_rng.integers(0, 2**63))
