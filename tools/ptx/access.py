"""One memory instruction's accesses: which memory an address is in, whether the access may happen, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tools.ptx import counters, tracking
from tools.ptx.errors import PtxError
from tools.ptx.frame import Frame
from tools.ptx.memory import LOCAL, SHARED, WINDOW, Region
from tools.ptx.parser import Instruction

FAULTS = {
    tracking.OUTSIDE: "{verb} outside {name}",
    tracking.MISALIGNED: "misaligned {verb} of {item} bytes in {name}",
    tracking.UNINITIALISED: "{verb} of uninitialised {name}",
    tracking.RACE: "race in {name}: this {verb} and another thread's access are not ordered by a barrier",
    tracking.IN_FLIGHT: "{verb} of {name} that a cp.async has not been waited for",
}
CHECKS = {"load": tracking.check_load, "store": tracking.check_store, "atomic": tracking.check_atomic}


def kind_of(address: int) -> int:
    """Number of the window in global memory from 1, -SHARED, -LOCAL, or 0 for what is no address. Each kind is an interval."""
    if address >> WINDOW:
        return max(0, address >> WINDOW)
    return -LOCAL if address >= LOCAL else -SHARED if address >= SHARED else 0


class Accesses:
    """The accesses of one instruction to memory, bound to a frame.

    Args:
        verb: "load", "store" or "atomic".
        space: "global", "shared" or "local", or None for generic addresses.
        item: bytes that a thread touches at once; its address has to be a multiple.
    """

    def __init__(self, frame: Frame, ins: Instruction, verb: str, space: str | None, item: int) -> None:
        self.frame, self.ins, self.verb, self.space, self.item = frame, ins, verb, space, item
        self._offset = np.zeros(frame.count, np.int64)

    def resolve(
        self, address: np.ndarray, item: int | None = None
    ) -> Iterator[tuple[Region, np.ndarray, np.ndarray]]:
        """(region, offset of each thread in its data, who takes part) for each region touched; checked and counted.

        `item` bytes are touched where that is fewer than the instruction's (a cp.async that fills with zeros).
        """
        active = self.frame.active
        low, high, first = tracking.extent(address, active)
        if first < 0:
            return
        if kind_of(low) == kind_of(high):
            yield self._one(address, active, low, item)
            return
        kinds = np.array([kind_of(each) for each in address.tolist()])
        for kind in np.unique(kinds[active]):
            chosen = active & (kinds == kind)
            yield self._one(address, chosen, int(address[chosen.argmax()]), item)

    def _one(
        self, address: np.ndarray, active: np.ndarray, first: int, item: int | None
    ) -> tuple[Region, np.ndarray, np.ndarray]:
        frame = self.frame
        region, space = self._region(first, active)
        offset = self._offset
        touched = self.item if item is None else item
        fault, thread = tracking.locate(
            address, active, region.base, region.low, region.high, touched, self.item, offset
        )
        if fault:
            raise self.fault(fault, thread, region)
        if space == "shared":
            self.count_shared(offset, active)
            offset = offset + frame.shared_start
        elif space == "local":
            return region, offset + frame.local_start, active
        else:
            if region.readonly and self.verb != "load":
                raise self.frame.fail(
                    self.ins, f"{self.verb} to {region.name}, which is read-only", int(active.argmax())
                )
            self.count_global(address, active, touched)
            offset = region.physical(offset, active)
        self.check(region, offset, active, touched)
        return region, offset, active

    def _region(self, address: int, active: np.ndarray) -> tuple[Region, str]:
        frame, kind = self.frame, kind_of(address)
        space = "global" if kind > 0 else {LOCAL: "local", SHARED: "shared"}.get(-kind, "no")
        region = {"local": frame.local, "shared": frame.shared}.get(space) or frame.memory.region(kind)
        if region is None or self.space not in (None, space):
            thread = int(active.argmax())
            where = f"in {space} memory" if region else "of nothing"
            raise frame.fail(self.ins, f"{self.verb} at {address:#x}, an address {where}", thread)
        return region, space

    def check(self, region: Region, offset: np.ndarray, active: np.ndarray, item: int) -> None:
        """Races, uninitialised memory and copies in flight."""
        frame = self.frame
        in_flight = frame.in_flight if region is frame.shared else frame.in_flight[:0]
        if not (region.stamps.size or region.written.size or in_flight.size):
            return
        fault, thread = CHECKS[self.verb](
            offset,
            active,
            item,
            region.cell,
            region.stamps,
            region.written,
            in_flight,
            frame.thread,
            frame.time,
        )
        if fault:
            raise self.fault(fault, thread, region)

    def count_shared(self, offset: np.ndarray, active: np.ndarray) -> None:
        self._count("shared", counters.shared_access, offset, active, self.item)

    def count_global(self, address: np.ndarray, active: np.ndarray, item: int) -> None:
        self._count("global", counters.global_access, address, active, item)

    def _count(
        self, space: str, function: Callable, address: np.ndarray, active: np.ndarray, item: int
    ) -> None:
        if self.frame.counters is not None:
            kind = f"{space}_{'load' if self.verb == 'load' else 'store'}"
            self.frame.counters.add(kind, self.ins.number, function(address, active, item))

    def fault(self, code: int, thread: int, region: Region) -> PtxError:
        what = FAULTS[code].format(verb=self.verb, name=region.name, item=self.item)
        return self.frame.fail(self.ins, what, thread)
