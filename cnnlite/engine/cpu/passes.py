"""Forward and backward as two runs, for what is neither `fit` nor `predict`: activations are kept in between."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cnnlite.engine.cpu import emit
from cnnlite.engine.cpu.backward import backward
from cnnlite.engine.cpu.bands import BANDS, MOST_IMAGES, Bands, worthwhile
from cnnlite.engine.cpu.emit import Kept, Run
from cnnlite.engine.cpu.normalization import Meetings
from cnnlite.engine.cpu.packing import Packing
from cnnlite.engine.cpu.parts import MOST_SUMS, cut
from cnnlite.engine.cpu.places import Places
from cnnlite.engine.stages import Stage
from cnnlite.mirrored import aligned_zeros
from cnnlite.parameters import Layout
from cnnlite_kernels.cpu import gradients
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import Base, Pointer, pointer_to
from cnnlite_kernels.cpu.plan import Job, Part, Plan

PIECE = 1 << 14  # numbers of the gradients' sum that a thread takes at a time


class _Backward(NamedTuple):
    """A backward pass: the parameters whose gradients it adds up, where gradients of outputs are put, the job, what it leaves, and where
    the parts work if they meet halfway."""

    layout: Layout
    grads: dict[int, np.ndarray]
    job: Job
    sums: np.ndarray
    grad_x: np.ndarray
    rooms: list[np.ndarray]


class Passes:
    """The forward pass of a batch of n, and backward passes over it.

    Args:
        numbers: the stages whose outputs are given to the caller.
        layout: the parameters whose gradients a backward pass adds up.
        key: an int64, the key of the masks of dropout.
    """

    def __init__(
        self, stages: Sequence[Stage], packing: Packing, n: int, dtype: np.dtype, numbers: Sequence[int], layout: Layout,
        training: bool, key: np.ndarray,
    ) -> None:  # fmt: skip
        self._stages, self._packing, self._dtype, self._layout = list(stages), packing, dtype, layout
        self._n, self._bounds = n, cut(n, MOST_SUMS)
        self._key = key  # kept alive: its address is in the plans
        self._meetings = Meetings(stages, self._bounds, dtype)
        self._run = Run(packing.packed, training, pointer_to(key), meetings=self._meetings)
        self._banded = worthwhile(self._stages, n)
        bands = Bands()
        self._sample = math.prod(stages[0].in_shape)
        self.x = aligned_zeros(n * self._sample, dtype)
        self.outputs = {
            number: aligned_zeros(n * math.prod(stages[number].out_shape), dtype) for number in numbers
        }
        self._kept: dict[int, list[Kept]] = {}
        plans: dict[int, Plan] = {}
        parts = []
        self._rooms = []  # of every part, where its activations stay
        for number, (first, stop) in enumerate(self._bounds):
            size = stop - first
            if size not in plans:
                plan = plans[size] = Plan(dtype.itemsize)
                x = Images(Pointer(Base.X, 0), size, *self._stages[0].in_shape)
                run = self._run._replace(bands=bands if self._banded else None)
                self._kept[size] = emit.forward(plan, self._stages, x, run, keep=True)
            self._rooms.append(aligned_zeros(plans[size].workspace, np.uint8))
            bases = {**self._bases(number, first), Base.WORK: self._rooms[number].ctypes.data}
            parts.append(Part(plans[size], bases))
        segments = bands.segments(*parts[0][:2]) if self._banded else self._meetings.segments(parts)
        self._forward = Job(segments)
        self._backward: dict[tuple[tuple[int, ...], bool], _Backward] = {}

    def _bases(self, number: int, first: int) -> dict[Base, int]:
        x = self.x.ctypes.data + first * self._sample * self._dtype.itemsize
        return {Base.X: x, Base.PART: self._meetings.rows[number].ctypes.data}

    def forward(self) -> None:
        """Runs all stages on `x`; the outputs asked for are then in `outputs`."""
        self._packing.update()
        self._forward.run()
        self._meetings.changed()
        for number, out in self.outputs.items():
            h, w, c = self._stages[number].out_shape
            images = out.reshape(-1, h, w, c)
            for part, (first, stop) in enumerate(self._bounds):
                images[first:stop] = self._pixels(part, self._kept[stop - first][number].y)

    def _pixels(self, part: int, y: Images) -> np.ndarray:
        """Images in a part's room as an array, without their halo."""
        item = self._dtype.itemsize
        numbers = self._rooms[part][y.start.offset : y.start.offset + y.size * item].view(self._dtype)
        (top, bottom), (left, right) = y.halo
        whole = numbers.reshape(y.n, top + y.h + bottom, left + y.w + right, y.c)
        return whole[:, top : top + y.h, left : left + y.w]

    def backward(self, grads: Mapping[int, np.ndarray], weights: bool = True) -> np.ndarray:
        """Adds the parameters' gradients to those of their stores; returns the gradient with respect to x.

        Args:
            grads: gradients with respect to outputs, by the number of the stage.
            weights: whether the parameters' gradients are wanted.
        """
        numbers = tuple(sorted(grads))
        if (numbers, weights) not in self._backward:
            layout = self._layout if weights else Layout([])
            self._backward[numbers, weights] = self._make_backward(numbers, layout)
        made = self._backward[numbers, weights]
        for number in numbers:
            made.grads[number][...] = np.asarray(grads[number]).reshape(-1)
        self._packing.update()
        for store in made.layout.stores:
            store.grads.host  # noqa: B018 - asking brings what another device has changed
        made.job.run()
        for store in made.layout.stores:
            store.grads.changed()
        return made.grad_x

    def _make_backward(self, numbers: tuple[int, ...], layout: Layout) -> _Backward:
        item = self._dtype.itemsize
        samples = {number: math.prod(self._stages[number].out_shape) for number in numbers}
        given = {number: aligned_zeros(self._n * samples[number], self._dtype) for number in numbers}
        buffers = BANDS + MOST_IMAGES if self._banded else len(self._bounds)
        sums = aligned_zeros(buffers * layout.size, self._dtype).reshape(buffers, -1)
        bands = Bands()
        grad_x = aligned_zeros(self._n * self._sample, self._dtype)
        rooms: list[np.ndarray] = []
        parts = []
        for part, (first, stop) in enumerate(self._bounds):
            size = stop - first
            plan = Plan(item)
            grads = {
                number: Images(
                    pointer_to(array) + first * samples[number] * item, size, *self._stages[number].out_shape
                )
                for number, array in given.items()
            }
            to_x = Images(pointer_to(grad_x) + first * self._sample * item, size, *self._stages[0].in_shape)
            kept = [Kept(_images(x), _images(y), _kept(places)) for x, y, places in self._kept[size]]
            run = self._run._replace(bands=bands if self._banded else None)
            backward(plan, self._stages, kept, grads, run, Places(layout), to_x)
            bases = {
                **self._bases(part, first),
                Base.KEPT: self._rooms[part].ctypes.data,
                Base.GRADS: sums[part].ctypes.data if sums.size else 0,
            }
            if self._meetings.any or self._banded:
                rooms.append(aligned_zeros(plan.workspace, np.uint8))
                bases[Base.WORK] = rooms[part].ctypes.data
            parts.append(Part(plan, bases))
        if self._banded:
            starts = [row.ctypes.data if sums.size else 0 for row in sums]
            segments = bands.segments(*parts[0][:2], starts)
        else:
            segments = self._meetings.segments(parts, parts[0].bases[Base.GRADS])
        job = Job([*segments, list(self._collect(sums, layout))])
        return _Backward(layout, given, job, sums, grad_x, rooms)

    def _collect(self, sums: np.ndarray, layout: Layout) -> Iterator[Part]:
        """The parts that add the gradients of all parts, (parts, layout.size), to those of the stores, always in their order."""
        item = self._dtype.itemsize
        for r in layout.ranges:
            for first in range(0, r.size, PIECE):
                plan = Plan(item)
                plan.add(
                    gradients.collect, item,
                    parts=pointer_to(sums) + (r.place + first) * item, number=len(sums), stride=layout.size,
                    grads=pointer_to(r.store.grads.host) + (r.start + first) * item, count=min(PIECE, r.size - first),
                    accumulate=1,
                )  # fmt: skip
                yield Part(plan)


def _images(images: Images) -> Images:
    return images._replace(start=_kept(images.start))


def _kept(where: Pointer) -> Pointer:
    """The same memory, found from Base.KEPT by a run whose workspace is another."""
    return where._replace(base=Base.KEPT) if where.base == Base.WORK else where
