"""Rung 7 beside test_gpu.py and test_gpu_models.py: every kernel on a GPU, by launches and as a graph, and what a step leaves behind.

Without a GPU every test here is a visible skip; test_cuda_ladder.py has the interpreter in its place.
"""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

import cuda_products
import cuda_samples
import networks
from cuda_samples import Sample, run

import cnnlite
from cnnlite import optimizers
from cnnlite_kernels import dispatch
from cnnlite_kernels.cuda.catalogue import CATALOGUE
from cnnlite_kernels.cuda.driver import missing
from cnnlite_kernels.cuda.plan import Plan

MISSING = missing()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(MISSING is not None, reason=f"no GPU: {MISSING}"),
]
SAMPLES = (*cuda_samples.SAMPLES, *cuda_products.SAMPLES)
# Each writes all of what it changes, from what it leaves as it is: twice is the same as once.
REPEATABLE = (
    "softmax of 1030, float32",
    "cross-entropy of labels of 10, gradient, float32",
    "max pooling 2 x 2 with its gradient, float32",
    "matmul 64x64 nn",
    "conv2d 64x64 wide",
    "depthwise",
    "tensor matmul 64x64 nn bf16",
)
LEAST = {(entry.make(), np.dtype(entry.dtype)): min(entry.capabilities) for entry in CATALOGUE}


@pytest.fixture(scope="module")
def device() -> Any:
    return dispatch.gpu("the tests", "cuda")


def plan_of(sample: Sample, device: Any) -> tuple[Plan, list[cuda_samples.Check]]:
    plan = Plan(device)
    checks = sample.emit(plan)
    needed = max(LEAST[kernel, kernel.dtype(args)] for kernel, _, args in plan.launches)
    if device.capability < needed:
        pytest.skip(f"needs compute capability {needed}, and {device.name} has {device.capability}")
    return plan, checks


def contents(device: Any, checks: list[cuda_samples.Check]) -> list[np.ndarray]:
    found = [np.empty(array.size, array.dtype) for array, *_ in checks]
    for (array, *_), host in zip(checks, found, strict=True):
        device.download(array, host)
    device.synchronize()
    return found


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_every_kernel_computes_the_reference(sample: Sample, device: Any) -> None:
    plan_of(sample, device)
    first, second = run(sample, device), run(sample, device)
    assert networks.same(first, second), "the same bits every time"


@pytest.mark.parametrize("name", REPEATABLE)
def test_two_replays_of_a_graph_are_what_its_launches_are(name: str, device: Any) -> None:
    (sample,) = (sample for sample in SAMPLES if sample.name == name)
    plan, checks = plan_of(sample, device)
    plan.run()
    expected = contents(device, checks)
    replay = plan.graph()
    for _ in range(2):
        for array, *_ in checks:
            device.upload(np.full(array.nbytes, 0xFF, np.uint8).view(array.dtype), array)
        replay()
        assert networks.same(contents(device, checks), expected)


def batch(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 28, 28, 1)).astype(np.float32), rng.integers(0, 10, n)


def test_a_step_asks_for_no_memory(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first of its batch size; neither of the driver nor, on the GPU, of the pool."""
    model = networks.documented(device="cuda")
    model.compile(optimizers.Adam(), "sparse_categorical_crossentropy", ["accuracy"])
    x, y = batch(32)
    for _ in range(2):
        model.train_on_batch(x, y)
        model.predict_on_batch(x)
    asked: list[int] = []
    take = device._pool.take

    def counted(size: int) -> Any:
        asked.append(size)
        return take(size)

    monkeypatch.setattr(device._pool, "take", counted)
    for _ in range(5):
        model.train_on_batch(x, y)
        model.predict_on_batch(x)
    assert asked == []


def test_models_that_are_gone_leave_their_memory_to_the_next(
    device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).standard_normal((12, 6)).astype(np.float32)
    y = np.arange(12) % 3

    def train() -> None:
        model = networks.small(device="cuda")
        model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=4, verbose=0)
        del model
        gc.collect()

    train()
    asked: list[int] = []
    allocate = device._pool._allocate

    def counted(size: int) -> int:
        asked.append(size)
        return allocate(size)

    monkeypatch.setattr(device._pool, "_allocate", counted)
    for _ in range(3):
        train()
    assert asked == []


def test_models_train_at_once_in_threads(device: Any) -> None:
    """Each ends where it ends alone."""
    x, y = batch(32)

    def trained(seed: int) -> list[np.ndarray]:
        model = networks.documented(device="cuda")
        model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        model.set_weights(start[seed])
        for _ in range(5):
            model.train_on_batch(x, y)
        return model.get_weights()

    start = []
    for seed in range(2):
        cnnlite.set_random_seed(seed)
        start.append(networks.documented().get_weights())
    alone = [trained(seed) for seed in range(2)]
    together: dict[int, list[np.ndarray]] = {}

    def work(seed: int) -> None:
        together[seed] = trained(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(2):
        assert networks.same(together[seed], alone[seed])
