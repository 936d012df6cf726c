"""Measures what work costs on this machine's CPU and GPU, for device="auto" to pick by."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TextIO

import numpy as np

import cnnlite_kernels as kernels
from cnnlite_kernels import costs, dispatch
from cnnlite_kernels.costs import Costs
from cnnlite_kernels.cuda.driver import GpuError

UNITS = {"operations": ("GFLOP/s", 1e-9), "bytes": ("GB/s", 1e-9), "call": ("us", 1e6), "copy": ("us", 1e6)}


class Sizes(NamedTuple):
    """What is measured: the sides of square matrices on the CPU and the GPU, the elements of a long array, how often, and calls."""

    cpu_side: int = 1024
    gpu_side: int = 4096
    long: int = 1 << 25  # 128 MB: past every cache
    rounds: int = 7
    calls: int = 100


def tune(out: TextIO | None = None) -> Costs:
    """Measures, keeps what it measured, and prints it to `out` (default: standard output).

    Raises:
        GpuError: there is no GPU to measure; the message says which piece is missing.
    """
    problem = dispatch.why_not()
    if problem:
        raise GpuError(f'nothing to tune: device="auto" always takes the CPU here, for {problem}.')
    device = dispatch.gpu("tune", "cuda")
    out = sys.stdout if out is None else out
    measured = measure(device, Sizes())
    for name, value in measured._asdict().items():
        unit, factor = UNITS[name.rpartition("_")[2]]
        print(f"{name:<16} {value * factor:>12,.1f} {unit}", file=out)
    try:
        print(f"Kept in {costs.store(measured, device.name)}", file=out)
    except OSError as error:
        print(f"Not kept: {error}", file=out)
    return measured


def measure(device: Any, sizes: Sizes) -> Costs:
    """The constants of the CPU and of a GPU (a plan.Device), in float32."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((sizes.cpu_side, sizes.cpu_side), np.float32) for _ in range(2))
    x, one = np.ones(sizes.long, np.float32), np.ones(1, np.float32)
    y, c = np.empty_like(x), np.empty_like(a)
    there = {
        name: kernels.DeviceArray.copy_of(device, array) for name, array in (("x", x), ("y", y), ("one", one))
    }
    side = np.ones((sizes.gpu_side, sizes.gpu_side), np.float32)
    left, right, product = (kernels.DeviceArray.copy_of(device, side) for _ in range(3))

    def seconds(work: Callable[[], object], calls: int = 1) -> float:
        """Of one call, the best round of some, each ended by waiting for the GPU."""
        best = float("inf")
        for _ in range(1 + sizes.rounds):  # the first compiles
            begun = time.perf_counter()
            for _ in range(calls):
                work()
            device.synchronize()
            best = min(best, (time.perf_counter() - begun) / calls)
        return best

    def upload(array: np.ndarray, to: Any) -> float:
        return seconds(lambda: device.upload(array, to.flat))

    copy = upload(one, there["one"])
    cpu_call = seconds(lambda: kernels.relu(one, out=one, device="cpu"), sizes.calls)
    gpu_call = seconds(lambda: kernels.relu(there["one"], out=there["one"]), sizes.calls)
    return Costs(
        cpu_operations=2 * sizes.cpu_side**3 / seconds(lambda: kernels.matmul(a, b, out=c, device="cpu")),
        cpu_bytes=2 * x.nbytes / seconds(lambda: kernels.relu(x, out=y, device="cpu")),
        cpu_call=cpu_call,
        gpu_operations=2 * sizes.gpu_side**3 / seconds(lambda: kernels.matmul(left, right, out=product)),
        gpu_bytes=2 * x.nbytes / seconds(lambda: kernels.relu(there["x"], out=there["y"])),
        gpu_call=gpu_call,
        upload_bytes=x.nbytes / upload(x, there["x"]),
        download_bytes=x.nbytes / seconds(lambda: device.download(there["x"].flat, y)),
        copy=copy,
    )
