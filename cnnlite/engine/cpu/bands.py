"""A few large images are cut into bands of rows, stage by stage, so that threads share an image: a part for each band, and all
bands of a stage are done before the next begins.

A band is a whole problem of its own, images of fewer rows with other padding: no kernel knows that it is one, but forward a
convolution's terms are added up in the whole image's order, so that an image's bits are those it has in a larger batch. Where the memory
around an image has the zeros that a convolution pads with, they count as rows of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from cnnlite.engine.cpu.convolution import conv_of, skips_padding
from cnnlite.engine.cpu.parts import even
from cnnlite.engine.stages import (
    ActivationStage,
    AddStage,
    AverageStage,
    ConcatenateStage,
    ConvStage,
    NormalizationStage,
    PoolStage,
    PReLUStage,
    Shape,
    Stage,
    TransposedConvStage,
    UpSamplingStage,
)
from cnnlite_kernels.cpu.images import NO_HALO, Images
from cnnlite_kernels.cpu.max_pool2d import INDEX_ITEM
from cnnlite_kernels.cpu.memory import NOWHERE, Base, Pointer
from cnnlite_kernels.cpu.plan import Part, Plan
from cnnlite_kernels.window import Pair

MOST_IMAGES = 3  # of a batch that is cut: more are parts themselves
BANDS = 8  # of a stage, over all images
ROWS = 4  # of a band, at least
WORTH = 1 << 24  # multiply-adds of an image, from which on waiting for others at each stage costs little


def worthwhile(stages: Sequence[Stage], n: int) -> bool:
    """Whether a batch of n is cut into bands. The rule does not look at the number of threads."""
    if not 0 < n <= MOST_IMAGES or any(
        isinstance(stage, NormalizationStage) and stage.batch for stage in stages
    ):
        return False
    sums = 0
    for stage in stages:
        if isinstance(stage, (ConvStage, TransposedConvStage)):
            conv = conv_of(stage)
            sums += conv.output[0] * conv.output[1] * conv.weights
    return sums >= WORTH


def rows_of(images: Images, image: int, rows: Pair, item: int) -> Images:
    """Rows (first, stop) of one image, without what is above and below; those of its halo count too, before 0 and past its end."""
    (top, _), sides = images.halo
    start = images.start + (image * images.image + (top + rows[0]) * images.row) * item
    return Images(start, 1, rows[1] - rows[0], images.w, images.c, ((0, 0), sides))


class Band(NamedTuple):
    """One image's rows of x, and of y, that a stage on fewer rows is for."""

    stage: Stage
    image: int
    x: Pair
    y: Pair

    def places(self, index: Pointer, y: Images, item: int) -> Pointer:
        """Where the band's places of maxima are: as y lies behind a convolution, else int32 without a halo."""
        if index == NOWHERE:
            return index
        if isinstance(self.stage, ConvStage):
            return index + (rows_of(y, self.image, self.y, item).start.offset - y.start.offset) // item
        return index + (self.image * y.h + self.y[0]) * y.w * y.c * INDEX_ITEM


def _pieces(n: int, rows: int) -> Iterator[tuple[int, Pair]]:
    """(image, its rows) of each band."""
    each = max(1, min(-(-BANDS // n), rows // ROWS))
    for image in range(n):
        for rows_here in even(rows, each):
            yield image, rows_here


def _shapes(stage: Stage, x: Pair, y: Pair) -> tuple[Shape, Shape]:
    (_, iw, ic), (_, ow, oc) = stage.in_shape, stage.out_shape
    return (x[1] - x[0], iw, ic), (y[1] - y[0], ow, oc)


def _windowed(stage: Stage, x: Pair, y: Pair, pads: Pair) -> Stage:
    """A stage with a window on rows x, padded, that make the rows y."""
    window = stage.window  # type: ignore[attr-defined]
    columns = window.pads(*stage.in_shape[:2])[1]
    in_shape, out_shape = _shapes(stage, x, y)
    return replace(
        stage, in_shape=in_shape, out_shape=out_shape, window=replace(window, padding=(pads, columns))
    )  # type: ignore[call-arg]


def by_outputs(stage: Stage, n: int, halo=NO_HALO) -> list[Band] | None:
    """Bands that make each row of y in one of them, and may read the same rows of x; None where a stage is better left whole.

    halo: around x in memory.
    """
    pieces = list(_pieces(n, stage.out_shape[0]))
    if len(pieces) == n:
        return None
    if isinstance(stage, (ActivationStage, AddStage, ConcatenateStage, NormalizationStage)) or (
        isinstance(stage, PReLUStage) and stage.alpha_shape[0] == 1
    ):
        return [Band(stage, image, rows, rows) for image, rows in pieces]
    if isinstance(stage, UpSamplingStage) and stage.interpolation == "nearest":
        factor = stage.size[0]
        return [
            Band(stage, image, rows, (rows[0] * factor, rows[1] * factor))
            for image, rows in _pieces(n, stage.in_shape[0])
        ]
    if isinstance(stage, TransposedConvStage):
        turned = replace(stage, in_shape=stage.out_shape, out_shape=stage.in_shape)
        return None if (bands := by_inputs(turned, n)) is None else [_turned(band) for band in bands]
    if not isinstance(stage, (ConvStage, PoolStage, AverageStage)):
        return None
    window = stage.window
    (top, bottom), _ = window.pads(*stage.in_shape[:2])
    if max(top, bottom) >= window.extent[0]:  # a band's windows may lie in the padding alone
        return None
    pool = (getattr(stage, "pool", None) or (1, 1))[0]
    padded = isinstance(stage, ConvStage) and not skips_padding(stage)
    zeros_there = padded and halo[0][0] >= top and halo[0][1] >= bottom
    bands = []
    for image, (first, stop) in pieces:
        begin = first * pool * window.strides[0] - top
        end = (stop * pool - 1) * window.strides[0] - top + window.extent[0]
        x = (begin, end) if zeros_there else (max(begin, 0), min(end, stage.in_shape[0]))
        stage_here = _windowed(stage, x, (first, stop), (x[0] - begin, end - x[1]))
        bands.append(Band(stage_here, image, x, (first, stop)))
    return bands


def by_inputs(stage: Stage, n: int) -> list[Band] | None:
    """Bands that make each row of the gradient of x in one of them, and may read the same rows of y; None as above.

    A transposed convolution is to be that of the gradient: from the larger image to the smaller.
    """
    if not isinstance(stage, (ConvStage, PoolStage, AverageStage, TransposedConvStage)):
        return by_outputs(stage, n)
    window, h = stage.window, stage.in_shape[0]
    stride, extent = window.strides[0], window.extent[0]
    (top, bottom), _ = window.pads(*stage.in_shape[:2])
    pieces = list(_pieces(n, h // stride))
    if max(top, bottom) >= extent or len(pieces) == n:
        return None
    if isinstance(stage, AverageStage) and (extent > stride or top):
        return None  # a mean's divisor counts the pixels of windows, which are to lie in one band
    pool = (getattr(stage, "pool", None) or (1, 1))[0]
    last_output = stage.out_shape[0] * pool - 1
    bands = []
    for image, (first, stop) in pieces:
        x = first * stride, (h if stop == h // stride else stop * stride)
        # the first and the last output whose window reaches these rows; at least one, though it may reach none
        low = max(0, min(-((extent - 1 - x[0] - top) // stride), (x[0] + top) // stride, last_output))
        high = max(low, min(last_output, (x[1] - 1 + top) // stride))
        y = low // pool, high // pool + 1
        before = x[0] + top - y[0] * pool * stride
        after = max(0, (y[1] * pool - 1 - y[0] * pool) * stride + extent - (x[1] - x[0]) - before)
        bands.append(Band(_windowed(stage, x, y, (before, after)), image, x, y))
    return bands


def _turned(band: Band) -> Band:
    """Of a transposed convolution, whose input is the smaller image."""
    stage = replace(band.stage, in_shape=band.stage.out_shape, out_shape=band.stage.in_shape)
    return Band(stage, band.image, band.y, band.x)


class Bands:
    """What the bands of a job do between the segments of its one plan, whose workspace they share."""

    def __init__(self) -> None:
        self._between: list[list[tuple[Plan, int]]] = []

    def add(self, plan: Plan, emitters: Sequence[tuple[int, Callable[[Plan], None]]]) -> None:
        """Adds (number of the gradients' buffer, what emits a band) for each band of a stage."""
        mark, made = plan.mark(), []
        for number, emit in emitters:
            made.append((plan.beside(), number))
            emit(made[-1][0])
            plan.behind(made[-1][0])
        plan.free(mark)
        self._between.append(made)
        plan.meet()

    def segments(self, plan: Plan, bases: Mapping[Base, int], grads: Sequence[int] = ()) -> list[list[Part]]:
        """The segments of a job. grads: addresses of the buffers of gradients."""

        def with_grads(number: int) -> dict[Base, int]:
            return {**bases, Base.GRADS: grads[number]} if grads else dict(bases)

        found = []
        for number in range(len(self._between) + 1):
            found.append([Part(plan, with_grads(0), number)])
            for made in self._between[number : number + 1]:
                found.append([Part(each, with_grads(buffer)) for each, buffer in made])
        return [parts for parts in found if len(parts) > 1 or len(parts[0].plan.entries(parts[0].segment))]
