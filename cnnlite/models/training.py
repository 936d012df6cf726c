"""Training and evaluation: fit, evaluate, and single batches of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cnnlite import seeds
from cnnlite.batches import (
    ArrayBatches,
    StreamBatches,
    as_array,
    check_positive,
    class_weights,
    is_stream,
    split_validation,
)
from cnnlite.callbacks import CallbackList, History
from cnnlite.models.compiling import tell_of_compiling
from cnnlite.models.learner import Learner
from cnnlite.models.steps import Rows, Totals, only_stream, unpack, validates, verbosity
from cnnlite.progress import Progress


class Training(Learner):
    """What a model does with data sets and their targets."""

    # fit

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, epochs: int = 1, verbose: int | str = "auto",
        callbacks: Any = None, validation_split: float = 0.0, validation_data: Any = None, shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None, sample_weight: Any = None, initial_epoch: int = 0,
        steps_per_epoch: int | None = None, validation_steps: int | None = None, validation_batch_size: int | None = None,
        validation_freq: Any = 1,
    ) -> History:  # fmt: skip
        """Trains the model.

        Args:
            x: (n, *input_shape) of any numbers, nested lists, or a generator, iterable or Sequence of (x, y[, weights]).
            y: labels (n,) or targets (n, *output_shape), as the loss asks.
            batch_size: 32 if None. epochs: number of the last epoch; initial_epoch: epochs done before.
            verbose: 0 silent, 1 a progress bar, 2 a line an epoch; "auto" is 1.
            callbacks: see cnnlite.callbacks.
            validation_split: the last share of the samples is held out. validation_data: (x, y[, weights]) or a generator.
            shuffle: a new order each epoch. class_weight: {class: weight}; sample_weight: (n,).
            steps_per_epoch, validation_steps: batches an epoch, for generators.
            validation_freq: epochs from one validation to the next, or a list of epochs counted from 1.

        Returns:
            A History, whose `history` has a list for the loss and each metric, with "val_" for the held out samples.

        Raises:
            RuntimeError: not compiled. ValueError, TypeError: data that do not fit; the message says what would.

        Ctrl-C raises KeyboardInterrupt between two steps: the model keeps what it has learnt and can go on.
        """
        self._compiled("fit")
        if not isinstance(epochs, (int, np.integer)) or epochs < 0:
            raise ValueError(f"fit: expected epochs as an integer of at least 0, got {epochs!r}.")
        if not isinstance(initial_epoch, (int, np.integer)) or initial_epoch < 0:
            raise ValueError(
                f"fit: expected initial_epoch as an integer of at least 0, got {initial_epoch!r}."
            )
        level = verbosity(verbose, 1, "fit")
        validates(0, validation_freq)
        if validation_split and validation_data is None:
            if is_stream(x):
                raise ValueError("fit: validation_split needs arrays; pass validation_data with a generator.")
            (x, y, sample_weight), validation_data = split_validation(x, y, sample_weight, validation_split)
        rng = seeds.generator()
        size = 32 if batch_size is None else batch_size
        batches: Any
        if is_stream(x):
            only_stream("fit", y=y, sample_weight=sample_weight)
            batches = StreamBatches(x, steps=steps_per_epoch, shuffle=shuffle, rng=rng)
        else:
            batches = ArrayBatches(x, y, sample_weight, size, shuffle=shuffle, rng=rng, steps=steps_per_epoch)
            if batches.y is None:
                raise ValueError("fit: expected labels or targets y, got None.")
            self._ready(batches.x, batches.y, "fit")
        if isinstance(validation_data, (tuple, list)):
            self._check_validation(validation_data)
        with (
            Progress(level, batches.steps, 0 if is_stream(x) else size) as progress,
            tell_of_compiling(progress, level),
        ):
            params = {"epochs": epochs, "steps": batches.steps, "verbose": level}
            called = CallbackList(callbacks, self, params, add_history=True, say=progress.message)
            self.history = called.history
            self.stop_training = False
            called.on_train_begin()
            logs: dict[str, Any] | None = None
            for epoch in range(initial_epoch, epochs):
                called.on_epoch_begin(epoch)
                progress.epoch_begin(epoch, epochs)
                totals = Totals(self.metrics_names[1:])
                self._train_epoch(batches, class_weight, totals, called, progress)
                logs = totals.logs()
                if validation_data is not None and validates(epoch, validation_freq):
                    logs.update(
                        self._evaluate_totals(
                            *unpack(validation_data),
                            size if validation_batch_size is None else validation_batch_size,
                            validation_steps,
                            called,
                        ).logs("val_")
                    )
                progress.epoch_end(logs)
                called.on_epoch_end(epoch, logs)
                if self.stop_training or getattr(batches, "exhausted", False):
                    break
            called.on_train_end(logs)
        assert self.history is not None
        return self.history

    def _train_epoch(
        self,
        batches: Any,
        class_weight: Mapping[int, float] | None,
        totals: Totals,
        called: CallbackList,
        progress: Progress,
    ) -> None:
        images = 0
        step = None
        for number, batch in enumerate(self._rows(batches, class_weight, "fit")):
            step = step or self._step("fit")
            if called.uses_batch_hooks:
                called.on_train_batch_begin(number)
            totals.add(self._begin_rows(batch, step), batch.n)
            images += batch.n
            if called.uses_batch_hooks:
                called.on_train_batch_end(number, totals.logs())
            progress.update(number + 1, images, totals.logs)
            if self.stop_training:
                break

    def _rows(self, batches: Any, class_weight: Mapping[int, float] | None, op: str) -> Iterator[Rows]:
        """The batches of an epoch."""
        if isinstance(batches, StreamBatches):
            for batch in batches:
                assert batch.y is not None  # StreamBatches has checked it
                self._ready(batch.x, batch.y, op)
                weights = batch.sample_weight
                if class_weight is not None:
                    weights = class_weights(batch.y, class_weight, weights, op)
                yield Rows(batch.x, batch.y, weights, slice(0, len(batch.x)), len(batch.x))
            return
        weights = batches.sample_weight
        if class_weight is not None:
            weights = class_weights(batches.y, class_weight, weights, op)
        for rows in batches:
            count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
            yield Rows(batches.x, batches.y, weights, rows, count)

    # evaluate

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, verbose: int | str = "auto", sample_weight: Any = None,
        steps: int | None = None, callbacks: Any = None, return_dict: bool = False,
    ) -> Any:  # fmt: skip
        """Loss and metrics, dropout off, batch normalization by its moving mean and variance.

        Args:
            as `fit`. return_dict: a dict by name in place of a list.

        Returns:
            [loss, *metrics], the loss alone if there are no metrics, or a dict.

        Raises:
            as `fit`.
        """
        self._compiled("evaluate")
        level = verbosity(verbose, 1, "evaluate")
        size = check_positive(32 if batch_size is None else batch_size, "batch_size", "evaluate")
        if not is_stream(x):
            x = as_array(x, "x", "evaluate")
        total = steps if is_stream(x) or steps is not None else -(-len(x) // size)
        with (
            Progress(level, total, 0 if is_stream(x) else size) as progress,
            tell_of_compiling(progress, level),
        ):
            called = CallbackList(callbacks, self, {"steps": total}, say=progress.message)
            totals = self._evaluate_totals(x, y, sample_weight, size, steps, called, progress)
            progress.epoch_end(totals.logs())
        if return_dict:
            return totals.logs()
        return totals.values() if self.metrics else totals.values()[0]

    def _evaluate_totals(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int,
        steps: int | None,
        called: CallbackList,
        progress: Any = None,
    ) -> Totals:
        stream = is_stream(x)
        if stream:
            only_stream("evaluate", y=y, sample_weight=sample_weight)
        batches: Any = (
            StreamBatches(x, steps=steps, op="evaluate")
            if stream
            else ArrayBatches(x, y, sample_weight, batch_size, steps=steps, op="evaluate")
        )
        if not stream:
            if batches.y is None:
                raise ValueError("evaluate: expected labels or targets y, got None.")
            self._ready(batches.x, batches.y, "evaluate")
        totals = Totals(self.metrics_names[1:])
        called.on_test_begin()
        images = 0
        shared = None
        for number, batch in enumerate(self._rows(batches, None, "evaluate")):
            called.on_test_batch_begin(number)
            shared = shared or (self._loss_kernel(), self._penalty())
            totals.add(self._evaluate_rows(batch, *shared), batch.n)
            images += batch.n
            called.on_test_batch_end(number, totals.logs() if called.uses_test_batch_hooks else None)
            if progress is not None:
                progress.update(number + 1, images, totals.logs)
        called.on_test_end(totals.logs())
        return totals

    # single batches

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch; returns [loss, *metrics] (the loss alone without metrics) from before it."""
        self._compiled("train_on_batch")
        batch = self._one(x, y, sample_weight, class_weight, "train_on_batch")
        return self._returned(self._train_rows(batch, self._step("train_on_batch")), return_dict)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """`evaluate` of one batch."""
        self._compiled("test_on_batch")
        batch = self._one(x, y, sample_weight, None, "test_on_batch")
        return self._returned(self._evaluate_rows(batch, self._loss_kernel(), self._penalty()), return_dict)

    def _one(
        self, x: Any, y: Any, sample_weight: Any, class_weight: Mapping[int, float] | None, op: str
    ) -> Rows:
        x = as_array(x, "x", op)
        batches = ArrayBatches(x, y, sample_weight, max(1, len(x)), op=op)
        if batches.y is None:
            raise ValueError(f"{op}: expected labels or targets y, got None.")
        self._ready(batches.x, batches.y, op)
        return next(self._rows(batches, class_weight, op))

    def _returned(self, values: list[float], return_dict: bool) -> Any:
        if return_dict:
            return dict(zip(self.metrics_names, values, strict=True))
        return values if self.metrics else values[0]

    def _check_validation(self, validation_data: Any) -> None:
        op = "fit, validation_data"
        batches = ArrayBatches(*unpack(validation_data), op=op)
        if batches.y is None:
            raise ValueError(f"{op}: expected labels or targets y, got None.")
        self._ready(batches.x, batches.y, op)
