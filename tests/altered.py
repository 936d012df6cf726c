"""An interpreted GPU whose kernels lack a barrier, or whose warps take turns: to see that a mistake shows, and that an order does not."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from interpreted import Interpreted

from cnnlite_kernels.cuda.kernel import Launch
from tools.ptx.machine import Machine

BARRIER = re.compile(r"^\s*bar(?:rier)?(?:\.cta)?\.sync.*;$", re.MULTILINE)
CAPABILITY = (10, 0)  # what test_cuda_compile.py compiles every kernel for anyway


class Altered(Interpreted):
    """Interpreted with the PTX of `CAPABILITY`.

    Args:
        without: the number of the barrier of each kernel, in the text's order, that is taken out; None for none.
        order: the seed of the warps' turns (tools/ptx/schedule.py), None for all together.

    Attributes:
        barriers: the most that a kernel had.
    """

    def __init__(self, *, without: int | None = None, order: int | None = None, check: bool = True) -> None:
        super().__init__(CAPABILITY, check)
        self.without, self.order = without, order
        self.barriers = 0

    def _machine(self, launch: Launch) -> Machine:
        key = (launch.kernel, launch.kernel.dtype(launch.args))
        if key not in self._machines:
            ptx = launch.kernel.ptx(self.capability, key[1])
            barriers = list(BARRIER.finditer(ptx))
            self.barriers = max(self.barriers, len(barriers))
            if self.without is not None and self.without < len(barriers):
                start, stop = barriers[self.without].span()
                ptx = ptx[:start] + ptx[stop:]
            self._machines[key] = Machine(ptx, check=self.check, order=self.order)
        return self._machines[key]
