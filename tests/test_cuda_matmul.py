"""matmul's CUDA kernels in the interpreter, against the reference; and what they ask of memory."""

from __future__ import annotations

import itertools
from typing import Any

import cases
import numpy as np
import pytest
from cases import MatmulCase
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import assert_close, draw_integers, draw_normals
from strategies import matmul_cases

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from interpreted import Interpreted

from cnnlite_kernels import reference
from cnnlite_kernels.cuda.epilogue import NONE, WIDE
from cnnlite_kernels.cuda.kernel import Kernel
from cnnlite_kernels.cuda.matmul import GUARDED, add_matmul, matmul
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.tile import DEPTH, FEW_COLUMNS, FEW_ROWS, LARGE, TILES, Staging, Tile
from cnnlite_kernels.precision import set_matmul_precision
from tools.ptx.counters import Counters, total
from tools.ptx.errors import PtxError
from tools.ptx.machine import Machine
from tools.ptx.memory import Sparse

TRANSPOSES = list(itertools.product((False, True), repeat=2))
BLOCKS = (
    MatmulCase("one_part_of_one_step", 64, 64, 8),
    MatmulCase("multiples_of_four", 132, 68, 20, transpose_b=True),
    MatmulCase("one_over_the_edges", 65, 129, 17),
    MatmulCase("wide_but_for_the_result", 36, 33, 12, transpose_b=True),
    MatmulCase("documented_dense1", 32, 64, 576),
    MatmulCase("documented_dense1_grad_w", 576, 64, 32, transpose_a=True),
    MatmulCase("documented_dense1_grad_x", 32, 576, 64, transpose_b=True),
    MatmulCase("documented_dense2", 32, 10, 64),
    MatmulCase("documented_dense2_grad_w", 64, 10, 32, transpose_a=True),
)


def operands(case: MatmulCase, draw=draw_integers, seed: int = 0) -> tuple[np.ndarray, ...]:
    """a, b, bias and the old C."""
    rng = np.random.default_rng(seed)
    shapes = (case.a_shape, case.b_shape, (case.n,), case.y_shape)
    return tuple(draw(rng, shape, np.float32) for shape in shapes)


def product(
    case: MatmulCase,
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray | None = None,
    device: Any = None,
    **options: Any,
) -> np.ndarray:
    """What add_matmul makes of them, in NaNs or in a copy of c."""
    device = device or Interpreted()
    plan = Plan(device)
    out = device.empty(case.m * case.n) if c is None else c.reshape(-1).copy()
    add_matmul(plan, a.reshape(-1), b.reshape(-1), out, case.m, case.n, case.k, **case.options, **options)
    plan.run()
    return out.reshape(case.y_shape)


@pytest.mark.parametrize("case", [*cases.ODD_MATMULS, *BLOCKS], ids=str)
def test_integers_equal_reference(case: MatmulCase) -> None:
    a, b, bias, c = operands(case)
    device = Interpreted()
    np.testing.assert_array_equal(product(case, a, b, device=device), reference.matmul(a, b, **case.options))
    got = product(case, a, b, device=device, alpha=2, bias=bias)
    np.testing.assert_array_equal(got, reference.matmul(a, b, alpha=2, bias=bias, **case.options))
    options: dict[str, Any] = {"alpha": -3, "beta": 2, "bias": bias, "activation": "relu"}
    expected = reference.matmul(a, b, out=c.copy(), **case.options, **options)
    np.testing.assert_array_equal(product(case, a, b, c, device, **options), expected)


@pytest.mark.parametrize("transposes", TRANSPOSES, ids=str)
@pytest.mark.parametrize(
    ("tile", "wide"), [*((tile, True) for tile in TILES), *((tile, False) for tile in GUARDED)], ids=str
)
def test_every_tile_at_its_edges(tile: Tile, wide: bool, transposes: tuple[bool, bool]) -> None:
    """Four blocks, three of them hardly begun, and a sum in two parts of which the last ends within a step."""
    over = 4 if wide else 1
    case = MatmulCase("edges", tile.rows + over, tile.columns + over, 3 * DEPTH + over, *transposes)
    a, b, *_ = operands(case)
    device = Interpreted()
    parts = device.empty(2 * case.m * case.n)
    plan, part = Plan(device), 2 * DEPTH
    arguments = (case.m, case.n, case.k, part, 1.0, 0.0, NONE, WIDE if wide else 0)
    plan.add(matmul(tile, *transposes, wide), 8, a.reshape(-1), b.reshape(-1), parts, parts, *arguments)
    plan.run()
    a, b = (x.T if transposed else x for x, transposed in zip((a, b), transposes, strict=True))
    np.testing.assert_array_equal(
        parts.reshape(2, case.m, case.n), (a[:, :part] @ b[:part], a[:, part:] @ b[part:])
    )


@settings(max_examples=40, deadline=None)
@given(matmul_cases(max_size=40), st.integers(1, 6), st.booleans(), st.integers(0, 2**32 - 1))
def test_any_shape_equals_reference(case: MatmulCase, multiprocessors: int, aligned: bool, seed: int) -> None:
    a, b, bias, _ = operands(case, seed=seed)
    device = Interpreted()
    device.multiprocessors = multiprocessors
    got = product(case, a, b, device=device, bias=bias, activation="relu", aligned=aligned)
    expected = reference.matmul(a, b, bias=bias, activation="relu", **case.options)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize(
    "case", [MatmulCase("in_one", 65, 77, 60), MatmulCase("in_parts", 20, 36, 600)], ids=str
)
def test_normals_are_close_to_reference(case: MatmulCase, activation: str | None) -> None:
    a, b, bias, c = operands(case, draw_normals)
    options: dict[str, Any] = {"alpha": 0.3, "beta": -1.7, "bias": bias, "activation": activation}
    expected = reference.matmul(a, b, out=c.copy(), **case.options, **options)
    assert_close(product(case, a, b, c, **options), expected, case.k)


def test_a_sum_in_parts_repeats_to_the_bit() -> None:
    case = MatmulCase("in_parts", 33, 36, 1000)
    a, b, *_ = operands(case, draw_normals)
    device = Interpreted()
    plan, out = Plan(device), device.empty(case.m * case.n)
    add_matmul(plan, a.reshape(-1), b.reshape(-1), out, case.m, case.n, case.k)
    assert [launch.kernel.name for launch in plan.launches][1:] == ["reduce"]
    plan.run()
    first = out.copy()
    out[:] = np.nan
    plan.run()
    np.testing.assert_array_equal(out, first)


@pytest.mark.parametrize(
    "case", [MatmulCase("in_one", 36, 36, 8), MatmulCase("in_parts", 36, 36, 600)], ids=str
)
def test_nan_reaches_exactly_what_it_should(case: MatmulCase) -> None:
    """A NaN in a row of x and one in a column of w go through relu; rows past the edges, read in their stead, go nowhere."""
    a, b, *_ = operands(case)
    a[-1, -1] = b[0, -1] = np.nan
    expected = reference.matmul(a, b, activation="relu")
    np.testing.assert_array_equal(product(case, a, b, activation="relu"), expected)


def test_infinities_are_not_made_nan() -> None:
    case = MatmulCase("infinities", 40, 40, 10)
    a, b = np.ones(case.a_shape, np.float32), np.ones(case.b_shape, np.float32)
    a[-1] = np.inf
    np.testing.assert_array_equal(product(case, a, b), a @ b)


def shifted(x: np.ndarray) -> np.ndarray:
    """Equal, and 4 bytes past a multiple of 16."""
    memory = np.empty(x.size + 4, np.float32)
    memory = memory[-memory.ctypes.data % 16 // 4 :]
    memory[1 : x.size + 1] = x.reshape(-1)
    return memory[1 : x.size + 1].reshape(x.shape)


def test_operands_need_only_be_aligned_to_a_number_if_that_is_said() -> None:
    case = MatmulCase("shifted", 36, 40, 24)
    a, b, bias, _ = operands(case)
    expected = reference.matmul(a, b, bias=bias)
    a, b, bias = shifted(a), shifted(b), shifted(bias)
    np.testing.assert_array_equal(product(case, a, b, bias=bias, aligned=False), expected)
    with pytest.raises(PtxError, match="aligned"):
        product(case, a, b, bias=bias)


def small_numbers(first: int, count: int) -> np.ndarray:
    """The numbers from `first` on of an endless row of small integers without a short period."""
    at = np.arange(first, first + count, dtype=np.int64)
    return ((at * 2654435761 >> 7) % 9 - 4).astype(np.float32)


def block(rows: np.ndarray, columns: np.ndarray, stride: int) -> np.ndarray:
    """Numbers at rows and columns of a matrix of small_numbers."""
    at = rows[:, None] * stride + columns
    return ((at * 2654435761 >> 7) % 9 - 4).astype(np.float32)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize(
    ("m", "n", "k", "transpose_a", "transpose_b"),
    [
        (2**24 + 36, 264, 520, False, False),  # A and C have more than 2^32 numbers
        (36, 2**28 + 4, 24, True, False),  # B and C
        (2**28 + 4, 20, 24, True, True),  # A, read along its long rows, and C
        (20, 2**28 + 4, 24, False, True),  # B, by its many rows, and C
    ],
)
def test_offsets_beyond_32_bits(
    m: int, n: int, k: int, transpose_a: bool, transpose_b: bool, wide: bool
) -> None:
    """The last block of matrices of which only the pages that it touches exist."""
    m, n, k = (m, n, k) if wide else (m + 1, n + 1, k + 1)
    tile = LARGE if wide else GUARDED[0]
    a, b, c = (Sparse(length, page=small_numbers) for length in (m * k, k * n, m * n))
    down, across = -(-m // tile.rows), -(-n // tile.columns)
    machine = Machine(matmul(tile, transpose_a, transpose_b, wide).ptx((8, 0)))
    terms = -(-k // DEPTH) * DEPTH
    flags = WIDE if wide else 0
    last = down * across - 1
    machine.launch(
        last + 1, tile.threads, a, b, c, np.zeros(1, np.float32), m, n, k, terms, 1.0, 0.0, NONE, flags, blocks=[last]
    )  # fmt: skip
    rows, columns, sums = (
        np.arange((down - 1) * tile.rows, m),
        np.arange((across - 1) * tile.columns, n),
        np.arange(k),
    )
    left = block(sums, rows, m).T if transpose_a else block(rows, sums, k)
    right = block(columns, sums, k).T if transpose_b else block(sums, columns, n)
    at = (rows[:, None] * n + columns).reshape(-1)
    np.testing.assert_array_equal(c[at], (left @ right).reshape(-1))
    assert max(a.length, b.length, c.length) > 2**32


def traffic(tile: Tile, kernel: Kernel, case: MatmulCase) -> Counters:
    """What one launch of whole blocks costs."""
    a, b, *_ = operands(case)
    device = Interpreted(count=True)
    plan, out = Plan(device), device.empty(case.m * case.n)
    blocks = case.m // tile.rows * (case.n // tile.columns)
    arguments = (case.m, case.n, case.k, case.k, 1.0, 0.0, NONE, WIDE)
    plan.add(kernel, blocks, a.reshape(-1), b.reshape(-1), out, out, *arguments)
    plan.run()
    np.testing.assert_array_equal(out.reshape(case.y_shape), reference.matmul(a, b, **case.options))
    return device.counters[0]


@pytest.mark.parametrize("transposes", TRANSPOSES, ids=str)
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_memory_traffic_of_the_wide_path(tile: Tile, transposes: tuple[bool, bool]) -> None:
    """Whole sectors, no bank conflicts, 128 bits at a time, and no more multiply-adds and bytes than the blocks need."""
    down, across, k = 2, 2, 4 * DEPTH
    case = MatmulCase("whole_blocks", down * tile.rows, across * tile.columns, k, *transposes)
    counters = traffic(tile, matmul(tile, *transposes, True), case)
    assert counters.fma == case.m * case.n * (k + 1), "one more when a number is written"
    assert counters.bank_conflicts == 0
    assert counters.bytes_loaded == 4 * k * (case.m * across + case.n * down)
    assert counters.bytes_stored == 4 * case.m * case.n
    assert total(counters.global_load).ratio <= 1.05
    assert total(counters.global_store).ratio == 1
    assert {access.bytes // access.requests for access in counters.global_store.values()} == {512}
    loads = {access.bytes // access.requests for access in counters.global_load.values()}
    # The slice of 16 rows or columns has one number for each thread.
    assert loads == ({128, 512} if tile in (FEW_ROWS, FEW_COLUMNS) else {512})


def test_rows_of_shared_memory_without_padding_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Staging, "stride", property(lambda staging: staging.extent))
    kernel = matmul.__wrapped__(LARGE, False, False, True)
    assert traffic(LARGE, kernel, MatmulCase("one_block", 128, 128, 32)).bank_conflicts > 0


def test_nothing_is_emitted_for_an_empty_result() -> None:
    plan = Plan(Interpreted())
    nothing = np.zeros(0, np.float32)
    add_matmul(plan, nothing, nothing, nothing, 0, 5, 3)
    add_matmul(plan, nothing, nothing, nothing, 5, 0, 3)
    assert not plan.launches


@pytest.mark.parametrize("capability", [(7, 5), (9, 0), (12, 0)])
def test_other_architectures_compute_the_same(capability: tuple[int, int]) -> None:
    case = MatmulCase("other", 68, 72, 28)
    a, b, bias, _ = operands(case)
    got = product(case, a, b, device=Interpreted(capability), bias=bias, activation="relu")
    np.testing.assert_array_equal(got, reference.matmul(a, b, bias=bias, activation="relu"))


def test_tensor_cores_are_taken_where_the_precision_allows() -> None:
    case = MatmulCase("tensor", 64, 64, 64)
    a, b, *_ = operands(case)
    plain, rounded = Plan(Interpreted()), Plan(Interpreted())
    add_matmul(plain, a.reshape(-1), b.reshape(-1), a.reshape(-1), 64, 64, 64)
    set_matmul_precision("bfloat16")
    try:
        add_matmul(rounded, a.reshape(-1), b.reshape(-1), a.reshape(-1), 64, 64, 64)
    finally:
        set_matmul_precision("float32")
    names = {launch.kernel.name for launch in plain.launches}
    assert names
    assert not names & {launch.kernel.name for launch in rounded.launches}
