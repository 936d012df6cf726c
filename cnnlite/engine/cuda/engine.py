"""What a network asks of a GPU: programs made of stages."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlite.engine.cuda import emit
from cnnlite.engine.cuda.passes import Passes
from cnnlite.engine.cuda.programs import Predict, Supervised
from cnnlite.engine.stages import Stage
from cnnlite.parameters import Layout
from cnnlite_kernels.cuda.tensor_cores import LEAST_CAPABILITY
from cnnlite_kernels.precision import get_matmul_precision, matmul_precision

if TYPE_CHECKING:
    from cnnlite.losses.loss import LossKernel
    from cnnlite.optimizers.optimizer import Optimizer


class Engine:
    """Makes programs that run on a device of cnnlite_kernels.cuda; as engine.cpu.engine.Engine.

    Args:
        mixed_precision: a model's own, or None to follow what is set for all.

    Attributes:
        poolable: the most outputs in a pooling window that a convolution can pool in its own loop.
        folds: whether a convolution's weights can be multiplied by a normalization behind it.
        variant: what programs depend on that may change: how products are rounded.
        ahead: whether programs can begin a batch before the one before has ended.
    """

    poolable = emit.POOLABLE
    folds = False
    ahead = True

    def __init__(self, device: Any, mixed_precision: str | None = None) -> None:
        self._device, self._own = device, mixed_precision
        if mixed_precision and device.capability < LEAST_CAPABILITY:
            warnings.warn(
                "mixed_precision: expected a GPU of compute capability 8.0 and up for bfloat16, got "
                f"{'.'.join(map(str, device.capability))}; models compute in float32 there.",
                stacklevel=2,
            )

    @property
    def variant(self) -> str:
        return self._own or get_matmul_precision()

    def predict(self, stages: Sequence[Stage], n: int) -> Predict:
        with matmul_precision(self._own):
            return Predict(self._device, stages, n)

    def evaluate(self, stages: Sequence[Stage], n: int, loss: LossKernel) -> Supervised:
        with matmul_precision(self._own):
            return Supervised(self._device, stages, n, loss, 1.0)

    def train(
        self, stages: Sequence[Stage], n: int, loss: LossKernel, scale: float, optimizer: Optimizer, key: np.ndarray
    ) -> Supervised:  # fmt: skip
        with matmul_precision(self._own):
            return Supervised(self._device, stages, n, loss, scale, optimizer, key)

    def passes(
        self, stages: Sequence[Stage], n: int, numbers: Sequence[int], layout: Layout, training: bool, key: np.ndarray
    ) -> Passes:  # fmt: skip
        with matmul_precision(self._own):
            return Passes(self._device, stages, n, numbers, layout, key, self._own)
