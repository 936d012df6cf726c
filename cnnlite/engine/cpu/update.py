"""The end of a training step: parts' gradients are added up, regularised and limited, and the optimizer moves the weights."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnnlite.parameters import Layout, Parameter
from cnnlite_kernels.cpu import gradients, optimizers
from cnnlite_kernels.cpu.memory import Pointer, pointer_to
from cnnlite_kernels.cpu.plan import Job, Part, Plan

if TYPE_CHECKING:
    from cnnlite.optimizers.optimizer import Optimizer

PIECES = 16  # in which the parameters are shared out among threads
SMALLEST = 4096  # numbers: below, sharing costs more than it brings


class Piece(NamedTuple):
    """`size` numbers from `place` of the model's own buffers.

    values: where they are; source: where the gradients of the first part are; grads: where their sum goes; overlaps: (parameter,
    first, count) of the parameters it covers, first counted from the piece's beginning.
    """

    values: Pointer
    source: Pointer
    grads: Pointer
    place: int
    size: int
    overlaps: list[tuple[Parameter, int, int]]


class Update:
    """One optimizer step, as segments of a job.

    Args:
        layout: the parameters, in the order of the optimizer's state.
        parts: (parts, layout.size), gradients of parts to be added up, or None: then the stores' own gradients are
            used, and left as they are.
    """

    def __init__(self, optimizer: Optimizer, layout: Layout, parts: np.ndarray | None) -> None:
        self._optimizer, self._layout = optimizer, layout
        self._parts = parts
        self._total = np.zeros(layout.size, layout.ranges[0].store.values.dtype)
        self._item = self._total.itemsize
        self._moved = [*(store.values for store in layout.stores), *optimizer.state]
        own = [store.grads for store in layout.stores] if parts is None else []
        self._read = [*self._moved, *own]
        self._pieces = self._cut()
        self._squares = np.zeros(len(self._pieces), np.float64)
        self.segments = self._segments()
        self._job: Job | None = None

    def run(self) -> None:
        """Takes the step by itself, without a forward and backward pass before it."""
        self.fetch()
        self._optimizer.advance()
        if self._job is None:
            self._job = Job(self.segments)
        self._job.run()
        self.changed()

    def changed(self) -> None:
        """Tells the weights and the optimizer's state that they have changed."""
        for numbers in self._moved:
            numbers.changed()

    def fetch(self) -> None:
        """Brings what another device has changed to the host."""
        for numbers in self._read:
            numbers.host  # noqa: B018 - asking is what brings them

    def _cut(self) -> list[Piece]:
        size = max(SMALLEST, -(-self._layout.size // PIECES // 16) * 16)
        pieces = []
        for r in self._layout.ranges:
            inside = [
                p for p in self._layout.parameters if r.place <= self._layout.place(p) < r.place + r.size
            ]
            cuts = set(range(0, r.size, size)) | {r.size}
            if self._optimizer.clipnorm is not None:  # a norm is one parameter's: so is a piece
                cuts = {self._layout.place(p) - r.place for p in inside} | {r.size}
            bounds = sorted(cuts)
            for first, stop in pairwise(bounds):
                place = r.place + first
                overlaps = []
                for p in inside:
                    start, end = self._layout.place(p), self._layout.place(p) + p.size
                    low, high = max(start, place), min(end, place + stop - first)
                    if low < high:
                        overlaps.append((p, low - place, high - low))
                values = pointer_to(r.store.values.host) + (r.start + first) * self._item
                source = pointer_to(r.store.grads.host) + (r.start + first) * self._item
                if self._parts is not None:
                    source = pointer_to(self._parts) + place * self._item
                grads = pointer_to(self._total) + place * self._item
                pieces.append(Piece(values, source, grads, place, stop - first, overlaps))
        return pieces

    def _segments(self) -> list[list[Part]]:
        optimizer = self._optimizer
        norms = optimizer.clipnorm is not None or optimizer.global_clipnorm is not None
        first, second = [], []
        for number, piece in enumerate(self._pieces):
            plan = Plan(self._item)
            self._collect(plan, piece)
            if norms:
                plan.add(
                    gradients.sum_squares, self._item,
                    grads=piece.grads, count=piece.size, squares=pointer_to(self._squares) + number * 8,
                )  # fmt: skip
                first.append(Part(plan))
                plan = Plan(self._item)
                self._clip_norm(plan, piece, number)
            elif optimizer.clipvalue is not None:
                plan.add(
                    gradients.clip_values,
                    self._item,
                    grads=piece.grads,
                    count=piece.size,
                    limit=optimizer.clipvalue,
                )
            self._step(plan, piece)
            second.append(Part(plan))
        return [first, second] if norms else [second]

    def _collect(self, plan: Plan, piece: Piece) -> None:
        plan.add(
            gradients.collect, self._item,
            parts=piece.source, grads=piece.grads, count=piece.size,
            number=1 if self._parts is None else len(self._parts), stride=self._layout.size,
        )  # fmt: skip
        for parameter, first, count in piece.overlaps:
            regularizer = parameter.regularizer
            if regularizer is not None:
                plan.add(
                    gradients.regularize, self._item,
                    grads=piece.grads + first * self._item, parameters=piece.values + first * self._item,
                    count=count, l1=regularizer.l1, l2=regularizer.l2,
                )  # fmt: skip

    def _clip_norm(self, plan: Plan, piece: Piece, number: int) -> None:
        one = self._optimizer.clipnorm
        limit = self._optimizer.global_clipnorm if one is None else one
        assert limit is not None
        plan.add(
            gradients.clip_norm, self._item, grads=piece.grads, count=piece.size,
            squares=pointer_to(self._squares) + (number * 8 if one is not None else 0),
            number=1 if one is not None else len(self._squares),
            limit=limit,
        )  # fmt: skip

    def _step(self, plan: Plan, piece: Piece) -> None:
        name, integers = self._optimizer.kernel()
        slots = {
            f"slot_{i}": pointer_to(slot.host) + piece.place * self._item
            for i, slot in enumerate(self._optimizer.state)
        }
        plan.add(
            getattr(optimizers, name), self._item, *integers,
            parameters=piece.values, grads=piece.grads, count=piece.size, settings=pointer_to(self._optimizer.settings), **slots,
        )  # fmt: skip
