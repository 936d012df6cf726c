"""Batches of arrays: what a caller may hand in is checked once, then an epoch is a run of row numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from numbers import Integral, Real
from typing import Any

import numpy as np

from cnnlite.batches.rows import gather
from cnnlite.batches.types import AnyArray, Indices


def as_array(value: Any, name: str, op: str = "fit") -> AnyArray:
    """Return ``value`` as a NumPy array of numbers, without a copy where it already is one.

    Args:
        value: an array or memmap, nested lists of numbers, or an object with ``__array__`` (read whole) or
            ``__dlpack__`` (shared). NaN and infinity are allowed.
        name: what messages call it, such as "x".
        op: the method that messages name.

    Returns:
        An array of bool, integer or float dtype with at least one axis.

    Raises:
        TypeError: the values are not real numbers: strings, objects, complex numbers, dates.
        ValueError: lists of unequal lengths, or a single number.

    >>> as_array([[1, 2], [3, 4]], "x").shape
    (2, 2)
    >>> as_array([[1, 2], [3]], "x")
    Traceback (most recent call last):
    ValueError: fit: expected x to be rectangular, got lists of unequal lengths. Pad or crop them.
    """
    array = value if type(value) is np.ndarray else _convert(value, name, op)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{op}: expected {name} to hold numbers (bool, integer or float), got dtype {array.dtype}. "
            f"{_dtype_advice(array)}"
        )
    if array.ndim == 0:
        raise ValueError(
            f"{op}: expected {name} to have a first axis of samples, got the single value {array.item()!r}. "
            f"For one sample pass {name}[None]."
        )
    return array


def _convert(value: Any, name: str, op: str) -> AnyArray:
    if value is None or isinstance(value, (dict, set, str, bytes)) or callable(value):
        raise TypeError(
            f"{op}: expected {name} to be an array or nested lists of numbers, got {type(value).__name__}. "
            "A generator function has to be called; a dict of inputs is not supported."
        )
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise ValueError(f"{op}: could not read {name} as an array: {error}") from error
        raise ValueError(
            f"{op}: expected {name} to be rectangular, got lists of unequal lengths. Pad or crop them."
        ) from None
    except (TypeError, RuntimeError, BufferError) as error:
        raise TypeError(
            f"{op}: could not read {name}, a {type(value).__name__}, as an array: {error}. "
            "Pass a NumPy array; data on a GPU has to be copied to the host first."
        ) from error


def _dtype_advice(array: AnyArray) -> str:
    kind = array.dtype.kind
    if kind in "US":
        return "Map strings to class numbers first, for instance with np.unique(..., return_inverse=True)."
    if kind == "c":
        return "Pass the real and imaginary parts as channels, or the absolute value."
    return "Convert it to numbers first, for instance with .astype('float32')."


def check_lengths(arrays: dict[str, AnyArray | None], op: str) -> int:
    """Return the number of samples all arrays share (None is skipped); ValueError naming two that differ."""
    present = {name: len(array) for name, array in arrays.items() if array is not None}
    first, samples = next(iter(present.items()))
    for name, length in present.items():
        if length != samples:
            raise ValueError(
                f"{op}: expected {first} and {name} with the same number of samples, got {samples} and "
                f"{length}. Every sample needs one entry in each."
            )
    return samples


def as_sample_weight(value: Any, op: str) -> AnyArray | None:
    """Return weights as a (n,) array, or None for None; ValueError for any other number of axes."""
    if value is None:
        return None
    weights = as_array(value, "sample_weight", op)
    if weights.ndim != 1:
        raise ValueError(
            f"{op}: expected sample_weight of shape (n,), one weight a sample, got {weights.shape}. "
            "Use sample_weight.reshape(-1) if it has one weight a sample."
        )
    return weights


class ArrayBatches:
    """The batches of one data set held in memory or in a memory-mapped file.

    Each iteration is one epoch and yields the rows of each batch: slices in order without ``shuffle``,
    integer arrays with it, in an order drawn anew from ``rng`` every epoch. The last batch may be smaller.
    ``gather`` turns rows into numbers.

    Args:
        x: (n, ...), anything ``as_array`` takes.
        y: (n,), (n, 1) or (n, classes) labels or targets, or None.
        sample_weight: (n,) or None.
        batch_size: rows a batch, at least 1.
        shuffle: draw a new order each epoch.
        rng: the generator that orders come from; a new, unseeded one if None.
        steps: batches an epoch. In ``fit`` the next epoch goes on where the last one stopped and the data is
            gone through again and again, as Keras does; elsewhere at most this many batches are read.
        op: the method that messages name. "predict" takes empty arrays, the others do not.

    Attributes:
        x, y, sample_weight: the arrays, not converted; samples: n; steps: batches an epoch.

    Raises:
        TypeError: a dtype that is not real numbers, or a batch_size or steps that is not an integer.
        ValueError: lengths that differ, no samples, or a batch_size or steps below 1.

    >>> import numpy as np
    >>> batches = ArrayBatches(np.zeros((7, 2)), [0, 1, 2, 3, 4, 5, 6], batch_size=3)
    >>> batches.steps, list(batches)
    (3, [slice(0, 3, None), slice(3, 6, None), slice(6, 7, None)])
    >>> out = np.empty(3, np.int32)
    >>> [batches.gather(batches.y, rows, out).tolist() for rows in batches]
    [[0, 1, 2], [3, 4, 5], [6]]
    """

    gather = staticmethod(gather)

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int = 32,
        shuffle: bool = False,
        rng: np.random.Generator | None = None,
        steps: int | None = None,
        op: str = "fit",
    ) -> None:
        self.x = as_array(x, "x", op)
        self.y = None if y is None else as_array(y, "y", op)
        self.sample_weight = as_sample_weight(sample_weight, op)
        self.samples = check_lengths({"x": self.x, "y": self.y, "sample_weight": self.sample_weight}, op)
        self.batch_size = check_positive(batch_size, "batch_size", op)
        if self.samples == 0 and op != "predict":
            raise ValueError(f"{op}: expected at least one sample, got x of shape {self.x.shape}.")
        self.shuffle = shuffle
        self._rng = np.random.default_rng() if rng is None else rng
        self.steps = -(-self.samples // self.batch_size)
        self._endless: Iterator[Indices] | None = None
        if steps is not None:
            steps = check_positive(steps, "steps", op)
            self.steps = steps if op == "fit" else min(steps, self.steps)
            self._endless = self._passes() if op == "fit" else None

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.steps

    def __iter__(self) -> Iterator[Indices]:
        return islice(self._pass() if self._endless is None else self._endless, self.steps)

    def _pass(self) -> Iterator[Indices]:
        starts = range(0, self.samples, self.batch_size)
        if not self.shuffle:
            return (slice(start, min(start + self.batch_size, self.samples)) for start in starts)
        order = self._rng.permutation(self.samples)
        return (order[start : start + self.batch_size] for start in starts)

    def _passes(self) -> Iterator[Indices]:
        while True:
            yield from self._pass()


def check_positive(value: Any, name: str, op: str) -> int:
    """Return ``value`` as an int; TypeError if it is not an integer, ValueError if it is below 1."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{op}: expected {name} to be an integer, got {value!r}. Pass 1 or more.")
    if value < 1:
        raise ValueError(f"{op}: expected {name} of at least 1, got {value}. Pass 1 or more.")
    return int(value)


def split_validation(
    x: Any, y: Any = None, sample_weight: Any = None, fraction: float = 0.2, op: str = "fit"
) -> tuple[tuple[AnyArray, Any, Any], tuple[AnyArray, Any, Any]]:
    """Split off the last ``fraction`` of the samples for validation, before any shuffling, as Keras does.

    Args:
        x, y, sample_weight: as for ``ArrayBatches``.
        fraction: share of the samples, between 0 and 1, both excluded; floor(n * (1 - fraction)) stay.
        op: the method that messages name.

    Returns:
        Two tuples (x, y, sample_weight), to train and to validate with: views, nothing is copied.

    Raises:
        TypeError: a fraction that is no number. ValueError: one outside (0, 1), or one that leaves either part without samples.

    >>> (x, _, _), (val_x, _, _) = split_validation([[0], [1], [2], [3], [4]], fraction=0.4)
    >>> x.ravel().tolist(), val_x.ravel().tolist()
    ([0, 1, 2], [3, 4])
    """
    if not isinstance(fraction, Real):
        raise TypeError(
            f"{op}: expected validation_split as a number, got {fraction!r}. Use 0.2 for the last fifth."
        )
    if not 0 < fraction < 1:
        raise ValueError(
            f"{op}: expected validation_split between 0 and 1, got {fraction}. "
            "Use 0.2 for the last fifth of the data."
        )
    parts = (
        as_array(x, "x", op),
        None if y is None else as_array(y, "y", op),
        as_sample_weight(sample_weight, op),
    )
    samples = check_lengths(dict(zip(("x", "y", "sample_weight"), parts, strict=True)), op)
    at = int(samples * (1 - fraction))
    if at in (0, samples):
        raise ValueError(
            f"{op}: expected validation_split to leave samples on both sides, got {fraction} of {samples} "
            "samples. Pass validation_data instead, or more samples."
        )
    x, y, sample_weight = ((None, None) if part is None else (part[:at], part[at:]) for part in parts)
    return (x[0], y[0], sample_weight[0]), (x[1], y[1], sample_weight[1])
