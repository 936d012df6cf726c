"""Emits the stages of a network into a CPU plan: forward over some images of a part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cnnlite.engine.cpu import convolution, normalization
from cnnlite.engine.cpu.bands import Band, Bands, by_outputs, rows_of
from cnnlite.engine.cpu.convolution import Packed, halo_read
from cnnlite.engine.cpu.flow import (
    held,
    reshaped,
    shared_rooms,
    source_shape,
)
from cnnlite.engine.cpu.normalization import Meetings
from cnnlite.engine.cpu.places import where
from cnnlite.engine.stages import (
    ActivationStage,
    AddStage,
    AverageStage,
    ConcatenateStage,
    ConvStage,
    DropoutStage,
    FrameStage,
    NormalizationStage,
    PoolStage,
    PReLUStage,
    Stage,
    TransposedConvStage,
    UpSamplingStage,
    numbers_of,
    readers_of,
)
from cnnlite_kernels.cpu import (
    activations,
    average_pool2d,
    bfloat16_conv2d,
    dropout,
    frames,
    joins,
    max_pool2d,
    prelu,
    up_sampling2d,
)
from cnnlite_kernels.cpu.images import NO_HALO, Images, add_clear_halo
from cnnlite_kernels.cpu.memory import NOWHERE, Base, Pointer
from cnnlite_kernels.cpu.plan import Plan


class Kept(NamedTuple):
    """What the backward pass of a stage needs: its input, its output, and with pooling the places of the maxima."""

    x: Images
    y: Images
    places: Pointer


class Run(NamedTuple):
    """What a plan's kernels share.

    packed: by the number of the stage; training: whether a backward pass follows; key: an int64, the key of this step's masks;
    first: number of the plan's first image in its part; meetings: of the parts, where stages need the whole batch; bands: of a few large
    images, else None.
    """

    packed: Sequence[Packed | None]
    training: bool = False
    key: Pointer = NOWHERE
    first: int = 0
    meetings: Meetings | None = None
    bands: Bands | None = None


def halo_wanted(stages: Sequence[Stage], number: int):
    """The halo that the output of a stage should have, so that the next convolution need not copy it."""
    if number + 1 < len(stages):
        after = stages[number + 1]
        if after.in_shape == stages[number].out_shape:
            return halo_read(after)
    return NO_HALO


def _item(plan: Plan, stages: Sequence[Stage], number: int, run: Run) -> int:
    """Bytes of the numbers that a stage puts out: those of bfloat16 where the next product would round them anyway."""
    pair = stages[number : number + 2]
    both = len(pair) == 2 and all(
        packed is not None and packed.narrow.forward for packed in run.packed[number : number + 2]
    )
    if both and getattr(pair[0], "activation", None) in (None, "relu") and number not in held(stages):
        return bfloat16_conv2d.BYTES
    return plan.item


def forward(
    plan: Plan, stages: Sequence[Stage], x: Images, run: Run, *, keep: bool, out: Pointer | None = None
) -> list[Kept]:
    """Emits all stages on the images x.

    Args:
        keep: keep every stage's output, and places of maxima, for the backward pass; otherwise outputs that nobody reads any more
            make room for others.
        out: where the last stage's output goes; in scratch if None.
    """
    kept: list[Kept] = []
    given, x_item = x, plan.item
    outputs = [
        Images(NOWHERE, x.n, *stage.out_shape, halo_wanted(stages, number))
        for number, stage in enumerate(stages)
    ]
    rooms = None
    if not keep:
        readers = readers_of(stages)
        last = [readers[number][-1] for number in range(len(stages))]
        rooms = shared_rooms(plan, [y.size * plan.item for y in outputs], last)
    for number, stage in enumerate(stages):
        mark = plan.mark()
        x, y = reshaped(plan, x, stage.in_shape), outputs[number]
        if number == len(stages) - 1 and out is not None:
            y = y._replace(start=out)
        elif rooms is not None:
            y = y._replace(start=rooms[number])
        else:
            y = y._replace(start=plan.scratch(y.size * plan.item))
        y_item = plan.item if keep else _item(plan, stages, number, run)
        index = NOWHERE
        if keep and isinstance(stage, ConvStage) and stage.pool:
            index = plan.scratch(y.size)
        elif keep and isinstance(stage, PoolStage):
            index = plan.scratch(y.size * 4)
        add_clear_halo(plan, y, y_item)
        read = [
            reshaped(plan, source, source_shape(stage, source.h * source.w * source.c))
            for source in (given if other < 0 else kept[other].y for other in numbers_of(stages, stage))
        ]
        bands = (
            by_outputs(stage, x.n, x.halo)
            if run.bands is not None and x_item == y_item == plan.item
            else None
        )
        if run.bands is None or bands is None:
            _stage_forward(plan, stage, number, run, x, x_item, y, y_item, index, read)
        else:
            run.bands.add(
                plan, [(0, _band(plan.item, stage, band, number, run, x, y, index, read)) for band in bands]
            )
        if not keep:
            plan.free(mark)
        kept.append(Kept(x, y, index))
        x, x_item = y, y_item
    return kept


def _band(
    item: int, whole: Stage, band: Band, number: int, run: Run, x: Images, y: Images, index: Pointer,
    sources: Sequence[Images],
) -> Callable[[Plan], None]:  # fmt: skip
    """What emits a band of a stage."""

    def emit(plan: Plan) -> None:
        _stage_forward(
            plan, band.stage, number, run, rows_of(x, band.image, band.x, item), item, rows_of(y, band.image, band.y, item), item,
            band.places(index, y, item), [rows_of(source, band.image, band.x, item) for source in sources], whole,
        )  # fmt: skip

    return emit


def _join(plan: Plan, stage: Stage, x: Images, sources: Sequence[Images], y: Images) -> None:
    """Emits y from the output before and others."""
    if isinstance(stage, AddStage):
        for number, source in enumerate(sources):
            activations.add_sum(plan, source, y, x if number == 0 else y)
    else:
        first = 0
        for source in [x, *sources]:
            joins.add_join(plan, source, y, first)
            first += source.c


def _stage_forward(
    plan: Plan, stage: Stage, number: int, run: Run, x: Images, x_item: int, y: Images, y_item: int, index: Pointer,
    sources: Sequence[Images], whole: Stage | None = None,
) -> None:  # fmt: skip
    """whole: the stage whose band this is, if it is one."""
    if isinstance(stage, ConvStage):
        packed = run.packed[number]
        assert packed is not None
        convolution.add_forward(plan, stage, packed, x, x_item, y, y_item, index, whole)
    elif isinstance(stage, (AddStage, ConcatenateStage)):
        _join(plan, stage, x, sources, y)
    elif isinstance(stage, TransposedConvStage):
        packed = run.packed[number]
        assert packed is not None
        convolution.add_transposed_forward(plan, stage, packed, x, y, whole)
    elif isinstance(stage, NormalizationStage):
        normalization.add_forward(plan, stage, number, run.meetings, x, y)
    elif isinstance(stage, PoolStage):
        max_pool2d.add_forward(plan, stage.window, x, y, index, minimum=stage.minimum)
    elif isinstance(stage, AverageStage):
        average_pool2d.add_forward(plan, stage.window, x, y)
    elif isinstance(stage, FrameStage):
        frames.add_forward(plan, stage.margins, x, y)
    elif isinstance(stage, UpSamplingStage):
        up_sampling2d.add_forward(plan, stage.size, stage.interpolation, x, y)
    elif isinstance(stage, ActivationStage):
        activations.add_forward(plan, stage.activation, x, y, slope=stage.slope)
    elif isinstance(stage, PReLUStage):
        prelu.add_forward(plan, x, where(stage.alpha), stage.alpha_shape, y)
    elif isinstance(stage, DropoutStage):
        dropout.add_dropout(plan, x, y, stage.rate, run.key, stage.stream, Pointer(Base.PART, 0), run.first)
    else:
        raise TypeError(f"no kernels for {stage}")
