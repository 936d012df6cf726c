"""Convolutions on tensor cores and their gradients, in the interpreter, against the reference; and what they ask of memory."""

from __future__ import annotations

from typing import Any

import cases
import numpy as np
import pytest
from cases import ConvCase
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import draw_integers, draw_normals
from strategies import conv_cases
from tensor_errors import bound

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from cuda_convs import with_bias
from interpreted import Interpreted
from numba import cuda, uint32

from cnnlite_kernels import precision as precisions
from cnnlite_kernels import reference
from cnnlite_kernels.cuda import tensor_conv2d, tensor_grad_weights, tensor_matmul
from cnnlite_kernels.cuda.epilogue import WIDE
from cnnlite_kernels.cuda.geometry import Geometry
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.tensor_conv2d import add_forward, add_grad_input, add_grad_weights
from cnnlite_kernels.cuda.tensor_grad_weights import grad_weights
from cnnlite_kernels.cuda.tensor_intrinsics import BF16, CHUNK, TF32
from cnnlite_kernels.cuda.tensor_tile import LARGE, TILES, Tile
from tools.ptx.counters import total
from tools.ptx.machine import Machine
from tools.ptx.memory import Sparse

PRECISIONS = ("tf32", "bfloat16")
ONE_GROUP = [case for case in cases.ODD if case.groups == 1]
LAYERS = (
    *(case.with_batch(2) for case in cases.DOCUMENTED[2:5:2] if isinstance(case, ConvCase)),
    # The input gradient's phases are rows with gaps, and their sums are long enough to be split.
    ConvCase("long_sums_in_one_row", 1, 1, 9, 16, 600, (1, 2), (1, 2)),
    # Layers of ResNet-50 cut to small images.
    ConvCase("resnet50_3x3", 1, 9, 10, 64, 64, (3, 3), padding=((1, 1), (1, 1))),
    ConvCase("resnet50_3x3_stride2", 1, 10, 8, 64, 72, (3, 3), (2, 2), ((1, 1), (1, 1))),
    ConvCase("resnet50_1x1_expand", 2, 6, 7, 64, 200, (1, 1)),
    ConvCase("resnet50_1x1_shortcut", 1, 11, 12, 70, 136, (1, 1), (2, 2)),
)


def operands(case: ConvCase, draw=draw_integers, seed: int = 0) -> tuple[np.ndarray, ...]:
    """x, w, bias and grad_y."""
    rng = np.random.default_rng(seed)
    shapes = (case.x_shape, case.w_shape, (case.cout,), case.y_shape)
    return tuple(draw(rng, shape, np.float32) for shape in shapes)


class Tensor:
    """The three passes of a convolution on tensor cores; every result was NaN before.

    Args:
        options: of add_forward and the others.
    """

    def __init__(self, case: ConvCase, precision: str, device: Any = None, **options: Any) -> None:
        self.case, self.options = case, {"precision": precision, **options}
        self.device = device or Interpreted()
        self.g = Geometry.of(case.window, case.n, case.h, case.w, case.cin, case.cout)

    def _run(
        self, add: Any, shape: tuple[int, ...], *arrays: np.ndarray | None, **options: Any
    ) -> np.ndarray:
        out = self.device.empty(int(np.prod(shape)))
        flat = [None if array is None else array.reshape(-1) for array in arrays]
        plan = Plan(self.device)
        add(plan, self.g, *flat, out, **self.options, **options)
        plan.run()
        return out.reshape(shape)

    def forward(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, **options: Any) -> np.ndarray:
        return self._run(add_forward, self.case.y_shape, x, w, bias, **options)

    def grad_input(self, grad_y: np.ndarray, w: np.ndarray) -> np.ndarray:
        return self._run(add_grad_input, self.case.x_shape, grad_y, w)

    def grad_weights(self, x: np.ndarray, grad_y: np.ndarray) -> np.ndarray:
        return self._run(add_grad_weights, self.case.w_shape, x, grad_y)


def assert_equals_reference(case: ConvCase, tensor: Tensor, seed: int = 0) -> None:
    """All three passes on small integers, which are bf16 numbers with float32 sums."""
    x, w, bias, grad_y = operands(case, seed=seed)
    options = case.options
    expected = reference.conv2d(x, w, bias, activation="relu", **options)
    np.testing.assert_array_equal(tensor.forward(x, w, bias, activation="relu"), expected)
    expected = reference.conv2d_grad_input(grad_y, w, case.x_shape, **options)
    np.testing.assert_array_equal(tensor.grad_input(grad_y, w), expected)
    expected = reference.conv2d_grad_weights(x, grad_y, case.w_shape, **options)
    np.testing.assert_array_equal(tensor.grad_weights(x, grad_y), expected)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", [*ONE_GROUP, *LAYERS], ids=str)
def test_integers_equal_reference(case: ConvCase, precision: str) -> None:
    assert_equals_reference(case, Tensor(case, precision))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", [LAYERS[2], LAYERS[4], LAYERS[6]], ids=str)
def test_a_bias_of_the_gradient_of_the_input(case: ConvCase, precision: str) -> None:
    with_bias(Interpreted(), case, add_grad_input, precision=precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_every_tile(tile: Tile, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one block of rows and of columns, in all passes, the last ones partly empty."""
    for module in (tensor_conv2d, tensor_matmul):
        monkeypatch.setattr(module, "choose", lambda *_: tile)
    case = ConvCase("tiles", 2, 9, 10, 36, 132, (2, 3), padding="same")
    assert_equals_reference(case, Tensor(case, precision))


@settings(max_examples=60, deadline=None)
@given(
    conv_cases(max_groups=1, max_channels=36),
    st.sampled_from(PRECISIONS),
    st.integers(1, 4),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_any_geometry_equals_reference(
    case: ConvCase, precision: str, multiprocessors: int, aligned: bool, seed: int
) -> None:
    device = Interpreted()
    device.multiprocessors = multiprocessors
    assert_equals_reference(case, Tensor(case, precision, device, aligned=aligned), seed)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_normals_are_as_close_as_rounding_lets_them(precision: str) -> None:
    case = ConvCase("normals", 2, 8, 7, 20, 24, (3, 3), (1, 2), "same")
    x, w, bias, grad_y = operands(case, draw_normals)
    tensor, options = Tensor(case, precision), case.options
    size_x, size_w, size_grad = np.abs(x), np.abs(w), np.abs(grad_y)
    for got, expected, size, terms in (
        (
            tensor.forward(x, w, bias),
            reference.conv2d(x, w, bias, **options),
            reference.conv2d(size_x, size_w, np.abs(bias), **options),
            9 * case.cin,
        ),
        (
            tensor.grad_input(grad_y, w),
            reference.conv2d_grad_input(grad_y, w, case.x_shape, **options),
            reference.conv2d_grad_input(size_grad, size_w, case.x_shape, **options),
            9 * case.cout,
        ),
        (
            tensor.grad_weights(x, grad_y),
            reference.conv2d_grad_weights(x, grad_y, case.w_shape, **options),
            reference.conv2d_grad_weights(size_x, size_grad, case.w_shape, **options),
            int(np.prod(case.y_shape[:3])),
        ),
    ):
        most = bound(size, terms, precision)
        assert np.all(np.abs(got - expected) <= most)
        assert np.abs(got - expected).max() > most.max() / 1000, "operands were not rounded at all"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_nan_reaches_exactly_what_it_should(precision: str) -> None:
    """Neither padding nor what is read past the edges of blocks spreads a NaN, and none is lost."""
    case = ConvCase("nan", 2, 6, 5, 17, 33, (3, 2), (2, 1), ((1, 1), (0, 1)))
    x, w, bias, grad_y = operands(case)
    x[1, 5, 4, 16] = grad_y[1, 0, 0, 32] = np.nan
    x[0, 0, 0, 3] = np.inf
    w[...] = np.abs(w) + 1
    tensor, options = Tensor(case, precision), case.options
    with np.errstate(invalid="ignore"):
        expected = reference.conv2d(x, w, bias, activation="relu", **options)
        np.testing.assert_array_equal(tensor.forward(x, w, bias, activation="relu"), expected)
        expected = reference.conv2d_grad_input(grad_y, w, case.x_shape, **options)
        np.testing.assert_array_equal(tensor.grad_input(grad_y, w), expected)
        expected = reference.conv2d_grad_weights(x, grad_y, case.w_shape, **options)
        np.testing.assert_array_equal(tensor.grad_weights(x, grad_y), expected)


def test_the_weights_gradient_repeats_to_the_bit() -> None:
    case = ConvCase("in_parts", 3, 20, 21, 16, 16, (3, 3))
    x, _, _, grad_y = operands(case, draw_normals)
    tensor = Tensor(case, "bfloat16")
    first = tensor.grad_weights(x, grad_y)
    np.testing.assert_array_equal(tensor.grad_weights(x, grad_y), first)
    plan = Plan(tensor.device)
    add_grad_weights(
        plan, tensor.g, x.reshape(-1), grad_y.reshape(-1), first.reshape(-1).copy(), precision="bfloat16"
    )
    assert plan.launches[-1].kernel.name == "reduce"


def test_a_1x1_kernel_packs_only_the_pixels_it_looks_at() -> None:
    case = ConvCase("strides", 1, 12, 12, 16, 16, (1, 1), (2, 2))
    g = Geometry.of(case.window, case.n, case.h, case.w, case.cin, case.cout)
    rows, strides = tensor_conv2d._images(g)
    assert (rows.high, rows.wide, strides) == (6, 6, (1, 1))


@pytest.mark.parametrize(
    ("case", "taken"),
    [
        (cases.DOCUMENTED[0], False),  # one channel
        (cases.DOCUMENTED[2], True),
        (cases.RESNET50[0], False),  # three
        (cases.RESNET50[1], True),
        (ConvCase("groups", 8, 9, 9, 64, 64, (3, 3), groups=2), False),
        (cases.RESNET50[1].with_batch(2**17), False),  # more than kernels count in 32 bits
    ],
    ids=lambda value: str(value),
)
def test_tensor_cores_take_convolutions_that_fill_them(case: ConvCase, taken: bool) -> None:
    g = Geometry.of(case.window, case.n, case.h, case.w, case.cin, case.cout, case.groups)
    plan = Plan(Interpreted())
    assert not tensor_conv2d.takes(plan, g)
    precisions.set_matmul_precision("bfloat16")
    try:
        assert tensor_conv2d.takes(plan, g) is taken
        assert not tensor_conv2d.takes(Plan(Interpreted((7, 5))), g)
    finally:
        precisions.set_matmul_precision("float32")


@pytest.mark.parametrize("batch", [0, 1])
def test_an_empty_batch_has_weight_gradients_of_zero(batch: int) -> None:
    case = ConvCase("batch", batch, 5, 5, 16, 16, (3, 3))
    assert_equals_reference(case, Tensor(case, "tf32"))


@pytest.mark.parametrize("precision", [TF32, BF16])
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_memory_traffic_of_the_weights_gradient(tile: Tile, precision: int) -> None:
    """Whole sectors, no bank conflicts, 128 bits at a time, no more multiply-adds and bytes than the blocks need, none of them FFMA."""
    size = 8 if precision == BF16 else 4
    down, across, pixels = 2, 2, 6 * 4 * size
    m, n = down * tile.rows, across * tile.columns
    a_chunks, b_chunks = m // size, n // size
    a, b = (np.zeros(4 * pixels * chunks, np.uint32) for chunks in (a_chunks, b_chunks))
    device = Interpreted(count=True)
    plan, c = Plan(device), device.empty(m * n)
    plan.add(
        grad_weights(precision, tile), 4, a, b, c, m, n, pixels, pixels, 1, a_chunks, 0, 0, a_chunks, 1, 0, 0, b_chunks, m,
        pixels, 0, WIDE,
    )  # fmt: skip
    plan.run()
    (counters,) = device.counters
    assert counters.mma == m * n * pixels
    assert counters.fma <= m * n, "one for each number that is written"
    assert counters.bank_conflicts == 0
    assert counters.bytes_loaded == CHUNK * pixels * (a_chunks * across + b_chunks * down)
    assert counters.bytes_stored == 4 * m * n
    assert total(counters.global_load).ratio == total(counters.global_store).ratio == 1
    for accesses in (counters.global_load, counters.global_store):
        assert {access.bytes // access.requests for access in accesses.values()} <= {0, 512}


@pytest.mark.parametrize("precision", [TF32, BF16])
def test_offsets_of_the_weights_gradient_beyond_32_bits(precision: int) -> None:
    """Pixels of three images that are 2^29 chunks apart, and three parts of C that are 2^35 numbers apart."""
    size = 8 if precision == BF16 else 4
    one = 0x3F803F80 if precision == BF16 else 0x3F800000
    apart, c_apart, terms, images = 2**29, 2**35, 4 * size, 3
    m = n = channels = 2 * size
    a = Sparse(
        (images - 1) * apart * 4 + 4 * (terms + 1),
        np.uint32,
        lambda at, count: np.full(count, one, np.uint32),
    )
    b = np.full(4 * 2 * images * terms, one, np.uint32)
    c = Sparse((images - 1) * c_apart + m * n, np.float32)
    machine = Machine(grad_weights(precision, LARGE).ptx((8, 0)))
    # Neighbouring pixels of an image are one chunk apart, and of a row of pixels there is one.
    machine.launch(
        images, LARGE.threads, a, b, c, m, n, images * terms, terms, 1, 1, 0, apart, 2, 1, 0, 0, 2, channels, terms, c_apart, WIDE
    )  # fmt: skip
    at = np.arange(images)[:, None] * c_apart + np.arange(m * n)
    np.testing.assert_array_equal(c[at.reshape(-1)], terms)


@cuda.jit(device=True, inline="always")
def other_lanes(first, lane, pitch, per_row):
    """lane_cross_bf16 with the four matrices of a fragment in another order: what is transposed is not transposed back."""
    matrix, term = uint32(lane // uint32(8)), uint32(lane % uint32(8))
    if per_row == uint32(1):
        down, right = uint32(matrix % uint32(2)), uint32(matrix // uint32(2))
    else:
        down, right = uint32(matrix // uint32(2)), uint32(matrix % uint32(2))
    place = uint32((first // uint32(8) + right) ^ term) * uint32(CHUNK)
    return uint32((uint32(8) * down + term) * pitch + place)


def test_a_transposed_fragment_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    case = ConvCase("broken", 1, 8, 8, 32, 32, (1, 1))
    x, _, _, grad_y = operands(case)
    expected = reference.conv2d_grad_weights(x, grad_y, case.w_shape)
    monkeypatch.setattr(tensor_conv2d, "grad_weights", grad_weights.__wrapped__)
    np.testing.assert_array_equal(Tensor(case, "bfloat16").grad_weights(x, grad_y), expected)
    monkeypatch.setattr(tensor_grad_weights, "lane_cross_bf16", other_lanes)
    assert not np.array_equal(Tensor(case, "bfloat16").grad_weights(x, grad_y), expected)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("capability", [(9, 0), (12, 0)])
def test_other_architectures_compute_the_same(capability: tuple[int, int], precision: str) -> None:
    case = ConvCase("other", 1, 7, 8, 20, 24, (3, 3), (2, 1), "same")
    assert_equals_reference(case, Tensor(case, precision, Interpreted(capability)))
