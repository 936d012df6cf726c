"""Parameters live in flat buffers: a layer owns aligned slices, a model a list of them, so that an optimizer's step, a
reduction and saving each see one array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnnlite.initializers import Initializer
from cnnlite.mirrored import Mirrored
from cnnlite.regularizers import Regularizer

if TYPE_CHECKING:
    from cnnlite.layers.layer import Layer

ALIGNMENT = 16  # numbers: a cache line of float32


def _padded(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT


class Parameter:
    """One array of weights of a layer: what it is before it has a place, and its place (`store`, `offset`) after.

    Args:
        trains: whether training moves it at all; what the network itself measures, as moving averages, it does not.

    Attributes:
        name: "kernel", "bias"; path: "layer/kernel"; shape; size.
    """

    def __init__(
        self,
        layer: Layer,
        name: str,
        shape: Sequence[int],
        initializer: Initializer,
        regularizer: Regularizer | None = None,
        trains: bool = True,
    ) -> None:
        self.layer, self.name, self.shape = layer, name, tuple(shape)
        self.initializer, self.regularizer = initializer, regularizer
        self._trains = trains
        self.size = int(np.prod(self.shape))
        self.store: Store | None = None
        self.offset = 0

    @property
    def path(self) -> str:
        return f"{self.layer.name}/{self.name}"

    @property
    def trainable(self) -> bool:
        """Whether training moves it now: it may, and its layer is not frozen."""
        return self._trains and self.layer.trainable

    def _slice(self, buffer: np.ndarray) -> np.ndarray:
        return buffer[self.offset : self.offset + self.size].reshape(self.shape)

    @property
    def _placed(self) -> Store:
        """The store, once there is one."""
        if self.store is None:
            raise RuntimeError(
                f"{self.path}: has no numbers yet; model.build() draws them, as fit, predict and model.get_weights() do."
            )
        return self.store

    @property
    def value(self) -> np.ndarray:
        """The weights, a read-only view; `assign` changes them."""
        view = self._slice(self._placed.values.host)
        view.flags.writeable = False
        return view

    @property
    def gradient(self) -> np.ndarray:
        """The gradient that backward passes have added up, a writeable view: write to it before the next pass."""
        grads = self._placed.grads.host
        self._placed.grads.changed()  # by the caller, for all that is known here
        return self._slice(grads)

    def read_gradient(self) -> np.ndarray:
        """A copy of `gradient`, which a device need not read back."""
        return self._slice(self._placed.grads.host).copy()

    def write_gradient(self, value: Any) -> None:
        """Sets `gradient` to an array of its shape, where the gradients are."""
        self._placed.grads.write(self.offset, np.broadcast_to(value, self.shape))

    def numpy(self) -> np.ndarray:
        """A copy of the weights."""
        return self.value.copy()

    def assign(self, value: Any) -> None:
        """Sets the weights.

        Raises:
            ValueError: another shape.
        """
        value = np.asarray(value)
        if value.shape != self.shape:
            raise ValueError(f"{self.path}: expected weights of shape {self.shape}, got {value.shape}.")
        self._placed.values.write(self.offset, value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.value, dtype=dtype)

    def __repr__(self) -> str:
        return f"<Parameter {self.path} {self.shape}>"


class Store:
    """A flat buffer of values and one of gradients, which devices mirror.

    The first values are drawn from `rng`; without one they are zeros, for somebody who has them already.
    """

    def __init__(self, parameters: Iterable[Parameter], dtype: Any, rng: np.random.Generator | None) -> None:
        self.parameters = list(parameters)
        size = 0
        for parameter in self.parameters:
            parameter.store, parameter.offset = self, size
            size += _padded(parameter.size)
        self.values, self.grads = Mirrored(size, dtype), Mirrored(size, dtype)
        for parameter in self.parameters if rng is not None else []:
            parameter.assign(parameter.initializer(parameter.shape, dtype=self.values.dtype, rng=rng))


class Range(NamedTuple):
    """`size` numbers of a store from `start`, which are the numbers from `place` of a model's own buffers."""

    store: Store
    start: int
    size: int
    place: int


class Layout:
    """Where some parameters lie in a model's own buffers (gradients of a part, an optimizer's slots): neighbours stay so."""

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.parameters = list(dict.fromkeys(parameters))
        self.ranges: list[Range] = []
        self._places: dict[Parameter, int] = {}
        self.size = 0
        for parameter in self.parameters:
            store, count = parameter.store, _padded(parameter.size)
            assert store is not None
            last = self.ranges[-1] if self.ranges else None
            if last and last.store is store and last.start + last.size == parameter.offset:
                self.ranges[-1] = last._replace(size=last.size + count)
            else:
                self.ranges.append(Range(store, parameter.offset, count, self.size))
            self._places[parameter] = self.size
            self.size += count

    def place(self, parameter: Parameter) -> int:
        return self._places[parameter]

    def __contains__(self, parameter: Parameter) -> bool:
        return parameter in self._places

    @property
    def stores(self) -> list[Store]:
        """The stores that the parameters lie in."""
        return list({id(r.store): r.store for r in self.ranges}.values())

    @property
    def penalties(self) -> tuple[tuple[int, float, float], ...]:
        """(number of the parameter, l1, l2) of those with a regularizer, whose numbers may be changed between steps."""
        return tuple(
            (number, parameter.regularizer.l1, parameter.regularizer.l2)
            for number, parameter in enumerate(self.parameters)
            if parameter.regularizer is not None
        )

    def slice(self, buffer: np.ndarray, parameter: Parameter) -> np.ndarray:
        """The parameter's part of a buffer of this layout."""
        place = self._places[parameter]
        return buffer[place : place + parameter.size].reshape(parameter.shape)

    def slice_flat(self, buffer: Any, parameter: Parameter) -> Any:
        """The same of a device's buffer, flat."""
        place = self._places[parameter]
        return buffer[place : place + parameter.size]
