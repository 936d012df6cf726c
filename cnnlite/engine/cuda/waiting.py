"""Gradients on their way down: what several stages have read gets a gradient from each of them, and they are added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnnlite.engine.cuda.operands import Run
from cnnlite.engine.cuda.rooms import for_gradients
from cnnlite.engine.cuda.sizes import inputs, outputs, rows_of
from cnnlite.engine.stages import (
    AddStage,
    ConcatenateStage,
    Stage,
    needs_grad_output,
    numbers_of,
)
from cnnlite.parameters import Layout
from cnnlite_kernels.cuda import activations, joins


class Waiting:
    """The gradient with respect to each stage's output, until the backward pass goes through the stage; -1 for the network's input.

    Args:
        grads, grad_input: see emit.backward.
        layout: the parameters that are trained.
    """

    def __init__(
        self, run: Run, stages: Sequence[Stage], grads: Mapping[int, Any], layout: Layout, grad_input: Any
    ) -> None:
        self._run, self._stages = run, stages
        needed = needs_grad_output(stages, layout, grad_input is not None)
        given = dict(grads) if grad_input is None else {**grads, -1: grad_input}
        self._places, self._spare = for_gradients(run.plan, stages, run.n, needed, given)
        self._there = set(grads)

    def has(self, number: int) -> bool:
        """Whether some of a gradient is there."""
        return number in self._there

    def take(self, number: int) -> Any:
        """A gradient that is complete, which may be overwritten; None where there is none."""
        return self._places[number] if number in self._there else None

    def room(self, number: int) -> Any:
        """Where some of a gradient is to be written, and then `put`; None if nobody needs it."""
        if number not in self._places:
            return None
        return self._spare[: self._count(number)] if self.has(number) else self._places[number]

    def put(self, number: int, grad: Any) -> None:
        """Adds what was written to `room`."""
        if grad is not None:
            if self.has(number):
                activations.add_sum(self._run.plan, grad, self._places[number], self._count(number))
            self._there.add(number)

    def split(self, stage: AddStage | ConcatenateStage, number: int, grad: Any) -> None:
        """Adds the gradients of all that a stage joins, from the one of its output."""
        sources = numbers_of(self._stages, stage)
        if isinstance(stage, AddStage):
            # the stage before comes last: it may take the array itself
            for source in (*sources, number - 1):
                self._add_whole(source, grad)
            return
        rows, c, first = rows_of(stage, self._run.n), stage.out_shape[-1], 0
        for source in (number - 1, *sources):
            channels = self._count(source) // rows
            if source in self._places:
                place = self._places[source]
                joins.add_part(
                    self._run.plan, grad, place, rows, channels, c, first, accumulate=self.has(source)
                )
                self._there.add(source)
            first += channels

    def _add_whole(self, number: int, grad: Any) -> None:
        """Adds a gradient of the same size, which others need too."""
        if number not in self._places:
            return
        plan, count, place = self._run.plan, self._count(number), self._places[number]
        if self.has(number):
            activations.add_sum(plan, grad, place, count)
        elif place is not grad:
            activations.add_forward(plan, None, grad, place, count, 1)
        self._there.add(number)

    def _count(self, number: int) -> int:
        if number < 0:
            return inputs(self._stages[0], self._run.n)
        return outputs(self._stages[number], self._run.n)
