"""Tiny kernels for the tests of compilation, cache and threads, and a job whose numbers tell of mistakes.
went wrong.

The job writes to its workspace, sums in a fixed order over two barriers, and takes as long as it is asked to.
"""

from __future__ import annotations

import ctypes
import math

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.jit import Kernel, kernel
from cnnlite_kernels.cpu.memory import BASES, INT64, POINTER, Base, Pointer, address, array_at, pointer_to
from cnnlite_kernels.cpu.plan import Job, Part, Plan

NUMBER = np.dtype([("number", np.int64)])
TASK = np.dtype([("work", POINTER), ("x", POINTER), ("out", POINTER), ("n", np.int64)])
PARTS = 13
OUT = int(Base.OUT)  # older versions of Numba do not take an enum as an index


@kernel(NUMBER)
def variant(value):
    """Writes its number plus `value`, which is compiled in, to the int64 at Base.OUT."""

    def body(bases, d):
        bases = carray(bases, BASES)
        array_at(bases[OUT], 1, INT64)[0] = carray(d, 1)[0].number + value

    return body


def again(one: Kernel) -> Kernel:
    """The same kernel as a process that has not yet compiled it would have it."""
    return Kernel(one.factory, one.descriptor)


def answer(one: Kernel, value: int, number: int = 1000) -> int:
    """What `variant` says: number + value, if it is the right machine code."""
    out, bases, descriptor = np.zeros(1, np.int64), np.zeros(BASES, np.int64), np.zeros(1, NUMBER)
    bases[Base.OUT] = out.ctypes.data
    descriptor["number"] = number
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(one.address(value))
    function(bases.ctypes.data, descriptor.ctypes.data)
    return int(out[0])


@kernel(TASK)
def scatter():
    """out[0] = sum over i < n of sqrt(x[0] + i), halved at each step; the numbers pass the workspace.

    out[1] = the address of the workspace: whose thread it was.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        work = array_at(address(bases, d.work), d.n, 8)
        x = array_at(address(bases, d.x), 1, 8)[0]
        for i in range(d.n):
            work[i] = math.sqrt(x + i)
        total = 0.0
        for i in range(d.n):
            total = 0.5 * total + work[i]
            work[i] = -1.0
        out = array_at(address(bases, d.out), 2, 8)
        out[0], out[1] = total, address(bases, d.work)

    return body


@kernel(TASK)
def gather():
    """out[0] = x[0] + x[2] + ... + x[2 * n - 2], from left to right."""

    def body(bases, d):
        d = carray(d, 1)[0]
        x = array_at(address(bases, d.x), 2 * d.n, 8)
        total = 0.0
        for i in range(d.n):
            total += x[2 * i]
        array_at(address(bases, d.out), 1, 8)[0] = total

    return body


class Sums:
    """A job of three segments: PARTS sums of n numbers, the sum of those, and PARTS sums that begin with it.

    It takes some 5 ns * 2 * PARTS * n on one thread.
    """

    def __init__(self, n: int = 200) -> None:
        self.n = n
        self.x = np.arange(1.0, PARTS + 1)
        self._first, self._total, self._second = np.zeros((PARTS, 2)), np.zeros(1), np.zeros((PARTS, 2))
        scattered, gathered, last = Plan(8), Plan(8), Plan(8)
        work = scattered.scratch(8 * n)
        each = {"x": Pointer(Base.X, 0), "out": Pointer(Base.OUT, 0), "n": n}
        scattered.add(scatter, work=work, **each)
        gathered.add(gather, x=pointer_to(self._first), out=pointer_to(self._total), n=PARTS)
        last.add(scatter, work=last.scratch(8 * n), **each)
        into = [(p, self._first[p].ctypes.data, self._second[p].ctypes.data) for p in range(PARTS)]
        whole = self._total.ctypes.data
        self._job = Job(
            [
                [Part(scattered, {Base.X: self.x[p:].ctypes.data, Base.OUT: first}) for p, first, _ in into],
                [Part(gathered)],
                [Part(last, {Base.X: whole, Base.OUT: second}) for _, _, second in into],
            ]
        )

    def run(self) -> np.ndarray:
        """The first sums, their sum, and the second sums, in memory that held NaN before."""
        for array in (self._first, self._total, self._second):
            array[:] = np.nan
        self._job.run()
        return np.concatenate([self._first[:, 0], self._total, self._second[:, 0]])

    def takers(self) -> int:
        """How many threads took parts in the last run."""
        return len({*self._first[:, 1], *self._second[:, 1]})

    def expected(self) -> np.ndarray:
        """The same numbers, bit for bit, without a compiler."""
        first = [_scatter(x, self.n) for x in self.x]
        total = 0.0
        for number in first:
            total += number
        return np.array([*first, total, *[_scatter(total, self.n)] * PARTS])


def _scatter(x: float, n: int) -> float:
    total = 0.0
    for i in range(n):
        total = 0.5 * total + math.sqrt(x + i)
    return total


def right(n: int = 200, times: int = 1) -> bool:
    """Whether a new job gives the right numbers, several times in a row."""
    sums = Sums(n)
    expected = sums.expected()
    return all(np.array_equal(sums.run(), expected) for _ in range(times))
