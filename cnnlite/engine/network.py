"""A network ready to run: layers lowered and fused, weights packed, programs made once for each batch size and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlite.engine.cpu import emit, programs
from cnnlite.engine.cpu.packing import Packing
from cnnlite.engine.cpu.passes import Passes
from cnnlite.engine.cpu.programs import Predict, Supervised
from cnnlite.engine.exclusive import Exclusive
from cnnlite.engine.stages import Stage, lower
from cnnlite.parameters import Layout
from cnnlite_kernels.cpu.product import most_poolable

if TYPE_CHECKING:
    from cnnlite.layers.layer import Layer
    from cnnlite.losses.loss import LossKernel
    from cnnlite.optimizers.optimizer import Optimizer

PROGRAMS = 8  # of one kind that are kept, for as many batch sizes: an epoch has two, generators may have more


class Network:
    """The programs of a sequence of built layers.

    Args:
        layers: built; dtype: of their weights.
    """

    def __init__(self, layers: Sequence[Layer], dtype: np.dtype) -> None:
        self._layers, self._dtype = list(layers), dtype
        self.exclusive = Exclusive()  # for whoever trains, evaluates, or makes a program
        self.key = np.zeros(1, np.int64)  # of the masks of dropout, set for each step
        self._lowered: dict[tuple, list[Stage]] = {}
        self._packings: dict[tuple, Packing] = {}
        self._programs: dict[str, OrderedDict[tuple, Any]] = {}

    def stages(self, keep: Collection[str] = (), training: bool = False) -> list[Stage]:
        """The fused stages. Dropout is left out unless in training."""
        wanted = (tuple(sorted(keep)), training)
        with self.exclusive:
            if wanted not in self._lowered:
                self._lowered[wanted] = lower(self._layers, keep, most_poolable(), with_dropout=training)
            return self._lowered[wanted]

    def _packing(self, stages: Sequence[Stage], flipped: Sequence[bool] | None) -> Packing:
        """Packed weights, shared by all programs with the same stages: pooling decides which form the backward pass needs."""
        key = (
            tuple((id(getattr(stage, "kernel", None)), getattr(stage, "pool", None)) for stage in stages),
            None if flipped is None else tuple(flipped),
        )
        with self.exclusive:
            if key not in self._packings:
                self._packings[key] = Packing(stages, flipped, self._dtype)
            return self._packings[key]

    def _program(self, kind: str, key: tuple, make: Callable[[], Any]) -> Any:
        """The program of a kind for a key; the least recently used one makes room for a new one."""
        with self.exclusive:
            kept = self._programs.setdefault(kind, OrderedDict())
            if key in kept:
                kept.move_to_end(key)
            else:
                while len(kept) >= PROGRAMS:
                    kept.popitem(last=False)
                kept[key] = make()
            return kept[key]

    def predict(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = network(x). May be called from several Python threads: each has a program while it runs."""
        n = len(x)
        idle = self._program("predict", (n,), list)
        try:
            program = idle.pop()
        except IndexError:
            stages = self.stages()
            program = Predict(stages, self._packing(stages, None), n, self._dtype)
        program(x, y)
        idle.append(program)

    def last_activation(self) -> str | None:
        """The activation that makes the network's output, if one does."""
        return programs.last_activation(self.stages())

    def evaluate(self, n: int, loss: LossKernel) -> Supervised:
        def make() -> Supervised:
            stages = self.stages()
            return Supervised(stages, self._packing(stages, None), n, self._dtype, loss, 1.0)

        return self._program("evaluate", (n, loss), make)

    def train(self, n: int, loss: LossKernel, optimizer: Optimizer, scale: float) -> Supervised:
        assert optimizer.layout is not None
        layout = optimizer.layout

        def make() -> Supervised:
            stages = self.stages(training=True)
            packing = self._packing(stages, emit.needs_grad_input(stages, layout, False))
            return Supervised(stages, packing, n, self._dtype, loss, scale, optimizer, self.key)

        return self._program("train", (n, loss, id(optimizer), id(layout), optimizer.limits, scale), make)

    def passes(
        self, n: int, training: bool, keep: Sequence[str], trained: Sequence[Any]
    ) -> tuple[Passes, dict[str, int]]:
        """Forward and backward passes that give the outputs of the layers named in `keep`; their stages' numbers by name."""
        stages = self.stages(keep, training)
        numbers = {name: number for number, stage in enumerate(stages) for name in stage.names}
        wanted = {name: numbers[name] for name in keep}
        wanted[""] = len(stages) - 1  # the network's own output

        def make() -> Passes:
            layout = Layout(trained)
            packing = self._packing(stages, emit.needs_grad_input(stages, layout, True))
            return Passes(
                stages, packing, n, self._dtype, sorted(set(wanted.values())), layout, training, self.key
            )  # fmt: skip

        return self._program("passes", (n, training, tuple(keep), tuple(map(id, trained))), make), wanted
