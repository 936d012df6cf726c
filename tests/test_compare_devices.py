"""bench/compare_devices.py: its tables, and its GPU half over the interpreter of PTX, where only the times mean nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from devices import gpu as bench_gpu
from devices import measure, networks, report, sweeps

QUICK = measure.Effort(0.0, 1)


def row(size: int, cpu: float, gpu: float | None, transferred: float | None) -> measure.Row:
    return measure.Row("relu", "numbers", size, None, 8.0 * size, cpu, gpu, transferred)


def test_a_machine_without_a_gpu_gives_the_cpus_half() -> None:
    text = report.tables([row(1000, 1e-5, None, None)])
    assert "GPU" not in text
    assert "10 us" in text
    assert "0.8 GB/s" in text


def test_the_crossover_is_the_size_after_the_last_that_is_slower() -> None:
    rows = [row(1, 1.0, 0.1, 0.5), row(2, 1.0, 0.1, 2.0), row(4, 1.0, 0.1, 0.5)]
    assert report.crossover(rows) == "from 4 numbers on"
    assert report.crossover(rows[:2]) == "not up to 2 numbers"
    assert "2.00" in report.tables(rows)


def test_a_csv_file_has_every_time(tmp_path: Path) -> None:
    report.write_csv([row(8, 1.0, 0.25, 0.5), row(16, 1.0, None, None)], tmp_path / "times.csv")
    with (tmp_path / "times.csv").open(encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["cpu_s"], first["gpu_s"], first["cpu_over_gpu"]) == ("1.0", "0.25", "4.0")
    assert (second["gpu_s"], second["gpu_with_transfers_s"]) == ("", "")


def test_a_picture_is_drawn_where_matplotlib_is_installed(tmp_path: Path) -> None:
    drawn = report.plot([row(8, 1.0, 0.25, 0.5), row(16, 2.0, 0.25, 0.6)], tmp_path / "times.png", "here")
    assert drawn == (tmp_path / "times.png").exists()


def test_other_answers_are_an_error_before_anything_is_timed() -> None:
    with pytest.raises(
        ValueError, match=r"relu: expected the same numbers from both devices, got a difference of 1"
    ):
        measure.same(np.zeros(3), np.array([0.0, 1.0, 0.0]), "relu")


def test_every_size_of_a_sweep_has_another_size() -> None:
    for sweep in [*sweeps.all_sweeps(quick=False), *networks.all_sweeps(quick=False)]:
        sizes = [point.size for point in sweep.points]
        assert sizes == sorted(set(sizes))
        assert all(point.moved > 0 for point in sweep.points)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> bench_gpu.Timed:
    """The product's GPU over a driver that interprets PTX."""
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed", exc_type=ImportError)
    from stand_in_driver import Driver

    from cnnlite_kernels.cuda import gpu

    driver = Driver()
    monkeypatch.setattr(gpu, "binary", driver.binary)
    device = gpu.Gpu(0, driver)
    monkeypatch.setattr(gpu, "current", lambda number=0: device)
    found, missing = bench_gpu.find("cuda")
    assert found is not None, missing
    return found


def test_the_gpus_half(timed: bench_gpu.Timed) -> None:
    chosen = [sweep for sweep in sweeps.all_sweeps(quick=True) if sweep.name in ("matmul", "relu")]
    chosen += networks.all_sweeps(quick=True)
    for sweep in chosen:
        found = measure.measure(sweep.name, sweep.axis, sweep.points[0], timed, QUICK)
        assert found.cpu > 0
        assert found.gpu is not None
        assert found.transferred is not None
        assert found.ratio_transferred == pytest.approx(found.cpu / found.transferred)


def test_a_missing_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnlite_kernels import dispatch

    def none(name: str, device: str) -> None:
        raise RuntimeError("no NVIDIA driver here.")

    monkeypatch.setattr(dispatch, "gpu", none)
    assert bench_gpu.find("cuda") == (None, "no NVIDIA driver here")
