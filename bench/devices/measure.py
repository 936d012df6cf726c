"""Times: medians of rounds, on the CPU by the clock, on the GPU by CUDA events, with transfers by the clock again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from peers.protocol import Measurement, time_for

from devices.sweeps import Point


@dataclass(frozen=True)
class Effort:
    """How long a figure is measured: rounds of about `seconds` each."""

    seconds: float
    rounds: int


@dataclass(frozen=True)
class Row:
    """Seconds of one call at one size; None where there is no GPU.

    Attributes:
        gpu: operands and results stay on the GPU; transferred: NumPy arrays in and out.
    """

    name: str
    axis: str
    size: int
    work: float | None
    moved: float
    cpu: float
    gpu: float | None = None
    transferred: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as fast the GPU is, transfers left out."""
        return None if self.gpu is None else self.cpu / self.gpu

    @property
    def ratio_transferred(self) -> float | None:
        """How many times as fast the GPU is, transfers counted."""
        return None if self.transferred is None else self.cpu / self.transferred


def by_clock(call: Callable[[], Any], effort: Effort) -> float:
    """Seconds of a call: the median over rounds, after a call that is not counted."""
    call()
    return median(time_for(Measurement(call, 1), effort.seconds) for _ in range(effort.rounds))


def same(ours: Any, theirs: Any, name: str) -> None:
    """ValueError unless both devices give the same numbers to rounding."""
    for one, other in zip(as_arrays(ours), as_arrays(theirs), strict=True):
        scale = float(np.abs(one).max()) if one.size else 1.0
        if not np.allclose(one, other, rtol=1e-4, atol=1e-4 * max(scale, 1e-30)):
            worst = float(np.abs(one - other).max())
            raise ValueError(
                f"{name}: expected the same numbers from both devices, got a difference of {worst:.3g}."
            )


def as_arrays(result: Any) -> list[np.ndarray]:
    """The arrays of a result, one or a tuple, on the host."""
    results = result if isinstance(result, tuple) else (result,)
    return [x if isinstance(x, np.ndarray) else x.copy_to_host() for x in results]


def measure(name: str, axis: str, point: Point, gpu: Any, effort: Effort) -> Row:
    """One point on the CPU, and on `gpu` (a bench.devices.gpu.Timed) unless that is None."""
    operands = point.operands()
    if gpu is not None:
        ours, theirs = (point.call(*operands, device=device) for device in ("cpu", gpu.name))
        same(ours, theirs, f"{name}, {axis} {point.size}")
    cpu = by_clock(lambda: point.call(*operands, device="cpu"), effort)
    row = Row(name, axis, point.size, point.work, point.moved, cpu)
    if gpu is None:
        return row
    if point.resident is None:
        on_gpu = [gpu.array(operand) for operand in operands]
        inside = gpu.by_events(lambda: point.call(*on_gpu, device=gpu.name), effort)
    else:
        inside = gpu.by_events(point.resident(*operands, gpu), effort)
    outside = by_clock(lambda: point.call(*operands, device=gpu.name), effort)
    return replace(row, gpu=inside, transferred=outside)
