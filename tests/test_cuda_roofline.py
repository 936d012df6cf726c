"""The tables of bench/cuda_static.md: what counts as work, the bounds that follow, and how figures become rows."""

from __future__ import annotations

import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from cases import DOCUMENTED, RESNET50, ConvCase, MatmulCase, PoolCase

from cnnlite_kernels.cuda.catalogue import Budget, Entry
from cnnlite_kernels.cuda.reduce import reduce
from tools.cuda_static import figures, report, tables, traffic
from tools.cuda_static.measure import Figures, HotLoop
from tools.cuda_static.occupancy import Occupancy
from tools.cuda_static.roofline import (
    BYTES_PER_SECOND,
    MULTIPROCESSORS,
    PEAK_FLOPS,
    Work,
    launch_seconds,
    work_of,
)


def test_work_of_layers() -> None:
    assert work_of(MatmulCase("dense", 32, 64, 576)) == Work(
        2 * 32 * 64 * 576, 4 * (32 * 576 + 576 * 64 + 32 * 64)
    )
    assert work_of(PoolCase("pool", 2, 6, 8, 3, (2, 2))) == Work(0, 4 * (2 * 6 * 8 * 3 + 2 * 3 * 4 * 3))
    conv = ConvCase("conv", 2, 5, 5, 3, 7, (3, 3))
    assert work_of(conv) == Work(2 * 2 * 9 * 9 * 3 * 7, 4 * (2 * 25 * 3 + 9 * 3 * 7 + 2 * 9 * 7))


def test_pixels_between_strides_are_not_work() -> None:
    every_second = ConvCase("shortcut", 1, 4, 6, 8, 8, (1, 1), (2, 2))
    assert work_of(every_second).bytes == 4 * (2 * 3 * 8 + 8 * 8 + 2 * 3 * 8)
    padded = ConvCase("padded", 1, 4, 4, 1, 1, (3, 3), padding=((1, 1), (1, 1)))
    assert work_of(padded).bytes == 4 * (16 + 9 + 16)


def test_a_bound_is_the_larger_time() -> None:
    assert Work(67_000_000_000_000, 0).seconds("float32") == 1.0
    assert Work(0, 3_350_000_000_000).seconds("bfloat16") == 1.0
    assert Work(1, 4_000_000).by_memory("tf32")
    assert not Work(10**12, 4).by_memory("tf32")


def test_a_launch_waits_for_the_fullest_multiprocessor() -> None:
    fma = 10**6
    one = 2 * fma / (PEAK_FLOPS["float32"] / MULTIPROCESSORS)
    assert launch_seconds(1, fma, 0, 0, "float32", 1.0) == pytest.approx(one)
    assert launch_seconds(MULTIPROCESSORS, fma, 0, 0, "float32", 1.0) == pytest.approx(one)
    assert launch_seconds(MULTIPROCESSORS + 1, fma, 0, 0, "float32", 0.5) == pytest.approx(2 * one / 0.5)
    assert launch_seconds(1, 0, fma, 0, "bfloat16", 1.0) == pytest.approx(
        one * PEAK_FLOPS["float32"] / PEAK_FLOPS["bfloat16"]
    )
    assert launch_seconds(1, fma, 0, 10**9, "float32", 1.0) == 10**9 / BYTES_PER_SECOND


@pytest.mark.parametrize("case", [*DOCUMENTED, *RESNET50], ids=str)
def test_tensor_cores_never_raise_a_bound(case: ConvCase | PoolCase | MatmulCase) -> None:
    work = work_of(case)
    assert work.seconds("float32") >= work.seconds("tf32") >= work.seconds("bfloat16") > 0


def test_what_the_first_tile_needs() -> None:
    """Eight rows of a 3 x 3 convolution over 5 x 6: two output rows of four look at four rows of six pixels."""
    case = ConvCase("conv", 1, 5, 6, 16, 8, (3, 3))
    assert traffic.needed_by_first_tile(case, 8, 8, 2) == 4 * (24 * 16 + 9 * 16 * 8 + 8 * 8)
    # Twice as many blocks as tiles: half the channels each.
    assert traffic.needed_by_first_tile(case, 8, 8, 4) == 4 * (24 * 8 + 9 * 8 * 8 + 8 * 8)


def rows_of(*registers: int) -> list[tables.Row]:
    loop = HotLoop(100, 0.5, 1.0, {"FFMA": 50})
    one = Figures(0, 1024, 0, 0, Occupancy(4, 0.5, "registers"), loop, 0.25)
    entry = Entry("some kernel", "some family", lambda: reduce, Budget(64))
    capabilities = ((8, 0), (8, 6), (9, 0))
    measured = {c: one._replace(registers=r) for c, r in zip(capabilities, registers, strict=True)}
    return [tables.summary(entry, measured), *tables.details(entry, measured)]


def test_rows() -> None:
    summary, *details = rows_of(40, 40, 48)
    assert summary == (
        "some kernel",
        "40-48",
        "1024",
        "4",
        "50%",
        "0",
        "0",
        "50.0% FFMA of 100",
        "100%",
        "0.2",
    )
    assert [row[1:3] for row in details] == [("8.0, 8.6", "40"), ("9.0", "48")]
    assert len(summary) == len(tables.HEADS)
    assert all(len(row) == len(tables.DETAIL_HEADS) for row in details)


def test_spans() -> None:
    assert tables.span([3, 5, 4]) == "3-5"
    assert tables.span([0.891, 0.889], "{:.0%}") == "89%"
    assert tables.span([0.85, 0.9], "{:.0%}") == "85-90%"


def test_a_table() -> None:
    assert tables.markdown(("a", "b"), [("1", "2")]) == ["| a | b |", "| --- | ---: |", "| 1 | 2 |"]


def test_the_page_says_that_bounds_are_no_measurements() -> None:
    page = "\n".join([*report.opening(), *report.roofline([("layer",) * len(figures.ROOFLINE_HEADS)])])
    assert "nothing on this page is a measured speed" in page
    assert "Bounds, not measurements." in page
