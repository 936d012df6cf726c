"""Rung 6: Sentryward, a static verifier of PTX that is not ours, proves launches free of races in every schedule.

It fixes the launch and its scalars, and lets the arrays hold anything: where a branch depends on what an array holds it says that it
cannot tell, and only the interpreter has looked. It is alpha software: a visible skip where it is not installed.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")
pytest.importorskip("sentryward", reason="Sentryward is not installed: pip install sentryward")

import cuda_products
import cuda_samples
from altered import BARRIER, CAPABILITY
from interpreted import Interpreted

from cnnlite_kernels.cuda.catalogue import CATALOGUE, Entry
from cnnlite_kernels.cuda.kernel import Kernel, Launch
from cnnlite_kernels.cuda.plan import Plan

SECONDS, MEGABYTES = 60, 4000  # that a launch may take
# Parameters of an array in numba's order whose values are known, and what they are; its address is not.
LENGTH, ITEM, ALSO_LENGTH, STRIDE, PARAMETERS = 2, 3, 5, 6, 7
# Kernels that it cannot decide, by how their entries begin, and why.
UNDECIDED = {
    "softmax, ": "it branches on the largest of a row",
    "cross-entropy of ": "it branches on labels and on the largest of a row",
    "binary cross-entropy": "it branches on the largest of a row",
    "squared error": "it branches on the largest of a row",
    "clip_norm": "it branches on the norm",
    "adam": "it branches on the number of the step, which lies in an array",
    "conv2d grad_": "it forms addresses outside its arrays, at which it does not look",
}
# One of each kind; a proof takes from a tenth of a second to three.
QUICK = {
    "matmul 32x32 nn", "matmul 64x64 tt scalar", "reduce", "conv2d 32x32", "depthwise", "depthwise grad_weights",
    "product 64x64 tf32", "product 64x64 bf16", "pack_rows bf16", "max pooling 2 x 2, places", "relu by four",
    "dropout by four", "sum_squares", "softmax gradient, 256 threads a row", "sums of 8 columns", "penalty", "sgd",
}  # fmt: skip


@functools.cache
def launches() -> dict[tuple[Kernel, np.dtype], Launch]:
    """A launch of every kernel."""
    device, found = Interpreted(CAPABILITY), {}
    for sample in (*cuda_samples.SAMPLES, *cuda_products.SAMPLES):
        plan = Plan(device)
        sample.emit(plan)
        for launch in plan.launches:
            found.setdefault((launch.kernel, launch.kernel.dtype(launch.args)), launch)
    return found


def configuration(launch: Launch) -> dict[str, Any]:
    """A launch as Sentryward's input; numbers as the unsigned ones of as many bits that PTX takes."""
    arguments: list[dict[str, Any]] = []
    first = 0

    def known(parameter: int, kind: str, value: float) -> None:
        arguments.append({"parameter": parameter, "type": kind, "value": value})

    types = launch.kernel.signature(launch.kernel.dtype(launch.args)).args
    for arg, kind in zip(launch.args, types, strict=True):
        if isinstance(arg, np.ndarray):
            for which, value in (
                (LENGTH, arg.size),
                (ITEM, arg.itemsize),
                (ALSO_LENGTH, arg.size),
                (STRIDE, arg.itemsize),
            ):
                known(first + which, "u64", value)
            first += PARAMETERS
            continue
        dtype = np.dtype(str(kind))
        bits = 8 * dtype.itemsize
        if dtype.kind == "f":
            known(first, f"f{bits}", float(arg))
        else:
            known(first, f"u{bits}", int(arg) % 2**bits)
        first += 1
    return {
        "schema": "spverify.kernel-input/v1",
        "launch": {"grid_dim": [launch.blocks, 1, 1], "block_dim": [launch.kernel.threads, 1, 1]},
        "arguments": arguments,
    }


def verdict(ptx: str, launch: Launch, folder: Path) -> tuple[str, Any]:
    """Sentryward's result, and what it says about it."""
    source, config = folder / "kernel.ptx", folder / "input.json"
    source.write_text(ptx)
    config.write_text(json.dumps(configuration(launch)))
    # A program of its own: started from this process, its analyser would begin with this process's memory as its own peak.
    command = [sys.executable, "-m", "sentryward", str(source), "--input", str(config)]
    limits = ["--timeout", str(SECONDS), "--memory-limit-mib", str(MEGABYTES)]
    found = json.loads(subprocess.run([*command, *limits], stdout=subprocess.PIPE, check=False).stdout)
    return found["result"], found.get("diagnostics")


def launch_of(entry: Entry) -> tuple[Launch, str]:
    kernel, dtype = entry.make(), np.dtype(entry.dtype)
    return launches()[kernel, dtype], kernel.ptx(CAPABILITY, dtype)


def test_one_of_each_kind_is_quick() -> None:
    assert {entry.name for entry in CATALOGUE} >= QUICK


@pytest.mark.parametrize(
    "entry",
    [pytest.param(e, marks=() if e.name in QUICK else pytest.mark.exhaustive, id=e.name) for e in CATALOGUE],
)
def test_no_schedule_has_a_race(entry: Entry, tmp_path: Path) -> None:
    launch, ptx = launch_of(entry)
    result, said = verdict(ptx, launch, tmp_path)
    why = next((why for start, why in UNDECIDED.items() if entry.name.startswith(start)), None)
    if result == "unsupported" and why is not None:
        pytest.skip(f"Sentryward cannot tell: {why}")
    assert result == "race_free", said


@pytest.mark.parametrize(
    "name", ["matmul 32x32 nn", "product 64x64 bf16", "depthwise grad_weights", "penalty"]
)
def test_a_removed_barrier_is_found(name: str, tmp_path: Path) -> None:
    (entry,) = (entry for entry in CATALOGUE if entry.name == name)
    launch, ptx = launch_of(entry)
    start, stop = next(BARRIER.finditer(ptx)).span()
    assert verdict(ptx[:start] + ptx[stop:], launch, tmp_path)[0] == "potential_race"
