"""A plan: launches in order, with the memory that they need. Made once, run as often as its operands' contents change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from cnnlite_kernels.cuda.kernel import Kernel, Launch


class Device(Protocol):
    """Where launches run: a GPU (`gpu.Gpu`), or in tests an interpreter. Its arrays are flat and contiguous, and can be sliced."""

    multiprocessors: int
    capability: tuple[int, int]

    def empty(self, count: int, dtype: Any) -> Any:
        """An array of the device, of any content."""

    def host(self, count: int, dtype: Any) -> np.ndarray:
        """An array of the host that copies are fast from and to, and return before they have ended."""

    def upload(self, host: np.ndarray, to: Any) -> None:
        """Copies a contiguous array of the same size to the device."""

    def download(self, array: Any, to: np.ndarray) -> None:
        """Copies an array of the device to a contiguous one of the same size: waits for it, unless that is one of `host`."""

    def run(self, launches: list[Launch]) -> None:
        """Runs launches one after the other; returns before they have ended."""

    def synchronize(self) -> None:
        """Waits for all that was run."""


class Plan:
    """Launches that `add_...` functions put one after the other."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.launches: list[Launch] = []
        self._transient: dict[np.dtype, Any] = {}

    def add(self, kernel: Kernel, blocks: int, *args: Any) -> None:
        """One more launch. A grid has one dimension, and no launch has no blocks."""
        if blocks:
            self.launches.append(Launch(kernel, blocks, args))

    def scratch(self, count: int, dtype: Any = np.float32) -> Any:
        """Memory that lives as long as the plan."""
        return self.device.empty(count, dtype)

    def transient(self, count: int, dtype: Any = np.float32) -> Any:
        """Memory that whoever asks next may get too, once the launches added so far are done: for partial sums."""
        dtype = np.dtype(dtype)
        kept = self._transient.get(dtype)
        if kept is None or kept.size < count:
            kept = self._transient[dtype] = self.device.empty(count, dtype)
        return kept[:count]

    def run(self) -> None:
        self.device.run(self.launches)

    def graph(self) -> Callable[[], None]:
        """What `run` does with the launches added so far, as one launch where the device offers that."""
        record = getattr(self.device, "graph", None)
        return self.run if record is None else record(self.launches)
