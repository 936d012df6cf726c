"""Matrix products on tensor cores, in the interpreter, against the reference; what they ask of memory, and what would be found."""

from __future__ import annotations

from typing import Any

import cases
import numpy as np
import pytest
from cases import MatmulCase
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import draw_integers, draw_normals
from strategies import matmul_cases
from tensor_errors import bound

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from interpreted import Interpreted
from numba import cuda, uint32

from cnnlite_kernels import reference
from cnnlite_kernels.cuda import tensor_matmul, tensor_tile
from cnnlite_kernels.cuda.epilogue import NONE, WIDE
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.tensor_intrinsics import BF16, CHUNK, ROW, TF32
from cnnlite_kernels.cuda.tensor_matmul import Pixels, add_matmul, product
from cnnlite_kernels.cuda.tensor_tile import LARGE, SMALL, TILES, Tile
from tools.ptx.counters import total
from tools.ptx.errors import PtxError
from tools.ptx.machine import Machine
from tools.ptx.memory import Sparse

PRECISIONS = ("tf32", "bfloat16")
SIZES = {TF32: 4, BF16: 8}  # numbers of a chunk
BLOCKS = (
    MatmulCase("one_step", 64, 64, 32),
    MatmulCase("one_over_the_edges", 65, 129, 33, transpose_a=True),
    MatmulCase("in_parts", 20, 36, 700),
    MatmulCase("documented_dense1", 32, 64, 576),
    MatmulCase("documented_dense1_grad_w", 576, 64, 32, transpose_a=True),
    MatmulCase("documented_dense1_grad_x", 32, 576, 64, transpose_b=True),
)


def operands(case: MatmulCase, draw=draw_integers, seed: int = 0) -> tuple[np.ndarray, ...]:
    """a, b, bias and the old C."""
    rng = np.random.default_rng(seed)
    shapes = (case.a_shape, case.b_shape, (case.n,), case.y_shape)
    return tuple(draw(rng, shape, np.float32) for shape in shapes)


def multiplied(
    case: MatmulCase, a: np.ndarray, b: np.ndarray, precision: str, c: np.ndarray | None = None, device: Any = None, **options: Any
) -> np.ndarray:  # fmt: skip
    """What add_matmul makes of them, in NaNs or in a copy of c."""
    device = device or Interpreted()
    plan = Plan(device)
    out = device.empty(case.m * case.n) if c is None else c.reshape(-1).copy()
    options = {"precision": precision, **case.options, **options}
    add_matmul(plan, a.reshape(-1), b.reshape(-1), out, case.m, case.n, case.k, **options)
    plan.run()
    return out.reshape(case.y_shape)


@pytest.fixture
def only_tile(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a tile the one that is always chosen."""
    return lambda tile: monkeypatch.setattr(tensor_matmul, "choose", lambda *_: tile)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", [*cases.ODD_MATMULS, *BLOCKS], ids=str)
def test_integers_equal_reference(case: MatmulCase, precision: str) -> None:
    """Small integers are bf16 numbers, and their sums float32 numbers."""
    a, b, bias, c = operands(case)
    device = Interpreted()
    got = multiplied(case, a, b, precision, device=device)
    np.testing.assert_array_equal(got, reference.matmul(a, b, **case.options))
    options: dict[str, Any] = {"alpha": -3, "beta": 2, "bias": bias, "activation": "relu"}
    got = multiplied(case, a, b, precision, c, device, **options)
    np.testing.assert_array_equal(got, reference.matmul(a, b, out=c, **case.options, **options))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_every_tile_at_its_edges(tile: Tile, precision: str, only_tile: Any) -> None:
    """Four blocks, of which three have hardly begun, and more steps than stages."""
    only_tile(tile)
    case = MatmulCase("edges", tile.rows + 1, tile.columns + 3, 6 * 16 + 1, transpose_b=True)
    a, b, bias, _ = operands(case)
    got = multiplied(case, a, b, precision, bias=bias)
    np.testing.assert_array_equal(got, reference.matmul(a, b, bias=bias, **case.options))


@settings(max_examples=40, deadline=None)
@given(
    matmul_cases(max_size=80),
    st.sampled_from(PRECISIONS),
    st.integers(1, 4),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_any_shape_equals_reference(
    case: MatmulCase, precision: str, multiprocessors: int, aligned: bool, seed: int
) -> None:
    a, b, bias, _ = operands(case, seed=seed)
    device = Interpreted()
    device.multiprocessors = multiprocessors
    got = multiplied(case, a, b, precision, device=device, bias=bias, activation="relu", aligned=aligned)
    expected = reference.matmul(a, b, bias=bias, activation="relu", **case.options)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "case", [MatmulCase("in_one", 65, 77, 60), MatmulCase("in_parts", 20, 36, 600)], ids=str
)
def test_normals_are_as_close_as_rounding_lets_them(
    case: MatmulCase, precision: str, activation: str | None
) -> None:
    a, b, bias, c = operands(case, draw_normals)
    options: dict[str, Any] = {"alpha": 0.5, "beta": -1.5, "bias": bias, "activation": activation}
    got = multiplied(case, a, b, precision, c, **options)
    expected = reference.matmul(a, b, out=c, **options)
    most = bound(
        0.5 * np.abs(a).astype(np.float64) @ np.abs(b) + 1.5 * np.abs(c) + np.abs(bias), case.k, precision
    )
    # No activation is steeper than 1, and their own rounding is far below that of the operands.
    assert np.all(np.abs(got - expected) <= most)
    if activation is None:
        assert np.abs(got - expected).max() > most.max() / 1000, "operands were not rounded at all"


def test_a_sum_in_parts_repeats_to_the_bit() -> None:
    case = MatmulCase("in_parts", 33, 36, 1000)
    a, b, *_ = operands(case, draw_normals)
    device = Interpreted()
    plan, out = Plan(device), device.empty(case.m * case.n)
    add_matmul(plan, a.reshape(-1), b.reshape(-1), out, case.m, case.n, case.k, precision="bfloat16")
    assert plan.launches[-1].kernel.name == "reduce"
    plan.run()
    first = out.copy()
    out[:] = np.nan
    plan.run()
    np.testing.assert_array_equal(out, first)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_nan_and_infinity_reach_exactly_what_they_should(precision: str) -> None:
    case = MatmulCase("not_finite", 40, 40, 19)
    a, b, *_ = operands(case)
    a[-1, -1] = b[0, -1] = np.nan
    a[3, 2], b[2] = np.inf, 1
    expected = reference.matmul(a, b, activation="relu")
    assert np.isinf(expected[3, :-1]).all()
    np.testing.assert_array_equal(multiplied(case, a, b, precision, activation="relu"), expected)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_operands_need_only_be_aligned_to_a_number_if_that_is_said(precision: str) -> None:
    case = MatmulCase("shifted", 36, 40, 24, transpose_b=True)
    a, b, bias, c = operands(case)
    expected = reference.matmul(a, b, bias=bias, **case.options)
    aligned, shifted = _at(a, 0), _at(a, 1)
    device, bias = Interpreted(), _at(bias, 1)
    np.testing.assert_array_equal(
        multiplied(case, shifted, _at(b, 1), precision, _at(c, 1), device, bias=bias, aligned=False), expected
    )
    np.testing.assert_array_equal(
        multiplied(case, aligned, _at(b, 0), precision, bias=_at(bias, 0)), expected
    )
    with pytest.raises(PtxError, match="aligned"):
        multiplied(case, shifted, b, precision, device=device)


def _at(x: np.ndarray, numbers: int) -> np.ndarray:
    """Equal, and `numbers` past a multiple of 16 bytes."""
    memory = np.empty(x.size + 8, np.float32)
    start = -memory.ctypes.data % 16 // 4 + numbers
    memory[start : start + x.size] = x.reshape(-1)
    return memory[start : start + x.size].reshape(x.shape)


@pytest.mark.parametrize("tile", [LARGE, SMALL], ids=str)
@pytest.mark.parametrize("precision", [TF32, BF16])
def test_offsets_beyond_32_bits(precision: int, tile: Tile) -> None:
    """Rows of A and C, images of one pixel each, that are 2^29 chunks and 2^35 numbers apart."""
    m, n, chunks, apart, c_apart = 3, 8, 2, 2**29, 2**35
    one = 0x3F803F80 if precision == BF16 else 0x3F800000
    rng = np.random.default_rng(0)
    b = rng.integers(0, 2, (n, 4 * chunks)).astype(np.uint32) * np.uint32(one)
    a = Sparse(
        (m - 1) * apart * 4 + 4 * chunks, np.uint32, lambda first, count: np.full(count, one, np.uint32)
    )
    c = Sparse((m - 1) * c_apart + n, np.float32)
    machine = Machine(product(precision, tile).ptx((8, 0)))
    rows = Pixels(1, 1, 0, 0, apart, chunks, 1, 0, 0)
    machine.launch(
        1, tile.threads, a, b.reshape(-1), c, np.zeros(1, np.float32), m, n, chunks, *rows, 0, 0, c_apart, 1, 0,
        1.0, 0.0, NONE, WIDE,
    )  # fmt: skip
    ones = np.count_nonzero(b, axis=1) * (2 if precision == BF16 else 1)
    at = np.arange(m)[:, None] * c_apart + np.arange(n)
    np.testing.assert_array_equal(c[at.reshape(-1)], np.tile(ones, m))


@pytest.mark.parametrize("precision", [TF32, BF16])
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_memory_traffic(tile: Tile, precision: int) -> None:
    """Whole sectors, no bank conflicts, 128 bits at a time, no more multiply-adds and bytes than the blocks need, none of them FFMA."""
    down, across, steps = 2, 2, 6
    m, n, chunks = down * tile.rows, across * tile.columns, 4 * steps
    a, b = (np.zeros(4 * rows * chunks, np.uint32) for rows in (m, n))
    device = Interpreted(count=True)
    plan, c = Plan(device), device.empty(m * n)
    rows = Pixels(m, 1, chunks, 0, 0, chunks, 1, 0, 0)
    plan.add(
        product(precision, tile), 4, a, b, c, c, m, n, chunks, *rows, n, 0, 0, steps, 0, 1.0, 0.0, NONE, WIDE
    )
    plan.run()
    (counters,) = device.counters
    assert counters.mma == m * n * chunks * SIZES[precision]
    assert counters.fma <= m * n, "one for each number that is written"
    assert counters.bank_conflicts == 0
    assert counters.bytes_loaded == CHUNK * chunks * (m * across + n * down)
    assert counters.bytes_stored == 4 * m * n
    assert total(counters.global_load).ratio == total(counters.global_store).ratio == 1
    for accesses in (counters.global_load, counters.global_store):
        assert {access.bytes // access.requests for access in accesses.values()} <= {0, 512}


def test_nothing_is_emitted_for_an_empty_result() -> None:
    plan = Plan(Interpreted())
    nothing = np.zeros(0, np.float32)
    add_matmul(plan, nothing, nothing, nothing, 0, 5, 3, precision="bfloat16")
    add_matmul(plan, nothing, nothing, nothing, 5, 0, 3, precision="bfloat16")
    assert not plan.launches


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("capability", [(9, 0), (12, 0)])
def test_other_architectures_compute_the_same(capability: tuple[int, int], precision: str) -> None:
    case = MatmulCase("other", 68, 72, 100)
    a, b, bias, _ = operands(case)
    got = multiplied(case, a, b, precision, device=Interpreted(capability), bias=bias, activation="relu")
    np.testing.assert_array_equal(got, reference.matmul(a, b, bias=bias, activation="relu"))


# What is wrong on purpose: each of these replaces a function of the kernel.


@cuda.jit(device=True, inline="always")
def transposed_lanes(first, lane, per_row):
    """lane_long with the four matrices of a fragment in another order."""
    matrix, row = uint32(lane // uint32(8)), uint32(lane % uint32(8))
    if per_row == uint32(1):
        down, right = uint32(matrix // uint32(2)), uint32(matrix % uint32(2))
    else:
        down, right = uint32(matrix % uint32(2)), uint32(matrix // uint32(2))
    return uint32(
        (first + uint32(8) * down + row) * uint32(ROW) + (right ^ (row // uint32(2))) * uint32(CHUNK)
    )


@cuda.jit(device=True, inline="always")
def plain_lanes(first, lane, per_row):
    """lane_long without the chunks' order that keeps rows on different banks."""
    return uint32((first + lane % uint32(16)) * uint32(ROW) + lane // uint32(16) * uint32(CHUNK))


@cuda.jit(device=True, inline="always")
def no_wait(pending):
    """wait_copies that does not."""


def _broken(
    monkeypatch: pytest.MonkeyPatch, name: str, replacement: Any, **options: Any
) -> tuple[Any, Any, Any]:
    """(result, expected, device) with a function of the kernel replaced."""
    case = MatmulCase("broken", 64, 64, 320, transpose_b=True)
    monkeypatch.setattr(tensor_matmul, name, replacement)
    monkeypatch.setattr(tensor_matmul, "product", product.__wrapped__)
    a, b, *_ = operands(case)
    device = Interpreted(**options)
    device.multiprocessors = 1
    return multiplied(case, a, b, "bfloat16", device=device), reference.matmul(a, b, **case.options), device


def test_what_is_broken_below_is_right_unbroken(monkeypatch: pytest.MonkeyPatch) -> None:
    got, expected, device = _broken(monkeypatch, "lane_long", tensor_tile.lane_long, count=True)
    np.testing.assert_array_equal(got, expected)
    assert device.counters[-1].bank_conflicts == 0


def test_a_transposed_fragment_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    got, expected, _ = _broken(monkeypatch, "lane_long", transposed_lanes)
    assert not np.array_equal(got, expected)


def test_rows_on_the_same_banks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    *_, device = _broken(monkeypatch, "lane_long", plain_lanes, count=True)
    assert total(device.counters[-1].shared_load).conflicts > 0


def test_a_forgotten_wait_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PtxError):
        _broken(monkeypatch, "wait_copies", no_wait)
