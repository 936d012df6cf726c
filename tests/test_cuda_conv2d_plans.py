"""Which launches a convolution on CUDA becomes, what they ask of memory, and offsets that do not fit into 32 bits."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install cnnlite[cuda]")

import cases
from cases import ConvCase
from cuda_convs import run
from hypothesis import given
from hypothesis import strategies as st
from interpreted import Interpreted

from cnnlite_kernels import precision
from cnnlite_kernels.cuda import conv2d, conv2d_grad_weights, conv2d_taps, depthwise, narrow
from cnnlite_kernels.cuda.geometry import Geometry
from cnnlite_kernels.cuda.kernel import Kernel, Launch
from cnnlite_kernels.cuda.phases import phases
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.tile import DEPTH, Tile
from tools.ptx.counters import Counters, total
from tools.ptx.machine import Machine
from tools.ptx.memory import Sparse

SAME = ((1, 1), (1, 1))


def geometry(case: ConvCase) -> Geometry:
    return Geometry.of(case.window, case.n, case.h, case.w, case.cin, case.cout, case.groups)


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.integers(1, 6), st.integers(0, 6))
def test_phases_are_all_taps_of_all_pixels(
    size: int, kernel: int, stride: int, dilation: int, before: int
) -> None:
    found = set()
    for phase in phases(size, kernel, stride, dilation, before):
        for row in range(phase.length):
            pixel = phase.first + row * stride
            found.add((pixel, None, None))
            for tap in range(phase.taps):
                found.add((pixel, phase.last - tap * phase.apart, phase.output + row + tap * phase.step))
    wanted = {(pixel, None, None) for pixel in range(size)}
    for pixel in range(size):
        for tap in range(kernel):
            output, rest = divmod(pixel + before - tap * dilation, stride)
            if not rest:
                wanted.add((pixel, tap, output))
    assert found == wanted


def counted(case: ConvCase, passes: str) -> list[tuple[Launch, Counters]]:
    device = Interpreted(check=False, count=True)
    run(device, case, passes=passes)
    return list(zip(device.launches, device.counters, strict=True))


@pytest.mark.parametrize("passes", ["y", "grad_x", "grad_w"])
@pytest.mark.parametrize(
    "case",
    [
        ConvCase("3x3", 1, 9, 9, 64, 64, (3, 3), padding="same"),
        ConvCase("3x3_stride2", 2, 8, 8, 32, 128, (3, 3), (2, 2), SAME),
        ConvCase("depthwise", 1, 8, 8, 64, 64, (3, 3), padding="same", groups=64),
    ],
    ids=str,
)
def test_wide_paths_ask_for_whole_sectors_and_meet_no_bank_twice(case: ConvCase, passes: str) -> None:
    for launch, cost in counted(case, passes):
        assert total(cost.global_load).ratio <= 1.05, launch.kernel.name
        assert total(cost.global_store).ratio <= 1.05, launch.kernel.name
        assert cost.bank_conflicts == 0, launch.kernel.name


@pytest.mark.parametrize("tile", conv2d_taps.TILES, ids=str)
@pytest.mark.parametrize("transpose", [False, True])
def test_every_tile_of_a_wide_product(tile: Tile, transpose: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right at the edges of rows and columns, whole sectors, no bank conflict: whichever tile is chosen."""
    case = ConvCase("edges", 1, 12, 13, 16, 136, (3, 3), padding="same")
    if transpose:
        case = ConvCase("edges", 1, 12, 13, 136, 16, (3, 3), padding="same")
    take(monkeypatch, tile)
    device = Interpreted(count=True)
    found = run(device, case, passes="grad_x" if transpose else "y")
    result, want = (found.grad_x, found.want.grad_x) if transpose else (found.y, found.want.y)
    np.testing.assert_array_equal(result, want)
    assert found.kernels == [conv2d_taps.taps_product(tile, transpose, True).name]
    assert total(device.counters[0].global_load).ratio <= 1.05
    assert total(device.counters[0].global_store).ratio <= 1.05
    assert device.counters[0].bank_conflicts == 0


@pytest.mark.parametrize("tile", conv2d_taps.TILES, ids=str)
def test_every_tile_of_a_product_over_pixels(tile: Tile, monkeypatch: pytest.MonkeyPatch) -> None:
    case = ConvCase("edges", 2, 5, 7, 24, 72, (3, 3), padding="same")
    take(monkeypatch, tile)
    device = Interpreted(count=True)
    found = run(device, case, passes="grad_w")
    np.testing.assert_array_equal(found.grad_w, found.want.grad_w)
    assert found.kernels == [conv2d_grad_weights.pixels_product(tile, True).name]
    assert total(device.counters[0].global_load).ratio <= 1.05
    assert total(device.counters[0].global_store).ratio <= 1.05
    assert device.counters[0].bank_conflicts == 0


def take(monkeypatch: pytest.MonkeyPatch, tile: Tile) -> None:
    """Makes the choice of a tile this one, and one part."""

    def choose(m: int, n: int, k: int, multiprocessors: int, tiles: object) -> tuple[Tile, int, int]:
        return tile, 1, -(-k // DEPTH) * DEPTH

    monkeypatch.setattr(conv2d_taps, "choose", choose)
    monkeypatch.setattr(conv2d_grad_weights, "choose", choose)


def bytes_needed(g: Geometry, rows: int, columns: int) -> int:
    """Of a forward pass in tiles of `rows` output pixels and `columns` channels: input with halo, weights and outputs, once a tile."""
    inputs = 0
    for first in range(0, g.pixels, rows):
        pixels = np.arange(first, min(first + rows, g.pixels))
        image, p, q = pixels // (g.oh * g.ow), pixels // g.ow % g.oh, pixels % g.ow
        down = p[:, None] * g.sh - g.top + np.arange(g.kh) * g.dh
        right = q[:, None] * g.sw - g.left + np.arange(g.kw) * g.dw
        at = (image[:, None, None] * g.h + down[:, :, None]) * g.w + right[:, None, :]
        inside = ((down >= 0) & (down < g.h))[:, :, None] & ((right >= 0) & (right < g.w))[:, None, :]
        inputs += np.unique(at[inside]).size
    across, down = -(-g.cout // columns), -(-g.pixels // rows)
    return 4 * (inputs * g.cin * across + down * g.taps * g.cin * g.cout + g.pixels * g.cout)


def planned(device: Interpreted, case: ConvCase) -> list[Launch]:
    """The launches of a forward pass, not run."""
    plan = Plan(device)
    nothing = np.empty(0, np.float32)
    conv2d.add_forward(plan, geometry(case), nothing, nothing, None, nothing)
    return plan.launches


KERNELS: dict[Kernel, Tile] = {
    kernel: tile
    for tile in {*conv2d_taps.TILES, *conv2d_taps.GUARDED, narrow.SLIM, narrow.SMALL, narrow.TALL}
    for kernel in (
        *(conv2d_taps.taps_product(tile, False, w) for w in (False, True)),
        narrow.terms_product(tile, True),
    )
}


@pytest.mark.parametrize("case", [c for c in cases.RESNET50 if not geometry(c).is_product], ids=str)
def test_bytes_of_resnet_in_batches_of_32(case: ConvCase) -> None:
    """At most 1.3 of what tiles of 128 x 128 need, partial sums included. (1 x 1 windows without strides are matmul's.)"""
    device = Interpreted()
    device.empty = lambda count, dtype=np.float32: np.lib.stride_tricks.as_strided(
        np.zeros(1, dtype), (count,), (0,)
    )  # type: ignore[method-assign]
    case = case.with_batch(32)
    g = geometry(case)
    launch, *reduce = planned(device, case)
    tile = KERNELS[launch.kernel]
    moved = bytes_needed(g, tile.rows, tile.columns)
    for second in reduce:
        moved += 2 * 4 * second.args[0].size
    assert moved <= 1.3 * bytes_needed(g, 128, 128)


def ones_of_three(first: int, count: int) -> np.ndarray:
    return (np.arange(first, first + count) % 3).astype(np.float32)


def run_last(launch: Launch, blocks: int) -> None:
    """Only so many of its blocks."""
    machine = Machine(launch.kernel.ptx((8, 0)), check=False)
    numbers = range(launch.blocks - blocks, launch.blocks)
    machine.launch(launch.blocks, launch.kernel.threads, *launch.args, blocks=numbers)


@pytest.mark.parametrize(("cin", "groups"), [(8, 1), (3, 1), (12, 1), (8, 8), (6, 6)])
def test_offsets_past_32_bits(cin: int, groups: int) -> None:
    """The last blocks of a pass over an image of more than 2^33 numbers, and as many outputs."""
    h, w, cout = 2**17, (2**33 // 2**17) // cin + 1, cin
    g = Geometry.of(
        ConvCase("vast", 1, h, w, cin, cout, (3, 3), padding="same").window, 1, h, w, cin, cout, groups
    )
    count = h * w * cin
    x, y, grad_y, grad_x = (Sparse(count, page=ones_of_three) for _ in range(4))
    weights = np.arange(9 * cin // groups * cout, dtype=np.float32) % 5 - 2
    plan = Plan(Interpreted())
    conv2d.add_forward(plan, g, x, weights, None, y)
    conv2d.add_grad_input(plan, g, grad_y, weights, grad_x)
    forward, backward = plan.launches
    run_last(forward, 2)
    run_last(backward, 2)

    # The window of the last pixel, and the windows that look at it: of both, zeros past the last row and column.
    corner = np.zeros((3, 3, cin))
    corner[:2, :2] = [
        ones_of_three(((h - 2 + i) * w + w - 2) * cin, 2 * cin).reshape(2, cin) for i in range(2)
    ]
    kernel = weights.reshape(3, 3, cin // groups, cout)
    flipped = kernel[::-1, ::-1]
    want, want_grad = np.zeros(cout), np.zeros(cin)
    for group in range(groups):
        part = slice(group * (cin // groups), (group + 1) * (cin // groups))
        want[part] = np.einsum("ikc,ikcj->j", corner[:, :, part], kernel[..., part])
        want_grad[part] = np.einsum("ikj,ikcj->c", corner[:, :, part], flipped[..., part])
    last = np.arange(count - cin, count)
    np.testing.assert_array_equal(y[last], want)
    np.testing.assert_array_equal(grad_x[last], want_grad)


def test_weight_gradients_of_an_image_past_32_bits() -> None:
    """The last part of the pixels; all others' sums stay as they are."""
    h, w, cin, cout = 2**15, 2**15, 8, 4
    g = Geometry.of(ConvCase("vast", 1, h, w, cin, cout, (3, 3)).window, 1, h, w, cin, cout)
    x, grad_y = Sparse(h * w * cin, page=ones_of_three), Sparse(g.pixels * cout, page=ones_of_three)
    kernel = conv2d_grad_weights.pixels_product(conv2d_taps.TILES[-1], True)
    part, rows = 512, g.taps * cin
    parts = -(-g.pixels // part)
    plan = Plan(Interpreted())
    into = Sparse(parts * rows * cout)
    to_row, step = 4 * w * cin, 4 * DEPTH * cin
    plan.add(
        kernel, parts * 3, x, grad_y, into, 1, 3, 1, g.pixels, part, h, w, cin, g.oh, g.ow, cout, 3, 1, 1, 1, 1, 0, 0, cin, cout,
        rows, 8, 0, step, to_row - 4 * g.ow * cin, 4 * h * w * cin - g.oh * to_row, 2,
    )  # fmt: skip
    run_last(plan.launches[0], 3)
    pixels = np.arange((parts - 1) * part, g.pixels)
    p, q = pixels // g.ow, pixels % g.ow
    want = np.zeros((3, 3, cin, cout))
    grads = (pixels[:, None] * cout + np.arange(cout)) % 3
    for i in range(3):
        for k in range(3):
            at = ((p + i) * w + q + k)[:, None] * cin + np.arange(cin)
            want[i, k] = (at % 3).T @ grads
    last = np.arange((parts - 1) * rows * cout, parts * rows * cout)
    np.testing.assert_array_equal(into[last].reshape(want.shape), want)


def test_depthwise_blocks_are_counted_by_the_image() -> None:
    case = ConvCase("depthwise", 3, 40, 40, 64, 64, (3, 3), padding="same", groups=64)
    (launch,) = planned(Interpreted(), case)
    assert launch.kernel is depthwise.forward(True)
    assert launch.blocks == 3 * launch.args[4] == 3 * -(-40 * 40 * 16 // depthwise.THREADS)


def test_tensor_cores_take_what_they_can_when_asked() -> None:
    """All three passes of a wide convolution; not groups, and not by default."""
    wide = ConvCase("wide", 2, 16, 16, 64, 64, (3, 3), padding="same")
    grouped = ConvCase("grouped", 2, 16, 16, 64, 64, (3, 3), padding="same", groups=2)
    assert all(launch.kernel in KERNELS for launch in planned(Interpreted(), wide)[:1])
    precision.set_matmul_precision("tf32")
    try:
        taken = run(Interpreted(), wide)
        left = planned(Interpreted(), grouped)
    finally:
        precision.set_matmul_precision("float32")
    assert not [name for name in taken.kernels if name.startswith(("taps", "pixels"))]
    np.testing.assert_array_equal(taken.y, taken.want.y)
    np.testing.assert_array_equal(taken.grad_x, taken.want.grad_x)
    np.testing.assert_array_equal(taken.grad_w, taken.want.grad_w)
    assert left[0].kernel in KERNELS
