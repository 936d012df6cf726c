"""bench/: work counted from shapes, limits, shares, answers checked before anything is timed, and the rows of `pytest bench`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import ConvCase, MatmulCase, PoolCase
from roofline import calls, limits, machine, numpy_gemm, passes, rows, steps, work
from roofline.calls import Call
from roofline.together import seconds_together
from roofline.work import Work
from saved_runs import LIMITS, row, write_kernels

ROOT = Path(__file__).resolve().parent.parent
CONV = ConvCase("small", 1, 5, 6, 3, 4, (3, 3), padding="same")
POOL = PoolCase("small", 2, 4, 6, 3, (2, 2))


def test_work_is_counted_from_the_shapes() -> None:
    assert work.of_matmul(MatmulCase("a", 2, 3, 5)) == Work(60, 4 * (10 + 15 + 6), "GFLOP/s")
    assert work.of_conv(CONV).moved == 4 * (5 * 6 * 3 + 9 * 3 * 4 + 5 * 6 * 4)
    assert work.of_conv(CONV).operations == CONV.flops
    assert work.of_max_pool(POOL) == Work(36 * 3, 4 * (144 + 36), "GB/s")
    assert work.of_max_pool_grad(POOL) == Work(36, 4 * (144 + 36 + 36), "GB/s")
    assert work.of_pass((2, 3), (4,)) == Work(6, 4 * 10, "GB/s")
    assert work.of_cross_entropy(2, 10).moved == 4 * (20 + 20 + 2 + 2)
    assert work.of_optimizer("adam", 100) == Work(1000, 2800, "GB/s")
    assert work.of_matmul(MatmulCase("a", 2, 3, 5)).intensity == 60 / 124


def test_a_kernel_is_held_against_the_slower_of_its_limits() -> None:
    arithmetic, memory = Work(1e9, 1e6, "GFLOP/s"), Work(1e6, 1e9, "GB/s")
    assert LIMITS.bound(arithmetic) == "arithmetic"
    assert LIMITS.bound(memory) == "memory"
    assert LIMITS.seconds(arithmetic) == pytest.approx(0.01)
    assert LIMITS.seconds(memory) == pytest.approx(0.1)
    assert LIMITS.share(memory, 0.2) == pytest.approx(0.5)


def test_bandwidth_is_that_of_the_largest_set_that_is_no_larger() -> None:
    found = [LIMITS.bandwidth_for(moved) for moved in (1.0, 1 << 20, (16 << 20) - 1, 16 << 20, 1e12)]
    assert found == [50e9, 50e9, 50e9, 10e9, 10e9]


def test_limits_are_measured_and_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WORKING_SETS", (24 << 10, 48 << 10))
    found = limits.measure(2, seconds=0.0, rounds=1)
    assert found.threads == 2
    assert found.peak > 1e8
    assert [size for size, _ in found.bandwidth] == [24 << 10, 48 << 10]
    assert all(rate > 1e7 for _, rate in found.bandwidth)
    assert limits.Limits.from_json(found.as_json()) == found


def test_triad_and_read_compute() -> None:
    a, b, c = np.zeros(5, np.float32), np.arange(5, dtype=np.float32), np.ones(5, np.float32)
    limits.triad(a, b, c, 3)
    assert a.tolist() == [2, 3, 4, 5, 6]
    assert limits.read(b, 2) == 20


def test_an_exception_on_a_thread_comes_back() -> None:
    def fail() -> None:
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        seconds_together([lambda: None, fail])


def test_the_yardstick_takes_time() -> None:
    assert numpy_gemm.yardstick(2)() > 0


@pytest.mark.parametrize(
    "call",
    [
        calls.matmul(MatmulCase("small", 5, 6, 7, transpose_a=True)),
        *(calls.conv2d(CONV, which) for which in calls.PASSES),
        calls.max_pool2d(POOL),
        calls.max_pool2d_grad(POOL),
        calls.softmax_cross_entropy(5, 7),
        *(passes.of(op, (2, 4, 6, 4)) for op in passes.PASSES),
        *(steps.optimizer_step(name, 8) for name in steps.OPTIMIZERS),
    ],
    ids=lambda call: call.name,
)
def test_every_call_gives_the_references_answer(call: Call) -> None:
    call.check()
    call.run()
    call.check()


@pytest.mark.parametrize("wrong", [1.0, np.nan])
def test_another_answer_is_an_error(wrong: float) -> None:
    answer = np.zeros(3)
    answer[1] = wrong
    call = Call("relu", Work(1, 1, "GB/s"), lambda: answer, lambda: np.zeros(3))
    with pytest.raises(
        ValueError, match=r"relu: expected the reference's answer, got 1 of 3 numbers that differ"
    ):
        call.check()


def test_an_answer_of_another_shape_is_an_error() -> None:
    call = Call("relu", Work(1, 1, "GB/s"), lambda: np.zeros(2), lambda: np.zeros(3))
    with pytest.raises(ValueError, match=r"relu: expected an answer of shape \(3,\), got \(2,\)"):
        call.check()


def test_a_tolerance_is_relative_to_the_largest_number() -> None:
    wanted = np.array([0.0, 100.0])
    Call("a", Work(1, 1, "GB/s"), lambda: wanted + 0.5, lambda: wanted, tolerance=0.01).check()
    with pytest.raises(ValueError, match="differ"):
        Call("a", Work(1, 1, "GB/s"), lambda: wanted + 1.5, lambda: wanted, tolerance=0.01).check()


def test_rows_come_back_from_a_file(tmp_path: Path) -> None:
    path = write_kernels(tmp_path / "run.json", [row("a"), row("b", seconds=2e-3)])
    found = rows.load(path)
    assert found.rows == (row("a"), row("b", seconds=2e-3))
    assert found.limits == (LIMITS,)
    text = rows.without_rounds(path.read_text())
    assert '"data"' not in text
    path.write_text(text)
    assert rows.load(path) == found


def test_a_row_tells_its_speed_and_share() -> None:
    text = rows.table([row("a"), row("slow", seconds=4e-3, spread=0.1)])
    assert "| conv2d | a     | 1       | 1 ms ±0%" in text
    assert "50 GFLOP/s" in text
    assert "50%" in text
    assert "4 ms ±5%" in text
    assert "12%" in text
    assert [each.case for each in rows.behind([row("a"), row("slow", seconds=4e-3)])] == ["slow", "a"]
    assert "100 GFLOP/s   | 50 GB/s     | 10 GB/s" in rows.limits_table([LIMITS])


@pytest.mark.parametrize("text", ["", "[]", '{"benchmarks": [{"extra_info": {}}]}'])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(
        ValueError, match=r"other.json: expected a file of `pytest bench --benchmark-json FILE`, got"
    ):
        rows.load(path)


def test_counts_of_threads() -> None:
    assert machine.thread_counts("all,1,2", 2) == [2, 1]
    for text in ("", "0", "-1", "x"):
        with pytest.raises(ValueError, match='bench-threads: expected positive numbers or "all"'):
            machine.thread_counts(text, 2)


def test_a_machine_is_described() -> None:
    assert "numba" in machine.facts()["versions"]


def pytest_bench(*words: str) -> subprocess.CompletedProcess[str]:
    """As a user runs it, whatever runs this."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "bench", "-p", "no:cacheprovider", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_pytest_bench(tmp_path: Path) -> None:
    """A row on one thread, with the file that the other programs read."""
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
    file = tmp_path / "run.json"
    done = pytest_bench("--bench-quick", "--bench-threads=1", "-k", "softmax", f"--benchmark-json={file}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "share of the machine's limits" in done.stdout
    found = rows.load(file)
    assert [(each.op, each.threads) for each in found.rows] == [("softmax_cross_entropy", 1)]
    assert found.rows[0].share > 0


def test_pytest_bench_without_its_plugin_says_so() -> None:
    done = pytest_bench("--collect-only", "-p", "no:benchmark")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert 'bench: expected pytest-benchmark, got none; pip install "cnnlite[test]"' in done.stderr
