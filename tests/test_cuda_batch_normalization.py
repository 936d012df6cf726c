"""Batch normalization on the GPU, its PTX interpreted: against the reference and the CPU's kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from hypothesis import given, settings
from hypothesis import strategies as st
from interpreted import Interpreted
from op_operands import DTYPES, draw_normals

import cnnlite_kernels as kernels
from cnnlite_kernels import DeviceArray, reference
from cnnlite_kernels.cuda import batch_normalization, gpu
from cnnlite_kernels.cuda.plan import Plan

# one number; channels in threes and fours; more rows than one turn of a block; more channels than a block takes; many pieces
SHAPES = ((1, 1), (7, 3), (2, 5, 6, 4), (700, 5), (3, 70), (20_000, 2), (5000, 36))
DEVICE = Interpreted()


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter stands for the machine's GPU."""
    monkeypatch.setattr(gpu, "current", lambda number=0: DEVICE)


def close(actual: np.ndarray, expected: np.ndarray, terms: int = 1) -> None:
    """Some roundings of the largest number, and a random walk of those of a sum of `terms`."""
    tolerance = np.finfo(actual.dtype).eps * (32 + np.sqrt(terms)) * np.abs(expected).max(initial=1)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def assert_close_to_reference(shape: tuple[int, ...], dtype: type, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    c = shape[-1]
    x, grad_y, gamma, beta = (draw_normals(rng, s, dtype) for s in (shape, shape, (c,), (c,)))
    x += dtype(3)
    options: dict[str, Any] = {"epsilon": 0.25}
    moving = np.zeros(c, dtype), np.ones(c, dtype)
    results = kernels.batch_normalization_train(
        x, gamma, beta, moving_mean=moving[0], moving_variance=moving[1], momentum=0.75, device="cuda", **options
    )  # fmt: skip
    expected = reference.batch_normalization_train(x, gamma, beta, **options)
    for actual, wanted in zip(results, expected, strict=True):
        close(actual, wanted, x.size // c)
    y, mean, variance = results
    close(moving[0], 0.25 * mean)
    close(moving[1], 0.75 + 0.25 * variance)
    given = kernels.batch_normalization(x, mean, variance, gamma, beta, device="cuda", **options)
    np.testing.assert_array_equal(given, y)
    close(y, kernels.batch_normalization(x, mean, variance, gamma, beta, **options))
    for training in (True, False):
        options |= {"gamma": gamma, "training": training}
        grads = kernels.batch_normalization_grad(grad_y, x, mean, variance, device="cuda", **options)
        expected = reference.batch_normalization_grad(grad_y, x, mean, variance, **options)
        for actual, wanted in zip(grads, expected, strict=True):
            close(actual, wanted, x.size // c)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_close_to_reference(shape: tuple[int, ...], dtype: type) -> None:
    assert_close_to_reference(shape, dtype)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_any_shape_is_close_to_reference(pixels: int, c: int, dtype: type, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gpu, "current", lambda number=0: DEVICE)
        assert_close_to_reference((pixels, c), dtype, seed)


def test_arrays_on_the_device_stay_there() -> None:
    rng = np.random.default_rng(1)
    x, grad_y = (draw_normals(rng, (3, 4, 4, 8), np.float32) for _ in range(2))
    gamma, beta, mean, variance = (np.abs(draw_normals(rng, (8,), np.float32)) for _ in range(4))
    up = kernels.to_device
    moving = up(mean), up(variance)
    there = kernels.batch_normalization_train(
        up(x), up(gamma), beta, moving_mean=moving[0], moving_variance=moving[1]
    )
    here = kernels.batch_normalization_train(
        x, gamma, beta, moving_mean=mean, moving_variance=variance, device="cuda"
    )
    there += kernels.batch_normalization_grad(up(grad_y), up(x), *there[1:], up(gamma))
    here += kernels.batch_normalization_grad(grad_y, x, *here[1:], gamma, device="cuda")
    for device, host in zip((*there, *moving), (*here, mean, variance), strict=True):
        assert isinstance(device, DeviceArray)
        np.testing.assert_array_equal(device.copy_to_host(), host)
    fixed = DeviceArray(DEVICE, moving[0].flat, (8,), writeable=False)
    with pytest.raises(ValueError, match="expected moving_mean to be writeable and C-contiguous"):
        kernels.batch_normalization_train(up(x), moving_mean=fixed, moving_variance=moving[1])


@pytest.mark.parametrize("shift", [1e4, -1e6])
def test_a_large_mean_costs_no_more_than_it_must(shift: float) -> None:
    x = (np.random.default_rng(2).standard_normal((20_000, 5)) + shift).astype(np.float32)
    _, mean, variance = kernels.batch_normalization_train(x, epsilon=0, device="cuda")
    expected = reference.batch_normalization_train(x, epsilon=0)
    # of the means, which are float32 from the first sum on; a variance of 1 is made of differences between them, too
    unit = np.spacing(np.float32(abs(shift)))
    np.testing.assert_allclose(mean, expected[1], rtol=0, atol=2 * unit)
    np.testing.assert_allclose(variance, expected[2], rtol=unit)


def test_arrays_that_are_not_aligned_give_the_same_bits() -> None:
    rng = np.random.default_rng(3)
    rows, c = 50, 8
    x, grad_y = (draw_normals(rng, (rows * c,), np.float32) for _ in range(2))
    mean, variance = np.zeros(c, np.float32), np.ones(c, np.float32)
    found = []
    for aligned in (True, False):
        y, grad_x, grad_gamma, grad_beta = (DEVICE.empty(size) for size in (x.size, x.size, c, c))
        plan = Plan(DEVICE)
        batch_normalization.add_forward(
            plan, x, y, mean, variance, mean, variance, 0.1, rows, c, aligned=aligned
        )
        batch_normalization.add_grad(
            plan, grad_y, x, mean, variance, None, 0.1, grad_x, grad_gamma, grad_beta, rows, c, aligned=aligned
        )  # fmt: skip
        plan.run()
        found.append((y, grad_x, grad_gamma, grad_beta))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "wanted", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)], ids=["x", "gamma", "beta", "x and gamma"]
)
def test_gradients_that_nobody_wants_are_left_out(wanted: tuple[int, ...], training: bool) -> None:
    rng = np.random.default_rng(4)
    rows, c = 50, 5
    x, grad_y = (draw_normals(rng, (rows * c,), np.float32) for _ in range(2))
    gamma, mean, variance = (np.abs(draw_normals(rng, (c,), np.float32)) for _ in range(3))

    def found(wanted: tuple[int, ...]) -> tuple[list[Any], int]:
        grads = [
            DEVICE.empty(size) if one else None for size, one in zip((x.size, c, c), wanted, strict=True)
        ]
        plan = Plan(DEVICE)
        batch_normalization.add_grad(
            plan, grad_y, x, mean, variance, gamma, 0.1, *grads, rows, c, training=training
        )
        plan.run()
        return grads, len(plan.launches)

    (every, launches), (some, fewer) = found((1, 1, 1)), found(wanted)
    for one, other in zip(every, some, strict=True):
        if other is not None:  # a factor is gamma / sqrt(...) or gamma * (1 / sqrt(...))
            np.testing.assert_allclose(one, other, rtol=3 * np.finfo(np.float32).eps)
    assert fewer <= launches - (not wanted[0])
    assert training or any(wanted[1:]) or fewer == 2, "no sums: a factor of each channel, and the product"


def test_an_empty_batch() -> None:
    empty, one = np.zeros((0, 3), np.float32), np.ones(3, np.float32)
    grads = kernels.batch_normalization_grad(empty, empty, one, one, one, device="cuda")
    assert [grad.tolist() for grad in grads] == [[], [0, 0, 0], [0, 0, 0]]


def test_the_fewest_bytes_are_moved() -> None:
    """Statistics read x once; the normalization reads it once more and writes y; the gradient reads both twice."""
    device = Interpreted(count=True)
    rows, c = 2048, 32
    x, channel = np.ones(rows * c, np.float32), np.ones(c, np.float32)
    plan = Plan(device)
    y, grad_x = device.empty(x.size), device.empty(x.size)
    batch_normalization.add_statistics(plan, x, channel.copy(), channel.copy(), rows, c)
    batch_normalization.add_forward(plan, x, y, channel, channel, None, None, 0.1, rows, c)
    batch_normalization.add_grad(
        plan, x.copy(), x, channel, channel, None, 0.1, grad_x, channel.copy(), channel.copy(), rows, c
    )
    plan.run()
    moved = {}
    for launch, counters in zip(device.launches, device.counters, strict=True):
        moved[launch.kernel.name] = counters.bytes_loaded, counters.bytes_stored
        for access in (*counters.global_load.values(), *counters.global_store.values()):
            assert access.passes == access.fewest
    assert (
        moved["channel_statistics"][0] <= 1.15 * x.nbytes
    )  # each thread's first number comes twice, the second time from L1
    assert moved["sum_gradients"][0] <= 2.15 * x.nbytes
    assert moved["normalize"] == (3 * x.nbytes, x.nbytes)  # mean and scale come from L1
    assert moved["normalize_grad"] == (6 * x.nbytes, x.nbytes)
