"""Training and evaluation: compile, fit, evaluate, and single batches of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from cnnlite import losses, metrics, optimizers, seeds
from cnnlite.batches import ArrayBatches, StreamBatches, as_array, class_weights, gather, is_stream, split_validation
from cnnlite.callbacks import CallbackList, History
from cnnlite.layers import Dropout
from cnnlite.losses.loss import LossKernel
from cnnlite.models.compiling import tell_of_compiling
from cnnlite.models.inference import Inference
from cnnlite.models.targets import check_targets, write_targets
from cnnlite.parameters import Parameter
from cnnlite.progress import Progress


class Rows(NamedTuple):
    """A batch before it is converted: rows (a slice or an array of numbers) of x, y and weights."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None
    rows: Any
    n: int


class Step(NamedTuple):
    """What all steps of an epoch share: looked up once, because a step takes a millisecond."""

    optimizer: optimizers.Optimizer
    loss: losses.Loss
    kernel: LossKernel | None
    parameters: list[Parameter]
    penalised: list[Parameter]
    masks: bool


class Totals:
    """Losses and metrics of an epoch, each batch counting with its number of samples."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._sums = [0.0] * (1 + len(names))
        self._samples = 0

    def add(self, values: list[float], samples: int) -> None:
        for i, value in enumerate(values):
            self._sums[i] += value * samples
        self._samples += samples

    def values(self) -> list[float]:
        """[loss, *metrics]."""
        return [total / max(1, self._samples) for total in self._sums]

    def logs(self, prefix: str = "") -> dict[str, float]:
        """By name, in the order in which Keras prints them."""
        named = zip(["loss", *self._names], self.values(), strict=True)
        return {prefix + name: value for name, value in sorted(named)}


class Training(Inference):
    """What a model does with targets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: losses.Loss | None = None
        self.metrics: list[metrics.Metric] = []
        self.history: History | None = None
        self.stop_training = False

    # compile

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Any = None, **unsupported: Any) -> None:
        """Says how the model is trained.

        Args:
            optimizer: a name ("adam", "sgd", "rmsprop") or an object of cnnlite.optimizers.
            loss: a name, an object of cnnlite.losses, or a function (y_true, y_pred) -> (losses (n,), gradient).
            metrics: a list of names ("accuracy"), functions (y_true, y_pred) -> numbers, or cnnlite.metrics.Metric.

        Raises:
            ValueError: an unknown name. TypeError: something else.
        """
        if unsupported:
            raise TypeError(f"compile: unknown arguments {sorted(unsupported)}; it takes optimizer, loss and metrics.")
        self.optimizer = optimizers.get(optimizer)
        self.loss = None if loss is None else losses.get(loss)
        given = [] if metrics is None else list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
        self.metrics = [_metric(metric) for metric in given]

    @property
    def metrics_names(self) -> list[str]:
        """["loss", *names of metrics]: what `evaluate` returns, in order."""
        return ["loss", *[metric.name for metric in self.metrics]]

    def _compiled(self, op: str) -> tuple[optimizers.Optimizer, losses.Loss]:
        if self.optimizer is None or self.loss is None:
            raise RuntimeError(
                f"{op}: expected a compiled model; call model.compile(optimizer='adam', loss='sparse_categorical_crossentropy', "
                "metrics=['accuracy']) first."
            )
        return self.optimizer, self.loss

    def _loss_kernel(self) -> LossKernel | None:
        """The kernel for the loss, if it and all metrics are computed without Python."""
        assert self.loss is not None and self.output_shape is not None
        if not all(metrics.is_accuracy(metric) for metric in self.metrics) or self.loss.reduction not in ("sum_over_batch_size", "sum"):
            return None
        kernel = self.loss.kernel(self.network.last_activation())
        over_pixels = len(self.output_shape) > 1 and (kernel is not None and kernel.kernel == "softmax_cross_entropy")
        return None if over_pixels else kernel

    # fit

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, epochs: int = 1, verbose: int | str = "auto",
        callbacks: Any = None, validation_split: float = 0.0, validation_data: Any = None, shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None, sample_weight: Any = None, initial_epoch: int = 0,
        steps_per_epoch: int | None = None, validation_steps: int | None = None, validation_batch_size: int | None = None,
        validation_freq: int = 1,
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
            steps_per_epoch, validation_steps: batches an epoch, for generators. validation_freq: epochs between validations.

        Returns:
            A History, whose `history` has a list for the loss and each metric, with "val_" for the held out samples.

        Raises:
            RuntimeError: not compiled. ValueError, TypeError: data that do not fit; the message says what would.

        Ctrl-C raises KeyboardInterrupt between two steps: the model keeps what it has learnt and can go on.
        """
        self._compiled("fit")
        if not isinstance(epochs, (int, np.integer)) or epochs < 0:
            raise ValueError(f"fit: expected epochs as an integer of at least 0, got {epochs!r}.")
        if validation_split and validation_data is None:
            if is_stream(x):
                raise ValueError("fit: validation_split needs arrays; pass validation_data with a generator.")
            (x, y, sample_weight), validation_data = split_validation(x, y, sample_weight, validation_split)
        rng = seeds.generator()
        size = 32 if batch_size is None else batch_size
        batches: Any
        if is_stream(x):
            if y is not None:
                raise ValueError("fit: expected y=None with a generator, which gives (x, y) itself.")
            batches = StreamBatches(x, steps=steps_per_epoch, shuffle=shuffle, rng=rng)
        else:
            batches = ArrayBatches(x, y, sample_weight, size, shuffle=shuffle, rng=rng, steps=steps_per_epoch)
            if batches.y is None:
                raise ValueError("fit: expected labels or targets y, got None.")
            self._ready(batches.x, batches.y, "fit")
        if isinstance(validation_data, (tuple, list)):
            self._check_validation(validation_data)
        level = 1 if verbose == "auto" else int(verbose)
        with Progress(level, batches.steps, 0 if is_stream(x) else size) as progress, tell_of_compiling(progress, level):
            params = {"epochs": epochs, "steps": batches.steps, "verbose": level}
            called = CallbackList(callbacks, self, params, add_history=True, say=progress.message)
            self.history = called.history
            self.stop_training = False
            called.on_train_begin()
            for epoch in range(initial_epoch, epochs):
                called.on_epoch_begin(epoch)
                progress.epoch_begin(epoch, epochs)
                totals = Totals(self.metrics_names[1:])
                self._train_epoch(batches, class_weight, totals, called, progress)
                logs = totals.logs()
                if validation_data is not None and (epoch + 1) % validation_freq == 0:
                    logs.update(
                        self._evaluate_totals(
                            *_unpack(validation_data), validation_batch_size or size, validation_steps, called
                        ).logs("val_")
                    )
                progress.epoch_end(logs)
                called.on_epoch_end(epoch, logs)
                if self.stop_training or getattr(batches, "exhausted", False):
                    break
            called.on_train_end()
        assert self.history is not None
        return self.history

    def _train_epoch(
        self, batches: Any, class_weight: Mapping[int, float] | None, totals: Totals, called: CallbackList, progress: Progress
    ) -> None:
        images = 0
        step = None
        for number, batch in enumerate(self._rows(batches, class_weight, "fit")):
            step = step or self._step("fit")
            if called.uses_batch_hooks:
                called.on_train_batch_begin(number)
            totals.add(self._train_rows(batch, step), batch.n)
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
                    weights = class_weights(batch.y, class_weight, weights)
                yield Rows(batch.x, batch.y, weights, slice(0, len(batch.x)), len(batch.x))
            return
        weights = batches.sample_weight
        if class_weight is not None:
            weights = class_weights(batches.y, class_weight, weights)
        for rows in batches:
            count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
            yield Rows(batches.x, batches.y, weights, rows, count)

    def _ready(self, x: np.ndarray, y: Any, op: str) -> None:
        """Builds the model if it is not, and checks that data fit."""
        assert self.loss is not None
        self.build(x.shape[1:])
        self._check_samples(x.shape[1:], op)
        check_targets(y, self.output_shape, self.loss, self._loss_kernel(), op)  # type: ignore[arg-type]

    # one step

    def _step(self, op: str) -> Step:
        """What the coming steps share; the model is built."""
        optimizer, loss = self._compiled(op)
        parameters = self.trainable_weights
        optimizer.build(parameters)
        penalised = [parameter for parameter in self.weights if parameter.regularizer is not None]
        masks = any(isinstance(layer, Dropout) for layer in self.layers)
        return Step(optimizer, loss, self._loss_kernel() if parameters else None, parameters, penalised, masks)

    def _train_rows(self, batch: Rows, step: Step) -> list[float]:
        """One optimizer step; returns [loss, *metrics] of the batch before it."""
        penalty = self._penalty(step.penalised)
        self._draw_masks(step.masks)
        if step.kernel is None:
            return self._train_in_python(batch, penalty)
        scale = 1.0 if step.loss.reduction == "sum" else 1.0 / batch.n
        program = self.network.train(batch.n, step.kernel, step.optimizer, scale)
        with self.network.exclusive:
            self._write(program.batch, batch)
            program()
            return self._values(program.batch, batch.n, penalty)

    def _write(self, to: Any, batch: Rows) -> None:
        """Converts a batch into a program's memory."""
        n = batch.n
        gather(batch.x, batch.rows, to.x.reshape(n, *batch.x.shape[1:]))
        write_targets(batch.y, batch.rows, to.targets, n)
        if batch.weights is not None:
            to.weights[:] = batch.weights[batch.rows]
        else:
            to.weights.fill(1)

    def _values(self, told: Any, n: int, penalty: float) -> list[float]:
        assert self.loss is not None
        total = float(told.losses.sum(dtype=np.float64))
        loss = total if self.loss.reduction == "sum" else total / n
        if not self.metrics:
            return [loss + penalty]
        right = float(told.correct.sum(dtype=np.float64)) / n
        return [loss + penalty, *([right] * len(self.metrics))]

    def _penalty(self, parameters: list[Parameter] | None = None) -> float:
        """What regularisers add to the loss."""
        return sum(
            parameter.regularizer.value(parameter.value)
            for parameter in (self.weights if parameters is None else parameters)
            if parameter.regularizer is not None
        )

    def _train_in_python(self, batch: Rows, penalty: float) -> list[float]:
        """A step with a loss or metrics of the user's own: forward, their formulas, backward, optimizer."""
        optimizer, loss = self._compiled("fit")
        x, y, weights = _converted(batch, self.dtype)
        kept = [parameter.gradient.copy() for parameter in self.trainable_weights]
        self.zero_gradients()
        y_pred = self.forward(x, training=True)
        values, grad = self._python_values(y, y_pred, weights), np.asarray(loss.gradient(y, y_pred))
        per_sample = np.asarray(loss.call(y, y_pred))
        grad = grad / max(1, per_sample.size // len(per_sample))  # the mean over further axes
        grad = grad * weights.reshape(-1, *[1] * (grad.ndim - 1))
        self.backward(grad if loss.reduction == "sum" else grad / len(x))
        optimizer.apply(self.trainable_weights)
        for parameter, gradient in zip(self.trainable_weights, kept, strict=True):
            parameter.gradient[...] = gradient
        return [values[0] + penalty, *values[1:]]

    def _python_values(self, y: np.ndarray, y_pred: np.ndarray, weights: np.ndarray) -> list[float]:
        assert self.loss is not None
        total = float((self.loss.per_sample(y, y_pred) * weights).sum())
        loss = total if self.loss.reduction == "sum" else total / len(y)
        return [loss, *(metric(y, y_pred) for metric in self.metrics)]

    # evaluate

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, verbose: int | str = "auto", sample_weight: Any = None,
        steps: int | None = None, callbacks: Any = None, return_dict: bool = False,
    ) -> Any:  # fmt: skip
        """Loss and metrics, dropout off.

        Args:
            as `fit`. return_dict: a dict by name in place of a list.

        Returns:
            [loss, *metrics], the loss alone if there are no metrics, or a dict.

        Raises:
            as `fit`.
        """
        self._compiled("evaluate")
        level = 1 if verbose == "auto" else int(verbose)
        size = 32 if batch_size is None else batch_size
        total = None if is_stream(x) else -(-len(x) // size) if steps is None else steps
        with Progress(level, total, 0 if is_stream(x) else size) as progress, tell_of_compiling(progress, level):
            called = CallbackList(callbacks, self, {"steps": total}, say=progress.message)
            totals = self._evaluate_totals(x, y, sample_weight, size, steps, called, progress)
            progress.epoch_end(totals.logs())
        if return_dict:
            return totals.logs()
        return totals.values() if self.metrics else totals.values()[0]

    def _evaluate_totals(
        self, x: Any, y: Any, sample_weight: Any, batch_size: int, steps: int | None, called: CallbackList, progress: Any = None
    ) -> Totals:
        stream = is_stream(x)
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
        penalty = self._penalty()
        called.on_test_begin()
        images = 0
        for number, batch in enumerate(self._rows(batches, None, "evaluate")):
            called.on_test_batch_begin(number)
            totals.add(self._evaluate_rows(batch, penalty), batch.n)
            images += batch.n
            called.on_test_batch_end(number, totals.logs() if called.uses_test_batch_hooks else None)
            if progress is not None:
                progress.update(number + 1, images, totals.logs)
        called.on_test_end(totals.logs())
        return totals

    def _evaluate_rows(self, batch: Rows, penalty: float) -> list[float]:
        kernel = self._loss_kernel()
        if kernel is None:
            x, y, weights = _converted(batch, self.dtype)
            values = self._python_values(y, self._predict_array(x, None), weights)
            return [values[0] + penalty, *values[1:]]
        program = self.network.evaluate(batch.n, kernel)
        with self.network.exclusive:
            self._write(program.batch, batch)
            program()
            return self._values(program.batch, batch.n, penalty)

    # single batches

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Mapping[int, float] | None = None, return_dict: bool = False
    ) -> Any:
        """One step on one batch; returns [loss, *metrics] (the loss alone without metrics) from before it."""
        self._compiled("train_on_batch")
        batch = self._one(x, y, sample_weight, class_weight, "train_on_batch")
        return self._returned(self._train_rows(batch, self._step("train_on_batch")), return_dict)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """`evaluate` of one batch."""
        self._compiled("test_on_batch")
        batch = self._one(x, y, sample_weight, None, "test_on_batch")
        return self._returned(self._evaluate_rows(batch, self._penalty()), return_dict)

    def _one(self, x: Any, y: Any, sample_weight: Any, class_weight: Mapping[int, float] | None, op: str) -> Rows:
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
        x, y, _ = _unpack(validation_data)
        x, y = as_array(x, "validation x"), as_array(y, "validation y")
        self.build(x.shape[1:])
        self._ready(x, y, "fit, validation_data")


def _metric(identifier: Any) -> metrics.Metric:
    return metrics.get(identifier)


def _unpack(validation_data: Any) -> tuple[Any, Any, Any]:
    """(x, y, weights) of validation data."""
    if is_stream(validation_data):
        return validation_data, None, None
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise ValueError("fit: expected validation_data as (x, y), (x, y, sample_weight) or a generator.")
    return (*validation_data, None)[:3]


def _converted(batch: Rows, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The batch's own arrays: x and y converted (labels stay integers), weights of one where there are none."""
    x = gather(batch.x, batch.rows, np.empty((batch.n, *batch.x.shape[1:]), dtype))
    y = batch.y[batch.rows]
    if y.dtype.kind == "f" or y.ndim > 2:
        y = y.astype(dtype)
    weights = np.ones(batch.n, dtype) if batch.weights is None else batch.weights[batch.rows].astype(dtype)
    return x, y, weights
