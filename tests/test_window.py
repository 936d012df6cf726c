"""Window2D: output sizes, padding, and what it refuses."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from cases import ConvCase
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import conv_cases

from cnnlite_kernels.window import Window2D


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "out", "pads"),
    [
        (28, 3, 1, 1, 28, (1, 1)),
        (28, 3, 2, 1, 14, (0, 1)),
        (27, 3, 2, 1, 14, (1, 1)),
        (224, 7, 2, 1, 112, (2, 3)),
        (5, 2, 1, 1, 5, (0, 1)),
        (5, 2, 2, 1, 3, (0, 1)),
        (4, 2, 2, 1, 2, (0, 0)),
        (7, 3, 1, 2, 7, (2, 2)),
        (9, 1, 3, 1, 3, (0, 0)),
        (10, 1, 3, 1, 4, (0, 0)),
        (2, 5, 1, 1, 2, (2, 2)),
    ],
)
def test_same_padding_is_tensorflows(
    size: int, kernel: int, stride: int, dilation: int, out: int, pads: tuple[int, int]
) -> None:
    window = Window2D.of(kernel, stride, dilation, "same")
    assert window.output_size(size, size) == (out, out)
    assert window.pads(size, size) == (pads, pads)


@pytest.mark.parametrize(
    ("h", "w", "kernel", "strides", "dilation", "padding", "out"),
    [
        (28, 28, (3, 3), (1, 1), (1, 1), "valid", (26, 26)),
        (11, 11, (2, 2), (2, 2), (1, 1), "valid", (5, 5)),
        (7, 9, (2, 3), (3, 2), (1, 1), "valid", (2, 4)),
        (7, 9, (3, 3), (1, 1), (3, 4), "valid", (1, 1)),
        (224, 224, (7, 7), (2, 2), (1, 1), ((3, 3), (3, 3)), (112, 112)),
        (4, 5, (3, 3), (2, 1), (1, 1), ((0, 1), (2, 0)), (2, 5)),
    ],
)
def test_output_size(
    h: int, w: int, kernel: object, strides: object, dilation: object, padding: object, out: object
) -> None:
    assert Window2D.of(kernel, strides, dilation, padding).output_size(h, w) == out


@settings(deadline=None)
@given(conv_cases())
def test_output_size_counts_the_windows_that_fit(case: ConvCase) -> None:
    window, h, w = case.window, case.h, case.w
    for axis, size in enumerate((h, w)):
        before, after = window.pads(h, w)[axis]
        starts = range(-before, size + after - window.extent[axis] + 1, window.strides[axis])
        assert window.output_size(h, w)[axis] == len(starts)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.integers(1, 3))
def test_same_padding_gives_size_over_stride_and_pads_no_more_than_needed(
    size: int, kernel: int, stride: int, dilation: int
) -> None:
    window = Window2D.of(kernel, stride, dilation, "same")
    out, _ = window.output_size(size, size)
    (before, after), _ = window.pads(size, size)
    assert out == -(-size // stride)
    assert after - before in (0, 1)
    if after:
        assert (out - 1) * stride + window.extent[0] == size + before + after


def test_ints_lists_and_numpy_ints_are_pairs_of_plain_ints() -> None:
    window = Window2D.of(np.int64(3), [2, 1], (np.int32(1), 2), [[0, 1], (np.int64(2), 3)])
    assert window == Window2D((3, 3), (2, 1), (1, 2), ((0, 1), (2, 3)))
    assert all(type(v) is int for v in (*window.kernel, *window.dilation, *window.pads(9, 9)[1]))


@pytest.mark.parametrize("padding", ["same", "Same", "SAME"])
def test_padding_names_in_any_case(padding: str) -> None:
    assert Window2D.of(3, padding=padding).padding == "same"


def test_is_a_key_and_cannot_change() -> None:
    window = Window2D.of(3, padding=((1, 1), (1, 1)))
    assert {window: "plan"}[Window2D.of((3, 3), padding=[[1, 1], [1, 1]])] == "plan"
    assert window != Window2D.of(3)
    with pytest.raises(FrozenInstanceError):
        window.kernel = (5, 5)  # type: ignore[misc]


@pytest.mark.parametrize("name", ["kernel", "strides", "dilation"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "3", None, (3,), (3, 3, 3), (3, 0), (2.5, 1), ()])
def test_refuses_what_is_no_pair(name: str, value: object) -> None:
    arguments: dict[str, Any] = {"kernel": 3, name: value}
    with pytest.raises(
        ValueError, match=rf"^layer_1: expected {name} as an int or a pair of ints .* got .*pass"
    ):
        Window2D.of(**arguments, op="layer_1")


@pytest.mark.parametrize(
    "padding", ["full", 1, None, (1, 1), ((1, 1), 1), ((1, -1), (0, 0)), ((1, 1), (0.5, 0)), ((1, 1),)]
)
def test_refuses_what_is_no_padding(padding: object) -> None:
    with pytest.raises(ValueError, match=r'^conv2d: expected padding "valid", "same" or \(\(top, .* got '):
        Window2D.of(3, padding=padding)


def test_refuses_an_image_smaller_than_the_window() -> None:
    window = Window2D.of(3, dilation=2)
    assert window.output_size(5, 5) == (1, 1)
    with pytest.raises(
        ValueError, match=r"^conv: expected an image of at least 5 x 5 .* got 5 x 4; use a larger image"
    ):
        window.output_size(5, 4, op="conv")
    padded = Window2D.of(3, padding=((0, 0), (1, 0)))
    with pytest.raises(ValueError, match=r"padding included, for kernel .* got 2 x 4"):
        padded.output_size(2, 3)


@pytest.mark.parametrize("padding", ["valid", "same", ((3, 3), (3, 3))])
def test_refuses_an_image_without_pixels(padding: object) -> None:
    with pytest.raises(ValueError, match="max_pool2d: expected an image of at least 1 x 1 pixels, got 0 x 5"):
        Window2D.of(2, padding=padding).output_size(0, 5, op="max_pool2d")
