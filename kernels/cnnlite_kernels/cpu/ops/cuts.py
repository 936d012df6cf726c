"""How a convolution or pooling of a batch is cut into parts: between images, and inside them where images are few and large.

A piece of an image is a whole problem of its own, a window on fewer rows with other padding: no kernel knows that it is a piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.memory import Base
from cnnlite_kernels.cpu.ops.work import NUMBERS, number_of_parts, pieces
from cnnlite_kernels.cpu.plan import Part, Plan
from cnnlite_kernels.window import Pair, Window2D

# Outputs of a part, at least, before columns are cut instead: they share what is read of the weights.
OUTPUTS = 192


class Cut(NamedTuple):
    """n images, or some rows of one: their window and size, and the first image and row of x and of y."""

    window: Window2D
    h: int
    w: int
    n: int
    image: int
    x_row: int
    y_row: int


def by_rows(n: int, rows: int, numbers: int) -> Iterator[tuple[int, int, Pair]]:
    """(First image, images, their rows (first, stop)) of each part of an op that passes over so many numbers."""
    parts = number_of_parts(numbers, NUMBERS)
    if n >= parts:
        for first, stop in pieces(n, parts):
            yield first, stop - first, (0, rows)
        return
    for image in range(n):
        for within in pieces(rows, -(-parts // n)):
            yield image, 1, within


def parts_by_rows(
    n: int, rows: int, numbers: int, item: int, images: Mapping[Base, int], emit: Callable[[Plan, int, Pair], None]
) -> list[Part]:  # fmt: skip
    """A part for each cut of `by_rows`; cuts of as many images and the same rows share a plan.

    images: numbers of an image at each base; emit: emits so many images, and their rows (first, stop), into a plan.
    """
    plans: dict[tuple[int, Pair], Plan] = {}
    parts = []
    for image, count, within in by_rows(n, rows, numbers):
        plan = plans.get((count, within))
        if plan is None:
            plan = plans[count, within] = Plan(item)
            emit(plan, count, within)
        parts.append(Part(plan, {base: image * size * item for base, size in images.items()}))
    return parts


def by_outputs(window: Window2D, n: int, h: int, w: int, parts: int) -> Iterator[Cut]:
    """Cuts so that every output pixel is made in one part; parts may read the same rows of x."""
    each = _within_image(window, n, h, w, parts)
    if each == 1:
        yield from _whole_images(window, n, h, w, parts)
        return
    oh, _ = window.output_size(h, w)
    (top, _), columns = window.pads(h, w)
    sh, extent = window.strides[0], window.extent[0]
    for image in range(n):
        for first, stop in pieces(oh, each):
            begin, end = first * sh - top, (stop - 1) * sh - top + extent
            x_first, x_stop = max(begin, 0), min(end, h)
            inside = replace(window, padding=((x_first - begin, end - x_stop), columns))
            yield Cut(inside, x_stop - x_first, w, 1, image, x_first, first)


def by_inputs(window: Window2D, n: int, h: int, w: int, parts: int) -> Iterator[Cut]:
    """Cuts so that every pixel of x (of its gradient) is made in one part; parts may read the same rows of y."""
    each = _within_image(window, n, h, w, parts)
    if each == 1:
        yield from _whole_images(window, n, h, w, parts)
        return
    oh, _ = window.output_size(h, w)
    (top, _), columns = window.pads(h, w)
    sh, extent = window.strides[0], window.extent[0]
    for image in range(n):
        for first, stop in pieces(h, each, multiple=sh):
            # the first and the last output whose window reaches these rows; at least one, though it may reach none
            y_first = max(0, min(-((extent - 1 - first - top) // sh), (first + top) // sh, oh - 1))
            y_last = max(y_first, min(oh - 1, (stop - 1 + top) // sh))
            before = first + top - y_first * sh
            after = max(0, (y_last - y_first) * sh + extent - (stop - first) - before)
            inside = replace(window, padding=((before, after), columns))
            yield Cut(inside, stop - first, w, 1, image, first, y_first)


def _whole_images(window: Window2D, n: int, h: int, w: int, parts: int) -> Iterator[Cut]:
    for first, stop in pieces(n, parts):
        yield Cut(window, h, w, stop - first, first, 0, 0)


def _within_image(window: Window2D, n: int, h: int, w: int, parts: int) -> int:
    """Pieces that each image is cut into: 1 where there are images enough, or where a window may lie in the padding alone."""
    (top, bottom), _ = window.pads(h, w)
    if n >= parts or max(top, bottom) >= window.extent[0]:
        return 1
    return -(-parts // n)


def multiply_adds(conv: Conv, n: int) -> int:
    """Of one pass over n images."""
    oh, ow = conv.output
    return n * oh * ow * conv.depth * conv.cout


def rows_and_columns(
    conv: Conv, n: int, width: int, grad_input: bool = False
) -> tuple[int, list[tuple[int, int]]]:
    """Into how many parts the outputs (with grad_input the pixels of x) are cut, and into which ranges the columns: those where that
    leaves too few outputs, in multiples of `width`."""
    wanted = number_of_parts(multiply_adds(conv, n))
    (oh, ow), sh, extent = conv.output, conv.window.strides[0], conv.window.extent[0]
    outputs, channels, height = n * oh * ow, conv.cout, oh * sh
    if grad_input:  # a product has the pixels of one phase of the strides
        outputs, channels, height = phase_pixels(conv, n), conv.cin, conv.h
    row_parts = max(1, min(wanted, outputs // OUTPUTS))
    if row_parts > n:  # inside images: pieces of few rows would read as many again around them
        row_parts = n * min(-(-row_parts // n), max(1, height // (3 * max(1, extent - sh))))
    column_parts = -(-wanted // row_parts) if conv.groups == 1 else 1
    return row_parts, list(pieces(channels // conv.groups, column_parts, width))


def phase_pixels(conv: Conv, n: int) -> int:
    """Pixels of x, in n images, in one phase of the strides."""
    return n * conv.h * conv.w // (conv.window.strides[0] * conv.window.strides[1])


def x_start(conv: Conv, cut: Cut) -> int:
    """Numbers of x before those of the cut."""
    return (cut.image * conv.h + cut.x_row) * conv.w * conv.cin


def y_start(conv: Conv, cut: Cut) -> int:
    """Numbers of y before those of the cut."""
    oh, ow = conv.output
    return (cut.image * oh + cut.y_row) * ow * conv.cout
