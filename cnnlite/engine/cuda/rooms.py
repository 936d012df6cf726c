"""Which numbers of a plan share memory: those that nobody needs at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cnnlite.engine.cuda.sizes import inputs, outputs
from cnnlite.engine.stages import (
    ActivationStage,
    AddStage,
    ConvStage,
    DropoutStage,
    NormalizationStage,
    PoolStage,
    PReLUStage,
    Stage,
    readers_of,
)
from cnnlite_kernels.cuda.plan import Plan

# Stages whose kernels may write over what they read, forward and backward, and whose backward pass does not need their input.
OVER_INPUT = (ActivationStage, AddStage, DropoutStage)


class Life(NamedTuple):
    """Of `size` numbers: the moment when they are first written, and the one when they are last read."""

    first: int
    last: int
    size: int


def share(plan: Plan, lives: Mapping[int, Life]) -> dict[int, Any]:
    """An array of scratch for each of `lives`; no two that live at the same moment have memory in common.

    Where each is read only by the next one, they take two rooms in turn.
    """
    sizes: list[int] = []
    until: list[int] = []
    room_of: dict[int, int] = {}
    for number, life in sorted(lives.items(), key=lambda item: item[1].first):
        free = [room for room, last in enumerate(until) if last < life.first]
        if free:  # the smallest that is large enough, or else the largest
            room = min(free, key=lambda room: (sizes[room] < life.size, abs(sizes[room] - life.size)))
        else:
            room = len(sizes)
            sizes.append(0)
            until.append(0)
        sizes[room], until[room], room_of[number] = max(sizes[room], life.size), life.last, room
    rooms = [plan.scratch(size or 1) for size in sizes]
    return {number: rooms[room][: lives[number].size] for number, room in room_of.items()}


def for_outputs(
    plan: Plan, stages: Sequence[Stage], n: int, given: Mapping[int, Any], keep: bool
) -> dict[int, Any]:
    """Where the output of each stage goes, by number: to `given`, over what the stage reads, or to room of its own.

    keep: whether a backward pass follows, which may need it; otherwise others take that room later.
    """
    readers = readers_of(stages)
    lives: dict[int, Life] = {}
    owner = {number: number for number in given}
    for number, stage in enumerate(stages):
        if number in given:
            continue
        before = number - 1
        alone = before >= 0 and before not in given and readers[before] == [number]
        if alone and _writes_over(stages[before], stage, keep):
            one = owner[number] = owner[before]
            lives[one] = lives[one]._replace(last=readers[number][-1])
        else:
            owner[number] = number
            lives[number] = Life(number, readers[number][-1], outputs(stage, n))
    places = (
        {number: plan.scratch(life.size) for number, life in lives.items()} if keep else share(plan, lives)
    )
    places.update(given)
    return {number: places[owner[number]] for number in owner}


def _writes_over(first: Stage, second: Stage, keep: bool) -> bool:
    """Whether the second stage may put its output where that of the first is, which nobody else reads."""
    if not keep:
        return isinstance(second, (*OVER_INPUT, NormalizationStage, PReLUStage))
    needed = isinstance(first, (ActivationStage, PoolStage)) or (
        isinstance(first, (ConvStage, NormalizationStage)) and first.activation is not None
    )  # by the first one's own backward pass
    return isinstance(second, OVER_INPUT) and not needed


def for_gradients(
    plan: Plan, stages: Sequence[Stage], n: int, needed: Sequence[bool], given: Mapping[int, Any]
) -> tuple[dict[int, Any], Any]:
    """Where the gradients with respect to stages' outputs wait until the backward pass goes through the stage.

    Args:
        needed: for each stage, whether anybody needs that gradient.
        given: those that have a place, by number, one or more; under -1 the place for the one of the network's input.

    Returns:
        The places of all that are needed, by number: what only one of OVER_INPUT reads has the array of that one's own gradient.
        And room for a gradient that is added to one that waits already, None where there is none.
    """
    readers = readers_of(stages)
    lives: dict[int, Life] = {}
    owner = {number: number for number in given}
    for number in reversed(range(max(given))):  # above there are none
        if number in given or not needed[number]:
            continue
        after = number + 1
        if isinstance(stages[after], OVER_INPUT) and readers[number] == [after]:
            one = owner[number] = owner[after]
            if one in lives:
                lives[one] = lives[one]._replace(last=-number)
        else:
            owner[number] = number
            # a backward pass goes down the numbers: its moments are those below 0
            lives[number] = Life(-readers[number][-1], -number, outputs(stages[number], n))
    places = {**share(plan, lives), **given}
    met = [
        number
        for number in owner
        if len(readers[number]) > 1 or (0 <= number < max(given) and number in given)
    ]
    counts = [inputs(stages[0], n) if number < 0 else outputs(stages[number], n) for number in met]
    spare = plan.scratch(max(counts)) if counts else None
    return {number: places[owner[number]] for number in owner}, spare
