"""Learning rates that change with the optimizer's step, under Keras's names and with its formulas."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from numbers import Real
from typing import Any

from cnnlite.naming import call_of


class LearningRateSchedule:
    """Base class: an object that gives the learning rate of a step, ``schedule(step) -> float``.

    A subclass defines ``__call__`` and lists its arguments, which are its attributes, in ``_arguments``.

    >>> class Halves(LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.5 ** step
    >>> Halves()(3)
    0.125
    """

    _arguments: tuple[str, ...] = ()

    def __call__(self, step: int) -> float:
        """Return the learning rate of ``step``, the number of steps done before it."""
        raise NotImplementedError(f"{type(self).__name__}: define __call__(step), which returns a float.")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this schedule, as JSON can hold them."""
        return {name: getattr(self, name) for name in self._arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        """Return the schedule that ``get_config`` described."""
        return cls(**config)

    def __repr__(self) -> str:
        return call_of(self)

    def _number(self, name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{type(self).__name__}: expected {name} to be a number, got {value!r}.")
        if not math.isfinite(value):
            raise ValueError(f"{type(self).__name__}: expected {name} to be finite, got {value!r}.")
        return float(value)

    def _not_negative(self, name: str, value: Any) -> float:
        if self._number(name, value) < 0:
            raise ValueError(f"{type(self).__name__}: expected {name} of 0 or more, got {value!r}.")
        return float(value)

    def _steps(self, value: Any) -> float:
        if self._number("decay_steps", value) <= 0:
            raise ValueError(f"{type(self).__name__}: expected decay_steps above 0, got {value!r}.")
        return float(value)


class ExponentialDecay(LearningRateSchedule):
    """initial_learning_rate * decay_rate ** (step / decay_steps); ``staircase`` rounds the exponent down.

    Args:
        initial_learning_rate: at step 0.
        decay_steps: steps after which the rate is multiplied by ``decay_rate`` once; above 0.
        decay_rate: 0 or more.
        staircase: change once every ``decay_steps`` instead of a little every step.
        name: kept for Keras's sake.

    >>> schedule = ExponentialDecay(0.1, decay_steps=100, decay_rate=0.5)
    >>> schedule(0), schedule(100), schedule(200)
    (0.1, 0.05, 0.025)
    """

    _arguments = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = self._number("initial_learning_rate", initial_learning_rate)
        self.decay_steps = self._steps(decay_steps)
        self.decay_rate = self._not_negative("decay_rate", decay_rate)
        self.staircase = bool(staircase)
        self.name = name

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate * self.decay_rate ** self._periods(step)

    def _periods(self, step: int) -> float:
        periods = step / self.decay_steps
        return math.floor(periods) if self.staircase else periods


class InverseTimeDecay(ExponentialDecay):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps), else as ``ExponentialDecay``.

    >>> InverseTimeDecay(0.1, decay_steps=100, decay_rate=1.0)(100)
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate / (1 + self.decay_rate * self._periods(step))


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to and including step boundaries[0], then values[1] up to boundaries[1], and so on.

    Args:
        boundaries: steps, each above the one before.
        values: one learning rate more than there are boundaries.
        name: kept for Keras's sake.

    Raises:
        ValueError: lengths that do not match, or boundaries that do not rise.

    >>> schedule = PiecewiseConstantDecay([100, 200], [0.1, 0.01, 0.001])
    >>> schedule(100), schedule(101), schedule(5000)
    (0.1, 0.01, 0.001)
    """

    _arguments = ("boundaries", "values", "name")

    def __init__(
        self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstantDecay"
    ) -> None:
        self.boundaries = [self._number("boundaries", boundary) for boundary in boundaries]
        self.values = [self._number("values", value) for value in values]
        self.name = name
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"PiecewiseConstantDecay: expected one value more than boundaries, got {len(self.values)} "
                f"values and {len(self.boundaries)} boundaries. The last value holds after the last boundary."
            )
        if any(a >= b for a, b in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError(
                f"PiecewiseConstantDecay: expected boundaries that rise, got {tuple(boundaries)}. Sort them."
            )

    def __call__(self, step: int) -> float:
        return self.values[bisect_left(self.boundaries, step)]


class PolynomialDecay(LearningRateSchedule):
    """(initial - end) * (1 - step / decay_steps) ** power + end, and end from step decay_steps on.

    Args:
        initial_learning_rate: at step 0.
        decay_steps: when the end is reached; above 0.
        end_learning_rate: the last learning rate.
        power: of the polynomial; 1 is a straight line.
        cycle: go on beyond the end, with decay_steps stretched to the next multiple that is not passed yet.
        name: kept for Keras's sake.

    >>> schedule = PolynomialDecay(0.1, decay_steps=100, end_learning_rate=0.0)
    >>> schedule(0), schedule(50), schedule(1000)
    (0.1, 0.05, 0.0)
    """

    _arguments = ("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = self._number("initial_learning_rate", initial_learning_rate)
        self.decay_steps = self._steps(decay_steps)
        self.end_learning_rate = self._number("end_learning_rate", end_learning_rate)
        self.power = self._number("power", power)
        self.cycle = bool(cycle)
        self.name = name

    def __call__(self, step: int) -> float:
        decay_steps = self.decay_steps
        if self.cycle:
            decay_steps *= max(1, math.ceil(step / decay_steps))
        remaining = 1 - min(step, decay_steps) / decay_steps
        drop = self.initial_learning_rate - self.end_learning_rate
        return drop * remaining**self.power + self.end_learning_rate


class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial learning rate to ``alpha`` times it, after an optional linear warm-up.

    rate = peak * ((1 - alpha) * 0.5 * (1 + cos(pi * t / decay_steps)) + alpha), t = min(step, decay_steps).

    Args:
        initial_learning_rate: at step 0.
        decay_steps: steps of the decay; above 0. The warm-up comes before it.
        alpha: the last learning rate as a share of the peak.
        name: kept for Keras's sake.
        warmup_target: the peak that the warm-up climbs to; without it there is none and ``warmup_steps`` has
            no effect.
        warmup_steps: steps of the warm-up.

    >>> schedule = CosineDecay(0.0, decay_steps=100, warmup_target=0.1, warmup_steps=10)
    >>> [round(schedule(step), 4) for step in (0, 5, 10, 60, 110, 500)]
    [0.0, 0.05, 0.1, 0.05, 0.0, 0.0]
    """

    _arguments = ("initial_learning_rate", "decay_steps", "alpha", "name", "warmup_target", "warmup_steps")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate = self._number("initial_learning_rate", initial_learning_rate)
        self.decay_steps = self._steps(decay_steps)
        self.alpha = self._number("alpha", alpha)
        self.name = name
        self.warmup_target = None if warmup_target is None else self._number("warmup_target", warmup_target)
        self.warmup_steps = self._not_negative("warmup_steps", warmup_steps)

    def __call__(self, step: int) -> float:
        done, peak = float(step), self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return peak + (self.warmup_target - peak) * step / self.warmup_steps
            peak = self.warmup_target
            done -= self.warmup_steps
        share = 0.5 * (1 + math.cos(math.pi * min(done, self.decay_steps) / self.decay_steps))
        return peak * ((1 - self.alpha) * share + self.alpha)


_BY_CLASS_NAME: dict[str, type[LearningRateSchedule]] = {
    kind.__name__: kind
    for kind in (ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay, CosineDecay)
}


def serialize(schedule: LearningRateSchedule) -> dict[str, Any]:
    """Return a dict that JSON can hold and ``deserialize`` turns back into the schedule.

    >>> serialize(PiecewiseConstantDecay([10], [0.1, 0.01], name="steps"))["config"]
    {'boundaries': [10.0], 'values': [0.1, 0.01], 'name': 'steps'}
    """
    return {"class_name": type(schedule).__name__, "config": schedule.get_config()}


def is_known(schedule: Any) -> bool:
    """Say whether ``deserialize`` can make the schedule again: not if its class, or function, is the caller's own.

    >>> is_known(CosineDecay(0.1, 100)), is_known(lambda step: 0.1)
    (True, False)
    """
    return _BY_CLASS_NAME.get(type(schedule).__name__) is type(schedule)


def deserialize(config: dict[str, Any]) -> LearningRateSchedule:
    """Return the schedule that ``serialize`` described; ValueError for a class that is not one of these.

    >>> deserialize(serialize(CosineDecay(0.1, 100)))(0)
    0.1
    """
    kind = _BY_CLASS_NAME.get(config.get("class_name", ""))
    if kind is None:
        raise ValueError(
            f"expected a schedule, one of {', '.join(_BY_CLASS_NAME)}, got {config.get('class_name')!r}. "
            "Make a schedule of your own anew and set optimizer.learning_rate to it."
        )
    return kind.from_config(config.get("config", {}))
