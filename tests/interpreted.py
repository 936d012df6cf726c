"""A device without a GPU: it runs the PTX of every launch in the interpreter, on NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tools.ptx.counters import Counters
from tools.ptx.machine import Machine
from tools.ptx.memory import Buffer

if TYPE_CHECKING:
    from cnnlite_kernels.cuda.kernel import Kernel, Launch


class Interpreted:
    """What cnnlite_kernels.cuda.plan calls a Device.

    Args:
        capability: of the GPU whose PTX is run.
        check: look for races and uninitialised shared memory; bounds and alignment are always checked.
        count: keep what every launch cost in `counters`, in order.

    Attributes:
        launches: those that were run, one for each of `counters`.
    """

    multiprocessors = 108

    def __init__(self, capability: tuple[int, int] = (8, 0), check: bool = True, count: bool = False) -> None:
        self.capability, self.check, self.count = capability, check, count
        self.counters: list[Counters] = []
        self.launches: list[Launch] = []
        self._machines: dict[tuple[Kernel, np.dtype], Machine] = {}

    def empty(self, count: int, dtype: Any = np.float32) -> np.ndarray:
        """NaN in every float, all bits set in every integer: a result that nobody wrote is seen."""
        return _unwritten(count, dtype)

    def host(self, count: int, dtype: Any = np.float32) -> np.ndarray:
        """Memory of the host that copies are fast from; here like any other."""
        return _unwritten(count, dtype)

    def upload(self, host: np.ndarray, to: np.ndarray) -> None:
        to.view(np.uint8)[:] = host.reshape(-1).view(np.uint8)

    def download(self, array: np.ndarray, to: np.ndarray) -> None:
        to.reshape(-1).view(np.uint8)[:] = array.view(np.uint8)

    def run(self, launches: list[Launch]) -> None:
        for launch in launches:
            names = launch.kernel.body.__code__.co_varnames
            args = [
                Buffer(arg, f"argument {i} ({names[i]})") if isinstance(arg, np.ndarray) else arg
                for i, arg in enumerate(launch.args)
            ]
            counters = self._machine(launch).launch(
                launch.blocks, launch.kernel.threads, *args, count=self.count
            )
            if counters is not None:
                self.counters.append(counters)
                self.launches.append(launch)

    def synchronize(self) -> None:
        """Nothing is under way."""

    def _machine(self, launch: Launch) -> Machine:
        dtype = launch.kernel.dtype(launch.args)
        key = (launch.kernel, dtype)
        if key not in self._machines:
            ptx = launch.kernel.ptx(self.capability, dtype)
            self._machines[key] = Machine(ptx, check=self.check)
        return self._machines[key]


def _unwritten(count: int, dtype: Any) -> np.ndarray:
    array = np.empty(count, dtype)
    array.view(np.uint8)[:] = 0xFF  # of floats, a NaN
    return array
