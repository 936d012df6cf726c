"""Forward convolution of few channels by lines of outputs (line_tile.py) equals the reference, and tile.py bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cases import ConvCase
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import DTYPES, draw_integers, draw_normals, nans
from strategies import conv_cases

from cnnlite_kernels import reference
from cnnlite_kernels.cpu import conv2d
from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.line_tile import MOST_NUMBERS, suits
from cnnlite_kernels.cpu.memory import pointer_to
from cnnlite_kernels.cpu.plan import Job, Part, Plan
from cnnlite_kernels.cpu.product import block_width
from cnnlite_kernels.window import Window2D

GUARD = 64  # numbers around the output that nobody may write

CASES = (
    ConvCase("first_layer_same", 1, 5, 28, 3, 64, (3, 3), padding="same"),
    ConvCase("last_tiles_share_outputs", 2, 3, 29, 1, 32, (2, 3)),
    ConvCase("three_vectors_ragged", 2, 4, 42, 4, 37, (3, 2), padding="same"),
    ConvCase("one_vector_ragged", 1, 3, 28, 2, 5, (3, 3), padding=((0, 2), (3, 1))),
    ConvCase("strides_dilation", 2, 9, 85, 3, 48, (3, 2), (2, 3), "same", (2, 3)),
    ConvCase("large_kernel_strides", 1, 11, 56, 3, 64, (7, 7), (2, 2), ((3, 3), (3, 3))),
)


def conv_of(case: ConvCase) -> Conv:
    return Conv(case.window, case.h, case.w, case.cin, case.cout, case.groups)


def computed(
    case: ConvCase, x: np.ndarray, w: np.ndarray, b: np.ndarray, relu: bool, columns: tuple[int, int] | None = None
) -> np.ndarray:  # fmt: skip
    """relu(conv(x, w) + b) by add_forward, and that nothing around it is written."""
    plan, conv = Plan(x.itemsize), conv_of(case)
    around = nans((int(np.prod(case.y_shape)) + 2 * GUARD,), x.dtype.type)
    y = around[GUARD:-GUARD].reshape(case.y_shape)
    packed = plan.scratch(conv2d.packed_weights(conv, plan.item) * plan.item)
    conv2d.add_pack_weights(plan, conv, pointer_to(w), packed)
    images, to = Images(pointer_to(x), *x.shape), Images(pointer_to(y), *y.shape)
    conv2d.add_forward(plan, conv, images, packed, pointer_to(b), to, relu=relu, columns=columns)
    Job([[Part(plan)]]).run()
    assert np.isnan([around[:GUARD], around[-GUARD:]]).all()
    return y


def operands(case: ConvCase, dtype: type, draw: Callable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return draw(rng, case.x_shape, dtype), draw(rng, case.w_shape, dtype), draw(rng, (case.cout,), dtype)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_integers_equal_reference(case: ConvCase, dtype: type, relu: bool) -> None:
    x, w, b = operands(case, dtype, draw_integers)
    right = reference.conv2d(x, w, b, activation="relu" if relu else None, **case.options)
    np.testing.assert_array_equal(computed(case, x, w, b, relu), right)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bits_of_the_tile(case: ConvCase, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, b = operands(case, dtype, draw_normals)
    x[np.random.default_rng(1).random(x.shape) < 0.01] = np.nan
    found = []
    for by_lines in (True, False):
        monkeypatch.setattr(conv2d, "goes_by_lines", lambda conv, answer=by_lines: answer)
        found.append(computed(case, x, w, b, True))
    np.testing.assert_array_equal(*found)


def test_only_the_columns_asked_for_are_written() -> None:
    case, width = CASES[0], block_width(4)
    x, w, b = operands(case, np.float32, draw_integers)
    y = computed(case, x, w, b, False, columns=(width, 2 * width))
    right = reference.conv2d(x, w, b, **case.options)
    np.testing.assert_array_equal(y[..., width : 2 * width], right[..., width : 2 * width])
    assert np.isnan(np.delete(y, np.s_[width : 2 * width], axis=3)).all()


@settings(max_examples=40, deadline=None)
@given(
    case=conv_cases(max_kernel=3, max_dilation=2, max_groups=1, max_channels=MOST_NUMBERS, slack=20),
    relu=st.booleans(),
)
def test_drawn_geometry_equals_reference(case: ConvCase, relu: bool) -> None:
    x, w, b = operands(case, np.float32, draw_integers)
    right = reference.conv2d(x, w, b, activation="relu" if relu else None, **case.options)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(conv2d, "goes_by_lines", lambda conv: True)  # where it does not pay, too
        np.testing.assert_array_equal(computed(case, x, w, b, relu), right)


def test_it_is_for_few_channels_and_lines_of_whole_tiles() -> None:
    assert conv2d.goes_by_lines(Conv(Window2D.of((3, 3), padding="same"), 224, 224, 3, 64))
    assert not suits(MOST_NUMBERS + 1, 45, 14 * 16)
    assert not suits(3, 27, 7)
    assert not suits(3, 27, 0)
    assert not suits(0, 0, 28)
