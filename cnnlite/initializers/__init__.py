"""The first values of a layer's weights, under Keras's names and with its formulas.

Values are drawn in float64 from the generator that is handed in, then rounded, so that a float32 and a
float64 model start from the same numbers.
"""

from __future__ import annotations

import re
from typing import Any

from cnnlite.initializers.base import FromFunction, Initializer
from cnnlite.initializers.plain import Constant, Ones, RandomNormal, RandomUniform, TruncatedNormal, Zeros
from cnnlite.initializers.scaling import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    VarianceScaling,
    fans,
)

__all__ = [
    "Constant",
    "FromFunction",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "fans",
    "get",
    "serialize",
]

zeros, ones, constant = Zeros, Ones, Constant
random_uniform, random_normal, truncated_normal = RandomUniform, RandomNormal, TruncatedNormal
variance_scaling, orthogonal = VarianceScaling, Orthogonal
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
he_uniform, he_normal = HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal

_KINDS: tuple[type[Initializer], ...] = (
    *(Zeros, Ones, Constant, RandomUniform, RandomNormal, TruncatedNormal, VarianceScaling, Orthogonal),
    *(GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal),
)
_BY_CLASS_NAME = {kind.__name__: kind for kind in _KINDS}
_BY_NAME = {re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower(): kind for name, kind in _BY_CLASS_NAME.items()}


def get(identifier: Any) -> Initializer:
    """Return the initializer that ``identifier`` stands for.

    Args:
        identifier: an ``Initializer``, its class, a name ("he_normal" or "HeNormal"), what ``serialize``
            returned, or a function ``f(shape, dtype)`` that returns an array.

    Raises:
        ValueError: an unknown name. TypeError: anything else.

    >>> get("he_normal")
    HeNormal(seed=None)
    """
    if isinstance(identifier, Initializer):
        return identifier
    if isinstance(identifier, str):
        kind = _BY_NAME.get(identifier) or _BY_CLASS_NAME.get(identifier)
        if kind is None:
            raise ValueError(f"expected an initializer, one of {', '.join(_BY_NAME)}, got {identifier!r}.")
        return kind()
    if isinstance(identifier, dict):
        name = identifier.get("class_name")
        kind = FromFunction if name == "FromFunction" else type(get(name))
        return kind.from_config(identifier.get("config", {}))
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if callable(identifier):
        return FromFunction(getattr(identifier, "__name__", type(identifier).__name__), identifier)
    raise TypeError(
        f"expected an initializer as a name, an Initializer or a function of (shape, dtype), got "
        f"{identifier!r}. For example kernel_initializer='he_normal'."
    )


def serialize(initializer: Initializer) -> dict[str, Any]:
    """Return a dict that JSON can hold and ``get`` turns back into the initializer.

    >>> serialize(Constant(0.5))
    {'class_name': 'Constant', 'config': {'value': 0.5}}
    """
    name = type(initializer).__name__
    if name in _BY_CLASS_NAME or isinstance(initializer, FromFunction):
        return {"class_name": name, "config": initializer.get_config()}
    return {"class_name": "FromFunction", "config": {"name": name}}
