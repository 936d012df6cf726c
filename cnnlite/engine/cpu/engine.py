"""What a network asks of the CPU: programs made of stages, with packed weights that they share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnlite.engine.cpu.bands import worthwhile
from cnnlite.engine.cpu.packing import Packing
from cnnlite.engine.cpu.passes import Passes
from cnnlite.engine.cpu.programs import Predict, Supervised
from cnnlite.engine.exclusive import Exclusive
from cnnlite.engine.stages import Stage, needs_grad_input
from cnnlite.parameters import Layout
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.product import most_poolable
from cnnlite_kernels.precision import BFLOAT16, FLOAT32, get_matmul_precision

if TYPE_CHECKING:
    from cnnlite.losses.loss import LossKernel
    from cnnlite.optimizers.optimizer import Optimizer


class Engine:
    """Makes programs that run on the CPU.

    Args:
        mixed_precision: a model's own, or None to follow what is set for all.

    Attributes:
        poolable: the most outputs in a pooling window that a convolution can pool in its own loop.
        folds: whether a convolution's weights can be multiplied by a normalization behind it.
        variant: what programs depend on that may change: how products are rounded.
        ahead: whether programs can begin a batch before the one before has ended.
    """

    folds = True
    ahead = False

    def __init__(self, dtype: np.dtype, mixed_precision: str | None = None) -> None:
        self._dtype = dtype
        self.poolable = most_poolable()
        self._own, self._narrows = mixed_precision, dtype == np.float32 and host().bfloat16 is not None
        if mixed_precision and not self._narrows:
            warnings.warn(
                "mixed_precision: expected a processor with AVX512-BF16 or AMX for bfloat16; models compute in float32 on this one.",
                stacklevel=2,
            )
        self._exclusive = Exclusive()
        self._packings: dict[tuple, Packing] = {}

    @property
    def variant(self) -> str:
        asked = self._own or get_matmul_precision()
        return BFLOAT16 if self._narrows and asked == BFLOAT16 else FLOAT32

    def _packing(
        self, stages: Sequence[Stage], flipped: Sequence[bool] | None, dense: bool = False
    ) -> Packing:
        """Packed weights, shared by all programs that pack them alike: pooling and the image decide in which form products read them."""
        mixed = self.variant == BFLOAT16
        key = (
            mixed,
            dense,
            tuple(map(_packed_by, stages)),
            None if flipped is None else tuple(flipped),
        )
        with self._exclusive:
            if key not in self._packings:
                self._packings[key] = Packing(stages, flipped, self._dtype, mixed, dense)
            return self._packings[key]

    def predict(self, stages: Sequence[Stage], n: int) -> Predict:
        return Predict(stages, self._packing(stages, None), n, self._dtype)

    def evaluate(self, stages: Sequence[Stage], n: int, loss: LossKernel) -> Supervised:
        return Supervised(stages, self._packing(stages, None), n, self._dtype, loss, 1.0)

    def train(
        self, stages: Sequence[Stage], n: int, loss: LossKernel, scale: float, optimizer: Optimizer, key: np.ndarray
    ) -> Supervised:  # fmt: skip
        assert optimizer.layout is not None
        packing = self._packing(stages, needs_grad_input(stages, optimizer.layout, False))
        return Supervised(stages, packing, n, self._dtype, loss, scale, optimizer, key)

    def passes(
        self, stages: Sequence[Stage], n: int, numbers: Sequence[int], layout: Layout, training: bool, key: np.ndarray
    ) -> Passes:  # fmt: skip
        packing = self._packing(stages, needs_grad_input(stages, layout, True), worthwhile(stages, n))
        return Passes(stages, packing, n, self._dtype, numbers, layout, training, key)


def _packed_by(stage: Stage) -> tuple:
    """What the form of a stage's packed weights follows from. Margins that are fused into a convolution change its image."""
    ids = tuple(map(id, stage.parameters))
    return ids, stage.in_shape, getattr(stage, "window", None), getattr(stage, "pool", None)
