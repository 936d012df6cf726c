"""What a launch cost: multiply-adds, bytes, sectors of global memory, bank conflicts of shared memory, instructions.

Both kinds of memory are counted over the active lanes of a warp at one instruction, a *request*. Global memory moves in sectors
of 32 bytes. Shared memory has 32 banks of 4 bytes and serves a request of 4 bytes a lane or less in one pass, of 8 bytes in
two (half warps) and of 16 in four (quarter warps); lanes that ask one bank for different words make a pass take longer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numba import njit

SECTOR = 32
WARP = 32


@dataclass(slots=True)
class Access:
    """What one instruction, or several, asked of a memory: `passes` are global sectors or turns of the shared banks."""

    requests: int = 0
    bytes: int = 0
    passes: int = 0
    fewest: int = 0

    def __add__(self, other: Access) -> Access:
        return Access(
            self.requests + other.requests,
            self.bytes + other.bytes,
            self.passes + other.passes,
            self.fewest + other.fewest,
        )

    @property
    def conflicts(self) -> int:
        """Passes beyond the fewest possible: of shared memory, bank conflicts."""
        return self.passes - self.fewest

    @property
    def ratio(self) -> float:
        """Passes over the fewest possible; 1.0 where nothing was asked."""
        return self.passes / self.fewest if self.fewest else 1.0


@dataclass(slots=True)
class Counters:
    """Of one launch.

    Attributes:
        fma: fma.f32 and fma.f64, one for each active thread.
        mma: multiply-adds of tensor-core instructions, m * n * k a warp.
        opcodes: instructions executed, one for each warp with an active lane, by opcode.
        global_load, global_store, shared_load, shared_store: per instruction, by its number in Kernel.instructions. Atomics
            count as stores; cp.async as a global load and a shared store.
    """

    fma: int = 0
    mma: int = 0
    opcodes: Counter[str] = field(default_factory=Counter)
    global_load: dict[int, Access] = field(default_factory=dict)
    global_store: dict[int, Access] = field(default_factory=dict)
    shared_load: dict[int, Access] = field(default_factory=dict)
    shared_store: dict[int, Access] = field(default_factory=dict)

    @property
    def bytes_loaded(self) -> int:
        """From global memory, as asked for: a word that 32 lanes read counts 32 times."""
        return total(self.global_load).bytes

    @property
    def bytes_stored(self) -> int:
        return total(self.global_store).bytes

    @property
    def bank_conflicts(self) -> int:
        return (total(self.shared_load) + total(self.shared_store)).conflicts

    def add(self, kind: str, number: int, access: Access) -> None:
        """Adds to what instruction `number` did: kind is the name of one of the four dicts."""
        table = getattr(self, kind)
        table[number] = table.get(number, Access()) + access

    def __add__(self, other: Counters) -> Counters:
        """Of two launches of one kernel."""
        both = Counters(self.fma + other.fma, self.mma + other.mma, self.opcodes + other.opcodes)
        for counters in (self, other):
            for kind in ("global_load", "global_store", "shared_load", "shared_store"):
                for number, access in getattr(counters, kind).items():
                    both.add(kind, number, access)
        return both


def total(accesses: dict[int, Access], numbers: Iterable[int] | None = None) -> Access:
    """The sum over instructions, or over those of `numbers` (a loop's, say)."""
    chosen = accesses.values() if numbers is None else (accesses[n] for n in numbers if n in accesses)
    return sum(chosen, Access())


def global_access(address: np.ndarray, active: np.ndarray, item: int) -> Access:
    """Requests of `item` bytes a lane to global memory."""
    return Access(*_count_global(address, active, item))


def shared_access(offset: np.ndarray, active: np.ndarray, item: int) -> Access:
    """Requests of `item` bytes a lane to shared memory, offsets from its beginning."""
    return Access(*_count_shared(offset, active, item, WARP // max(1, item // 4)))


def matrix_rows(offset: np.ndarray, active: np.ndarray) -> Access:
    """Rows of 16 bytes that ldmatrix reads, one a lane: each eight are one matrix and one pass."""
    return Access(*_count_shared(offset, active, 16, 8))


@njit
def _count_global(address, active, item):
    requests = asked = sectors = fewest = 0
    lanes = np.empty(WARP, np.int64)
    for warp in range(0, address.size, WARP):
        n = 0
        for t in range(warp, warp + WARP):
            if active[t]:
                i = n  # insertion: lanes mostly come in order
                while i > 0 and lanes[i - 1] > address[t]:
                    lanes[i] = lanes[i - 1]
                    i -= 1
                lanes[i] = address[t]
                n += 1
        if n == 0:
            continue
        requests += 1
        asked += n * item
        distinct, end = 0, -1  # sectors below `end` are counted
        for i in range(n):
            if i == 0 or lanes[i] != lanes[i - 1]:
                distinct += item
            first = max(lanes[i] // SECTOR, end)
            end_here = (lanes[i] + item - 1) // SECTOR + 1
            sectors += max(0, end_here - first)
            end = max(end, end_here)
        fewest += (distinct + SECTOR - 1) // SECTOR
    return requests, asked, sectors, fewest


@njit
def _count_shared(offset, active, item, lanes):
    requests = asked = passes = fewest = 0
    words = (item + 3) // 4
    seen = np.empty((32, 32), np.int64)
    depth = np.zeros(32, np.int64)
    for warp in range(0, offset.size, WARP):
        any_lane = False
        for part in range(warp, warp + WARP, lanes):
            depth[:] = 0
            for t in range(part, part + lanes):
                if not active[t]:
                    continue
                any_lane = True
                asked += item
                for i in range(words):
                    word = offset[t] // 4 + i
                    bank = word % 32
                    for other in range(depth[bank]):
                        if seen[bank, other] == word:
                            break
                    else:
                        seen[bank, depth[bank]] = word
                        depth[bank] += 1
            if depth.max() > 0:
                passes += depth.max()
                fewest += 1
        if any_lane:
            requests += 1
    return requests, asked, passes, fewest
