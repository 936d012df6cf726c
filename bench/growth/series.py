"""A call measured over sizes, and the ideal that it is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from peers.protocol import Measurement, time_for

import cnnlite

THREADS = "threads"


@dataclass(frozen=True)
class Point:
    """One size: `amount` of work (images, or operations / 1e9) in a call; `seconds` of each round."""

    size: int
    amount: float
    seconds: tuple[float, ...]

    @property
    def middle(self) -> float:
        return median(self.seconds)

    @property
    def rate(self) -> float:
        """Amount a second."""
        return self.amount / self.middle

    @property
    def spread(self) -> float:
        """Half the range, as a share of the median."""
        return (max(self.seconds) - min(self.seconds)) / 2 / self.middle


@dataclass(frozen=True)
class Series:
    """A call over the sizes of an axis, which is THREADS or what a size counts; `unit` is of the rate."""

    name: str
    axis: str
    unit: str
    points: tuple[Point, ...]

    def ideal_rate(self, point: Point) -> float:
        """On n threads n times the rate on the fewest per thread; over sizes the best rate of all, for equal work should cost equal time.

        >>> points = (Point(1, 2.0, (1.0,)), Point(2, 2.0, (0.8,)))
        >>> Series("a", THREADS, "images/s", points).ideal_rate(points[1])
        4.0
        >>> Series("a", "images", "images/s", points).ideal_rate(points[0])
        2.5
        """
        if self.axis == THREADS:
            return self.points[0].rate / self.points[0].size * point.size
        return max(each.rate for each in self.points)

    def ideal_seconds(self, point: Point) -> float:
        return point.amount / self.ideal_rate(point)

    def share(self, point: Point) -> float:
        """Of the ideal."""
        return point.rate / self.ideal_rate(point)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: Any) -> Series:
        points = tuple(
            Point(int(each["size"]), float(each["amount"]), tuple(each["seconds"]))
            for each in found["points"]
        )
        return cls(found["name"], found["axis"], found["unit"], points)


@dataclass(frozen=True)
class Plan:
    """A series to be measured: `make(size)` returns the call and its amount of work; it is not given operands again for threads."""

    name: str
    axis: str
    unit: str
    sizes: tuple[int, ...]
    make: Callable[[int], tuple[Callable[[], object], float]] = field(repr=False)

    def measure(self, seconds: float, rounds: int) -> Series:
        """Rounds in turn over all sizes, back and forth, so that a slow drift of the machine bends no line."""
        calls = {size: self.make(size) for size in self.sizes}
        found: dict[int, list[float]] = {size: [] for size in self.sizes}
        try:
            for number in range(rounds):
                for size in self.sizes if number % 2 == 0 else reversed(self.sizes):
                    if self.axis == THREADS:
                        cnnlite.set_num_threads(size)
                    once = calls[size][0]
                    once()
                    found[size].append(time_for(Measurement(once, 1), seconds))
        finally:
            cnnlite.set_num_threads(None)
        return Series(
            self.name,
            self.axis,
            self.unit,
            tuple(Point(size, calls[size][1], tuple(found[size])) for size in self.sizes),
        )
