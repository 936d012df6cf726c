"""A plan is a table of kernels with their descriptors, made once for a shape and run many times without Python in between.

`Plan` collects the entries for one part; `Job` binds plans to the memory of their parts and runs them. Ops put one or two
entries into a plan, a model all of its layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cnnlite_kernels.cpu import team, threads
from cnnlite_kernels.cpu.jit import Kernel
from cnnlite_kernels.cpu.memory import BASES, Base, Pointer, pointer_to

LINE = 64  # bytes of a cache line, to which every buffer is aligned


class Plan:
    """Entries that run one after the other on each part, and the workspace that they need.

    The workspace is laid out here, in bytes from Base.WORK; `free` gives back what came after a mark, for layers that need
    scratch only while they run.
    """

    def __init__(self, item: int = 4) -> None:
        self.item = item  # bytes of a number: 4 for float32, 8 for float64
        self.workspace = 0
        self._used = 0
        self._segments: list[list[tuple[int, np.ndarray]]] = [[]]
        self._kept: dict[bytes, np.ndarray] = {}  # tables that descriptors point to, by content

    def add(self, kernel: Kernel, *integers: int, **fields: float | Pointer) -> np.ndarray:
        """Appends a kernel (see jit.Kernel) with its descriptor's fields; returns the descriptor."""
        descriptor = np.zeros(1, kernel.descriptor)
        for name, value in fields.items():
            descriptor[name] = tuple(value) if isinstance(value, Pointer) else value
        self._segments[-1].append((kernel.address(*integers), descriptor))
        return descriptor

    def meet(self) -> None:
        """What is added from here on is another segment of a job: all parts are done with what came before."""
        self._segments.append([])

    def table(self, offsets, dtype: type = np.int64) -> Pointer:
        """Keeps a table of integers for the kernels; equal tables (of the groups of a convolution, say) are kept once."""
        content = np.ascontiguousarray(offsets, dtype).tobytes()
        return pointer_to(self._kept.setdefault(content, np.frombuffer(content, np.uint8)))

    def scratch(self, size: int) -> Pointer:
        """`size` bytes of workspace, from the beginning of a cache line; a vector may be read past its end."""
        start = self._used
        self._used = start + -(-(size + LINE) // LINE) * LINE
        self.workspace = max(self.workspace, self._used)
        return Pointer(Base.WORK, start)

    def mark(self) -> int:
        return self._used

    def free(self, mark: int) -> None:
        """Gives back all scratch taken since `mark`."""
        self._used = mark

    def beside(self) -> Plan:
        """A plan of a part that shares this one's workspace: it takes scratch behind what is taken here."""
        other = Plan(self.item)
        other._used = self._used
        return other

    def behind(self, other: Plan) -> None:
        """What is taken from here on lies behind all that a plan beside this one takes."""
        self._used = max(self._used, other.workspace)
        self.workspace = max(self.workspace, self._used)

    def entries(self, segment: int = 0) -> np.ndarray:
        """Pairs (kernel, descriptor) of addresses."""
        pairs = [(function, descriptor.ctypes.data) for function, descriptor in self._segments[segment]]
        return np.array(pairs, np.int64).reshape(-1, 2)


class Part(NamedTuple):
    """A plan and where this part's memory is: addresses by base. Without one for Base.WORK the thread's workspace is used, which
    another part may write to between two segments.

    segment: which of the plan's segments, where it meets the other parts (`Plan.meet`).
    """

    plan: Plan
    bases: Mapping[Base, int] = {}
    segment: int = 0


class Job:
    """Segments of parts. All parts of one segment are done before the next begins; which thread takes which is open.

    `addresses`, int64 (BASES,) and zeros at first, are added to the base addresses of all parts, and may be changed between runs.
    """

    def __init__(self, segments: Sequence[Sequence[Part]]) -> None:
        self._plans = {id(part.plan): part.plan for parts in segments for part in parts}
        wanted = {(id(part.plan), part.segment) for parts in segments for part in parts}
        self._entries = {(key, number): self._plans[key].entries(number) for key, number in wanted}
        self._parts = [np.zeros((len(parts), team.PART_COLUMNS), np.int64) for parts in segments]
        self.addresses = np.zeros(BASES, np.int64)
        self._segments = np.zeros((len(segments), team.SEGMENT_COLUMNS), np.int64)
        for segment, rows, parts in zip(self._segments, self._parts, segments, strict=True):
            segment[team.PARTS], segment[team.COUNT] = rows.ctypes.data, len(parts)
            for row, part in zip(rows, parts, strict=True):
                entries = self._entries[id(part.plan), part.segment]
                row[team.ENTRIES], row[team.KERNELS] = entries.ctypes.data, len(entries)
                for base, address in part.bases.items():
                    row[team.PART_BASES + base] = address
        borrowed = [
            part.plan.workspace for parts in segments for part in parts if Base.WORK not in part.bases
        ]
        self._work = threads.Work(self._segments, self.addresses, max(borrowed, default=0))

    def run(self) -> None:
        """Runs all segments in order, each over all of its parts."""
        threads.run(self._work)
