"""What every optimizer has: a learning rate that may follow a schedule, limits on gradients, state, and one step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from cnnlite import naming, schedules
from cnnlite.mirrored import Mirrored
from cnnlite.parameters import Layout, Parameter
from cnnlite_kernels.settings import OPTIMIZER

KEPT = 3  # sets of parameters that may come back, besides the present one: layers that are frozen and trained in turn


class Optimizer:
    """Base of all optimizers.

    Args:
        learning_rate: a number, or a schedule (a function of the step).
        weight_decay: decoupled (AdamW's): each step multiplies the weights by 1 - learning_rate * weight_decay. None: off.
        clipnorm: each parameter's gradient is scaled to at most this norm; global_clipnorm: all together; clipvalue: each number
            is kept within plus and minus this. At most one of the three.

    Attributes:
        iterations: steps taken.
    """

    def __init__(
        self,
        learning_rate: Any,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        naming.refuse(type(self), unknown)
        self.name = name or type(self).__name__.lower()
        limits = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = {key: value for key, value in limits.items() if value is not None}
        if len(given) > 1:
            raise ValueError(
                f"{self.name}: expected at most one of clipnorm, clipvalue and global_clipnorm, got {given}."
            )
        for key, value in given.items():
            if not self._number(key, value) > 0:
                raise ValueError(f"{self.name}: expected {key} above 0, got {value!r}.")
        if weight_decay is not None:
            self._number("weight_decay", weight_decay)
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.weight_decay = weight_decay
        self.iterations = 0
        self._set_rate(learning_rate)
        self.settings = np.zeros(len(OPTIMIZER), np.float64)
        self.layout: Layout | None = None
        self.state: list[Mirrored] = []
        self._updates: dict[tuple, Any] = {}  # what `apply` runs
        # the state of parameters that are frozen, or another model's
        self._left: dict[Parameter, list[np.ndarray]] = {}
        # layouts of before, and the memory of their states, to which programs have addresses: what was in it is in _left
        self._kept: list[tuple[Layout, list[Mirrored]]] = []

    def _number(self, name: str, value: Any, most: float = math.inf) -> float:
        """`value` as a float from 0 to `most`, or ValueError."""
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not 0 <= value <= most:
            span = "of at least 0" if most == math.inf else f"from 0 to {most:g}"
            raise ValueError(f"{self.name}: expected {name} as a number {span}, got {value!r}.")
        return float(value)

    def _set_rate(self, value: Any) -> None:
        if isinstance(value, dict):
            value = schedules.deserialize(value)
        if not callable(value):
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not number or not value >= 0:
                raise ValueError(
                    f"{self.name}: expected learning_rate as a number of at least 0 or a schedule, got {value!r}."
                )
            value = float(value)
        self._rate = value

    @property
    def slots(self) -> Sequence[str]:
        """Names of what it keeps for each weight."""
        return ()

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step; may be set to a number or a schedule."""
        return float(self._rate(self.iterations)) if callable(self._rate) else self._rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._set_rate(value)

    def build(self, parameters: Sequence[Parameter]) -> None:
        """Makes the state for some parameters: zeros for new ones; those it has met before go on with theirs."""
        known = self.layout is not None and self.layout.parameters == list(parameters)
        if known and len(self.state) == len(self.slots):
            return
        dtypes = {
            parameter.store.values.dtype.name for parameter in parameters if parameter.store is not None
        }
        if len(dtypes) > 1:
            raise TypeError(
                f"{self.name}: expected parameters of one dtype, got {sorted(dtypes)}; use an optimizer for each."
            )
        layout, state = self._kept_for(parameters) or self._new_for(parameters)
        if self.layout is not None:
            for parameter in self.layout.parameters:
                self._left[parameter] = [self.layout.slice(old.host, parameter).copy() for old in self.state]
            self._kept = [(self.layout, self.state), *self._kept][:KEPT]
        for parameter in layout.parameters:
            for new, old in zip(state, self._left.pop(parameter, ()), strict=False):
                layout.slice(new.host, parameter)[...] = old
        for new in state:
            new.changed()
        self.layout, self.state = layout, state

    def _kept_for(self, parameters: Sequence[Parameter]) -> tuple[Layout, list[Mirrored]] | None:
        """Takes the layout of these parameters, and its state, from those of before."""
        for number, (layout, state) in enumerate(self._kept):
            if layout.parameters == list(parameters) and len(state) == len(self.slots):
                return self._kept.pop(number)
        return None

    def _new_for(self, parameters: Sequence[Parameter]) -> tuple[Layout, list[Mirrored]]:
        layout = Layout(parameters)
        dtype = parameters[0].store.values.dtype if parameters else np.float32  # type: ignore[union-attr]
        return layout, [Mirrored(layout.size, dtype) for _ in self.slots]

    def state_of(self, parameter: Parameter) -> list[np.ndarray] | None:
        """The state of one parameter, an array a slot, read-only; None before its first step. `set_state` changes it."""
        if self.layout is not None and parameter in self.layout:
            views = [self.layout.slice(slot.host, parameter) for slot in self.state]
            for view in views:
                view.flags.writeable = False
            return views
        return self._left.get(parameter)

    def set_state(self, parameter: Parameter, state: Sequence[np.ndarray]) -> None:
        """Sets the state of one of the parameters it was built for, an array a slot."""
        assert self.layout is not None
        for slot, numbers in zip(self.state, state, strict=True):
            slot.write(self.layout.place(parameter), numbers)

    def advance(self) -> None:
        """Counts a step and writes its numbers where the kernels read them."""
        rate = self.learning_rate
        self.iterations += 1
        self.fill(rate=rate, weight_decay=self.weight_decay or 0.0, steps=self.iterations, **self.numbers())

    def numbers(self) -> dict[str, float]:
        """The optimizer's own numbers, by their names in `settings`; they may change between steps."""
        return {}

    def fill(self, **settings: float) -> None:
        """Sets numbers of `settings` by name."""
        for name, value in settings.items():
            self.settings[OPTIMIZER.index(name)] = value

    @property
    def limits(self) -> tuple[float | None, float | None, float | None]:
        """(clipnorm, clipvalue, global_clipnorm)."""
        return self.clipnorm, self.clipvalue, self.global_clipnorm

    def kernel(self) -> tuple[str, tuple[int, ...]]:
        """Name of the kernel in cnnlite_kernels.cpu.optimizers, and the integers it is compiled for."""
        raise NotImplementedError(f"{type(self).__name__}: define kernel().")

    def apply(self, parameters: Sequence[Parameter]) -> None:
        """One step on parameters whose `gradient`s have been added up; `model.zero_gradients()` sets those back.

        >>> from cnnlite import layers, models, optimizers
        >>> model = models.Sequential([layers.Input((2,)), layers.Dense(1)])
        >>> model.zero_gradients()
        >>> optimizers.SGD(0.1).apply(model.trainable_weights)
        """
        parameters = [parameter for parameter in parameters if parameter.trainable]
        if not parameters:
            return
        self.build(parameters)
        assert self.layout is not None
        device = self._newest()
        key = device, self.layout, self.layout.penalties, self.limits, self.kernel()
        update = self._updates.pop(key, None) or self._new_update(device)  # its memory is taken once
        self._updates = {key: update, **dict(list(self._updates.items())[:KEPT])}  # the latest first
        update.run()

    def _new_update(self, device: Any) -> Any:
        """The program of `apply` on a device, None for the host."""
        assert self.layout is not None
        if device is None:
            from cnnlite.engine.cpu.update import Update

            return Update(self, self.layout, parts=None)
        from cnnlite.engine.cuda.update import Update as DeviceUpdate

        return DeviceUpdate(device, self, self.layout)

    def _newest(self) -> Any:
        """The device that the newest gradients or weights are on, None for the host: there the step is cheapest."""
        assert self.layout is not None
        for store in self.layout.stores:
            device = store.grads.device or store.values.device
            if device is not None:
                return device
        return None

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes its own programs of `apply`, which hold addresses and memory."""
        return {**self.__dict__, "_updates": {}, "_kept": []}

    def get_config(self) -> dict[str, Any]:
        rate = schedules.serialize(self._rate) if schedules.is_known(self._rate) else self.learning_rate
        return {
            "learning_rate": rate,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
        }

    def __repr__(self) -> str:
        return naming.call_of(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Optimizer:
        return cls(**config)
