"""Max pooling on the GPU, its PTX interpreted: against the reference, exact, with the CPU's ties and NaNs."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

import cases
import numpy as np
from cases import PoolCase
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreted import Interpreted
from op_operands import DTYPES, draw_integers
from strategies import pool_cases

from cnnlite_kernels import reference
from cnnlite_kernels.cuda import max_pool2d
from cnnlite_kernels.cuda.grid import divider
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.window import Window2D
from tools.ptx.machine import Machine
from tools.ptx.memory import Sparse

SMALL = (*cases.ODD_POOLS, *(c.with_batch(2) for c in cases.DOCUMENTED if isinstance(c, PoolCase)))
LARGER = (
    PoolCase("many_channels", 2, 6, 5, 1000, (3, 3), (2, 2), "same"),
    PoolCase("many_blocks", 3, 60, 50, 3, (2, 2)),
    PoolCase("more_than_a_turn_of_each_thread", 9, 40, 44, 33, (2, 2)),
)
DEVICE = Interpreted()


def forward(
    x: np.ndarray, window: Window2D, with_index: bool = True, minimum: bool = False
) -> tuple[np.ndarray, Any]:
    n, h, w, c = x.shape
    shape = (n, *window.output_size(h, w), c)
    y = DEVICE.empty(int(np.prod(shape)), x.dtype)
    index = DEVICE.empty(y.size, np.int32) if with_index else None
    plan = Plan(DEVICE)
    max_pool2d.add_forward(plan, window, n, h, w, c, x.reshape(-1), y, index, minimum)
    plan.run()
    return y.reshape(shape), None if index is None else index.reshape(shape)


def gradient(
    grad_y: np.ndarray, index: np.ndarray, shape: Any, window: Window2D, **options: Any
) -> np.ndarray:
    grad_x = DEVICE.empty(int(np.prod(shape)), grad_y.dtype)
    plan = Plan(DEVICE)
    max_pool2d.add_grad(plan, window, *shape, grad_y.reshape(-1), index.reshape(-1), grad_x, **options)
    plan.run()
    return grad_x.reshape(shape)


def assert_equal_to_reference(case: PoolCase, dtype: type, seed: int = 0) -> None:
    """Integers of few values: many windows hold equal maxima, of which the first must win."""
    rng = np.random.default_rng(seed)
    x, grad_y = draw_integers(rng, case.x_shape, dtype), draw_integers(rng, case.y_shape, dtype)
    expected, places = reference.max_pool2d(x, case.pool_size, return_indices=True, **case.options)
    y, index = forward(x, case.window)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(index, places)
    np.testing.assert_array_equal(forward(x, case.window, with_index=False)[0], expected)
    expected = reference.max_pool2d_grad(grad_y, x, case.pool_size, **case.options)
    np.testing.assert_array_equal(gradient(grad_y, index, case.x_shape, case.window), expected)
    expected, places = reference.min_pool2d(x, case.pool_size, return_indices=True, **case.options)
    y, index = forward(x, case.window, minimum=True)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(index, places)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_integers_equal_reference(case: PoolCase, dtype: type) -> None:
    assert_equal_to_reference(case, dtype)


@pytest.mark.parametrize("case", LARGER, ids=str)
def test_integers_equal_reference_in_many_blocks(case: PoolCase) -> None:
    assert_equal_to_reference(case, np.float32)


@settings(max_examples=30, deadline=None)
@given(pool_cases(), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_any_geometry_equals_reference(case: PoolCase, dtype: type, seed: int) -> None:
    assert_equal_to_reference(case, dtype, seed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pool", [2, 3, (3, 4)])
def test_nan_wins_and_the_first_one_stays(pool: Any, dtype: type) -> None:
    rng = np.random.default_rng(1)
    x = draw_integers(rng, (2, 9, 8, 19), dtype)
    x[rng.random(x.shape) < 0.2] = np.nan
    x[rng.random(x.shape) < 0.2] = -np.inf
    for options in ({"strides": pool}, {"strides": 1, "padding": "same"}):
        expected, places = reference.max_pool2d(x, pool, return_indices=True, **options)
        y, index = forward(x, Window2D.of(pool, **options))
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(index, places)
        y, index = forward(-x, Window2D.of(pool, **options), minimum=True)
        np.testing.assert_array_equal(y, -expected)
        np.testing.assert_array_equal(index, places)


def test_padding_never_wins() -> None:
    x = np.full((1, 3, 3, 2), -np.inf, np.float32)
    y, index = forward(x, Window2D.of(3, padding="same"))
    np.testing.assert_array_equal(y, x)
    assert index[0, 0, 0, 0] == 4  # the window's middle is its first pixel inside the image


def test_dilated_windows() -> None:
    """No op has them, but the CPU's kernels do: the maximum of every other pixel."""
    x = draw_integers(np.random.default_rng(2), (1, 7, 8, 3), np.float32)
    window = Window2D.of(2, strides=(1, 2), dilation=(3, 2))
    y, index = forward(x, window)
    taps = np.stack([x[:, i : i + 4, j : j + 5 : 2] for i in (0, 3) for j in (0, 2)])
    np.testing.assert_array_equal(y, taps.max(axis=0))
    np.testing.assert_array_equal(index, taps.argmax(axis=0))
    grad_y = draw_integers(np.random.default_rng(3), y.shape, np.float32)
    expected = np.zeros_like(x)
    for place, (i, j) in enumerate([(0, 0), (0, 2), (3, 0), (3, 2)]):
        expected[:, i : i + 4, j : j + 5 : 2] += np.where(index == place, grad_y, 0)
    np.testing.assert_array_equal(gradient(grad_y, index, x.shape, window), expected)


@pytest.mark.parametrize("case", [*cases.ODD_POOLS[:12:3], SMALL[-1]], ids=str)
def test_gradient_through_the_relu_in_front(case: PoolCase) -> None:
    """One kernel gives what pooling's gradient and relu's give one after the other."""
    rng = np.random.default_rng(4)
    x, grad_y = draw_integers(rng, case.x_shape, np.float32), draw_integers(rng, case.y_shape, np.float32)
    x = np.maximum(x - 1, 0)
    y, index = forward(x, case.window)
    expected = gradient(grad_y, index, case.x_shape, case.window) * (x > 0)
    found = gradient(grad_y, index, case.x_shape, case.window, pooled=y.reshape(-1))
    np.testing.assert_array_equal(found, expected)


def test_gradients_repeat_to_the_bit_and_follow_the_windows_order() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 8, 9, 5)).astype(np.float32)
    window = Window2D.of(4, padding="same")
    _, index = forward(x, window)
    grad_y = rng.standard_normal(index.shape).astype(np.float32)
    found = gradient(grad_y, index, x.shape, window)
    np.testing.assert_array_equal(gradient(grad_y, index, x.shape, window), found)
    expected = np.zeros((2, 8 + 3, 9 + 3, 5), np.float32)  # of the padded image: one row and column before it
    for n, p, q, c in np.ndindex(*index.shape):
        expected[n, p + index[n, p, q, c] // 4, q + index[n, p, q, c] % 4, c] += grad_y[n, p, q, c]
    np.testing.assert_array_equal(found, expected[:, 1:9, 1:10])


def test_pools_side_by_side_move_the_fewest_bytes() -> None:
    """Each number of x and its gradient once; each window's gradient and place once for each of its pixels."""
    device, window = Interpreted(count=True), Window2D.of(2, strides=2)
    x, plan = np.ones(2 * 16 * 16 * 32, np.float32), Plan(device)
    y, index = device.empty(x.size // 4), device.empty(x.size // 4, np.int32)
    max_pool2d.add_forward(plan, window, 2, 16, 16, 32, x, y, index)
    max_pool2d.add_grad(plan, window, 2, 16, 16, 32, y, index, device.empty(x.size))
    plan.run()
    forward, backward = device.counters
    assert (forward.bytes_loaded, forward.bytes_stored) == (x.nbytes, 2 * y.nbytes)
    assert (backward.bytes_loaded, backward.bytes_stored) == (2 * x.nbytes, x.nbytes)
    for counters in device.counters:
        for access in (*counters.global_load.values(), *counters.global_store.values()):
            assert access.passes == access.fewest


def test_offsets_beyond_two_to_the_32() -> None:
    """The last block of a large image with many channels: its numbers lie where 32 bits do not reach."""
    h, w, c = 3000, 2000, 1000
    device = Interpreted(check=False)
    plan = Plan(device)
    window, count = Window2D.of(2, strides=2), h // 2 * (w // 2) * c
    assert h * w * c > 2**32
    x = Sparse(h * w * c, page=lambda first, numbers: (first + np.arange(numbers)).astype(np.float32))
    tall = Sliced(x), Sliced(Sparse(count)), Sliced(Sparse(count, np.int32))
    max_pool2d.add_forward(plan, window, 1, h, w, c, *tall)
    (launch,) = plan.launches
    args = [arg.whole if isinstance(arg, Sliced) else arg for arg in launch.args]
    machine = Machine(launch.kernel.ptx(device.capability), check=False)
    machine.launch(launch.blocks, launch.kernel.threads, *args, blocks=[launch.blocks - 1])
    assert tall[1].whole[count - 1] == np.float32(h * w * c - 1)
    assert tall[2].whole[count - 1] == 3


class Sliced:
    """A sparse array of which a plan takes a slice, which must be all of it."""

    def __init__(self, whole: Sparse) -> None:
        self.whole, self.dtype = whole, whole.dtype

    def __getitem__(self, part: slice) -> Sliced:
        assert (part.start, part.stop) == (0, self.whole.length)
        return self


def test_large_batches_are_cut_between_images() -> None:
    """One launch counts fewer than 2^31 pixels."""
    plan = Plan(DEVICE)
    size = 30000
    window, n = Window2D.of(size, strides=size), 3
    x = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (n * size * size,), (0,))
    y, index = np.zeros(n, np.float32), np.zeros(n, np.int32)
    max_pool2d.add_forward(plan, window, n, size, size, 1, x, y, index)
    assert [launch.args[3] for launch in plan.launches] == [2, 1]
    assert [launch.args[0].size for launch in plan.launches] == [2 * size * size, size * size]


def test_an_image_of_too_many_pixels() -> None:
    with pytest.raises(
        ValueError,
        match=r"max_pool2d: expected images of at most 2147483647 pixels on a GPU, got 65536 x 32768",
    ):
        max_pool2d.add_forward(Plan(DEVICE), Window2D.of(2), 1, 65536, 32768, 1, None, None)


@pytest.mark.parametrize("by", [1, 2, 3, 7, 32, 33, 1000, 2**30 - 1, 2**30 + 1, 2**31 - 1, 2**31])
def test_dividers(by: int) -> None:
    """At all places where a quotient changes or ends, from 0 to 2^31 - 1."""
    multiplier, shift = divider(by) & 0xFFFFFFFF, divider(by) >> 32
    most = 2**31 - 1
    for quotient in {0, 1, 2, most // by // 2, most // by - 1, most // by}:
        for x in (quotient * by - 1, quotient * by, quotient * by + 1, quotient * by + by - 1):
            if 0 <= x <= most:
                assert x * multiplier < 2**64
                assert x * multiplier >> shift == x // by
