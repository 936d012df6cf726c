"""What a network's plan takes of bfloat16 and ops on arrays do not: activations of bfloat16 in and out, pooling, rounding."""

from __future__ import annotations

import numpy as np
import pytest
from bfloat16_host import from_bits, needs_bfloat16, rounded, to_bits
from guarded import guarded

from cnnlite_kernels import reference
from cnnlite_kernels.cpu import bfloat16_conv2d as emit
from cnnlite_kernels.cpu import bfloat16_grad_weights as by_pixels
from cnnlite_kernels.cpu import bfloat16_product
from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import NOWHERE, pointer_to
from cnnlite_kernels.cpu.plan import Job, Part, Plan
from cnnlite_kernels.cpu.tile import ACCUMULATE
from cnnlite_kernels.window import Window2D

pytestmark = needs_bfloat16

SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -2.5,
    1.00390625,
    1.01171875,
    1e-39,
    -1e-39,
    3.4e38,
    -3.4e38,
    np.inf,
    -np.inf,
    np.nan,
]


def run(plan: Plan) -> None:
    Job([[Part(plan)]]).run()


def images(array: np.ndarray, at_end: bool = True, halo=((0, 0), (0, 0))) -> tuple[Images, np.ndarray]:
    """The array against a guard page, and the images that it holds; halo counted."""
    n, h, w, c = array.shape
    (top, bottom), (left, right) = halo
    copy = guarded(array, at_end)
    return Images(pointer_to(copy), n, h - top - bottom, w - left - right, c, halo), copy


def integers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(-4, 5, shape).astype(np.float32)


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("pairs", [False, True], ids=["images", "packed"])
def test_rounding_is_to_nearest_even_and_keeps_nan(pairs: bool, at_end: bool) -> None:
    """Ties, infinities, NaN, what is too large, denormals."""
    x = np.concatenate([np.array(SPECIAL, np.float32), integers(20) * np.float32(1.2345)])[
        None, None, None, :
    ]
    of, _ = images(x, at_end)
    plan = Plan()
    if pairs:  # columns of B, k of 1
        packed = guarded(np.zeros(bfloat16_product.packed_bytes(1, 1, x.size), np.uint8), at_end)
        bfloat16_product.add_pack(plan, of.start, pointer_to(packed), [0], 1, x.size, x.size, 1)
        run(plan)
        found = packed.view(np.uint16)[::2][: x.size]
        assert not packed.view(np.uint16)[1::2][: x.size].any()
    else:
        y, bits = images(np.zeros((1, 3, 2, x.size), np.uint16), at_end, ((1, 1), (1, 0)))
        emit.add_round(plan, of, y)
        run(plan)
        found = bits[0, 1, 1]
        assert np.count_nonzero(bits) == np.count_nonzero(found)
    np.testing.assert_array_equal(found, to_bits(x.reshape(-1)))


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("cout", [5, 33, 80])
def test_bfloat16_in_and_out_against_guard_pages(cout: int, at_end: bool) -> None:
    """An odd number of channels under one kernel column: the last pair of a pixel is half beyond it."""
    conv = Conv(Window2D.of((3, 1), padding="same"), 6, 5, 7, cout)
    x, w, b = integers(2, 6, 5, 7), integers(3, 1, 7, cout), integers(cout)
    of_x, _ = images(to_bits(np.pad(x, ((0, 0), *conv.halo, (0, 0)))), at_end, conv.halo)
    packed = guarded(np.zeros(emit.packed_weights(conv), np.uint8), at_end)
    y, bits = images(np.full((2, 6, 5, cout), 0x7FC0, np.uint16), at_end)
    weights, bias = guarded(w, at_end), guarded(b, at_end)
    plan = Plan()
    emit.add_pack_weights(plan, conv, pointer_to(weights), pointer_to(packed))
    emit.add_forward(plan, conv, of_x, pointer_to(packed), pointer_to(bias), y, item=2, relu=True)
    run(plan)
    expected = reference.conv2d(x, w, b, activation="relu", padding="same")
    np.testing.assert_array_equal(from_bits(bits), rounded(expected))


@pytest.mark.parametrize("item", [4, 2])
def test_pooling_takes_the_first_maximum_and_tells_its_place(item: int) -> None:
    conv = Conv(Window2D.of(3), 9, 10, 6, 37)
    x, w, b = integers(2, 9, 10, 6), integers(3, 3, 6, 37), integers(37)
    of_x, kept = images(to_bits(x))
    packed = np.zeros(emit.packed_weights(conv), np.uint8)
    y = np.zeros((2, 3, 4, 37), np.float32 if item == 4 else np.uint16)
    index = np.full(y.shape, 9, np.uint8)
    plan = Plan()
    emit.add_pack_weights(plan, conv, pointer_to(w), pointer_to(packed))
    emit.add_forward(
        plan, conv, of_x, pointer_to(packed), pointer_to(b), Images(pointer_to(y), *y.shape), item=item, relu=True,
        pool=(2, 2), index=pointer_to(index),
    )  # fmt: skip
    run(plan)
    before = reference.conv2d(x, w, b)[:, :6, :8].reshape(2, 3, 2, 4, 2, 37)
    windows = before.transpose(0, 1, 3, 2, 4, 5).reshape(2, 3, 4, 4, 37)
    best = windows.max(axis=3)
    expected = np.maximum(best, 0)
    np.testing.assert_array_equal(
        y if item == 4 else from_bits(y), expected if item == 4 else rounded(expected)
    )
    np.testing.assert_array_equal(index, np.where(best > 0, windows.argmax(axis=3), 4))
    assert kept.any()


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("item", [4, 2])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_gradients_from_images_of_either_type(strides: tuple[int, int], item: int, at_end: bool) -> None:
    conv = Conv(Window2D.of(3, strides, padding="same"), 8, 9, 19, 34)
    oh, ow = conv.output
    x, w, grad_y = integers(2, 8, 9, 19), integers(3, 3, 19, 34), integers(2, oh, ow, 34)
    options = {"strides": strides, "padding": "same"}
    stored = (lambda a: a) if item == 4 else to_bits
    of_x, _x = images(stored(x), at_end)
    of_y, _y = images(stored(grad_y), at_end)
    halo = emit.grad_halo(conv)
    padded, _p = images(to_bits(np.pad(grad_y, ((0, 0), *halo, (0, 0)))), at_end, halo)
    grad_x, bits = images(np.full(x.shape, 0x7FC0, np.uint16), at_end)
    grad_w = guarded(np.ones(w.shape, np.float32), at_end)
    flipped = guarded(np.zeros(emit.flipped_weights(conv), np.uint8), at_end)
    outputs = guarded(np.zeros(by_pixels.packed_outputs(conv, 2), np.uint8), at_end)
    turned = by_pixels.turned(conv, 2, NOWHERE)
    space = guarded(np.zeros(turned.size, np.uint16), at_end)
    turned = turned._replace(start=pointer_to(space))
    weights = guarded(w, at_end)
    plan = Plan()
    emit.add_flip_weights(plan, conv, pointer_to(weights), pointer_to(flipped))
    emit.add_grad_input(plan, conv, padded, pointer_to(flipped), grad_x, item=2)
    by_pixels.add_turn(plan, conv, of_x, turned, item)
    by_pixels.add_pack_outputs(plan, conv, of_y, pointer_to(outputs), item)
    by_pixels.add_grad_weights(plan, conv, turned, pointer_to(outputs), pointer_to(grad_w), flags=ACCUMULATE)
    run(plan)
    np.testing.assert_array_equal(
        from_bits(bits), rounded(reference.conv2d_grad_input(grad_y, w, x.shape, **options))
    )
    np.testing.assert_array_equal(grad_w, 1 + reference.conv2d_grad_weights(x, grad_y, w.shape, **options))


def test_sums_of_bfloat16_outputs_are_rounded_once() -> None:
    """Deeper than one pass over taps: partial sums are not kept in bfloat16."""
    conv = Conv(Window2D.of(3, padding="same"), 4, 4, 768, 40)
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 4, 4, 768), (3, 3, 768, 40)))
    of_x, _ = images(to_bits(x))
    packed = np.zeros(emit.packed_weights(conv), np.uint8)
    y = np.zeros((1, 4, 4, 40), np.uint16)
    plan = Plan()
    emit.add_pack_weights(plan, conv, pointer_to(w), pointer_to(packed))
    emit.add_forward(plan, conv, of_x, pointer_to(packed), None, Images(pointer_to(y), *y.shape), item=2)
    run(plan)
    expected = reference.conv2d(rounded(x), rounded(w), padding="same")
    assert np.all(np.abs(from_bits(y) - expected) <= 2.0**-8 * np.abs(expected) + 1e-3)
    assert np.mean(y == to_bits(expected)) > 0.99


@pytest.mark.parametrize("w", [9, 20], ids=["short_rows", "long_rows"])
def test_many_images_are_turned_some_at_a_time(w: int, monkeypatch: pytest.MonkeyPatch) -> None:
    conv = Conv(Window2D.of(2), 8, w, 5, 3)
    x, grad_y = integers(5, 8, w, 5), integers(5, 7, w - 1, 3)
    kernels = []
    for piece in (1, 1 << 17):
        monkeypatch.setattr(by_pixels, "PIECE", piece)
        grad_w = np.full((2, 2, 5, 3), np.nan, np.float32)
        plan = Plan()
        by_pixels.add_from_images(plan, conv, images(x)[0], images(grad_y)[0], pointer_to(grad_w))
        kernels.append(len(plan.entries()))
        run(plan)
        np.testing.assert_array_equal(grad_w, reference.conv2d_grad_weights(x, grad_y, grad_w.shape))
    assert kernels[0] == 5 * kernels[1]
