"""What a network asks of a GPU: programs made of stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlite.engine.cuda import emit
from cnnlite.engine.cuda.passes import Passes
from cnnlite.engine.cuda.programs import Predict, Supervised
from cnnlite.engine.stages import Stage
from cnnlite.parameters import Layout
from cnnlite_kernels.precision import get_matmul_precision

if TYPE_CHECKING:
    from cnnlite.losses.loss import LossKernel
    from cnnlite.optimizers.optimizer import Optimizer


class Engine:
    """Makes programs that run on a device of cnnlite_kernels.cuda; as engine.cpu.engine.Engine.

    Attributes:
        poolable: the most outputs in a pooling window that a convolution can pool in its own loop.
        variant: what programs depend on that may change: how products are rounded.
        ahead: whether programs can begin a batch before the one before has ended.
    """

    poolable = emit.POOLABLE
    ahead = True

    def __init__(self, device: Any) -> None:
        self._device = device

    @property
    def variant(self) -> str:
        return get_matmul_precision()

    def predict(self, stages: Sequence[Stage], n: int) -> Predict:
        return Predict(self._device, stages, n)

    def evaluate(self, stages: Sequence[Stage], n: int, loss: LossKernel) -> Supervised:
        return Supervised(self._device, stages, n, loss, 1.0)

    def train(
        self, stages: Sequence[Stage], n: int, loss: LossKernel, scale: float, optimizer: Optimizer, key: np.ndarray
    ) -> Supervised:  # fmt: skip
        return Supervised(self._device, stages, n, loss, scale, optimizer, key)

    def passes(
        self, stages: Sequence[Stage], n: int, numbers: Sequence[int], layout: Layout, training: bool, key: np.ndarray
    ) -> Passes:  # fmt: skip
        return Passes(self._device, stages, n, numbers, layout, key)
