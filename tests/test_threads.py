"""The pool: the same numbers for any number of threads, from Python threads at once, after fork, at exit."""

from __future__ import annotations

import concurrent.futures
import functools
import gc
import math
import multiprocessing
import operator
import os
import threading
import time

import numpy as np
import pytest
import runtime_programs
from runtime_kernels import PARTS, Sums, right

from cnnlite_kernels.cpu import allowance, team, threads
from cnnlite_kernels.cpu.memory import address_of

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
CONTEXTS = multiprocessing.get_all_start_methods()
CHILD_LIMIT = 60  # seconds that a child may take before it counts as hanging


@pytest.fixture(autouse=True)
def _restore():
    yield
    threads.set_num_threads(None)


def in_child(function) -> bool:
    """Forks, and whether the function is true in the child, before the alarm ends it."""
    import signal

    child = os.fork()
    if child == 0:
        signal.alarm(CHILD_LIMIT)
        code = 1
        try:
            code = int(not function())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("cnnlite-")]


def eventually(condition, seconds: float = 20.0) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_the_same_bits_for_any_number_of_threads(count):
    threads.set_num_threads(count)
    assert right(times=30)
    assert right(n=5000, times=5)


def test_addresses():
    x = np.zeros((4, 6))
    read_only = x[1:]
    read_only.flags.writeable = False
    for array in (x, x[2:], read_only, x[:0], np.zeros((0, 3)), x[:, 1:], x.T, x[::-1]):
        assert address_of(array) == array.ctypes.data


def test_workers_take_part():
    threads.set_num_threads(2)
    sums = Sums(20_000)
    expected = sums.run()
    end = time.monotonic() + 30
    while sums.takers() < 2 and time.monotonic() < end:
        assert np.array_equal(sums.run(), expected)
    assert sums.takers() == 2


def test_a_job_is_not_over_while_a_follower_is_inside():
    pool = threads.Pool(1)
    pool.record[team.INSIDE] = 1
    segments = np.zeros((1, team.SEGMENT_COLUMNS), np.int64)
    leader = threading.Thread(
        target=pool.run, args=(threads.Work(segments, np.zeros(threads.BASES, np.int64), 0),)
    )
    leader.start()
    leader.join(0.2)
    assert leader.is_alive()
    assert pool.record[team.OPEN] == 0
    pool.record[team.INSIDE] = 0
    leader.join(20)
    assert not leader.is_alive()


def test_more_threads_than_cores_get_on():
    threads.set_num_threads(24)
    begun = time.monotonic()
    assert right(times=200)
    assert time.monotonic() - begun < 60


def test_workspaces_grow_and_jobs_come_and_go():
    """New jobs and larger workspaces, freed at once, while the workers are still looking for more."""
    threads.set_num_threads(4)
    sizes = np.random.default_rng(0).integers(1, 60_000, 60)
    for n in map(int, sizes):
        sums = Sums(n)
        numbers = sums.run()
        assert np.isfinite(numbers).all()
        # one after the other: sum() of Python 3.12 and later carries the rounding errors along
        assert numbers[PARTS] == functools.reduce(operator.add, numbers[:PARTS].tolist())
        assert len(set(numbers[PARTS + 1 :].tolist())) == 1
        del sums
        gc.collect(0)


def test_a_workspace_that_cannot_be_had_is_asked_for_again(monkeypatch):
    member = threads.Member()
    member.reserve(1000)
    with monkeypatch.context() as patch:
        patch.setattr(threads.np, "empty", _no_memory)
        with pytest.raises(MemoryError):
            member.reserve(2000)
    member.reserve(10)
    start = member._workspace.ctypes.data
    assert start <= member.bases[threads.Base.WORK] <= start + member._workspace.size - 10
    assert member.bases[threads.Base.WORK] % threads.LINE == 0


def _no_memory(*args):
    raise MemoryError


def test_several_python_threads_at_once():
    threads.set_num_threads(2)
    with concurrent.futures.ThreadPoolExecutor(6) as executor:
        assert all(executor.map(lambda n: right(n, times=30), [1, 10, 100, 1000, 2000, 3000]))


def test_the_number_may_change_while_others_work():
    threads.set_num_threads(2)
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        running = [executor.submit(right, 500, 150) for _ in range(3)]
        count = 0
        while not all(future.done() for future in running):
            count += 1
            threads.set_num_threads(1 + count % 4)
            time.sleep(0.001)
        assert all(future.result() for future in running)


def test_workers_end_when_the_number_changes():
    for count in (4, 3, 2, 5, 1):
        threads.set_num_threads(count)
        assert right()
        assert eventually(lambda count=count: len(workers()) == count - 1)


def test_one_thread_is_enough_when_the_system_refuses_more(monkeypatch):
    start, begun = threading.Thread.start, []

    def refuse(self):
        if self.name.startswith("cnnlite-"):
            begun.append(self)
            if len(begun) > 1:
                raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads.set_num_threads(6)
    assert right(times=20)
    assert len(begun) == 2
    assert len(threads._pool.members) == 2


def test_jobs_of_one_part_do_not_call_the_workers():
    threads.set_num_threads(2)
    assert right()
    pool = threads._pool
    assert eventually(lambda: pool._asleep[1])
    segments = np.zeros((1, team.SEGMENT_COLUMNS), np.int64)
    pool.run(threads.Work(segments, np.zeros(threads.BASES, np.int64), 0))
    assert pool._asleep[1]


def test_idle_workers_sleep():
    threads.set_num_threads(8)
    assert right()
    time.sleep(0.1)
    spent, begun = time.process_time(), time.monotonic()
    time.sleep(0.5)
    assert time.process_time() - spent < 0.1 * (time.monotonic() - begun)


def test_workers_that_sleep_are_woken():
    threads.set_num_threads(2)
    sums = Sums(20_000)
    expected = sums.run()
    for _ in range(20):
        time.sleep(0.003)
        assert np.array_equal(sums.run(), expected)


@fork
def test_a_forked_child_has_a_pool_of_its_own():
    threads.set_num_threads(2)
    assert right()
    assert in_child(lambda: right(times=20) and threads.get_num_threads() == 2 and len(workers()) == 1)
    assert right(times=20)


@fork
def test_a_forked_child_may_fork():
    threads.set_num_threads(2)
    assert right()
    assert in_child(lambda: right() and in_child(lambda: right(times=5)))


@fork
def test_a_fork_while_another_thread_leads_the_pool():
    threads.set_num_threads(2)
    stop = threading.Event()
    sums = Sums(50_000)

    def work():
        while not stop.is_set():
            sums.run()

    busy = threading.Thread(target=work)
    busy.start()
    try:
        for _ in range(5):
            time.sleep(0.003)
            assert in_child(lambda: right(times=5) and not threads._busy.locked())
    finally:
        stop.set()
        busy.join()
    assert right(times=5)


def pair(n: int) -> list[float]:
    """What a process of a pool computes."""
    threads.set_num_threads(2)
    return Sums(n).run().tolist()


@pytest.mark.parametrize("method", CONTEXTS)
def test_process_pools(method):
    expected = pair(100)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(pair, [100] * 6).get(timeout=CHILD_LIMIT) == [expected] * 6


@pytest.mark.parametrize("method", CONTEXTS)
def test_process_pool_executors(method):
    expected = pair(100)
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(pair, [100] * 6, timeout=CHILD_LIMIT)) == [expected] * 6


@pytest.mark.parametrize(
    ("count", "pause", "how"),
    [(2, 0.0, "plain"), (8, 0.0, "plain"), (3, 0.1, "plain"), (4, 0.05, "daemon")],
    ids=["spinning", "many spinning", "sleeping", "a daemon thread leading"],
)
def test_a_process_ends_cleanly(count, pause, how):
    assert runtime_programs.run("work_and_leave", count, pause, how) == {"right": True}


@pytest.mark.skipif(os.name != "posix", reason="needs setitimer")
def test_ctrl_c_leaves_things_usable():
    assert runtime_programs.run("interrupt", 20) == {"interrupted": 20, "right": 20}


def test_set_num_threads_is_kept():
    for count in (3, np.int64(5)):
        threads.set_num_threads(count)
        assert threads.get_num_threads() == count
        assert type(threads.get_num_threads()) is int
    threads.set_num_threads(None)
    assert threads.get_num_threads() == threads.default_threads()


@pytest.mark.parametrize("count", [0, -1, 1.0, "2", True, math.nan, [2]])
def test_set_num_threads_refuses(count):
    threads.set_num_threads(3)
    with pytest.raises(ValueError, match=r"set_num_threads: expected a positive integer, or None for .* got"):
        threads.set_num_threads(count)
    assert threads.get_num_threads() == 3


@pytest.mark.parametrize(("text", "count"), [("3", 3), (" 2 ", 2), ("007", 7)])
def test_the_environment_sets_the_default(monkeypatch, text, count):
    monkeypatch.setenv("CNNLITE_NUM_THREADS", text)
    threads.set_num_threads(None)
    assert threads.get_num_threads() == count
    threads.set_num_threads(1)
    assert threads.get_num_threads() == 1


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "²", "2 3"])
def test_the_environment_is_checked(monkeypatch, text):
    monkeypatch.setenv("CNNLITE_NUM_THREADS", text)
    threads.set_num_threads(None)
    with pytest.raises(ValueError, match=r"CNNLITE_NUM_THREADS: expected a positive integer, got .*Unset it"):
        threads.get_num_threads()


def test_an_empty_variable_is_none(monkeypatch):
    monkeypatch.setenv("CNNLITE_NUM_THREADS", " ")
    assert threads.default_threads() == allowance.allowed_cpus()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity")
def test_the_default_follows_affinity():
    found = runtime_programs.run("default_threads", CNNLITE_NUM_THREADS="")
    assert found["pinned"] == 1
    assert 1 <= found["before"] <= found["cpus"]


@fork
def test_a_child_finds_its_own_default(monkeypatch):
    monkeypatch.setenv("CNNLITE_NUM_THREADS", "3")
    threads.set_num_threads(None)
    assert threads.get_num_threads() == 3

    def other():
        os.environ["CNNLITE_NUM_THREADS"] = "1"
        return threads.get_num_threads() == 1

    assert in_child(other)


def _write(folder, **contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (folder / name.replace("_", ".", 1)).write_text(text)


def quota(tmp_path, own: str = "0::/\n"):
    (tmp_path / "own").write_text(own)
    return allowance.cpu_quota(tmp_path / "fs", tmp_path / "own")


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("150000 100000\n", 1.5),
        ("max 100000\n", None),
        ("50000 100000", 0.5),
        ("", None),
        ("a b", None),
        ("1 0", None),
    ],
)
def test_quota_of_version_2(tmp_path, text, cpus):
    _write(tmp_path / "fs", cpu_max=text)
    assert quota(tmp_path) == cpus


@pytest.mark.parametrize(("limit", "cpus"), [("250000\n", 2.5), ("-1\n", None), ("nonsense", None)])
def test_quota_of_version_1(tmp_path, limit, cpus):
    _write(tmp_path / "fs" / "cpu", cpu_cfs_quota_us=limit, cpu_cfs_period_us="100000\n")
    assert quota(tmp_path) == cpus


def test_the_smallest_quota_of_the_groups_above_counts(tmp_path):
    _write(tmp_path / "fs" / "a", cpu_max="300000 100000")
    _write(tmp_path / "fs" / "a" / "b", cpu_max="200000 100000")
    _write(tmp_path / "fs" / "a" / "b" / "c", cpu_max="max 100000")
    _write(tmp_path / "fs" / "other", cpu_max="100000 100000")
    assert quota(tmp_path, "0::/a/b/c\n") == 2.0
    assert quota(tmp_path, "0::/a\n") == 3.0
    assert quota(tmp_path, "0::/../other\n") is None


def test_the_group_of_version_1_has_its_own_path(tmp_path):
    _write(tmp_path / "fs" / "cpu" / "box", cpu_cfs_quota_us="100000", cpu_cfs_period_us="50000")
    own = "5:memory:/else\n4:cpu,cpuacct:/box\n1:name=systemd:/\nnonsense\n"
    assert quota(tmp_path, own) == 2.0


def test_no_groups_no_quota(tmp_path):
    assert allowance.cpu_quota(tmp_path / "missing", tmp_path / "missing") is None


@pytest.mark.parametrize(("quota", "cpus"), [(None, 4), (0.2, 1), (1.5, 2), (3.0, 3), (64.0, 4)])
def test_quotas_are_rounded_up(monkeypatch, quota, cpus):
    monkeypatch.setattr(allowance, "cpu_quota", lambda: quota)
    monkeypatch.setattr(allowance.os, "sched_getaffinity", lambda process: set(range(4)), raising=False)
    assert allowance.allowed_cpus() == cpus
