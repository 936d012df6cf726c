"""Runs the simple samples (cuda_samples.py) in numba-cuda's simulator, which Numba chooses when it is first imported.

So this is a program of its own, run with NUMBA_ENABLE_CUDASIM=1. It prints one line of JSON: an error, or null, for each sample.
With the argument `broken` it runs kernels that are wrong, each in a way that the simulator can find.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import numpy as np
from cuda_samples import SAMPLES, Check, Checks, Emit, Sample, run
from numba import cuda, uint32
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

from cnnlite_kernels.cuda.kernel import Kernel, Launch, Reals, kernel
from cnnlite_kernels.cuda.plan import Plan

THREADS = 64


class Simulated:
    """What cnnlite_kernels.cuda.plan calls a Device: each of a block's threads is one of Python's, on NumPy arrays."""

    multiprocessors = 108
    capability = (8, 0)

    def empty(self, count: int, dtype: Any = np.float32) -> np.ndarray:
        """NaN in every float, all bits set in every integer: a result that nobody wrote is seen."""
        array = np.empty(count, dtype)
        array.view(np.uint8)[:] = 0xFF
        return array

    host = empty

    def upload(self, host: np.ndarray, to: np.ndarray) -> None:
        to[:] = host

    def download(self, array: np.ndarray, to: np.ndarray) -> None:
        to.reshape(-1)[:] = array

    def run(self, launches: list[Launch]) -> None:
        for launch in launches:
            types = launch.kernel.signature(launch.kernel.dtype(launch.args)).args
            args = [
                FakeCUDAArray(arg) if isinstance(arg, np.ndarray) else getattr(np, str(kind))(arg)
                for arg, kind in zip(launch.args, types, strict=True)
            ]
            cuda.jit(launch.kernel.body)[launch.blocks, launch.kernel.threads](*args)

    def synchronize(self) -> None:
        """Nothing is under way."""


@kernel(THREADS)
def neighbours(x: Reals, y: Reals) -> None:
    """y[i] = x[i + 1], through shared memory: of the last thread beyond its end."""
    memory = cuda.shared.array(THREADS, x.dtype)
    i = uint32(cuda.threadIdx.x)
    memory[i] = x[i]
    cuda.syncthreads()
    y[i] = memory[i + uint32(1)]


@kernel(THREADS)
def off_by_one(x: Reals, y: Reals) -> None:
    """y[i] = x[i], not of the first."""
    i = uint32(cuda.threadIdx.x)
    if i > uint32(0):
        y[i] = x[i]


def copying(body: Kernel) -> Emit:
    """What puts on a plan a launch that should copy an array."""

    def emit(plan: Plan) -> Checks:
        x = np.arange(THREADS, dtype=np.float32)
        y = plan.scratch(x.size)
        plan.add(body, 1, x, y)
        return [Check(y, x)]

    return emit


BROKEN = tuple(Sample(body.name, copying(body)) for body in (neighbours, off_by_one))


def main(samples: tuple[Sample, ...]) -> None:
    warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of uint32 that wrap around on purpose
    errors: dict[str, str | None] = {}
    for sample in samples:
        try:
            run(sample, Simulated())
            errors[sample.name] = None
        except Exception as problem:  # whatever goes wrong in a kernel is the answer
            errors[sample.name] = f"{type(problem).__name__}: {problem}"
    print(json.dumps(errors))


if __name__ == "__main__":
    main(BROKEN if sys.argv[1:] == ["broken"] else tuple(sample for sample in SAMPLES if sample.simple))
