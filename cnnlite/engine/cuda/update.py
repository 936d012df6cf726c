"""The end of a training step on a device: gradients are regularised and limited, and the optimizer moves the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnlite.engine.cuda.operands import where
from cnnlite.engine.cuda.running import changed, fetch
from cnnlite.engine.cuda.staging import Field, Staging
from cnnlite.mirrored import Mirrored
from cnnlite.parameters import Layout
from cnnlite_kernels.cuda import activations, gradients, optimizers, penalties
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.settings import OPTIMIZER

if TYPE_CHECKING:
    from cnnlite.optimizers.optimizer import Optimizer

SETTINGS = Field("settings", len(OPTIMIZER), "float64")


def moved(optimizer: Optimizer, layout: Layout) -> list[Mirrored]:
    """What a step changes: weights and the optimizer's state."""
    return [*(store.values for store in layout.stores), *optimizer.state]


def add_update(plan: Plan, optimizer: Optimizer, layout: Layout, grads: Any, settings: Any) -> None:
    """Emits one optimizer step.

    Args:
        grads: (layout.size,), the gradients of the loss; changed in place.
        settings: float64 (len(OPTIMIZER),), the numbers of this step.
    """
    device = plan.device
    for parameter in layout.parameters:
        regularizer = parameter.regularizer
        if regularizer is not None:
            here, values = layout.slice_flat(grads, parameter), where(device, parameter)
            gradients.add_regularize(plan, here, values, parameter.size, regularizer.l1, regularizer.l2)
    _add_limits(plan, optimizer, layout, grads)
    name, integers = optimizer.kernel()
    for r in layout.ranges:
        here = slice(r.place, r.place + r.size)
        optimizers.add_step(
            plan,
            name,
            integers,
            r.store.values.on(device)[r.start : r.start + r.size],
            grads[here],
            settings,
            [slot.on(device)[here] for slot in optimizer.state],
            r.size,
        )


def penalty_sums(plan: Plan, layout: Layout) -> int:
    """How many sums `add_penalties` writes."""
    return sum(
        penalties.sums_of(plan, parameter.size) for parameter in layout.parameters if parameter.regularizer
    )


def add_penalties(plan: Plan, layout: Layout, sums: Any) -> None:
    """Emits float64 sums that add up to what regularisers add to the loss."""
    for parameter in layout.parameters:
        regularizer = parameter.regularizer
        if regularizer is not None:
            values = where(plan.device, parameter)
            penalties.add_penalty(plan, values, sums, parameter.size, regularizer.l1, regularizer.l2)
            sums = sums[penalties.sums_of(plan, parameter.size) :]


def _add_limits(plan: Plan, optimizer: Optimizer, layout: Layout, grads: Any) -> None:
    if optimizer.clipnorm is not None:
        for parameter in layout.parameters:
            here = layout.slice_flat(grads, parameter)
            gradients.add_clip_norm(plan, here, parameter.size, optimizer.clipnorm)
    elif optimizer.global_clipnorm is not None:
        gradients.add_clip_norm(plan, grads, layout.size, optimizer.global_clipnorm)
    elif optimizer.clipvalue is not None:
        gradients.add_clip_values(plan, grads, layout.size, optimizer.clipvalue)


class Update:
    """An optimizer's step by itself, on the gradients that backward passes have added up, which stay as they are."""

    def __init__(self, device: Any, optimizer: Optimizer, layout: Layout) -> None:
        self._device, self._optimizer = device, optimizer
        self._staging = Staging(device, [SETTINGS])
        self._moved = moved(optimizer, layout)
        self._read = [*self._moved, *(store.grads for store in layout.stores)]
        plan = Plan(device)
        total = plan.scratch(layout.size)
        activations.add_fill(plan, total, layout.size, 0.0)
        for r in layout.ranges:
            source = r.store.grads.on(device)[r.start : r.start + r.size]
            activations.add_sum(plan, source, total[r.place : r.place + r.size], r.size)
        add_update(plan, optimizer, layout, total, self._staging.device["settings"])
        self._run = plan.graph()

    def run(self) -> None:
        """Takes the step."""
        fetch(self._device, self._read)
        self._optimizer.advance()
        self._staging.host["settings"][:] = self._optimizer.settings
        self._staging.upload()
        self._run()
        changed(self._device, self._moved)
        self._device.synchronize()  # before the next step writes its settings
