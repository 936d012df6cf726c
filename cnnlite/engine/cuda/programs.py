"""Programs on a device: a network's launches for a batch of one size, with the memory that they need, taken once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlite.engine.cuda import emit
from cnnlite.engine.cuda.operands import Gradients, Run
from cnnlite.engine.cuda.running import changed, fetch, statistics_of, weights_of
from cnnlite.engine.cuda.sizes import inputs, outputs
from cnnlite.engine.cuda.staging import Field, Staging, milestone, zeros
from cnnlite.engine.cuda.update import SETTINGS, add_penalties, add_update, moved, penalty_sums
from cnnlite.engine.stages import SMALLEST_PROBABILITY, Stage, without_activation
from cnnlite_kernels.cuda import losses as loss_kernels
from cnnlite_kernels.cuda.plan import Plan

if TYPE_CHECKING:
    from cnnlite.losses.loss import LossKernel
    from cnnlite.optimizers.optimizer import Optimizer

KEY = Field("key", 1, "int64")
SIDES = 2  # one batch is converted while the device works on another


class Predict:
    """The forward pass of a batch of `n`, from the caller's array to the caller's array.

    Attributes:
        run: the launches alone, on what lies on the device.
    """

    def __init__(self, device: Any, stages: Sequence[Stage], n: int) -> None:
        self._device, self._weights = device, weights_of(stages)
        self._in = Staging(device, [Field("x", inputs(stages[0], n), "float32")], SIDES)
        self._out = Staging(device, [Field("y", outputs(stages[-1], n), "float32")], SIDES)
        self._side = 0
        plan = Plan(device)
        outs = {len(stages) - 1: self._out.device["y"]}
        emit.forward(Run(plan, n), stages, self._in.device["x"], keep=False, outs=outs)
        self.run = plan.graph()

    def __call__(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = network(x), both C-contiguous float32."""
        self.begin(x)(y)

    def begin(self, x: np.ndarray) -> Callable[[np.ndarray], None]:
        """Has the device work on x; what it returns waits for that and fills y. One more batch may be begun before."""
        side = self._side
        self._side = (side + 1) % SIDES
        fetch(self._device, self._weights)
        self._in.hosts[side]["x"][:] = x.reshape(-1)
        self._in.upload(side)
        self.run()
        self._out.download(side)
        wait = milestone(self._device)

        def end(y: np.ndarray) -> None:
            wait()
            y.reshape(-1)[:] = self._out.hosts[side]["y"]

        return end


class Told:
    """What a program tells of a batch that a device works on: whoever reads it waits.

    Args:
        down: where it will be, in memory that a later batch gets too; wait: returns when it is there.
    """

    def __init__(self, down: dict[str, np.ndarray], wait: Callable[[], None]) -> None:
        self._down, self._wait = down, wait
        self._numbers: dict[str, np.ndarray] | None = None

    def settle(self) -> dict[str, np.ndarray]:
        """Waits, once, and takes the numbers out of that memory."""
        if self._numbers is None:
            self._wait()
            self._numbers = {name: numbers.copy() for name, numbers in self._down.items()}
        return self._numbers

    @property
    def losses(self) -> np.ndarray:
        return self.settle()["losses"]

    @property
    def correct(self) -> np.ndarray:
        return self.settle()["correct"]

    @property
    def penalty(self) -> float:
        """What regularisers add to the loss of a training step."""
        return float(self.settle()["penalties"].sum())


class Batch:
    """Where a batch lies on the host for a program with a loss, and what else goes up with it."""

    def __init__(self, up: dict[str, np.ndarray]) -> None:
        self.x, self.targets, self.weights = up["x"], up["targets"], up["weights"]
        self.weights[:] = 1
        self.settings, self.key = up["settings"], up["key"]
        self.told: Told | None = None  # of what was here before


class Supervised:
    """Forward pass and loss of a batch of `n`, and with an optimizer the whole training step.

    Attributes:
        run: the launches alone, on what lies on the device.
    """

    penalises = True  # a training step tells its penalty
    ahead = True  # a call returns before the device has run; `batch` is another one then

    def __init__(
        self, device: Any, stages: Sequence[Stage], n: int, loss: LossKernel, scale: float,
        optimizer: Optimizer | None = None, key: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        stages = without_activation(stages, loss.replaces)
        self._device, self._optimizer, self._key = device, optimizer, key
        self._weights = weights_of(stages)
        targets = (
            Field("targets", n, "int32")
            if loss.sparse
            else Field("targets", outputs(stages[-1], n), "float32")
        )
        x, weights = Field("x", inputs(stages[0], n), "float32"), Field("weights", n, "float32")
        self._up = Staging(device, [x, targets, weights, SETTINGS, KEY], SIDES)
        self._layout = optimizer.layout if optimizer is not None else None
        plan = Plan(device)
        sums = penalty_sums(plan, self._layout) if self._layout is not None else 0
        told = [
            Field("losses", n, "float32"),
            Field("correct", n, "float32"),
            Field("penalties", sums, "float64"),
        ]
        self._down = Staging(device, told, SIDES)
        self._batches = list(map(Batch, self._up.hosts))
        self._side = 0
        self._moved = statistics_of(stages)
        self._emit(plan, stages, n, loss, scale)
        self.run = plan.graph()

    def _emit(self, plan: Plan, stages: Sequence[Stage], n: int, loss: LossKernel, scale: float) -> None:
        up, optimizer, layout = self._up.device, self._optimizer, self._layout
        run = Run(plan, n, up["key"])
        kept = emit.forward(run, stages, up["x"], keep=layout is not None)
        y, grad = kept[-1].y, None
        if layout is not None:
            grad = plan.scratch(outputs(stages[-1], n))
        self._add_loss(plan, loss, y, grad, n, math.prod(stages[-1].out_shape), scale)
        if optimizer is not None and layout is not None and layout.size:
            grads = zeros(self._device, layout.size)  # those between parameters stay
            add_penalties(plan, layout, self._down.device["penalties"])
            emit.backward(run, stages, kept, {len(stages) - 1: grad}, Gradients(layout, grads))
            add_update(plan, optimizer, layout, grads, up["settings"])
            self._moved += moved(optimizer, layout)

    def _add_loss(
        self, plan: Plan, loss: LossKernel, y: Any, grad: Any, n: int, c: int, scale: float
    ) -> None:
        up, down = self._up.device, self._down.device
        operands = (y, up["targets"], up["weights"], grad, down["losses"], down["correct"], n, c, scale)
        if loss.kernel == "softmax_cross_entropy":
            loss_kernels.add_softmax_cross_entropy(plan, *operands, labels=loss.sparse)
        else:
            loss_kernels.add_elementwise(
                plan, *operands, kind=loss.integers[0], smallest=SMALLEST_PROBABILITY, delta=loss.delta
            )

    @property
    def batch(self) -> Batch:
        """Where the next batch goes."""
        batch = self._batches[self._side]
        if batch.told is not None:  # the device may still be copying what was there before
            batch.told.settle()
        return batch

    def __call__(self) -> Told:
        """Has the device run what lies in `batch`."""
        side, batch = self._side, self.batch
        fetch(self._device, self._weights)
        fetch(self._device, self._moved)
        if self._optimizer is not None:
            self._optimizer.advance()
            batch.settings[:] = self._optimizer.settings
        if self._key is not None:
            batch.key[:] = self._key
        try:
            self._up.upload(side)
            self.run()
            self._down.download(side)
            wait = milestone(self._device)
        except (
            BaseException
        ):  # Ctrl-C as well: the device may still read the batch, and may have run the step
            self._device.synchronize()
            raise
        finally:
            changed(self._device, self._moved)
        batch.told = Told(self._down.hosts[side], wait)
        self._side = (side + 1) % SIDES
        return batch.told
