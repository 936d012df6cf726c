"""Regions against every pixel and tap one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import conv_cases

from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.regions import of_outputs, of_pixels, regions


@pytest.mark.parametrize("of_axis", [of_outputs, of_pixels])
@settings(max_examples=60, deadline=None)
@given(case=conv_cases(), row_bytes=st.sampled_from((4, 1 << 14, 1 << 20)))
def test_each_pixel_is_in_one_region_with_its_taps(of_axis, case, row_bytes: int) -> None:
    conv = Conv(case.window, case.h, case.w, case.cin, case.cout)
    sizes = conv.output if of_axis is of_outputs else (conv.h, conv.w)
    found = {}
    for region in regions(of_axis, conv, row_bytes):
        places = [range(each.first, each.first + each.size * each.step, each.step) for each in region]
        for row in places[0]:
            for column in places[1]:
                assert (row, column) not in found
                found[row, column] = tuple(set(each.taps) for each in region)
    wanted = [[_taps(conv, axis, of_axis, place) for place in range(sizes[axis])] for axis in (0, 1)]
    assert found == {
        (row, column): (wanted[0][row], wanted[1][column])
        for row in range(sizes[0])
        for column in range(sizes[1])
    }


def _taps(conv: Conv, axis: int, of_axis, place: int) -> set[int]:
    """The taps that join an output, or a pixel, to a pixel inside the image, or to an output."""
    stride, dilation, taps = (
        each[axis] for each in (conv.window.strides, conv.window.dilation, conv.window.kernel)
    )
    pairs = {
        (output, output * stride + tap * dilation - conv.halo[axis][0], tap)
        for output in range(conv.output[axis])
        for tap in range(taps)
    }
    inside = [each for each in pairs if 0 <= each[1] < (conv.h, conv.w)[axis]]
    return {tap for output, pixel, tap in inside if place == (output if of_axis is of_outputs else pixel)}
