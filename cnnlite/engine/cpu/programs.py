"""Programs: a network's stages compiled into a job for a batch of one size, with the memory that it needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnlite.engine.cpu import emit
from cnnlite.engine.cpu.backward import backward
from cnnlite.engine.cpu.bands import Bands, worthwhile
from cnnlite.engine.cpu.emit import Kept, Run
from cnnlite.engine.cpu.normalization import Meetings
from cnnlite.engine.cpu.packing import Packing
from cnnlite.engine.cpu.parts import MOST_SUMS, chunks, cut
from cnnlite.engine.cpu.places import Places
from cnnlite.engine.cpu.update import Update
from cnnlite.engine.stages import SMALLEST_PROBABILITY, Stage, without_activation
from cnnlite.mirrored import aligned_zeros
from cnnlite_kernels.cpu import losses as loss_kernels
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import NOWHERE, Base, Pointer, address_of, pointer_to
from cnnlite_kernels.cpu.plan import Job, Part, Plan

if TYPE_CHECKING:
    from cnnlite.losses.loss import LossKernel
    from cnnlite.optimizers.optimizer import Optimizer


X, OUT = int(Base.X), int(Base.OUT)


class Predict:
    """The forward pass of `n` images, straight from the caller's array to the caller's array."""

    def __init__(self, stages: Sequence[Stage], packing: Packing, n: int, dtype: np.dtype) -> None:
        self.n, self._packing = n, packing
        parts = cut(n)
        bands = Bands() if worthwhile(stages, n) else None
        run = Run(packing.packed, bands=bands)
        plans: dict[int, Plan] = {}
        for first, stop in parts:
            if stop - first not in plans:
                plan = plans[stop - first] = Plan(dtype.itemsize)
                x = Images(Pointer(Base.X, 0), stop - first, *stages[0].in_shape)
                emit.forward(plan, stages, x, run, keep=False, out=Pointer(Base.OUT, 0))
        if bands is None:
            x_bytes, y_bytes = (
                math.prod(shape) * dtype.itemsize for shape in (stages[0].in_shape, stages[-1].out_shape)
            )
            bases = [{Base.X: first * x_bytes, Base.OUT: first * y_bytes} for first, _ in parts]
            self._job = Job(
                [[Part(plans[stop - first], at) for (first, stop), at in zip(parts, bases, strict=True)]]
            )
        else:
            self._room = aligned_zeros(plan.workspace, np.uint8)
            self._job = Job(bands.segments(plan, {Base.WORK: self._room.ctypes.data}))

    def __call__(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = network(x), both C-contiguous and of the network's dtype."""
        self._packing.update()
        addresses = self._job.addresses
        addresses[X], addresses[OUT] = address_of(x), address_of(y)
        self._job.run()


class Batch:
    """Where a batch lies for a program with a loss: images, labels or targets, weights; and what it tells of each image."""

    penalty = 0.0  # what it tells of regularisers

    def __init__(self, stages: Sequence[Stage], n: int, dtype: np.dtype, sparse: bool) -> None:
        self.x = aligned_zeros(n * math.prod(stages[0].in_shape), dtype)
        self.outputs = math.prod(stages[-1].out_shape)
        self.targets = aligned_zeros(n if sparse else n * self.outputs, np.int32 if sparse else dtype)
        self.weights = aligned_zeros(n, dtype)
        self.weights[:] = 1
        self.losses = aligned_zeros(n, dtype)
        self.correct = aligned_zeros(n, dtype)


class Supervised:
    """Forward pass and loss of a batch of `n`, and with an optimizer the whole training step."""

    ahead = False  # a call returns when all is done
    penalises = False  # weights are near: whoever wants what regularisers add to the loss can sum it up

    def __init__(
        self, stages: Sequence[Stage], packing: Packing, n: int, dtype: np.dtype, loss: LossKernel, scale: float,
        optimizer: Optimizer | None = None, key: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.n, self._packing, self._optimizer = n, packing, optimizer
        stages = without_activation(stages, loss.replaces)
        self._stages, self._loss, self._scale, self._dtype = stages, loss, scale, dtype
        self.batch = batch = Batch(stages, n, dtype, loss.sparse)
        training = optimizer is not None
        self._key = key  # kept alive: its address is in the plans
        self._layout = optimizer.layout if optimizer is not None else None
        bounds = cut(n, MOST_SUMS if training else None)
        self._meetings = meetings = Meetings(stages, bounds, dtype)
        self._run = Run(
            packing.packed, training, NOWHERE if key is None else pointer_to(key), meetings=meetings
        )
        plans: dict[int, Plan] = {}
        parts = []
        self._rooms: list[np.ndarray] = []  # of the parts, where they meet halfway
        item = dtype.itemsize
        if self._layout is not None:
            self._grads = aligned_zeros(len(bounds) * self._layout.size, dtype).reshape(len(bounds), -1)
        for number, (first, stop) in enumerate(bounds):
            if stop - first not in plans:
                plans[stop - first] = self._plan(stop - first)
            bases = {
                Base.X: batch.x.ctypes.data + first * math.prod(stages[0].in_shape) * item,
                Base.Y: batch.targets.ctypes.data + first * (batch.targets.nbytes // n),
                Base.W: batch.weights.ctypes.data + first * item,
                Base.OUT: batch.losses.ctypes.data + first * item,
                Base.EXTRA: batch.correct.ctypes.data + first * item,
                Base.PART: meetings.rows[number].ctypes.data,
            }
            if self._layout is not None:
                bases[Base.GRADS] = self._grads[number].ctypes.data
            if meetings.any:
                self._rooms.append(aligned_zeros(plans[stop - first].workspace, np.uint8))
                bases[Base.WORK] = self._rooms[number].ctypes.data
            parts.append(Part(plans[stop - first], bases))
        segments = meetings.segments(parts, parts[0].bases.get(Base.GRADS, 0) if parts else 0)
        self._update = None
        if optimizer is not None and self._layout is not None and self._layout.size:
            self._update = Update(optimizer, self._layout, self._grads)
            segments = [packing.parts, *segments, *self._update.segments]
        self._job = Job(segments)

    def _plan(self, n: int) -> Plan:
        """The plan of a part of n images, a few at a time."""
        plan = Plan(self._dtype.itemsize)
        item, sample = plan.item, math.prod(self._stages[0].in_shape)
        for first, stop in [(0, n)] if self._meetings.any else chunks(n):
            mark = plan.mark()
            x = Images(Pointer(Base.X, first * sample * item), stop - first, *self._stages[0].in_shape)
            run = self._run._replace(first=first)
            kept = emit.forward(plan, self._stages, x, run, keep=self._run.training)
            grad = kept[-1].y._replace(start=plan.scratch(kept[-1].y.size * item))
            self._add_loss(plan, kept[-1], grad, first, stop - first)
            if self._layout is not None:
                to = Places(self._layout, accumulate=first > 0)
                backward(plan, self._stages, kept, {len(kept) - 1: grad}, run, to)
            plan.free(mark)
        return plan

    def _add_loss(self, plan: Plan, last: Kept, grad: Images, first: int, n: int) -> None:
        item, outputs = plan.item, self.batch.outputs
        target_bytes = 4 if self._loss.sparse else outputs * item
        targets = Pointer(Base.Y, first * target_bytes)
        plan.add(
            getattr(loss_kernels, self._loss.kernel), item, *self._loss.integers,
            logits=last.y.start, grad=grad.start, n=n, c=outputs, with_grad=int(self._run.training),
            labels=targets, targets=targets, weights=Pointer(Base.W, first * item),
            losses=Pointer(Base.OUT, first * item), correct=Pointer(Base.EXTRA, first * item),
            scale=self._scale, smallest=SMALLEST_PROBABILITY, delta=self._loss.delta,
        )  # fmt: skip

    def __call__(self) -> Batch:
        """Runs on what lies in `batch`, which then tells of it."""
        if self._update is None:
            self._packing.update()
            self._job.run()
            self._meetings.changed()
            return self.batch
        assert self._optimizer is not None
        self._packing.fetch()
        self._update.fetch()
        self._optimizer.advance()
        self._job.run()
        self._update.changed()
        self._meetings.changed()
        return self.batch
