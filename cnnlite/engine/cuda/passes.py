"""Forward and backward as two runs on a device, for what is neither `fit` nor `predict`: activations stay there in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cnnlite.engine.cuda import emit
from cnnlite.engine.cuda.operands import Gradients, Run
from cnnlite.engine.cuda.programs import KEY
from cnnlite.engine.cuda.running import changed, fetch, statistics_of, weights_of
from cnnlite.engine.cuda.sizes import inputs, outputs
from cnnlite.engine.cuda.staging import Field, Staging, zeros
from cnnlite.engine.stages import Stage
from cnnlite.parameters import Layout
from cnnlite_kernels.cuda import activations
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.precision import get_matmul_precision, matmul_precision


class _Backward(NamedTuple):
    """A backward pass: the parameters whose gradients it adds up, what goes up, the gradient of the input that comes down, and what runs
    it."""

    layout: Layout
    up: Staging
    down: Staging
    run: Any


class Passes:
    """The forward pass of a batch of n, and backward passes over it: as engine.cpu.passes.Passes.

    Args:
        mixed_precision: a model's own, in which backward passes are emitted, or None to follow what is set for all.
    """

    def __init__(
        self, device: Any, stages: Sequence[Stage], n: int, numbers: Sequence[int], layout: Layout, key: np.ndarray,
        mixed_precision: str | None = None,
    ) -> None:  # fmt: skip
        self._mixed_precision = mixed_precision
        self._device, self._stages, self._n, self._layout, self._key = device, list(stages), n, layout, key
        self._weights, self._statistics = weights_of(stages), statistics_of(stages)
        self._up = Staging(device, [Field("x", inputs(stages[0], n), "float32"), KEY])
        counts = {number: outputs(stages[number], n) for number in numbers}
        self._down = Staging(
            device, [Field(str(number), count, "float32") for number, count in counts.items()]
        )
        self.x = self._up.host["x"]
        self.outputs = {number: self._down.host[str(number)] for number in numbers}
        plan = Plan(device)
        outs = {number: self._down.device[str(number)] for number in numbers}
        up = self._up.device
        self._kept = emit.forward(Run(plan, n, up["key"]), self._stages, up["x"], keep=True, outs=outs)
        self._forward = plan.graph()
        self._backward: dict[tuple[tuple[int, ...], bool, str], _Backward] = {}

    def forward(self) -> None:
        """Runs all stages on `x`; the outputs asked for are then in `outputs`."""
        fetch(self._device, self._weights)
        self._up.host["key"][:] = self._key
        self._up.upload()
        self._forward()
        changed(self._device, self._statistics)
        self._down.download()
        self._device.synchronize()

    def backward(self, grads: Mapping[int, np.ndarray], weights: bool = True) -> np.ndarray:
        """Adds the parameters' gradients to those of their stores; returns the gradient with respect to x.

        Args:
            grads: gradients with respect to outputs, by the number of the stage.
            weights: whether the parameters' gradients are wanted.
        """
        numbers = tuple(sorted(grads))
        with matmul_precision(self._mixed_precision):
            # the precision of the forward pass may have been another
            key = numbers, weights, get_matmul_precision()
            if key not in self._backward:
                self._backward[key] = self._make_backward(numbers, self._layout if weights else Layout([]))
        made = self._backward[key]
        for number in numbers:
            made.up.host[str(number)][:] = np.asarray(grads[number]).reshape(-1)
        made.up.host["key"][:] = self._key
        sums = [store.grads for store in made.layout.stores]
        fetch(self._device, [*self._weights, *sums])
        made.up.upload()
        made.run()
        changed(self._device, sums)
        made.down.download()
        self._device.synchronize()
        return made.down.host["grad_x"]

    def _make_backward(self, numbers: tuple[int, ...], layout: Layout) -> _Backward:
        fields = [Field(str(i), outputs(self._stages[i], self._n), "float32") for i in numbers]
        up = Staging(self._device, [*fields, KEY])
        down = Staging(self._device, [Field("grad_x", inputs(self._stages[0], self._n), "float32")])
        plan = Plan(self._device)
        grads = zeros(self._device, layout.size)
        given = {i: up.device[str(i)] for i in numbers}
        emit.backward(
            Run(plan, self._n, up.device["key"]), self._stages, self._kept, given, Gradients(layout, grads), down.device["grad_x"]
        )  # fmt: skip
        for r in layout.ranges:
            target = r.store.grads.on(self._device)[r.start : r.start + r.size]
            activations.add_sum(plan, grads[r.place : r.place + r.size], target, r.size)
        return _Backward(layout, up, down, plan.graph())
