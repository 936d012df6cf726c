"""What `pytest bench` adds to pytest-benchmark: threads, the machine's limits, the share of them in every row, and a table at the end."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

# The yardstick runs one product on each thread. Where NumPy is loaded already, or someone has set these, that stands.
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_name, "1")

from peers.table import facts
from roofline import machine, rows
from roofline.calls import Call
from roofline.limits import Limits, measure
from roofline.numpy_gemm import yardstick
from roofline.rows import Row

import cnnlite

# The workers of other libraries are programs, not tests; pytest would import them for their docstrings' examples.
collect_ignore_glob = ["*/*", "[!t]*.py"]

ROWS = pytest.StashKey[list[Row]]()
LIMITS = pytest.StashKey[dict[int, Limits]]()
YARDSTICKS = 5
QUICK = {"benchmark_max_time": "0.05", "benchmark_min_rounds": 3}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bench")
    group.addoption(
        "--bench-threads",
        default="1,all",
        metavar="LIST",
        help='numbers of threads, "all" being as many as there are; 1,all unless told',
    )
    group.addoption(
        "--bench-quick",
        action="store_true",
        help="one shape in five, short rounds: a look, not a measurement",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError('bench: expected pytest-benchmark, got none; pip install "cnnlite[test]".')
    config.stash[ROWS], config.stash[LIMITS] = [], {}
    # What pytest-benchmark warns of, such as a saved run of another machine, is no reason to end: said now and at the end.
    warnings.filterwarnings("default", category=pytest.PytestWarning)
    config.addinivalue_line("filterwarnings", "default::pytest.PytestWarning")
    if config.getoption("bench_quick"):
        for name, value in QUICK.items():
            setattr(config.option, name, value)


def thread_counts(config: pytest.Config) -> list[int]:
    """The numbers of threads that were asked for, each once."""
    return machine.thread_counts(config.getoption("bench_threads"), cnnlite.get_num_threads())


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "threads" in metafunc.fixturenames:
        counts = thread_counts(metafunc.config)
        metafunc.parametrize("threads", counts, ids=[f"threads={count}" for count in counts])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --bench-quick, of each test every fifth shape, beginning with the first."""
    if not config.getoption("bench_quick"):
        return
    seen: dict[str, list[str]] = {}
    kept = []
    for item in items:
        name, shape = item.nodeid.partition("[")[0], item.nodeid.partition("[")[2].partition("threads=")[0]
        shapes = seen.setdefault(name, [])
        if shape not in shapes:
            shapes.append(shape)
        if shapes.index(shape) % 5 == 0:
            kept.append(item)
    dropped = [item for item in items if item not in kept]
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept


@pytest.fixture
def limits(threads: int, request: pytest.FixtureRequest) -> Limits:
    """Of this many threads; measured when they are first asked for."""
    known = request.config.stash[LIMITS]
    if threads not in known:
        known[threads] = measure(threads, 0.02 if request.config.getoption("bench_quick") else 0.1)
    return known[threads]


@pytest.fixture
def timed(
    benchmark: Any, threads: int, limits: Limits, request: pytest.FixtureRequest
) -> Iterator[Callable[[str, str, Call], None]]:
    """Checks a call's answer, times it between two readings of the yardstick, and keeps the row."""
    reading = yardstick(threads)
    cnnlite.set_num_threads(threads)

    def run(op: str, case: str, call: Call) -> None:
        call.check()
        reading()
        before = [reading() for _ in range(YARDSTICKS)]
        benchmark.group = f"{op}, {threads} thread{'s' if threads > 1 else ''}"
        benchmark(call.run)
        if benchmark.stats is None:  # --benchmark-disable: the answers are checked, nothing is timed
            return
        stats = benchmark.stats.stats
        references = before + [reading() for _ in range(YARDSTICKS)]
        row = rows.row_of(op, case, call.work, limits, stats.median, stats.iqr / stats.median, references)
        benchmark.extra_info.update(row.extra_info())
        request.config.stash[ROWS].append(row)

    yield run
    cnnlite.set_num_threads(None)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    output_json["limits"] = [found.as_json() for found in config.stash[LIMITS].values()]
    output_json["machine"] = machine.facts()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    found = config.stash[ROWS]
    if not found:
        return
    terminalreporter.section("share of the machine's limits")
    for text in (
        facts(machine.facts()),
        rows.limits_table(list(config.stash[LIMITS].values())),
        rows.table(found),
    ):
        terminalreporter.write_line(text + "\n")
