"""Keras's default names: a class's name in snake case, then _1, _2 ... for the next ones of a process."""

from __future__ import annotations

import re
from collections import Counter

_used: Counter[str] = Counter()


def snake_case(name: str) -> str:
    """
    >>> snake_case("MaxPooling2D"), snake_case("Conv2DTranspose"), snake_case("LeakyReLU")
    ('max_pooling2d', 'conv2d_transpose', 'leaky_re_lu')
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def default_name(cls: type) -> str:
    """The next free name of a class: dense, dense_1, ..."""
    base = snake_case(cls.__name__)
    number = _used[base]
    _used[base] += 1
    return base if number == 0 else f"{base}_{number}"


def reset_names() -> None:
    """Counts from the beginning again."""
    _used.clear()
