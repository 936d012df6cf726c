"""Packed weights: copies of the weights in the order the tiles read them, made anew when the weights have changed; also when only
a normalization has, by which some are multiplied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnlite.engine.cpu.convolution import Packed, by_dots, conv_of, lane_by_lane, lists_of, to_few
from cnnlite.engine.cpu.narrow import Narrow, add_flip_weights, chosen, flipped_weights
from cnnlite.engine.cpu.normalization import normalizing
from cnnlite.engine.cpu.places import where, where_given
from cnnlite.engine.exclusive import Exclusive
from cnnlite.engine.stages import ConvStage, Stage, TransposedConvStage
from cnnlite.mirrored import Mirrored, aligned_zeros
from cnnlite_kernels.cpu import batch_normalization, bfloat16_conv2d, conv2d, sparse
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import NOWHERE, Pointer, pointer_to
from cnnlite_kernels.cpu.plan import Job, Part, Plan


class Packing:
    """The packed weights of a list of stages.

    Args:
        flipped: for each stage whether the gradient of its input is needed, or None for a forward pass alone.
        mixed: whether products may be of bfloat16; dense: whether gradients are not to be made from lists.

    Attributes:
        packed: where they are, by the number of the stage; parts: the parts of a segment that makes them.
    """

    def __init__(
        self, stages: Sequence[Stage], flipped: Sequence[bool] | None, dtype: np.dtype, mixed: bool = False, dense: bool = False
    ) -> None:  # fmt: skip
        self._dense = dense
        self.packed: list[Packed | None] = []
        self.parts: list[Part] = []
        self._kept: list[np.ndarray] = []
        values: dict[int, Mirrored] = {}
        for number, stage in enumerate(stages):
            for parameter in stage.parameters:
                assert parameter.store is not None
                values[id(parameter.store)] = parameter.store.values
            needs_input = bool(flipped and flipped[number])
            packed = None
            if isinstance(stage, ConvStage):
                packed = self._convolution(stage, number, needs_input, dtype, mixed)
            elif isinstance(stage, TransposedConvStage):
                packed = self._transposed(stage, needs_input, dtype)
            self.packed.append(packed)
        self._values = list(values.values())
        self._job = Job([self.parts])
        self._versions: list[int] = []
        self._exclusive = Exclusive()

    def _convolution(
        self, stage: ConvStage, number: int, needs_input: bool, dtype: np.dtype, mixed: bool
    ) -> Packed:
        w, bias, plan = self._weights(stage, dtype)
        if lane_by_lane(stage):
            return Packed(w, bias)
        conv = conv_of(stage)
        lists = None if self._dense else lists_of(stage, number, needs_input, dtype.itemsize)
        narrow = chosen(conv, lists is not None) if mixed else Narrow()
        # a band may go another way than a whole image, for which weights are packed otherwise
        if by_dots(stage) or self._dense:
            narrow = narrow._replace(grad_input=False)
        if to_few(stage):
            narrow = narrow._replace(forward=False, grad_weights=False)
        plan = plan or self._plan(dtype)
        if narrow.forward:
            forward = self._room(bfloat16_conv2d.packed_weights(conv), np.uint8)
            bfloat16_conv2d.add_pack_weights(plan, conv, w, forward)
        elif to_few(stage):
            forward = self._room(conv.weights, dtype)
            sparse.add_turned_weights(plan, conv, w, forward)
        else:
            forward = self._room(conv2d.packed_weights(conv, dtype.itemsize), dtype)
            conv2d.add_pack_weights(plan, conv, w, forward)
        backward = NOWHERE
        if needs_input:
            plan = self._plan(dtype)
            if narrow.grad_input:
                backward = self._room(flipped_weights(conv), np.uint8)
                add_flip_weights(plan, conv, w, backward)
            elif lists is not None:
                backward = self._room(conv.weights, dtype)
                sparse.add_turned_weights(plan, conv, w, backward)
            elif not by_dots(stage):
                backward = self._room(conv2d.flipped_weights(conv, dtype.itemsize), dtype)
                conv2d.add_flip_weights(plan, conv, w, backward)
        return Packed(w, bias, forward, backward, narrow, lists)

    def _weights(self, stage: ConvStage, dtype: np.dtype) -> tuple[Pointer, Pointer | None, Plan | None]:
        """Weights and bias as they lie, and the plan that makes them, if one does: scale * w and scale * (bias - mean) + beta."""
        w, bias = where(stage.kernel), where_given(stage.bias)
        if stage.normalization is None:
            return w, bias, None
        plan, channels = self._plan(dtype), stage.out_shape[-1]
        rows = conv_of(stage).weights // channels
        how, zeros = normalizing(stage.normalization), self._room(channels, dtype)
        scaled, shifted = self._room(rows * channels, dtype), self._room(channels, dtype)
        linear = how._replace(mean=zeros, beta=None)
        for x, y, n, by in ((w, scaled, rows, linear), (bias or zeros, shifted, 1, how)):
            batch_normalization.add_forward(
                plan, Images(x, n, 1, 1, channels), Images(y, n, 1, 1, channels), by
            )
        return scaled, shifted, plan

    def _transposed(self, stage: TransposedConvStage, needs_input: bool, dtype: np.dtype) -> Packed:
        """The other way round: its forward pass is the gradient of a convolution's input."""
        conv, w, bias = conv_of(stage), where(stage.kernel), where_given(stage.bias)
        forward = backward = NOWHERE
        if not by_dots(stage):
            forward = self._room(conv2d.flipped_weights(conv, dtype.itemsize), dtype)
            conv2d.add_flip_weights(self._plan(dtype), conv, w, forward)
        if needs_input:
            backward = self._room(conv2d.packed_weights(conv, dtype.itemsize), dtype)
            conv2d.add_pack_weights(self._plan(dtype), conv, w, backward)
        return Packed(w, bias, forward, backward)

    def _plan(self, dtype: np.dtype) -> Plan:
        """The plan of a new part."""
        self.parts.append(Part(Plan(dtype.itemsize)))
        return self.parts[-1].plan

    def _room(self, count: int, dtype: Any):
        self._kept.append(aligned_zeros(count, dtype))
        return pointer_to(self._kept[-1])

    def update(self) -> None:
        """Packs the weights unless they are as they were the last time."""
        versions = [values.version for values in self._values]
        if versions != self._versions:
            with self._exclusive:
                if versions != self._versions:
                    self.fetch()
                    self._job.run()
                    self._versions = versions

    def fetch(self) -> None:
        """Brings weights that another device has changed to the host, where `parts` read them."""
        for values in self._values:
            values.host  # noqa: B018 - asking is what brings them
