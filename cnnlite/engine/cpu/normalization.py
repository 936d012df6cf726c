"""Batch normalization in a plan. Statistics of the batch need all of its parts: each writes its sums and waits for the others, one
puts them together in their order, and all go on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnlite.engine.cpu.places import Places, where, where_given
from cnnlite.engine.stages import NormalizationStage, Stage
from cnnlite.mirrored import Mirrored, aligned_zeros
from cnnlite_kernels.cpu import activations
from cnnlite_kernels.cpu import batch_normalization as kernels
from cnnlite_kernels.cpu import batch_normalization_grad as grad_kernels
from cnnlite_kernels.cpu.batch_normalization import DOUBLE, Normalizing
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import NOWHERE, Base, Pointer, pointer_to
from cnnlite_kernels.cpu.plan import LINE, Part, Plan


class Meetings:
    """What the parts of a batch tell each other, and what is done where they meet.

    Attributes:
        rows: int64 (parts, ...), for Base.PART of each part: the number of its first image, and from the second cache line on its
            sums, float64.
        moved: moving means and variances that a forward pass changes.
    """

    def __init__(self, stages: Sequence[Stage], bounds: Sequence[tuple[int, int]], dtype: np.dtype) -> None:
        self._images = [stop - first for first, stop in bounds]
        self._partials: dict[int, int] = {}
        self._values: dict[int, np.ndarray] = {}
        self._item = dtype.itemsize
        width = LINE
        stores = {}
        for number, stage in enumerate(stages):
            if isinstance(stage, NormalizationStage) and stage.batch:
                c = stage.in_shape[-1]
                self._partials[number] = width
                width += -(-2 * c * DOUBLE // LINE) * LINE
                self._values[number] = aligned_zeros(5 * c, dtype)
                for parameter in (stage.mean, stage.variance):
                    assert parameter.store is not None
                    stores[id(parameter.store)] = parameter.store.values
        self.rows = aligned_zeros(max(1, len(bounds)) * width // DOUBLE, np.int64).reshape(
            -1, width // DOUBLE
        )
        self.rows[: len(bounds), 0] = [first for first, _ in bounds]
        self.moved: list[Mirrored] = list(stores.values())
        self._plans: dict[tuple[int, bool], Plan] = {}

    @property
    def any(self) -> bool:
        """Whether parts meet at all."""
        return bool(self._partials)

    @property
    def stride(self) -> int:
        """Bytes from one part's sums to the next's."""
        return self.rows.strides[0]

    def partial(self, number: int) -> Pointer:
        """Where a part writes its sums for a stage, float64 (2, c)."""
        return Pointer(Base.PART, self._partials[number])

    def partials(self, number: int) -> Pointer:
        """Where the first part's sums for a stage are."""
        return pointer_to(self.rows) + self._partials[number]

    def value(self, number: int, row: int) -> Pointer:
        """The batch's mean (row 0) and variance (1) (c,), and the coefficients (2) (3, c) of the gradient, of a stage."""
        values = self._values[number]
        return pointer_to(values) + row * (values.size // 5) * self._item

    def pixels(self, stage: Stage) -> list[int]:
        """Pixels of each part's images before a stage."""
        h, w, _ = stage.in_shape
        return [images * h * w for images in self._images]

    def at(self, number: int, back: bool) -> Plan | None:
        """A new plan of what is done at a stage's meeting, on the way forth or back; None if there is one, of parts of another size."""
        if (number, back) in self._plans:
            return None
        plan = self._plans[number, back] = Plan(self._item)
        return plan

    def segments(self, parts: Sequence[Part], grads: int = 0) -> list[list[Part]]:
        """The segments of a job: what the parts do up to a meeting, the meeting, what they do after it. The meetings are forgotten.

        grads: address of the gradients of the first part, among which are those that are summed up at meetings.
        """
        found: list[list[Part]] = []
        meetings = list(self._plans.values())
        for number in range(len(meetings) + 1):
            found.append([part._replace(segment=number) for part in parts])
            found += [[Part(plan, {Base.GRADS: grads})] for plan in meetings[number : number + 1]]
        self._plans = {}
        return found

    def changed(self) -> None:
        """Tells the moving means and variances that they have changed."""
        for values in self.moved:
            values.changed()


def normalizing(stage: NormalizationStage) -> Normalizing:
    """With the moving mean and variance."""
    gamma, beta = where_given(stage.gamma), where_given(stage.beta)
    return Normalizing(
        where(stage.mean), where(stage.variance), gamma, beta, stage.epsilon, stage.activation, stage.slope
    )


def _normalizing(stage: NormalizationStage, number: int, meetings: Meetings | None) -> Normalizing:
    """With the mean and variance of the batch, or the moving ones."""
    how = normalizing(stage)
    if stage.batch:
        assert meetings is not None
        how = how._replace(mean=meetings.value(number, 0), variance=meetings.value(number, 1))
    return how


def add_forward(
    plan: Plan, stage: NormalizationStage, number: int, meetings: Meetings | None, x: Images, y: Images
) -> None:
    """Emits y = the activation of the normalized x; y may be x."""
    how = _normalizing(stage, number, meetings)
    if stage.batch:
        assert meetings is not None
        kernels.add_statistics(plan, x, meetings.partial(number))
        plan.meet()
        meeting, moving = meetings.at(number, False), (where(stage.mean), where(stage.variance))
        if meeting is not None:
            kernels.add_collect_statistics(
                meeting, meetings.partials(number), meetings.pixels(stage), x.c, how.mean, how.variance, moving, stage.momentum,
                stride=meetings.stride,
            )  # fmt: skip
    kernels.add_forward(plan, x, y, how)


def add_backward(
    plan: Plan, stage: NormalizationStage, number: int, meetings: Meetings | None, x: Images, grad: Images,
    grad_x: Images | None, to: Places,
) -> None:  # fmt: skip
    """Emits the gradients of gamma and beta, and of x unless grad_x is None; grad_x may be grad."""
    c, item = x.c, plan.item
    grad_gamma, grad_beta = to.of(stage.gamma, item), to.of(stage.beta, item)
    trained = grad_gamma != NOWHERE or grad_beta != NOWHERE
    if grad_x is None and not trained:
        return
    how = _normalizing(stage, number, meetings)
    if stage.batch:
        assert meetings is not None
        coefficients = meetings.value(number, 2)
        grad_kernels.add_sum_gradients(plan, grad, x, how, meetings.partial(number))
        plan.meet()
        meeting = meetings.at(number, True)
        if meeting is not None:
            counts = meetings.pixels(stage)
            grad_kernels.add_collect_gradients(
                meeting, meetings.partials(number), len(counts), sum(counts), c, how, _or_scratch(meeting, grad_gamma, c),
                _or_scratch(meeting, grad_beta, c), coefficients, stride=meetings.stride,
            )  # fmt: skip
    else:
        coefficients, partial = plan.scratch(3 * c * item), plan.scratch(2 * c * DOUBLE)
        if trained:
            grad_kernels.add_sum_gradients(plan, grad, x, how, partial)
        gamma_sum, beta_sum = (
            _or_scratch(plan, NOWHERE if to.accumulate else place, c) for place in (grad_gamma, grad_beta)
        )
        pixels = x.n * x.h * x.w
        grad_kernels.add_collect_gradients(
            plan, partial, int(trained), pixels, c, how, gamma_sum, beta_sum, coefficients
        )
        for place, new in ((grad_gamma, gamma_sum), (grad_beta, beta_sum)):
            if to.accumulate and place != NOWHERE:
                activations.add_sum(plan, Images(new, 1, 1, 1, c), Images(place, 1, 1, 1, c))
    if grad_x is not None:
        grad_kernels.add_grad_input(plan, grad, x, how, coefficients, grad_x, training=stage.batch)


def _or_scratch(plan: Plan, place: Pointer, count: int) -> Pointer:
    """A place, or one for numbers that nobody wants."""
    return plan.scratch(count * plan.item) if place == NOWHERE else place
