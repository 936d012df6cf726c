"""Batches that somebody else makes: generators, data loaders and Sequence-like objects."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from cnnlite.batches.arrays import as_array, as_sample_weight, check_lengths, check_positive
from cnnlite.batches.types import AnyArray


class Batch(NamedTuple):
    """One batch as it came: x (m, ...); y (m,), (m, 1), (m, classes) or None; sample_weight (m,) or None."""

    x: AnyArray
    y: AnyArray | None
    sample_weight: AnyArray | None


def is_stream(value: Any) -> bool:
    """Say whether ``value`` hands out batches by itself, rather than being one array of all samples.

    Generators, iterators, data loaders and objects with ``__len__`` and ``__getitem__`` do; arrays, lists,
    tuples and whatever converts to an array do not.

    >>> is_stream(iter([])), is_stream([[1.0, 2.0]])
    (True, False)
    """
    if isinstance(value, (np.ndarray, list, tuple, dict, set, str, bytes, type)):
        return False
    if any(hasattr(value, name) for name in ("__array__", "__array_interface__", "__dlpack__")):
        return False
    return hasattr(value, "__iter__") or _is_sequence(value)


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and hasattr(value, "__getitem__")


def _is_batch_array(value: Any) -> bool:
    return len(getattr(value, "shape", ())) > 0


class StreamBatches:
    """The batches of a generator, an iterable or a Sequence-like object, checked one by one as they come.

    Each iteration is one epoch and yields ``Batch`` tuples. A Sequence (``__len__`` and ``__getitem__``, and
    ``on_epoch_end`` if it has one) and an iterable that can be started again give all their batches every
    epoch. A generator can be read only once: without ``steps`` its end is the end of the first epoch, and
    ``exhausted`` is set, with a warning, when it cannot fill an epoch it is asked for.

    Args:
        source: gives (x, y), (x, y, sample_weight), (x,) or plain x; each anything ``as_array`` takes. A
            list of two or three arrays counts as a tuple, since that is what data loaders give.
        steps: batches an epoch, as for ``ArrayBatches``; for endless generators it is needed.
        shuffle: visit the batches of a Sequence in an order drawn anew each epoch. Without effect on others.
        rng: the generator that orders come from; a new, unseeded one if None.
        op: the method that messages name; "predict" reads x alone, the others need y.

    Attributes:
        steps: batches an epoch, None if nobody knows. exhausted: True once the source has run out.

    Raises:
        TypeError: a source that gives no batches; in an epoch: a batch of the wrong dtype.
        ValueError: steps below 1, a Sequence of length 0; in an epoch: a batch without y, of the wrong tuple
            length, empty, or with lengths that differ; a source whose first epoch has no batch.

    >>> import numpy as np
    >>> numbers = ((np.full((2, 1), i), [0, 1]) for i in range(3))
    >>> batches = StreamBatches(numbers, steps=2)
    >>> [batch.x[0, 0].item() for batch in batches]
    [0, 1]
    """

    samples = None

    def __init__(
        self,
        source: Any,
        steps: int | None = None,
        shuffle: bool = False,
        rng: np.random.Generator | None = None,
        op: str = "fit",
    ) -> None:
        if not is_stream(source):
            raise TypeError(
                f"{op}: expected a generator, an iterable or an object with __len__ and __getitem__, got "
                f"{type(source).__name__}. Call a generator function before passing it."
            )
        self.source = source
        self.op = op
        self.exhausted = False
        self._shuffle = shuffle
        self._rng = np.random.default_rng() if rng is None else rng
        count = len(source) if hasattr(source, "__len__") else None
        if count == 0:
            raise ValueError(f"{op}: expected at least one batch, got an empty {type(source).__name__}.")
        self._limit = None if steps is None else check_positive(steps, "steps", op)
        if self._limit is not None and count is not None and op != "fit":
            self._limit = min(self._limit, count)
        self.steps = count if self._limit is None else self._limit
        self._endless: Iterator[Any] | None = None
        self._epochs = 0

    def __iter__(self) -> Iterator[Batch]:
        self._epochs += 1
        done = 0
        # an unlimited pass runs to its very end, where a Sequence is told so
        for item in islice(self._items(), self._limit):
            yield self._unpack(item, done)
            done += 1
        if done == 0 and self._epochs == 1:
            raise ValueError(
                f"{self.op}: expected at least one batch, but the {type(self.source).__name__} gave none."
            )
        if done == 0 or (self._limit is not None and done < self._limit and self.op == "fit"):
            self.exhausted = True
            asked = "a batch" if self._limit is None else f"{self._limit} batches"
            warnings.warn(
                f"{self.op}: the data ran out in epoch {self._epochs}: {asked} expected, {done} came. Make "
                "the generator endless and pass steps_per_epoch, or pass an object that can be read again.",
                stacklevel=3,
            )

    def _items(self) -> Iterator[Any]:
        if hasattr(self.source, "__next__"):
            # not through a generator of ours: closing that at the end of an epoch would close the source
            return self.source
        if self._limit is None or self.op != "fit":
            return self._pass()
        if self._endless is None:
            self._endless = self._passes()
        return self._endless

    def _pass(self) -> Iterator[Any]:
        source = self.source
        if not _is_sequence(source):
            yield from source
            return
        count = len(source)
        order: Iterable[int] = self._rng.permutation(count).tolist() if self._shuffle else range(count)
        for index in order:
            yield source[index]
        if hasattr(source, "on_epoch_end"):
            source.on_epoch_end()

    def _passes(self) -> Iterator[Any]:
        empty = False
        while not empty:
            empty = True
            for item in self._pass():
                empty = False
                yield item

    def _unpack(self, item: Any, step: int) -> Batch:
        op = f"{self.op}, batch {step}"
        if isinstance(item, list) and len(item) in (2, 3) and all(map(_is_batch_array, item)):
            item = tuple(item)
        if not isinstance(item, tuple):
            item = (item,)
        if not 1 <= len(item) <= 3:
            raise ValueError(f"{op}: expected (x, y) or (x, y, sample_weight), got a tuple of {len(item)}.")
        x, y, sample_weight = item + (None,) * (3 - len(item))
        needs_y = self.op != "predict"
        if needs_y and y is None:
            raise ValueError(f"{op}: expected (x, y) or (x, y, sample_weight), got x alone. Add the labels.")
        batch = Batch(
            as_array(x, "x", op),
            as_array(y, "y", op) if needs_y else None,
            as_sample_weight(sample_weight, op) if needs_y else None,
        )
        if check_lengths(batch._asdict(), op) == 0:
            raise ValueError(f"{op}: expected at least one sample, got x of shape {batch.x.shape}.")
        return batch
