"""The ladder is whole: the interpreter runs every kernel of the catalogue, and every barrier of those that share memory is missed.

That the catalogue has every kernel of the package, and that all of it compiles and keeps its budget: test_cuda_compile.py and
test_cuda_budget.py. Mistakes that each of the other checks must find: a spilled accumulator and scalar loads in test_cuda_static.py,
an unpadded tile in test_ptx_numba.py and test_cuda_tile.py, a transposed fragment and a forgotten wait in test_cuda_tensor_matmul.py.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

import cuda_products
import cuda_samples
from altered import CAPABILITY, Altered
from cuda_samples import Sample, run
from interpreted import Interpreted

from cnnlite_kernels.cuda.catalogue import CATALOGUE
from cnnlite_kernels.cuda.kernel import Kernel
from cnnlite_kernels.cuda.plan import Plan
from tools.ptx.errors import PtxError

SAMPLES = (*cuda_samples.SAMPLES, *cuda_products.SAMPLES)
BY_NAME = {sample.name: sample for sample in SAMPLES}
DEVICE = Interpreted(CAPABILITY)

# Samples, and how many barriers their kernels can do without: behind the last sum over a block nothing waits for its memory.
SHARING = {
    "softmax of 1030, float32": 1,
    "bias gradient of 5, float32": 1,
    "batch normalization of 3 in training, float32": 1,
    "penalty": 1,
    "adam, float32": 0,
    "matmul 32x32 nn": 0,
    "matmul 64x64 nt scalar": 0,
    "conv2d 32x32 wide": 0,
    "conv2d, few channels, 64x32": 0,
    "depthwise": 0,
    "tensor matmul 64x64 nn tf32": 0,
    "tensor conv2d gradient of weights 64x64 bfloat16": 0,
}


@functools.cache
def launched() -> dict[tuple[Kernel, np.dtype], list[str]]:
    """The samples that launch each kernel, by the dtype that it works in."""
    found: dict[tuple[Kernel, np.dtype], list[str]] = {}
    for sample in SAMPLES:
        plan = Plan(DEVICE)
        sample.emit(plan)
        for kernel, _, args in plan.launches:
            found.setdefault((kernel, kernel.dtype(args)), []).append(sample.name)
    return found


def test_every_kernel_of_the_catalogue_has_a_sample() -> None:
    without = [entry.name for entry in CATALOGUE if (entry.make(), np.dtype(entry.dtype)) not in launched()]
    assert not without


def test_every_kernel_of_a_sample_is_in_the_catalogue() -> None:
    known = {(entry.make(), np.dtype(entry.dtype)) for entry in CATALOGUE}
    missing = {
        f"{kernel.name} of {dtype}": names
        for (kernel, dtype), names in launched().items()
        if (kernel, dtype) not in known
    }
    assert not missing


def test_samples_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(SAMPLES)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_interpreted_it_computes_the_reference(sample: Sample) -> None:
    run(sample, DEVICE)


@pytest.mark.parametrize("name", SHARING)
def test_a_removed_barrier_is_found(name: str) -> None:
    """Each in turn; a race or shared memory that nobody wrote, or a result that is wrong."""
    intact = Altered()
    run(BY_NAME[name], intact)
    assert intact.barriers > SHARING[name]
    unnoticed = [number for number in range(intact.barriers) if not _fails(BY_NAME[name], number)]
    assert len(unnoticed) <= SHARING[name], f"no one misses barriers {unnoticed} of {intact.barriers}"


def _fails(sample: Sample, without: int) -> bool:
    try:
        run(sample, Altered(without=without))
    except (PtxError, AssertionError):
        return True
    return False


def test_a_sample_that_is_wrong_is_found() -> None:
    def emit(plan: Plan) -> Any:
        first, *others = BY_NAME["sum and constant, float32"].emit(plan)
        return [first._replace(wanted=first.wanted + 1), *others]

    with pytest.raises(AssertionError, match=r"Mismatched elements"):
        run(Sample("wrong", emit), DEVICE)


def test_a_sample_that_is_not_written_is_found() -> None:
    def emit(plan: Plan) -> Any:
        checks = BY_NAME["sum and constant, float32"].emit(plan)
        plan.launches.clear()
        return checks

    with pytest.raises(AssertionError, match=r"(?i)mismatch"):
        run(Sample("nothing", emit), DEVICE)
