"""Dropout on the GPU, its PTX interpreted: the random numbers of random.py and the CPU's masks bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from hypothesis import given, settings
from hypothesis import strategies as st
from interpreted import Interpreted
from op_operands import DTYPES, draw_normals

from cnnlite_kernels import random
from cnnlite_kernels.cpu import dropout as cpu
from cnnlite_kernels.cpu import plan as cpu_plan
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import pointer_to
from cnnlite_kernels.cuda import dropout
from cnnlite_kernels.cuda.plan import Plan

DEVICE = Interpreted()
KEYS = (0, 1, -1, 2**40 + 12345, -(2**63), 2**63 - 1)


def on_gpu(x: np.ndarray, rate: float, key: int, stream: int, first: int = 0, **options: Any) -> np.ndarray:
    y, plan = DEVICE.empty(x.size, x.dtype), Plan(DEVICE)
    keys = np.array([key], np.int64)
    dropout.add_dropout(plan, x.reshape(-1), y, x.size, rate, keys, stream, first, **options)
    plan.run()
    return y.reshape(x.shape)


def on_cpu(x: np.ndarray, rate: float, key: int, stream: int, first_image: int = 0) -> np.ndarray:
    """x: (n, numbers of an image)."""
    y, plan = np.full_like(x, np.nan), cpu_plan.Plan(x.itemsize)
    keys, first = np.array([key], np.int64), np.array([first_image], np.int64)
    source, target = (Images(pointer_to(array), len(x), 1, 1, x.shape[1]) for array in (x, y))
    cpu.add_dropout(plan, source, target, rate, pointer_to(keys), stream, pointer_to(first))
    cpu_plan.Job([[cpu_plan.Part(plan)]]).run()
    return y


@pytest.mark.parametrize("key", KEYS)
def test_the_masks_are_those_of_the_generator(key: int) -> None:
    words = random.uint32(key % 2**64, 1003)
    kept = on_gpu(np.ones(1003, np.float32), 0.5, key, 0) != 0
    np.testing.assert_array_equal(kept, words >= random.keep_threshold(0.5))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stream", [0, 1, 7, 2**31])
@pytest.mark.parametrize("key", KEYS)
def test_bits_are_the_cpus(key: int, stream: int, dtype: type) -> None:
    x = draw_normals(np.random.default_rng(0), (3, 331), dtype)
    np.testing.assert_array_equal(on_gpu(x, 0.3, key, stream), on_cpu(x, 0.3, key, stream))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 5), st.integers(1, 70), st.floats(0, 0.99), st.integers(0, 50), st.sampled_from(DTYPES),
    st.integers(-(2**63), 2**63 - 1),
)  # fmt: skip
def test_any_part_of_a_batch_has_the_cpus_bits(
    n: int, count: int, rate: float, first: int, dtype: type, key: int
) -> None:
    """Parts begin at any place of a counter's four numbers."""
    x = draw_normals(np.random.default_rng(n), (n, count), dtype)
    expected = on_cpu(x, rate, key, 3, first) if n else x
    np.testing.assert_array_equal(on_gpu(x, rate, key, 3, first * count), expected)


@pytest.mark.parametrize("first", [2**32 - 4, 2**33 + 4, 2**34 - 2])
def test_places_beyond_two_to_the_32(first: int) -> None:
    x = draw_normals(np.random.default_rng(1), (7, 2), np.float32)
    np.testing.assert_array_equal(on_gpu(x, 0.5, 5, 1, first), on_cpu(x, 0.5, 5, 1, first // 2))


def test_more_than_a_turn_of_each_thread() -> None:
    device = Interpreted(check=False)
    device.multiprocessors = 1
    x, plan = draw_normals(np.random.default_rng(2), (1, 40_001), np.float32), Plan(device)
    y = device.empty(x.size)
    dropout.add_dropout(plan, x.reshape(-1), y, x.size, 0.5, np.array([9], np.int64), 2)
    plan.run()
    np.testing.assert_array_equal(y, on_cpu(x, 0.5, 9, 2).reshape(-1))


def test_arrays_that_are_not_aligned_have_the_same_bits() -> None:
    x = draw_normals(np.random.default_rng(3), (1030,), np.float32)[1:]
    np.testing.assert_array_equal(on_gpu(x, 0.5, 1, 1, aligned=False), on_gpu(x.copy(), 0.5, 1, 1))


def test_in_place() -> None:
    x = draw_normals(np.random.default_rng(4), (1003,), np.float32)
    expected, plan = on_gpu(x, 0.5, 8, 0), Plan(DEVICE)
    dropout.add_dropout(plan, x, x, x.size, 0.5, np.array([8], np.int64), 0)
    plan.run()
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_nan_is_dropped_like_any_number(dtype: type) -> None:
    y = on_gpu(np.full(1000, np.nan, dtype), 0.5, 1, 0)
    kept = on_gpu(np.ones(1000, dtype), 0.5, 1, 0) != 0
    np.testing.assert_array_equal(np.isnan(y), kept)
    np.testing.assert_array_equal(y[~kept], 0)


def test_a_rate_of_zero_changes_nothing() -> None:
    x = draw_normals(np.random.default_rng(5), (100,), np.float32)
    np.testing.assert_array_equal(on_gpu(x, 0.0, 1, 0), x)


def test_aligned_arrays_move_128_bits_and_nothing_twice() -> None:
    device = Interpreted(count=True)
    x, plan = np.ones(4096, np.float32), Plan(device)
    dropout.add_dropout(plan, x, device.empty(x.size), x.size, 0.5, np.zeros(1, np.int64), 0)
    plan.run()
    (counters,) = device.counters
    (stores,) = (access for access in counters.global_store.values() if access.requests)
    assert stores.bytes == x.nbytes == 16 * 32 * stores.requests
    assert stores.passes == stores.fewest
    key_reads = 8 * 1024  # by each thread
    assert counters.bytes_loaded == x.nbytes + key_reads
