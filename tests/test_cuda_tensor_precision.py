"""set_matmul_precision, which products tensor cores take, and how operands are rounded and packed for them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from cnnlite_kernels import precision as precisions
from cnnlite_kernels.cuda import tensor_cores

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from interpreted import Interpreted

from cnnlite_kernels.cuda.convert import Rows, add_pack_columns, add_pack_rows, chunks_of
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.tensor_tile import LARGE, SHARED, SMALL, TALL, TILES, choose, split
from tools.ptx.counters import total
from tools.ptx.memory import Sparse

PRECISIONS = ("tf32", "bfloat16")


@pytest.fixture
def any_precision() -> Iterator[None]:
    """The precision is the default again afterwards."""
    yield
    precisions.set_matmul_precision("float32")


@pytest.mark.usefixtures("any_precision")
def test_what_one_thread_sets_another_gets() -> None:
    seen: list[str] = []
    for precision in precisions.PRECISIONS:
        precisions.set_matmul_precision(precision)
        thread = threading.Thread(target=lambda: seen.append(precisions.get_matmul_precision()))
        thread.start()
        thread.join()
    assert seen == ["float32", "tf32", "bfloat16"]


@pytest.mark.usefixtures("any_precision")
@pytest.mark.parametrize("wrong", ["float16", "TF32", None, 32])
def test_another_precision_is_refused_and_changes_nothing(wrong: object) -> None:
    precisions.set_matmul_precision("tf32")
    message = r'set_matmul_precision: expected "float32", "tf32" or "bfloat16", got .*; pass "float32"'
    with pytest.raises(ValueError, match=message):
        precisions.set_matmul_precision(wrong)  # type: ignore[arg-type]
    assert precisions.get_matmul_precision() == "tf32"


def test_setting_it_needs_no_numba_cuda() -> None:
    code = (
        "import sys, cnnlite_kernels.precision as p; p.set_matmul_precision('bfloat16'); "
        "sys.exit(any(name.startswith('numba.cuda') or name == 'numba_cuda' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.usefixtures("any_precision")
@pytest.mark.parametrize(
    ("capability", "m", "n", "k", "precision", "taken"),
    [
        ((8, 0), 1024, 1024, 1024, "float32", False),
        ((8, 0), 1024, 1024, 1024, "tf32", True),
        ((7, 5), 1024, 1024, 1024, "tf32", False),
        ((12, 0), 1024, 1024, 1024, "bfloat16", True),
        ((8, 0), 16, 64, 64, "bfloat16", True),
        ((8, 0), 15, 64, 64, "bfloat16", False),
        ((8, 0), 1024, 10, 64, "bfloat16", False),
        ((8, 0), 1024, 64, 3, "bfloat16", False),
        ((8, 0), 1024, 64, 3, "tf32", True),
        ((8, 0), 0, 64, 64, "tf32", False),
        ((8, 0), 2**27, 64, 64, "tf32", False),
    ],
)
def test_tensor_cores_take_what_fills_them(
    capability: tuple[int, int], m: int, n: int, k: int, precision: str, taken: bool
) -> None:
    precisions.set_matmul_precision(precision)
    assert tensor_cores.takes(capability, m, n, k) is taken


def test_tiles_fit_shared_memory_and_are_chosen_by_shape() -> None:
    assert all(4 * tile.words <= SHARED and tile.stages >= 3 for tile in TILES)
    assert [tile.threads for tile in TILES] == [256, 256, 128]
    assert choose(8192, 8192, 132) == LARGE
    assert choose(8192, 64, 32) == TALL
    assert choose(64, 64, 132) == SMALL


@pytest.mark.parametrize(
    ("blocks", "steps", "slots"), [(1, 1000, 216), (3, 17, 216), (200, 9, 216), (1, 0, 8)]
)
def test_parts_cover_the_sum_and_none_is_empty(blocks: int, steps: int, slots: int) -> None:
    parts, part = split(blocks, steps, slots)
    assert parts * part >= steps
    assert parts == 1 or (parts - 1) * part < steps
    assert parts == 1 or (part >= 8 and blocks * parts <= slots)


def rounded(x: np.ndarray, precision: str) -> np.ndarray:
    """x in bf16 (to nearest even) or tf32 (to nearest, halves away from zero), as float32; NaN stays NaN."""
    bits = x.view(np.uint32).astype(np.int64)
    half, kept = (0x7FFF + (bits >> 16 & 1), 0xFFFF0000) if precision == "bfloat16" else (0x1000, 0xFFFFE000)
    bits = (bits + half) & kept
    return np.where(np.isnan(x), np.float32(np.nan), bits.astype(np.uint32).view(np.float32))


def unpacked(words: np.ndarray, precision: str) -> np.ndarray:
    """Packed numbers as float32."""
    if precision == "tf32":
        return words.view(np.float32)
    return (words.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def awkward_numbers(count: int) -> np.ndarray:
    """Any bits: NaN, infinities, denormals, halves between two bf16 and between two tf32 numbers."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**32, count, dtype=np.uint32)
    x[::3] = x[::3] & 0xFFFF0000 | 0x8000
    x[1::5] = x[1::5] & 0xFFFFE000 | 0x1000
    x = x.view(np.float32)
    x[:4] = np.inf, -np.inf, np.nan, 0
    return x


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("channels", [20, 7])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_rows_are_rounded_and_padded_with_zeros(precision: str, channels: int, aligned: bool) -> None:
    n, h, w = 2, 3, 4
    x = awkward_numbers(n * h * w * channels)
    rows = Rows(n, h, w, channels, h * w * channels, w * channels, channels, h + 3, w + 1, top=1, left=1)
    device = Interpreted()
    plan, out = Plan(device), device.empty(4 * rows.chunks(precision), np.uint32)
    add_pack_rows(plan, x, out, rows, precision, aligned)
    plan.run()
    padded = len(out) // (n * (h + 3) * (w + 1)) * (1 if precision == "tf32" else 2)
    assert padded == chunks_of(channels, precision) * tensor_cores.ELEMENTS[precision]
    expected = np.zeros((n, h + 3, w + 1, padded), np.float32)
    expected[:, 1 : h + 1, 1 : w + 1, :channels] = rounded(x, precision).reshape(n, h, w, channels)
    np.testing.assert_array_equal(unpacked(out, precision).reshape(expected.shape), expected)


@pytest.mark.parametrize(("taps", "channels", "columns"), [(1, 20, 17), (3, 7, 5), (2, 16, 48)])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_columns_are_transposed(precision: str, taps: int, channels: int, columns: int) -> None:
    x = awkward_numbers(taps * channels * columns)
    chunks = chunks_of(channels, precision)
    device = Interpreted()
    plan, out = Plan(device), device.empty(4 * columns * taps * chunks, np.uint32)
    add_pack_columns(plan, x, out, taps, channels, columns, precision)
    plan.run()
    expected = np.zeros((columns, taps, chunks * tensor_cores.ELEMENTS[precision]), np.float32)
    expected[:, :, :channels] = rounded(x, precision).reshape(taps, channels, columns).transpose(2, 0, 1)
    np.testing.assert_array_equal(unpacked(out, precision).reshape(expected.shape), expected)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_packing_moves_whole_sectors(precision: str) -> None:
    rows, channels = 64, 64
    x, device = np.zeros(rows * channels, np.float32), Interpreted(count=True)
    plan, out = Plan(device), device.empty(rows * channels, np.uint32)
    packed = out[: 4 * rows * chunks_of(channels, precision)]
    add_pack_rows(plan, x, packed, Rows(1, 1, rows, channels, 0, 0, channels, 1, rows), precision, True)
    add_pack_columns(plan, x, packed, 1, channels, rows, precision)
    plan.run()
    for counters in device.counters:
        assert total(counters.global_load).ratio == total(counters.global_store).ratio == 1
        assert counters.bytes_loaded == x.nbytes
        assert counters.bytes_stored == packed.nbytes
    loads = device.counters[0].global_load.values()
    assert {access.bytes // access.requests for access in loads} == {512}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_packing_reads_beyond_32_bits(precision: str) -> None:
    """The last pixel of two images whose rows are 2^33 numbers apart, which begin behind 2^34."""
    first, by_image, by_y = 2**34, 2**36, 2**33
    rows = Rows(2, 2, 1, 4, by_image, by_y, 4, 2, 1, begin=first)
    source = Sparse(
        first + by_image + by_y + 4, page=lambda at, count: np.full(count, at // 2**28, np.float32)
    )
    device = Interpreted()
    plan, out = Plan(device), device.empty(4 * rows.chunks(precision), np.uint32)
    add_pack_rows(plan, source, out, rows, precision, True)
    plan.run()
    pixels = unpacked(out, precision).reshape(4, -1)[:, 0]
    np.testing.assert_array_equal(
        pixels * 2.0**28, [first, first + by_y, first + by_image, first + by_image + by_y]
    )
