"""The pool: Python threads that run compiled code without the interpreter's lock, and how many of them there are.

A worker runs `follow` (team.py), which joins whatever job is open, and sleeps on a Python lock when there has been none for a
while. One caller at a time leads the pool; another caller (a second Python thread) meanwhile runs its job alone, with the
same result. After a fork the child starts with a new pool.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading

import numpy as np

from cnnlite_kernels.cpu import team
from cnnlite_kernels.cpu.memory import BASES, Base

PATIENCE = 20_000  # turns of `follow`, some tens of microseconds to a few milliseconds: longer than Python between two steps
_CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class Member:
    """One thread's table of bases and its workspace."""

    def __init__(self) -> None:
        self.bases = np.zeros(BASES, np.int64)
        self.workspace = np.empty(0, np.uint8)

    def reserve(self, size: int) -> None:
        """Makes the workspace at least `size` bytes, beginning on a cache line."""
        if self.workspace.size < size + 64:
            self.workspace = np.empty(size + 64, np.uint8)
            start = self.workspace.ctypes.data
            self.bases[Base.WORK] = start + (-start) % 64


class Pool:
    """A leader, its `threads - 1` workers, and the record through which they meet."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.team = np.zeros(1, team.TEAM)
        self.team["here"] = self.team.ctypes.data
        self.team["patience"] = PATIENCE
        self.members = [Member() for _ in range(threads)]
        self._asleep = [False] * threads
        self._alarm = [threading.Lock() for _ in range(threads)]
        self._lead = _CALL(team.lead.address())
        self._follow = _CALL(team.follow.address()) if threads > 1 else None
        self._stopped = False
        for number in range(1, threads):
            self._alarm[number].acquire()
            threading.Thread(target=self._work, args=(number,), daemon=True, name=f"cnnlite-{number}").start()

    def run(self, segments: np.ndarray, workspace: int) -> None:
        """Runs a job: rows of SEGMENT_COLUMNS int64 (see team.py), with `workspace` bytes for every thread."""
        for member in self.members:
            member.reserve(workspace)
        self.team["segments"], self.team["count"] = segments.ctypes.data, len(segments)
        if self.threads > 1 and segments[:, team.COUNT].max(initial=0) > 1:
            for number in range(1, self.threads):
                if self._asleep[number]:
                    self._asleep[number] = False
                    self._alarm[number].release()
        self._lead(self.members[0].bases.ctypes.data, self.team.ctypes.data)

    def stop(self) -> None:
        """Lets the workers end."""
        self._stopped = True
        for number in range(1, self.threads):
            if self._asleep[number]:
                self._asleep[number] = False
                self._alarm[number].release()

    def _work(self, number: int) -> None:
        bases, record = self.members[number].bases, self.team
        while not self._stopped:
            self._follow(bases.ctypes.data, record.ctypes.data)  # type: ignore[misc]
            self._asleep[number] = True
            self._alarm[number].acquire()


_pool: Pool | None = None
_busy = threading.Lock()
_threads: int | None = None


def run(segments: np.ndarray, workspace: int) -> None:
    """Runs a job on the pool, or in this thread alone while another caller has the pool."""
    global _pool
    if _busy.acquire(blocking=False):
        try:
            if _pool is None or _pool.threads != get_num_threads():
                if _pool is not None:
                    _pool.stop()
                _pool = Pool(get_num_threads())
            _pool.run(segments, workspace)
        finally:
            _busy.release()
    else:
        Pool(1).run(segments, workspace)


def get_num_threads() -> int:
    """How many threads the CPU kernels use."""
    global _threads
    if _threads is None:
        _threads = default_threads()
    return _threads


def set_num_threads(threads: int | None) -> None:
    """Sets how many threads the CPU kernels use from now on; None goes back to the default.

    Any number gives the same results, bit for bit.
    """
    global _threads
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, (int, np.integer)) or threads < 1):
        raise ValueError(f"set_num_threads: expected a positive integer or None, got {threads!r}.")
    _threads = None if threads is None else int(threads)


def default_threads() -> int:
    """CNNLITE_NUM_THREADS, else the CPUs this process may use: its affinity, and the container's quota rounded up."""
    asked = os.environ.get("CNNLITE_NUM_THREADS", "").strip()
    if asked:
        if not asked.isdigit() or int(asked) < 1:
            raise ValueError(f"CNNLITE_NUM_THREADS: expected a positive integer, got {asked!r}.")
        return int(asked)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _container_quota()
    return max(1, min(allowed, math.ceil(quota)) if quota else allowed)


def _container_quota(root: str = "/sys/fs/cgroup") -> float | None:
    """CPUs that the container's cgroup (version 2, then 1) allows, or None for no limit."""
    try:
        with open(f"{root}/cpu.max") as file:
            limit, period = file.read().split()
    except (OSError, ValueError):
        try:
            with open(f"{root}/cpu/cpu.cfs_quota_us") as file:
                limit = file.read().strip()
            with open(f"{root}/cpu/cpu.cfs_period_us") as file:
                period = file.read().strip()
        except OSError:
            return None
    if limit == "max" or int(limit) <= 0:
        return None
    return int(limit) / int(period)


def _after_fork() -> None:
    """Threads do not survive a fork, and another thread may have held the lock."""
    global _pool, _busy
    _pool, _busy = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
