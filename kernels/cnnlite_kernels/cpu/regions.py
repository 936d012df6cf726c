"""Pixels taken together whose taps lie inside the image: the interior, and thin borders that each have fewer taps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple

from cnnlite_kernels.cpu.conv2d import Conv

BAND = 1 << 16  # bytes of rows that several regions are finished in before the next rows are begun


class Stretch(NamedTuple):
    """Pixels or outputs first, first + step, ... (`size`) along an axis with the same `taps`, an arithmetic progression."""

    first: int
    step: int
    size: int
    taps: range


OfAxis = Callable[[Conv, int], Iterator[Stretch]]


def regions(of_axis: OfAxis, conv: Conv, row_bytes: int) -> list[tuple[Stretch, Stretch]]:
    """Rows and columns that have the same taps, `of_axis` being of_outputs or of_pixels.

    Where strides make regions of every other pixel, the rows, `row_bytes` long, are cut into bands: what several regions read
    and write stays in a cache.
    """
    columns = list(of_axis(conv, 1))
    most = (
        max(conv.h, conv.output[0]) if all(each.step == 1 for each in columns) else max(1, BAND // row_bytes)
    )
    rows = sorted(
        (piece for stretch in of_axis(conv, 0) for piece in _pieces(stretch, most)),
        key=lambda piece: piece.first,
    )
    return [(each, column) for each in rows for column in columns]


def _pieces(stretch: Stretch, most: int) -> Iterator[Stretch]:
    each = max(1, most // stretch.step)
    for first in range(0, stretch.size, each):
        yield stretch._replace(
            first=stretch.first + first * stretch.step, size=min(each, stretch.size - first)
        )


def of_outputs(conv: Conv, axis: int) -> Iterator[Stretch]:
    """The outputs along an axis by the taps that lie inside the image."""
    stride, dilation, taps = _axis(conv, axis)
    before, size = conv.halo[axis][0], (conv.h, conv.w)[axis]

    def inside(output: int) -> range:
        begin = output * stride - before
        return range(max(0, -(begin // dilation)), min(taps, -((begin - size) // dilation)))

    yield from _stretches(range(conv.output[axis]), inside)


def of_pixels(conv: Conv, axis: int) -> Iterator[Stretch]:
    """The pixels of x along an axis by the taps that bring them into an output."""
    stride, dilation, taps = _axis(conv, axis)
    before, size, outputs = conv.halo[axis][0], (conv.h, conv.w)[axis], conv.output[axis]

    def reaching(pixel: int) -> range:
        ends = [pixel + before - tap * dilation for tap in range(taps)]
        found = [tap for tap, end in enumerate(ends) if end % stride == 0 and 0 <= end // stride < outputs]
        return range(found[0], found[-1] + 1, found[1] - found[0] if found[1:] else 1) if found else range(0)

    for phase in range(min(stride, size)):
        yield from _stretches(range(phase, size, stride), reaching)


def _axis(conv: Conv, axis: int) -> tuple[int, int, int]:
    return conv.window.strides[axis], conv.window.dilation[axis], conv.window.kernel[axis]


def _stretches(positions: range, taps_of: Callable[[int], range]) -> Iterator[Stretch]:
    for taps, together in groupby(positions, taps_of):
        run = list(together)
        yield Stretch(run[0], positions.step, len(run), taps)
