"""Which GPUs there are, and what is missing to use them."""

from __future__ import annotations

import importlib.util

from cnnlite_kernels import costs, dispatch
from cnnlite_kernels.cuda import driver
from cnnlite_kernels.cuda.driver import GpuError


def describe_gpus() -> list[str]:
    """Lines that say which GPUs there are, and which pieces are missing and how to install them."""
    installed = importlib.util.find_spec("numba_cuda") is not None
    try:
        names = driver.gpu_names()
    except GpuError as problem:
        lines = [f"none: {problem}"]
    else:
        lines = [f"{number}: {driver.describe(number)}" for number in range(len(names))]
        problem_of_first = dispatch.why_not() if installed else None
        if problem_of_first:
            lines.append(f"cannot be used: {problem_of_first}")
        elif installed:
            lines.append(f'device="auto" picks by constants that are {costs.current()[1]}')
    if not installed:
        lines.append('numba-cuda is not installed: pip install "cnnlite[cuda]" (CUDA 12: "cnnlite[cuda12]")')
    return lines
