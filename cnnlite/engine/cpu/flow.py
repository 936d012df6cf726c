"""Which stage reads what: outputs that are read later, the rooms they lie in, and gradients that come from several sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cnnlite.engine.stages import ConcatenateStage, Shape, Stage, numbers_of
from cnnlite_kernels.cpu import activations
from cnnlite_kernels.cpu.images import NO_HALO, Images
from cnnlite_kernels.cpu.memory import NOWHERE, Pointer
from cnnlite_kernels.cpu.plan import Plan


def held(stages: Sequence[Stage]) -> set[int]:
    """The numbers of the stages whose outputs joins read."""
    return {source for stage in stages for source in numbers_of(stages, stage)}


def source_shape(stage: Stage, size: int) -> Shape:
    """The shape in which a join reads one of its sources, of `size` numbers an image."""
    if isinstance(stage, ConcatenateStage):
        h, w, _ = stage.out_shape
        return h, w, size // (h * w)
    return stage.in_shape


def room(plan: Plan, n: int, shape: Shape, halo=NO_HALO) -> Images:
    """Room for images in scratch."""
    images = Images(NOWHERE, n, *shape, halo)
    return images._replace(start=plan.scratch(images.size * plan.item))


def reshaped(plan: Plan, x: Images, shape: Shape) -> Images:
    """The same numbers as images of another shape; a copy where a halo lies between them."""
    if (x.h, x.w, x.c) == shape:
        return x
    if x.halo != NO_HALO:
        plain = room(plan, x.n, (x.h, x.w, x.c))
        activations.add_forward(plan, None, x, plain)
        x = plain
    return Images(x.start, x.n, *shape)


def shared_rooms(plan: Plan, sizes: Sequence[int], readers: Sequence[int]) -> list[Pointer]:
    """Where outputs of so many bytes lie: what nobody reads any more makes room for what comes.

    readers: for each output, the number of the last stage that reads it.
    """
    rooms: list[int] = []
    free: list[int] = []
    chosen: list[int] = []
    for number, size in enumerate(sizes):
        free += [chosen[other] for other in range(number) if readers[other] == number - 1]
        if not free:
            free.append(len(rooms))
            rooms.append(0)
        best = max(free, key=lambda place: rooms[place])
        free.remove(best)
        rooms[best] = max(rooms[best], size)
        chosen.append(best)
    starts = [plan.scratch(size) for size in rooms]
    return [starts[place] for place in chosen]


class Gradients:
    """Gradients with respect to the outputs of stages, by number, added up as they come in; -1 is the network's input.

    Each may be read from several sides; those that are given as one's `own` are written to.
    """

    def __init__(self, plan: Plan, given: Mapping[int, Images]) -> None:
        self._plan = plan
        self._of: dict[int, tuple[Images, bool]] = {number: (grad, True) for number, grad in given.items()}

    def add(self, number: int, grad: Images, own: bool) -> None:
        """Adds a gradient to what is there."""
        if number not in self._of:
            self._of[number] = grad, own
            return
        before, owned = self._of[number]
        before = reshaped(self._plan, before, (grad.h, grad.w, grad.c))
        if not own:
            grad, before, own = before, grad, owned
        if not own:
            copy = room(self._plan, grad.n, (grad.h, grad.w, grad.c))
            activations.add_forward(self._plan, None, grad, copy)
            grad = copy
        activations.add_sum(self._plan, before, grad)
        self._of[number] = grad, True

    def take(self, number: int, shape: Shape) -> Images | None:
        """The gradient with respect to the output of a stage, if there is one."""
        if number not in self._of:
            return None
        return reshaped(self._plan, self._of[number][0], shape)
