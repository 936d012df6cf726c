"""The GPU of a comparison: arrays on it, and times by its own events."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import cnnlite_kernels as ck
from cnnlite_kernels import dispatch
from devices.measure import Effort


class Timed:
    """A GPU that calls are timed on.

    Args:
        name: "cuda" or "cuda:N". device: a cnnlite_kernels.cuda device with events.
    """

    def __init__(self, name: str, device: Any) -> None:
        self.name, self.device = name, device
        self.description = str(getattr(device, "name", device))

    def array(self, values: np.ndarray) -> Any:
        """A copy in the GPU's memory."""
        return ck.to_device(values, self.name)

    def by_events(self, call: Callable[[], Any], effort: Effort) -> float:
        """Seconds of a call on the GPU: the median over rounds of many calls between two events, after a warm-up.

        What a call costs the host counts only where it is longer than what the GPU does: that is what a program sees.
        """
        once = self._between(call, 2)
        repeats = max(1, int(effort.seconds / max(once, 1e-7)))
        return median(self._between(call, repeats) for _ in range(effort.rounds))

    def _between(self, call: Callable[[], Any], repeats: int) -> float:
        call()
        begun = self.device.event()
        for _ in range(repeats):
            call()
        return self.device.event().seconds_since(begun) / repeats


def find(name: str) -> tuple[Timed | None, str]:
    """The GPU of a name, or None and why it cannot be used."""
    try:
        return Timed(name, dispatch.gpu("compare_devices", name)), ""
    except RuntimeError as problem:
        return None, str(problem).removesuffix(".")
