"""Every kernel's machine code and memory traffic keep their budgets.

No stack and no spills, registers, shared memory, what the hot loop is made of; whole sectors, no bank conflicts, no byte twice.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from cases import RESNET50, ConvCase, MatmulCase
from numba import cuda, float32, uint32

from cnnlite_kernels.cuda.catalogue import CATALOGUE, Entry
from cnnlite_kernels.cuda.intrinsics import four_of, load4, outer_products, store4, zeros
from cnnlite_kernels.cuda.kernel import U32, Floats, kernel
from cnnlite_kernels.cuda.plan import Plan
from tools.cuda_static import figures, measure, traffic
from tools.cuda_static.toolchain import architecture
from tools.cuda_static.traffic import Cost

u = uint32
WIDTH, SLICE, NEXT, FAR = 128, 1024, 4, 64


@pytest.mark.parametrize(
    "exact", [False, pytest.param(True, marks=pytest.mark.exhaustive)], ids=["quick", "exact"]
)
@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_a_kernel_keeps_its_budget(entry: Entry, exact: bool) -> None:
    broken = [
        f"{architecture(capability)}: {fault}"
        for capability, found in measure.everywhere(entry, exact).items()
        for fault in measure.faults(entry.budget, found)
    ]
    assert not broken


@kernel(threads=256)
def crowded(a: Floats, b: Floats, c: Floats, k: U32) -> None:
    """A product of slices in shared memory, of whose columns a thread has eight side by side."""
    a_slice = cuda.shared.array(SLICE, float32, alignment=16)
    b_slice = cuda.shared.array(SLICE, float32, alignment=16)
    t = u(cuda.threadIdx.x)
    sums = zeros(64)
    start = u(0)
    while start < k:
        store4(a_slice, t * u(4), load4(a, start * u(WIDTH) + t * u(4)))
        store4(b_slice, t * u(4), load4(b, start * u(WIDTH) + t * u(4)))
        cuda.syncthreads()
        row, column = t // u(16) * u(4), t % u(16) * u(8)
        sums = outer_products(sums, a_slice, row, b_slice, column, 8, 8, 8, WIDTH, WIDTH, FAR, NEXT)
        cuda.syncthreads()
        start += u(8)
    for group in range(u(16)):
        store4(c, (t * u(16) + group) * u(4), four_of(sums, group))


def costs_by_name(emit: Callable[[Plan], None], precision: str = "float32") -> dict[str, Cost]:
    named = figures.names()
    return {named[cost.kernel]: cost for cost in traffic.costs_of(emit, precision)}


WIDE = ConvCase("wide", 32, 28, 28, 128, 128, (3, 3), padding="same")
SQUARES = [MatmulCase(f"{a}{b}", 4096, 4096, 64, a == "t", b == "t") for a in "nt" for b in "nt"]


@pytest.mark.parametrize(
    "emit",
    [
        *(pytest.param(partial(traffic.emit_forward, case), id=f"matmul_{case}") for case in SQUARES),
        pytest.param(partial(traffic.emit_forward, WIDE), id="conv2d"),
        pytest.param(partial(traffic.emit_grad_input, WIDE), id="grad_input"),
        pytest.param(partial(traffic.emit_grad_weights, WIDE), id="grad_weights"),
    ],
)
def test_the_large_tile_asks_for_whole_sectors_without_conflicts(emit: Callable[[Plan], None]) -> None:
    (large,) = (cost for name, cost in costs_by_name(emit).items() if "128x128" in name)
    assert large.loads.ratio <= 1.05
    assert large.stores.ratio <= 1.05
    assert large.conflicts[0] == 0


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_tensor_cores_are_fed_without_conflicts(precision: str) -> None:
    costs = costs_by_name(partial(traffic.emit_forward, WIDE), precision)
    (fed,) = (cost for name, cost in costs.items() if name.startswith("product"))
    assert fed.mma > 0
    assert fed.fma < fed.mma // 10
    assert max(fed.loads.ratio, fed.stores.ratio) <= 1.05
    assert fed.conflicts[0] == 0


def test_conv2d_moves_little_more_than_its_tiles_need() -> None:
    rows = [row for row in figures.bytes_rows() if row[0].startswith("resnet50")]
    assert len(rows) == len(RESNET50) - 1  # the first has three channels
    assert all(float(ratio) <= 1.3 for *_, ratio in rows)


def test_bank_conflicts_are_counted_in_the_hot_loop() -> None:
    """A tile whose threads read columns 8 apart, side by side, as the prototype did: half the loads take two turns."""
    plan = Plan(device := traffic.Counting())
    plan.add(crowded, 1, *(plan.device.empty(16384, np.float32) for _ in range(3)), 8)
    plan.run()
    (cost,) = device.costs
    assert cost.conflicts[0] > 0


@pytest.mark.parametrize(("argument", "code"), [("fill", 0), ("no such kernel", 2)])
def test_the_command_checks_budgets(argument: str, code: int) -> None:
    command = [sys.executable, "-m", "tools.cuda_static", "--check", "--only", argument, "--processes", "1"]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == code
    assert (
        "2 kernels, 0 broken budgets" if code == 0 else "expected a word of a kernel's name"
    ) in done.stdout + done.stderr
