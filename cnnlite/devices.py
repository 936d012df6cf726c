"""What there is to compute with: the processor, how fast it is, the threads, the cache and the GPUs."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

import numpy as np

from cnnlite.gpus import describe_gpus

DEPTH = 128  # with it, a tile's rows of A and columns of B fill half of a 48 KB L1
REPEATS, ROUNDS = 2000, 15  # a round takes about a millisecond


def describe() -> str:
    """A few lines for a person: processor, vectors, threads, measured speed, cache, GPUs."""
    from cnnlite_kernels.cpu import jit, threads
    from cnnlite_kernels.cpu.allowance import allowed_cpus

    folder = jit.folder()
    lines = [
        ("CPU", processor_name()),
        ("cores", f"{allowed_cpus()} usable of {os.cpu_count()}"),
        ("vectors", _vectors()),
        ("threads", str(threads.get_num_threads())),
        ("speed", f"{fma_peak():.0f} GFLOP/s in float32 on one thread, the tile kernel in L1"),
        ("cache", str(folder) if folder else "none; CNNLITE_CACHE_LOG=1 says why"),
    ]
    gpus = describe_gpus()
    lines += [("GPU" if number == 0 else "", gpu) for number, gpu in enumerate(gpus)]
    return "\n".join(f"{name:<8} {text}" for name, text in lines)


def _vectors() -> str:
    from cnnlite_kernels.cpu.host import host

    name = {"avx512": "AVX512-BF16", "amx": "AMX"}.get(
        host().bfloat16 or "", "none: mixed precision is float32"
    )
    return f"{8 * host().vector_bytes} bits, {host().registers} registers; for bfloat16 {name}"


def processor_name() -> str:
    """What the processor calls itself."""
    if sys.platform == "linux":
        try:
            text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        for line in text.splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def fma_peak() -> float:
    """GFLOP/s of the tile kernel in float32 on operands that stay in L1, on one thread.

    The best of some rounds; a multiplication and an addition count as two operations.
    """
    from cnnlite_kernels.cpu.host import host
    from cnnlite_kernels.cpu.memory import pointer_to
    from cnnlite_kernels.cpu.plan import Job, Part, Plan
    from cnnlite_kernels.cpu.product import ROWS, VECTORS, Rows, add_product

    rows, columns = ROWS[host().registers][0], VECTORS * host().lanes(4)
    a, b = np.ones((rows, DEPTH), np.float32), np.ones((DEPTH, columns), np.float32)
    c = np.zeros((rows, columns), np.float32)
    plan = Plan(4)
    add_product(
        plan,
        pointer_to(a),
        pointer_to(b),
        pointer_to(c),
        Rows(np.arange(rows) * DEPTH, np.arange(rows) * columns, groups=REPEATS),
        columns,
        [0],
        DEPTH,
    )
    job = Job([[Part(plan)]])
    job.run()
    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        job.run()
        seconds.append(time.perf_counter() - begun)
    return 2 * rows * columns * DEPTH * REPEATS / min(seconds) / 1e9
