"""Penalties on large weights, added to the loss: l1 * sum(abs(w)) + l2 * sum(w ** 2), as in Keras."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnlite.naming import call_of


class Regularizer:
    """The penalty l1 * sum(abs(w)) + l2 * sum(w ** 2); ``L1``, ``L2`` and ``L1L2`` are its three forms.

    The optimizer's kernels read ``l1`` and ``l2`` and add the gradient themselves; ``gradient`` is the same
    formula for everybody else.

    Attributes:
        l1, l2: finite floats, 0 or more.

    Raises:
        ValueError: a factor that is negative or not finite. TypeError: one that is not a number.

    >>> import numpy as np
    >>> L1L2(l1=0.5, l2=0.25).value(np.array([1.0, -2.0], np.float32))
    2.75
    """

    _arguments: tuple[str, ...] = ("l1", "l2")

    def __init__(self, l1: float, l2: float) -> None:
        self.l1 = self._checked("l1", l1)
        self.l2 = self._checked("l2", l2)

    def _checked(self, name: str, factor: float) -> float:
        if isinstance(factor, (bool, str)) or not hasattr(factor, "__float__"):
            raise TypeError(
                f"{type(self).__name__}: expected {name} to be a number, got {factor!r}. Use 0.01."
            )
        if not math.isfinite(factor) or factor < 0:
            raise ValueError(
                f"{type(self).__name__}: expected {name} of 0 or more, got {factor!r}. Use a small one: 0.01."
            )
        return float(factor)

    def value(self, w: NDArray[Any]) -> float:
        """Return the penalty of the weights ``w``, any shape, summed in float64."""
        penalty = 0.0
        if self.l1:
            penalty += self.l1 * float(np.abs(w).sum(dtype=np.float64))
        if self.l2:
            penalty += self.l2 * float(np.square(w, dtype=np.float64).sum())
        return penalty

    def gradient(self, w: NDArray[Any]) -> NDArray[Any]:
        """Return l1 * sign(w) + 2 * l2 * w, newly allocated, with the shape and dtype of ``w``.

        At 0, where abs has no derivative, the l1 part is 0.
        """
        kind = w.dtype.type
        return kind(self.l1) * np.sign(w) + kind(2 * self.l2) * w

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this regularizer, as JSON can hold them."""
        return {name: getattr(self, name) for name in self._arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Regularizer:
        """Return the regularizer that ``get_config`` described."""
        return cls(**config)

    def __repr__(self) -> str:
        return call_of(self)


class L1(Regularizer):
    """l1 * sum(abs(w)): pulls small weights to 0.

    >>> L1(0.1)
    L1(l1=0.1)
    """

    _arguments = ("l1",)

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1, 0.0)


class L2(Regularizer):
    """l2 * sum(w ** 2): keeps weights small.

    >>> import numpy as np
    >>> L2(0.5).gradient(np.array([1.0, -2.0], np.float32)).tolist()
    [1.0, -2.0]
    """

    _arguments = ("l2",)

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(0.0, l2)


class L1L2(Regularizer):
    """Both; without arguments neither, as in Keras.

    >>> L1L2(l2=0.1)
    L1L2(l1=0.0, l2=0.1)
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        super().__init__(l1, l2)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """Return ``L1L2`` with 0.01 for what is not given; this is what the name "l1_l2" stands for.

    >>> l1_l2(l1=0.1)
    L1L2(l1=0.1, l2=0.01)
    """
    return L1L2(l1, l2)


l1, l2 = L1, L2

_BY_NAME: dict[str, Callable[[], Regularizer]] = {
    "l1": L1,
    "L1": L1,
    "l2": L2,
    "L2": L2,
    "l1_l2": l1_l2,
    "L1L2": l1_l2,
}
_BY_CLASS_NAME: dict[str, type[Regularizer]] = {"L1": L1, "L2": L2, "L1L2": L1L2}


def get(identifier: Any) -> Regularizer | None:
    """Return the regularizer that ``identifier`` stands for, None for None.

    Args:
        identifier: a ``Regularizer``, "l1", "l2", "l1_l2" (0.01 each), or what ``serialize`` returned.

    Raises:
        ValueError: an unknown name. TypeError: anything else; a function has no gradient we could use.

    >>> get("l2")
    L2(l2=0.01)
    """
    if identifier is None or isinstance(identifier, Regularizer):
        return identifier
    if isinstance(identifier, dict) and identifier.get("class_name") in _BY_CLASS_NAME:
        return _BY_CLASS_NAME[identifier["class_name"]].from_config(identifier.get("config", {}))
    if isinstance(identifier, str) and identifier in _BY_NAME:
        return _BY_NAME[identifier]()
    if isinstance(identifier, (str, dict)):
        raise ValueError(
            f"expected a regularizer 'l1', 'l2' or 'l1_l2', got {identifier!r}. Or pass L2(0.01)."
        )
    raise TypeError(
        f"expected a regularizer as a name or an object, got {identifier!r}. Pass 'l2' or L2(0.01)."
    )


def serialize(regularizer: Regularizer | None) -> dict[str, Any] | None:
    """Return a dict that JSON can hold and ``get`` turns back into the regularizer; None for None.

    >>> serialize(L2(0.1))
    {'class_name': 'L2', 'config': {'l2': 0.1}}
    """
    if regularizer is None:
        return None
    if _BY_CLASS_NAME.get(type(regularizer).__name__) is not type(regularizer):
        regularizer = L1L2(
            regularizer.l1, regularizer.l2
        )  # a subclass of the caller's own: its penalty is the same
    return {"class_name": type(regularizer).__name__, "config": regularizer.get_config()}
