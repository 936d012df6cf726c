"""Names: those that classes get by default, as in Keras (snake case, then _1, _2 ... for the next ones of a process), and those that
their arguments have."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

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


def refuse(cls: type, unknown: Mapping[str, Any]) -> None:
    """TypeError if there are any arguments that a class and its bases do not know; the message lists those that they do.

    >>> from cnnlite import layers
    >>> refuse(layers.Flatten, {"axis": 1})
    Traceback (most recent call last):
    TypeError: Flatten: unknown arguments ['axis']; it takes data_format, name, trainable, input_shape, dtype.
    """
    if unknown:
        known = [
            argument.name
            for base in cls.__mro__[:-1]
            for argument in inspect.signature(base).parameters.values()
            if argument.kind != argument.VAR_KEYWORD and argument.name not in unknown
        ]
        raise TypeError(
            f"{cls.__name__}: unknown arguments {sorted(unknown)}; it takes {', '.join(dict.fromkeys(known))}."
        )


def call_of(thing: Any) -> str:
    """The call that makes an object again, for its `repr`.

    >>> from cnnlite import losses
    >>> losses.Huber(2.0)
    Huber(delta=2.0, name='huber_loss', reduction='sum_over_batch_size')
    """
    config = ", ".join(f"{name}={value!r}" for name, value in thing.get_config().items())
    return f"{type(thing).__name__}({config})"
