"""Figures of a kernel's machine code, and where they break its budget."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from cnnlite_kernels.cuda.catalogue import Budget, Entry
from cnnlite_kernels.cuda.kernel import Kernel
from tools.cuda_static import sass
from tools.cuda_static.occupancy import Capability, Occupancy, occupancy
from tools.cuda_static.toolchain import Assembled, architecture, assemble

DIALECTS: tuple[Capability, Capability] = ((8, 0), (10, 0))  # of 7.5 to 9.0, and of 10.0 and 12.0
LOADS = (*sass.GLOBAL_LOADS, *sass.SHARED_LOADS, *sass.COPIES)


class HotLoop(NamedTuple):
    """The innermost loop with the most arithmetic.

    Attributes:
        length: instructions, executed by a warp each time round, blocks that only edges enter included.
        share: the part of them that is the kernel's arithmetic.
        wide: the part of its loads that move 128 bits a thread; None where it loads nothing.
        counts: how often each opcode is there.
    """

    length: int
    share: float
    wide: float | None
    counts: dict[str, int]


class Figures(NamedTuple):
    """What the machine code of a kernel is, for one architecture and dtype.

    Attributes:
        registers, shared, stack, spilled: see toolchain.Assembled.
        occupancy: the bound on the blocks that a multiprocessor holds.
        loop: the hot loop; None where the budget names none, or there is none.
        seconds: of one core from Python to machine code, on the machine that made the table.
    """

    registers: int
    shared: int
    stack: int
    spilled: int
    occupancy: Occupancy
    loop: HotLoop | None
    seconds: float


def measure(kernel: Kernel, budget: Budget, capability: Capability, dtype: Any = np.float32) -> Figures:
    """Compiles, assembles and reads one kernel.

    Raises:
        ValueError: it does not assemble, or does not fit a multiprocessor.
    """
    ptx, seconds = _ptx(kernel, capability, np.dtype(dtype))
    return _figures(kernel, budget, capability, ptx, seconds)


@functools.cache
def everywhere(entry: Entry, exact: bool = False) -> dict[Capability, Figures]:
    """An entry's figures for all its architectures; the assembler works while the next one is compiled.

    nvvm writes the same PTX for 7.5 to 9.0, and the same for 10.0 and 12.0, but for the line that names the architecture and for
    addresses, whose arithmetic changes from run to run anyway. So unless `exact` is asked for one of either is compiled, and
    assembled for all: most of the time is saved, the more so as the tests that interpret PTX have compiled the same one.
    """
    kernel, dtype = entry.make(), np.dtype(entry.dtype)
    written: dict[Capability, tuple[str, float]] = {}
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 2) - 1)) as pool:
        running = {}
        for capability in entry.capabilities:
            target = capability if exact else DIALECTS[capability >= (10, 0)]
            if target not in written:
                written[target] = _ptx(kernel, target, dtype)
            ptx, seconds = written[target]
            ptx = ptx.replace(f".target {architecture(target)}", f".target {architecture(capability)}", 1)
            running[capability] = pool.submit(_figures, kernel, entry.budget, capability, ptx, seconds)
        return {key: one.result() for key, one in running.items()}


def faults(budget: Budget, figures: Figures) -> Iterator[str]:
    """Each way in which a kernel breaks its budget, in words."""
    if figures.stack:
        yield f"expected no stack, got {figures.stack} bytes; index local arrays with constants, or unroll"
    if figures.spilled:
        yield f"expected no spilled registers, got {figures.spilled} bytes; make the thread's tile smaller"
    if figures.registers > budget.registers:
        yield f"expected at most {budget.registers} registers, got {figures.registers}"
    if figures.shared > budget.shared:
        yield f"expected at most {budget.shared} bytes of shared memory, got {figures.shared}"
    if figures.occupancy.blocks < budget.blocks:
        got = figures.occupancy
        yield f"expected {budget.blocks} blocks on a multiprocessor, got {got.blocks} for its {got.limit}"
    if budget.loop is not None:
        yield from _loop_faults(budget, figures.loop)


def _loop_faults(budget: Budget, loop: HotLoop | None) -> Iterator[str]:
    if loop is None:
        yield f"expected a hot loop of {budget.loop}, got none"
        return
    if loop.share < budget.share:
        yield f"expected {budget.loop} to be at least {budget.share:.0%} of the hot loop, got {loop.share:.1%} of {loop.length}"
    if budget.wide and loop.wide != 1.0:
        narrow = {name: count for name, count in loop.counts.items() if _narrow(name)}
        yield f"expected only 128-bit loads in the hot loop, got {narrow or 'no load at all'}"
    if budget.loop == "HMMA" and "FFMA" in loop.counts:
        yield f"expected no FFMA beside the tensor cores' work, got {loop.counts['FFMA']} in the hot loop"
    if budget.copies:
        for base, what in (("LDGSTS", "asynchronous copies"), ("LDSM", "ldmatrix")):
            if not any(name.startswith(base) for name in loop.counts):
                yield f"expected {what} ({base}) in the hot loop, got none"


def _narrow(opcode: str) -> bool:
    one = sass.Instruction("", opcode, "")
    return one.base in LOADS and one.bits < 128


def _ptx(kernel: Kernel, capability: Capability, dtype: np.dtype) -> tuple[str, float]:
    start = time.thread_time()
    ptx = kernel.ptx(capability, dtype)
    return ptx, time.thread_time() - start


def _figures(kernel: Kernel, budget: Budget, capability: Capability, ptx: str, seconds: float) -> Figures:
    built = assemble(ptx, capability, disassemble=budget.loop is not None)
    return Figures(
        built.registers,
        built.shared,
        built.stack,
        built.spilled,
        occupancy(capability, kernel.threads, built.registers, built.shared),
        _hot_loop(built, budget.loop),
        seconds + built.seconds,
    )


def _hot_loop(built: Assembled, kind: str | None) -> HotLoop | None:
    if kind is None:
        return None
    code = sass.parse(built.sass)
    loop = sass.hot_loop(code, kind)
    if loop is None:
        return None
    instructions = loop.instructions(code)
    return HotLoop(
        len(instructions),
        sass.share(instructions, kind),
        sass.wide_share(instructions, LOADS),
        dict(sass.histogram(instructions)),
    )
