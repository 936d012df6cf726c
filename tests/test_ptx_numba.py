"""What numba-cuda compiles, in the interpreter: right kernels pass, and each check finds the kernel that breaks it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda compiles these kernels")

from numba import cuda, float32, float64, int32, types, uint32

from tools.ptx.counters import total
from tools.ptx.errors import PtxError
from tools.ptx.machine import Machine
from tools.ptx.memory import Sparse

u = uint32
THREADS = 64
TILE = 32
PADDED = 33
CELLS = TILE * TILE
PADDED_CELLS = TILE * PADDED
CAPABILITIES = [(7, 5), (8, 0), (9, 0), (12, 0)]

Reals = types.Array(types.float32, 1, "C")
Doubles = types.Array(types.float64, 1, "C")
Ints = types.Array(types.int32, 1, "C")


def compiled(
    body: Callable, *arguments: Any, capability: tuple[int, int] = (8, 0), threads: int = THREADS
) -> Machine:
    ptx, _ = cuda.compile(
        body, types.void(*arguments), cc=capability, device=False, abi="numba", launch_bounds=(threads, 1)
    )
    return Machine(ptx)


def reversed_in_block(barrier: bool) -> Callable:
    """y = x, reversed within each block of 64 through shared memory."""

    def body(x, y, n):
        tile = cuda.shared.array(THREADS, float32)
        t = u(cuda.threadIdx.x)
        i = u(cuda.blockIdx.x) * u(THREADS) + t
        tile[t] = x[i] if i < n else float32(0)
        if barrier:
            cuda.syncthreads()
        y[i] = tile[u(THREADS - 1) - t]

    return body


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_shared_memory_and_a_barrier(capability: tuple[int, int]) -> None:
    x, y = np.arange(128, dtype=np.float32), np.full(128, np.nan, np.float32)
    compiled(reversed_in_block(True), Reals, Reals, uint32, capability=capability).launch(
        2, THREADS, x, y, 100
    )
    x[100:] = 0
    np.testing.assert_array_equal(y, x.reshape(2, 64)[:, ::-1].reshape(-1))


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_removed_barrier(capability: tuple[int, int]) -> None:
    x, y = np.zeros(128, np.float32), np.zeros(128, np.float32)
    with pytest.raises(PtxError, match=r"body: race in shared memory"):
        compiled(reversed_in_block(False), Reals, Reals, uint32, capability=capability).launch(
            2, THREADS, x, y, 128
        )


def test_out_of_bounds() -> None:
    machine = compiled(reversed_in_block(True), Reals, Reals, uint32)
    x, y = np.zeros(100, np.float32), np.zeros(128, np.float32)
    machine.launch(2, THREADS, x, y, 100)
    with pytest.raises(
        PtxError, match=r"load outside argument 0, by thread \(36, 0, 0\) of block \(1, 0, 0\)"
    ):
        machine.launch(2, THREADS, x, y, 101)
    with pytest.raises(PtxError, match="store outside argument 1"):
        machine.launch(2, THREADS, x, y[:127], 100)


def test_a_deadlock() -> None:
    def body(x):
        if u(cuda.threadIdx.x) < u(40):
            cuda.syncthreads()
            x[u(cuda.threadIdx.x)] = float32(1)

    with pytest.raises(
        PtxError, match="deadlock: it waits at a barrier that 24 threads of its block left without"
    ):
        compiled(body, Reals).launch(1, THREADS, np.zeros(64, np.float32))


def test_two_threads_that_write_one_cell() -> None:
    def body(x):
        x[u(cuda.threadIdx.x) // u(2)] = float32(1)

    with pytest.raises(PtxError, match=r"race in argument 0: this store .* by thread \(1, 0, 0\)"):
        compiled(body, Reals).launch(1, THREADS, np.zeros(64, np.float32))


def test_a_launch_that_reads_what_another_block_writes() -> None:
    def body(x):
        i = u(cuda.blockIdx.x) * u(cuda.blockDim.x) + u(cuda.threadIdx.x)
        x[i] = x[i + u(1)]

    with pytest.raises(PtxError, match="race in argument 0"):
        compiled(body, Reals).launch(2, 1, np.zeros(3, np.float32))


def transposed(width: int, cells: int) -> Callable:
    """y = x transposed, 32 x 32, in one block of 32 x 8 threads; rows of the shared tile are `width` long."""

    def body(x, y):
        tile = cuda.shared.array(cells, float32)
        column, row = u(cuda.threadIdx.x), u(cuda.threadIdx.y)
        for i in range(u(0), u(TILE), u(8)):
            tile[(row + i) * u(width) + column] = x[(row + i) * u(TILE) + column]
        cuda.syncthreads()
        for i in range(u(0), u(TILE), u(8)):
            y[(row + i) * u(TILE) + column] = tile[column * u(width) + row + i]

    return body


@pytest.mark.parametrize(("width", "cells", "conflicts"), [(TILE, CELLS, 32 * 31), (PADDED, PADDED_CELLS, 0)])
def test_an_unpadded_tile_has_conflicts(width: int, cells: int, conflicts: int) -> None:
    x, y = np.arange(1024, dtype=np.float32), np.full(1024, np.nan, np.float32)
    counters = compiled(transposed(width, cells), Reals, Reals, threads=256).launch(
        1, (32, 8), x, y, count=True
    )
    np.testing.assert_array_equal(y.reshape(32, 32), x.reshape(32, 32).T)
    assert counters is not None
    assert counters.bank_conflicts == conflicts
    assert (counters.bytes_loaded, counters.bytes_stored) == (4096, 4096)
    assert (total(counters.global_load).ratio, total(counters.global_store).ratio) == (1.0, 1.0)


def test_loads_across_rows_waste_sectors() -> None:
    def body(x, y):
        t = u(cuda.threadIdx.x)
        y[t] = x[t * u(16)]

    x, y = np.arange(1024, dtype=np.float32), np.zeros(64, np.float32)
    counters = compiled(body, Reals, Reals).launch(1, 64, x, y, count=True)
    np.testing.assert_array_equal(y, x[::16])
    assert counters is not None
    assert total(counters.global_load).ratio == 8.0


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_functions_of_the_library(capability: tuple[int, int]) -> None:

    def body(x, y, d, e):
        t = u(cuda.threadIdx.x)
        v = x[t]
        y[t] = math.exp(v) + math.log(v) / math.sqrt(v) - math.tanh(v)
        e[t] = math.exp(d[t]) + math.log(d[t]) / math.sqrt(d[t]) - math.tanh(d[t])

    x = np.linspace(0.01, 9, 64).astype(np.float32)
    y, d, e = np.zeros(64, np.float32), x.astype(np.float64), np.zeros(64)
    compiled(body, Reals, Reals, Doubles, Doubles, capability=capability).launch(1, 64, x, y, d, e)
    expected = np.exp(d) + np.log(d) / np.sqrt(d) - np.tanh(d)
    np.testing.assert_allclose(y, expected, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(e, expected, rtol=1e-14, atol=1e-14)


def test_integers_as_python_divides_them() -> None:
    def body(x, y, n):
        t = u(cuda.threadIdx.x)
        y[t] = x[t] // n + (x[t] % n) * int32(1000)

    x = np.arange(-32, 32, dtype=np.int32)
    for n in (3, -3, 7):
        y = np.zeros(64, np.int32)
        compiled(body, Ints, Ints, types.int32).launch(1, 64, x, y, n)
        np.testing.assert_array_equal(y, x // n + x % n * 1000)


def test_shuffles_local_arrays_and_atomics() -> None:
    def body(x, y, count):
        t = u(cuda.threadIdx.x)
        v = x[t]
        for step in (16, 8, 4, 2, 1):
            v += cuda.shfl_down_sync(0xFFFFFFFF, v, step)
        own = cuda.local.array(4, float32)
        for i in range(4):
            own[i] = v * float32(i)
        if t % u(32) == u(0):
            y[t // u(32)] = own[t // u(32) + u(1)]
        cuda.atomic.add(count, 0, 1)

    x, y, count = np.arange(64, dtype=np.float32), np.zeros(2, np.float32), np.zeros(1, np.int32)
    compiled(body, Reals, Reals, Ints).launch(3, 64, x, np.zeros(2, np.float32), count, blocks=[1])
    compiled(body, Reals, Reals, Ints).launch(1, 64, x, y, count)
    assert y.tolist() == [sum(range(32)), 2 * sum(range(32, 64))]
    assert count[0] == 128


def offset_in(bits: int) -> Callable:
    """y[t] = x[t * 2^26 + last], with the offset formed in so many bits."""

    def narrow(x, y, last):
        t = u(cuda.threadIdx.x)
        y[t] = x[u(t * u(1 << 26) + last)]

    def wide(x, y, last):
        t = u(cuda.threadIdx.x)
        y[t] = x[types.uint64(t) * types.uint64(1 << 26) + types.uint64(last)]

    return wide if bits == 64 else narrow


def test_offsets_of_32_bits_are_found_out_by_an_array_of_2_to_the_33() -> None:
    def page(first: int, count: int) -> np.ndarray:
        return (np.arange(first, first + count) >> 20).astype(np.float32)

    expected = (np.arange(128) << 26) + 5 >> 20
    for bits in (64, 32):
        x, y = Sparse(2**33, np.float32, page, name="x"), np.zeros(128, np.float32)
        compiled(offset_in(bits), Reals, Reals, uint32, threads=128).launch(1, 128, x, y, 5)
        assert (y == expected).all() == (bits == 64)
        assert x.pages == (128 if bits == 64 else 64)


def test_a_grid_of_which_one_block_runs() -> None:
    def body(y, n):
        i = types.uint64(cuda.blockIdx.x) * types.uint64(128) + types.uint64(cuda.threadIdx.x)
        if i < n:
            y[i] = float64(i)

    y = Sparse(2**35, np.float64, name="y")
    compiled(body, Doubles, types.uint64).launch(2**28, 128, y, 2**35 - 3, blocks=[2**28 - 1])
    assert y[[2**35 - 4, 2**35 - 3]].tolist() == [2**35 - 4, 0]
    assert y.pages == 1
