"""The pieces of a block tile: who brings what, which banks it meets, which tile is taken; and the intrinsics in the interpreter."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from interpreted import Interpreted
from numba import cuda, float32, uint32, uint64

from cnnlite_kernels.cuda.intrinsics import (
    advance,
    four_of,
    gather,
    gather_below,
    load4,
    outer_products,
    row_offsets,
    stage,
    store4,
    zeros,
)
from cnnlite_kernels.cuda.kernel import U32, Floats, Kernel, kernel
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.tile import (
    DEPTH,
    FEW_COLUMNS,
    FEW_ROWS,
    LARGE,
    SMALL,
    TALL,
    TILES,
    TINY,
    Staging,
    Tile,
    choose,
    lanes_of,
)
from tools.ptx.errors import PtxError

H100 = 132  # multiprocessors

STAGINGS = [
    Staging(extent, along_k, lanes_of(tile, extent, wide), tile.threads)
    for tile in TILES
    for extent in (tile.rows, tile.columns)
    for along_k in (False, True)
    for wide in (False, True)
]


def places(staging: Staging) -> list[list[tuple[int, int, int]]]:
    """(k, index, place in shared memory) of every number that each thread stores, in the order in which it does."""
    found = []
    for t in range(staging.threads):
        lead, inner = t // staging.per_row, t % staging.per_row * staging.lanes
        start = lead * staging.lead_place + inner * staging.inner_place
        found.append(
            [
                (
                    inner + v,
                    lead + p * staging.step,
                    start + p * staging.piece_place + v * staging.inner_place,
                )
                if staging.along_k
                else (
                    lead + p * staging.step,
                    inner + v,
                    start + p * staging.piece_place + v * staging.inner_place,
                )
                for p in range(staging.pieces)
                for v in range(staging.lanes)
            ]
        )
    return found


def conflicts(staging: Staging) -> int:
    """Turns of the 32 banks beyond the fewest that a slice's stores take: 4 bytes of each lane of a warp, or 16 of a quarter."""
    words = 4 if staging.lanes == 4 and staging.inner_place == 1 else 1
    stored, extra = places(staging), 0
    for first in range(0, staging.threads, 32 // words):
        lanes = stored[first : first + 32 // words]
        for i in range(0, staging.pieces * staging.lanes, words):
            banks = Counter(
                (place + word) % 32
                for lane in lanes
                for _, _, place in lane[i : i + 1]
                for word in range(words)
            )
            extra += max(banks.values()) - 1
    return extra


@pytest.mark.parametrize("staging", STAGINGS, ids=str)
def test_a_block_stages_every_number_once(staging: Staging) -> None:
    stored = [number for lane in places(staging) for number in lane]
    assert sorted((k, index) for k, index, _ in stored) == [
        (k, i) for k in range(DEPTH) for i in range(staging.extent)
    ]
    assert all(place == k * staging.stride + index < staging.size for k, index, place in stored)


@pytest.mark.parametrize("staging", STAGINGS, ids=str)
def test_no_two_lanes_store_to_one_bank(staging: Staging) -> None:
    assert conflicts(staging) == 0
    assert staging.stride % 4 == 0, "rows of shared memory are read 16 bytes at a time"


def test_rows_without_padding_would_share_banks() -> None:
    class Unpadded(Staging):
        stride = Staging.extent

    assert conflicts(Unpadded(128, True, 4, 256)) > 0
    assert conflicts(Unpadded(64, True, 1, 64)) > 0


@pytest.mark.parametrize("tile", TILES, ids=str)
def test_threads_cover_a_tile_once_and_store_whole_sectors(tile: Tile) -> None:
    covered: Counter[tuple[int, int]] = Counter()
    for group in range(tile.groups):
        i, j = divmod(group, tile.across_groups)
        for warp in range(0, tile.threads, 32):
            sectors: Counter[int] = Counter()
            for t in range(warp, warp + 32):
                row = t // tile.across * 4 + i % 4 + i // 4 * tile.row_gap
                column = t % tile.across * 4 + j * tile.column_gap
                covered.update((row, column + lane) for lane in range(4))
                sectors[(row * tile.columns + column) // 8] += 4
            assert set(sectors.values()) == {8}
    assert covered == Counter((row, column) for row in range(tile.rows) for column in range(tile.columns))


@pytest.mark.parametrize("tile", TILES, ids=str)
def test_a_tile_fits_a_multiprocessor(tile: Tile) -> None:
    """As many blocks as it says, with enough registers for its sums and what feeds them, and 16 KB of shared memory each."""
    assert tile.threads % 32 == 0
    assert tile.blocks * tile.threads <= 1024  # what compute capability 7.5 holds
    sums = tile.thread_rows * tile.thread_columns
    assert 65536 // (tile.blocks * tile.threads) >= sums + 4 * (tile.thread_rows + tile.thread_columns)
    shared = 2 * sum(Staging(extent, True, 1, tile.threads).size * 4 for extent in (tile.rows, tile.columns))
    assert shared <= 48 * 1024
    assert tile.blocks * shared <= 64 * 1024


@pytest.mark.parametrize(
    ("m", "n", "k", "tile"),
    [
        (4096, 4096, 4096, LARGE),
        (1024, 1024, 4096, LARGE),
        (100000, 64, 576, TALL),
        (32, 32, 32, TINY),
        (1, 1000, 2048, FEW_ROWS),
        (32, 10, 64, TINY),
        (100000, 10, 64, FEW_COLUMNS),
    ],
)
def test_the_tile_fits_the_shape(m: int, n: int, k: int, tile: Tile) -> None:
    assert choose(m, n, k, H100).tile == tile


def test_long_sums_of_small_results_are_cut() -> None:
    assert choose(4096, 4096, 4096, H100).parts == 1
    assert choose(64, 64, 16384, H100).parts > 8
    assert choose(576, 64, 100000, H100).parts > 4
    assert choose(64, 64, 16, H100).parts == 1


@given(*[st.integers(1, 5000)] * 3, st.integers(1, 200))
def test_the_parts_cover_the_sum_and_find_room(m: int, n: int, k: int, multiprocessors: int) -> None:
    tile, parts, terms = choose(m, n, k, multiprocessors)
    assert terms % DEPTH == 0
    assert (parts - 1) * terms < k <= parts * terms
    blocks = -(-m // tile.rows) * -(-n // tile.columns) * parts
    assert parts == 1 or blocks <= multiprocessors * tile.blocks


def test_an_empty_sum_has_one_part() -> None:
    assert choose(5, 3, 0, H100)[1:] == (1, DEPTH)


def run(body: Kernel, blocks: int, *args: object) -> None:
    plan = Plan(Interpreted())
    plan.add(body, blocks, *args)
    plan.run()


def test_fours_go_in_and_out_of_memory() -> None:
    @kernel(threads=32)
    def shifted(x: Floats, y: Floats) -> None:
        """y (32, 4): the lanes of x (32, 4), turned by one."""
        t = uint32(cuda.threadIdx.x) * uint32(4)
        a, b, c, d = load4(x, t)
        store4(y, t, (b, c, d, a))

    x, y = np.arange(128, dtype=np.float32), np.full(128, np.nan, np.float32)
    run(shifted, 1, x, y)
    np.testing.assert_array_equal(y.reshape(32, 4), np.roll(x.reshape(32, 4), -1, axis=1))


@pytest.mark.parametrize("lanes", [1, 4])
def test_pieces_are_gathered_and_staged(lanes: int) -> None:
    LANES, WIDTH, SIZE = lanes, 3 * lanes, 3 * lanes * 32

    @kernel(threads=32)
    def copy(x: Floats, y: Floats, rows: U32, limit: U32) -> None:
        """y (32, 3 * lanes): rows t + 4 * p of x (rows, lanes) for p < 3, the last one past it; zeros from `limit` on."""
        s = cuda.shared.array(SIZE, float32, alignment=16)
        t = uint32(cuda.threadIdx.x)
        at = row_offsets(3, t, 4, rows - uint32(1), uint32(LANES), uint32(0))
        stage(s, t * uint32(WIDTH), gather_below(x, at, LANES, t, 4, limit), LANES, LANES, 1)
        at = advance(at, uint64(0))
        total = gather(x, at, LANES)
        for i in range(uint32(WIDTH)):
            y[t * uint32(WIDTH) + i] = s[t * uint32(WIDTH) + i]
        y[uint32(SIZE) + t] = total[0]

    x = np.arange(1, 20 * lanes + 1, dtype=np.float32)
    y = np.full(SIZE + 32, np.nan, np.float32)
    run(copy, 1, x, y, 20, 15)
    row = np.arange(32)[:, None] + 4 * np.arange(3)
    expected = np.where((row < 15)[..., None], x.reshape(20, lanes)[np.minimum(row, 19)], 0)
    np.testing.assert_array_equal(y[:SIZE].reshape(32, 3, lanes), expected)
    np.testing.assert_array_equal(y[SIZE:], x.reshape(20, lanes)[np.minimum(np.arange(32), 19), 0])


def test_what_is_past_the_limit_is_not_read() -> None:
    @kernel(threads=32)
    def read(x: Floats, y: Floats, limit: U32) -> None:
        """y (32,): x, as far as it goes."""
        t = uint32(cuda.threadIdx.x)
        y[t] = gather_below(x, row_offsets(1, t, 0, t, uint32(1), uint32(0)), 1, t, 0, limit)[0]

    x, y = np.ones(7, np.float32), np.full(32, np.nan, np.float32)
    run(read, 1, x, y, 7)
    assert y.sum() == 7
    with pytest.raises(PtxError, match="load outside argument 0"):
        run(read, 1, x, y, 8)


def test_offsets_pass_32_bits() -> None:
    @kernel(threads=32)
    def offsets(y: Floats, first: U32, stride: U32) -> None:
        """y (32, 2): high and low halves of (first + t) * stride + 1 and the same 3 rows on."""
        t = uint32(cuda.threadIdx.x)
        a, b = row_offsets(2, first + t, 3, uint32(0xFFFFFFFF), stride, uint32(1))
        y[t * uint32(2)] = float32(a >> uint64(32))
        y[t * uint32(2) + uint32(1)] = float32((b - a) // uint64(3))

    y = np.full(64, np.nan, np.float32)
    run(offsets, 1, y, 1 << 20, 1 << 20)
    np.testing.assert_array_equal(y.reshape(32, 2), np.full((32, 2), (1 << 8, 1 << 20)))


def test_outer_products_are_sums_of_products() -> None:
    @kernel(threads=32)
    def product(a: Floats, b: Floats, c: Floats) -> None:
        """c (32, 8, 4): every thread's A^T B, a (3, 8) with rows of 8 in two groups 4 apart, b (3, 4)."""
        a_s = cuda.shared.array(24, float32, alignment=16)
        b_s = cuda.shared.array(12, float32, alignment=16)
        t = uint32(cuda.threadIdx.x)
        if t < uint32(24):
            a_s[t] = a[t]
        if t < uint32(12):
            b_s[t] = b[t]
        cuda.syncthreads()
        sums = outer_products(zeros(32), a_s, uint32(0), b_s, uint32(0), 3, 8, 4, 8, 4, 4, 0)
        sums = outer_products(sums, a_s, uint32(0), b_s, uint32(0), 3, 8, 4, 8, 4, 4, 0)
        for group in range(uint32(8)):
            store4(c, (t * uint32(8) + group) * uint32(4), four_of(sums, group))

    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((3, 8), (3, 4)))
    c = np.full((32, 8, 4), np.nan, np.float32)
    run(product, 1, a.reshape(-1), b.reshape(-1), c.reshape(-1))
    np.testing.assert_array_equal(c, np.broadcast_to(2 * a.T @ b, c.shape))


@pytest.mark.parametrize("tile", [SMALL, TINY, FEW_ROWS, FEW_COLUMNS], ids=str)
def test_lanes_are_four_only_where_each_thread_gets_four(tile: Tile) -> None:
    for extent in (tile.rows, tile.columns):
        assert lanes_of(tile, extent, False) == 1
        assert lanes_of(tile, extent, True) == (4 if extent > 16 else 1)
