"""A network ready to run on a device: layers lowered and fused, programs made once for each batch size and kept."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlite.engine.exclusive import Exclusive
from cnnlite.engine.stages import Stage, last_activation, lower
from cnnlite.parameters import Layout

if TYPE_CHECKING:
    from cnnlite.layers.layer import Layer
    from cnnlite.losses.loss import LossKernel
    from cnnlite.optimizers.optimizer import Optimizer

PROGRAMS = 8  # of one kind that are kept, for as many batch sizes: an epoch has two, generators may have more


def engine_for(device: Any, dtype: np.dtype, mixed_precision: str | None = None) -> Any:
    """What makes the programs: on the CPU for None, else on a device of cnnlite_kernels.cuda."""
    if device is None:
        from cnnlite.engine.cpu import engine as cpu

        return cpu.Engine(dtype, mixed_precision)
    from cnnlite.engine.cuda import engine as cuda

    return cuda.Engine(device, mixed_precision)


class Network:
    """The programs of a sequence of built layers.

    Args:
        layers: built; dtype: of their weights; device: None for the CPU, or a device of cnnlite_kernels.cuda.
        mixed_precision: "bfloat16" for products of rounded numbers where the device has them; None leaves that to
            `set_matmul_precision`.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        dtype: np.dtype,
        device: Any = None,
        mixed_precision: str | None = None,
    ) -> None:
        self._layers, self._engine = list(layers), engine_for(device, dtype, mixed_precision)
        self.exclusive = Exclusive()  # for whoever trains, evaluates, or makes a program
        self.key = np.zeros(1, np.int64)  # of the masks of dropout, set for each step
        self._lowered: dict[tuple, list[Stage]] = {}
        self._programs: dict[tuple, OrderedDict[tuple, Any]] = {}
        # batch, variant and programs of the last `predict`
        self._recent: tuple[int, Any, list] = (-1, None, [])

    def stages(
        self, keep: Collection[str] = (), training: bool = False, backward: bool = False
    ) -> list[Stage]:
        """The fused stages. Dropout is left out unless in training; normalization that is frozen is not trained, and where no backward
        pass follows it is folded into convolutions."""
        fold = self._engine.folds and not (training or backward)
        wanted = (tuple(sorted(keep)), training, self._frozen(training), fold)
        with self.exclusive:
            if wanted not in self._lowered:
                self._lowered[wanted] = lower(self._layers, keep, self._engine.poolable, training, fold)
            return self._lowered[wanted]

    def _frozen(self, training: bool) -> tuple[str, ...]:
        """The layers that are not trained, on which normalization in training depends."""
        return tuple(layer.name for layer in self._layers if training and not layer.trainable)

    def _program(self, kind: str, key: tuple, make: Callable[[], Any]) -> Any:
        """The program of a kind for a key; the least recently used one makes room for a new one."""
        with self.exclusive:
            kept = self._programs.setdefault((kind, self._engine.variant), OrderedDict())
            if key in kept:
                kept.move_to_end(key)
                return kept[key]
            while len(kept) >= PROGRAMS:
                kept.popitem(last=False)
            made = kept[key] = self._made(make)
            return made

    def _made(self, make: Callable[[], Any]) -> Any:
        """What `make` makes; where memory is full, without the programs that were made before."""
        with contextlib.suppress(MemoryError):
            return make()
        with self.exclusive:
            for kept in self._programs.values():
                kept.clear()
            self._recent = (-1, None, [])
        return make()

    def predict(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = network(x). May be called from several Python threads: each has a program while it runs."""
        n, variant = len(x), self._engine.variant
        recent, of, idle = self._recent
        if recent != n or of != variant:  # one image takes 22 microseconds in all, the lock and the look 1
            idle = self._program("predict", (n,), list)
            self._recent = n, variant, idle
        try:
            program = idle.pop()
        except IndexError:
            program = self._new_predict(n)
        program(x, y)
        idle.append(program)

    def _new_predict(self, n: int) -> Any:
        return self._made(lambda: self._engine.predict(self.stages(), n))

    def predict_in_turn(self, x: np.ndarray, y: np.ndarray, n: int) -> None:
        """`predict` of n at a time, n below len(x): the host copies some while a device works on others."""
        rest = len(x) // n * n if self._engine.ahead else 0
        if rest:
            idle = self._program("predict", (n,), list)
            try:
                program = idle.pop()
            except IndexError:
                program = self._new_predict(n)
            end, place = program.begin(x[:n]), y[:n]
            for first in range(n, rest, n):
                next_end = program.begin(x[first : first + n])
                end(place)
                end, place = next_end, y[first : first + n]
            end(place)
            idle.append(program)
        for first in range(rest, len(x), n):
            self.predict(x[first : first + n], y[first : first + n])

    def last_activation(self) -> str | None:
        """The activation that makes the network's output in training too, where dropout may come after it, if one does. None for a
        softmax whose channels are reshaped afterwards."""
        stages, shape = self.stages(training=True), self._layers[-1].output_shape
        assert shape is not None
        found = last_activation(stages)
        return None if found == "softmax" and stages[-1].out_shape[-1] != shape[-1] else found

    def evaluate(self, n: int, loss: LossKernel) -> Any:
        """The program that runs the network and its loss on a batch of n."""
        return self._program("evaluate", (n, loss), lambda: self._engine.evaluate(self.stages(), n, loss))

    def train(self, n: int, loss: LossKernel, optimizer: Optimizer, scale: float) -> Any:
        """The program that takes a training step on a batch of n; gradients are those of `scale` times the sum of losses."""
        layout = optimizer.layout
        assert layout is not None
        made_for = layout.penalties, optimizer.limits, optimizer.kernel()
        return self._program(
            "train",
            (n, loss, scale, id(optimizer), id(layout), self._frozen(True), *made_for),
            lambda: self._engine.train(self.stages(training=True), n, loss, scale, optimizer, self.key),
        )

    def passes(
        self, n: int, training: bool, keep: Sequence[str], trained: Sequence[Any]
    ) -> tuple[Any, dict[str, int]]:
        """Forward and backward passes that give the outputs of the layers named in `keep`; their stages' numbers by name."""
        stages = self.stages(keep, training, backward=True)
        numbers = {name: number for number, stage in enumerate(stages) for name in stage.names}
        wanted = {name: numbers[name] for name in keep}
        wanted[""] = len(stages) - 1  # the network's own output

        def make() -> Any:
            asked = sorted(set(wanted.values()))
            return self._engine.passes(stages, n, asked, Layout(trained), training, self.key)

        key = n, training, tuple(keep), tuple(map(id, trained)), self._frozen(training)
        return self._program("passes", key, make), wanted
