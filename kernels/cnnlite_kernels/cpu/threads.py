"""The pool: Python threads that run compiled code without the interpreter's lock, and how many there are.

A worker runs `follow` (team.py), which joins whatever job is open, and sleeps in a queue when there has been
none for a while. One caller at a time leads the pool; another caller (a second Python thread) meanwhile runs
its job alone, with the same result. After a fork the child starts with a new pool.
"""

from __future__ import annotations

import ctypes
import os
import queue
import threading

import numpy as np

from cnnlite_kernels.cpu import team
from cnnlite_kernels.cpu.allowance import allowed_cpus
from cnnlite_kernels.cpu.memory import BASES, Base

# Nanoseconds, ten times what it costs a job to wake a worker. Longer than the Python between two steps of
# most training; with 7 ms another process on the worker's processor lost 29% of its speed to a job every
# millisecond, with 0.5 ms 1%.
PATIENCE = 500_000
LINE = 64
_CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class Work:
    """Rows of SEGMENT_COLUMNS int64 (see team.py), the job's base addresses, int64 (BASES,), and the bytes of workspace of each
    thread: looked at once, run many times."""

    def __init__(self, segments: np.ndarray, addresses: np.ndarray, workspace: int) -> None:
        self._segments, self._addresses = segments, addresses  # kept alive
        self.addresses = addresses.ctypes.data
        self.address, self.count, self.workspace = segments.ctypes.data, len(segments), workspace
        self.shared = bool(segments[:, team.COUNT].max(initial=0) > 1)


class Member:
    """One thread's table of bases and its workspace."""

    def __init__(self) -> None:
        self.bases = np.zeros(BASES, np.int64)
        self.address = self.bases.ctypes.data
        self._size = 0
        self._workspace = np.empty(0, np.uint8)

    def reserve(self, size: int) -> None:
        """Makes the workspace at least `size` bytes, beginning on a cache line."""
        if size <= self._size:
            return
        # Ctrl-C may come between any two of these lines, and must not leave the address of memory that is
        # gone.
        self._size = 0
        self._workspace = np.empty(size + LINE, np.uint8)
        start = self._workspace.ctypes.data
        self.bases[Base.WORK] = start + (-start) % LINE
        self._size = size


class Pool:
    """A leader, its `threads - 1` workers, and the record through which they meet.

    Where the system refuses more threads there are fewer workers, and the same results.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.record = np.zeros(team.TEAM.itemsize // 8, np.int64)
        self._here = self.record.ctypes.data
        self.record[team.HERE] = self._here
        self.record[team.PATIENCE] = PATIENCE
        self.members = [Member()]
        self._asleep = [False] * threads
        self._alarms: list[queue.SimpleQueue[None]] = [queue.SimpleQueue() for _ in range(threads)]
        self._lead = _CALL(team.lead.address())
        self._follow = _CALL(team.follow.address() if threads > 1 else 0)
        self._stopped = False
        try:
            for number in range(1, threads):
                self.members.append(Member())
                name = f"cnnlite-{number}"
                threading.Thread(target=self._work, args=(number,), daemon=True, name=name).start()
        except RuntimeError:  # no more threads can be had, or the interpreter is shutting down
            self.members.pop()
        except BaseException:
            self.stop()
            raise

    def run(self, work: Work) -> None:
        """Runs a job."""
        for member in self.members:
            member.reserve(work.workspace)
        record = self.record
        record[team.SEGMENTS], record[team.SEGMENT_COUNT] = work.address, work.count
        record[team.ADDRESSES] = work.addresses
        if work.shared and True in self._asleep:
            self._wake()
        self._lead(self.members[0].address, self._here)

    def stop(self) -> None:
        """Lets the workers end."""
        self._stopped = True
        self.record[team.PATIENCE] = 0
        self._wake()

    def _wake(self) -> None:
        for number, asleep in enumerate(self._asleep):
            if asleep:
                self._asleep[number] = False
                self._alarms[number].put(None)

    def _work(self, number: int) -> None:
        bases = self.members[number].address
        while True:
            self._follow(bases, self._here)
            self._asleep[number] = True
            if self._stopped:
                return
            # It may have waited for the interpreter's lock until the next job, whose leader saw it awake.
            if not self.record[team.OPEN]:
                self._alarms[number].get()


_pool: Pool | None = None
_busy = threading.Lock()
_alone: list[Pool] = []  # pools of one thread, kept for their workspaces
_asked: int | None = None
_default: int | None = None


def run(work: Work) -> None:
    """Runs a job on the pool, or in this thread alone while another caller has the pool."""
    global _pool
    if _busy.acquire(blocking=False):
        try:
            pool, threads = _pool, get_num_threads()
            if pool is None or pool.threads != threads:
                _pool = None
                if pool is not None:
                    pool.stop()
                _pool = pool = Pool(threads)
            pool.run(work)
        finally:
            _busy.release()
        return
    try:
        pool = _alone.pop()
    except IndexError:
        pool = Pool(1)
    pool.run(work)
    _alone.append(pool)


def get_num_threads() -> int:
    """How many threads the CPU kernels use."""
    global _default
    if _asked is not None:
        return _asked
    if _default is None:
        _default = default_threads()
    return _default


def set_num_threads(threads: int | None) -> None:
    """Sets how many threads the CPU kernels use from now on; None goes back to the default.

    Any number gives the same results, bit for bit.

    Raises:
        ValueError: threads is not a positive integer.

    Example:
        >>> set_num_threads(2)
        >>> get_num_threads()
        2
        >>> set_num_threads(None)
    """
    global _asked, _default
    number = isinstance(threads, (int, np.integer)) and not isinstance(threads, bool)
    if threads is not None and not (number and threads >= 1):
        raise ValueError(
            f"set_num_threads: expected a positive integer, or None for the default, got {threads!r}."
        )
    _asked, _default = None if threads is None else int(threads), None


def default_threads() -> int:
    """CNNLITE_NUM_THREADS, else the CPUs this process may use: its affinity, and its container's quota.

    Raises:
        ValueError: CNNLITE_NUM_THREADS is not a positive integer.
    """
    asked = os.environ.get("CNNLITE_NUM_THREADS", "").strip()
    if not asked:
        return allowed_cpus()
    if not (asked.isascii() and asked.isdigit() and int(asked) >= 1):
        raise ValueError(
            f"CNNLITE_NUM_THREADS: expected a positive integer, got {asked!r}. "
            f"Unset it to use the {allowed_cpus()} CPUs that this process may use."
        )
    return int(asked)


def _after_fork() -> None:
    """Threads do not survive a fork, another thread may have held the lock, the child may have other CPUs."""
    global _pool, _busy, _default
    _pool, _busy, _default = None, threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
