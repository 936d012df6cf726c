"""What training and evaluation are made of: compile, and one batch through loss, metrics and optimizer."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from cnnlite import losses, metrics, optimizers
from cnnlite.batches import gather
from cnnlite.callbacks import History
from cnnlite.losses.loss import LossKernel
from cnnlite.metrics import get as get_metric
from cnnlite.models.inference import Inference
from cnnlite.models.steps import Later, Rows, Step, converted
from cnnlite.models.targets import check_targets, write_targets
from cnnlite.parameters import Parameter


class Learner(Inference):
    """What a model does with one batch and its targets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: losses.Loss | None = None
        self.metrics: list[metrics.Metric] = []
        self.history: History | None = None
        self.stop_training = False

    # compile

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        *,
        mixed_precision: str | None = None,
        **unsupported: Any,
    ) -> None:
        """Says how the model is trained.

        Args:
            optimizer: a name ("adam", "adamw", "rmsprop", "sgd") or an object of cnnlite.optimizers.
            loss: a name, an object of cnnlite.losses, or a function (y_true, y_pred) -> (losses (n,), gradient).
            metrics: a list of names ("accuracy"; those of losses such as "mae" too), functions (y_true, y_pred) -> numbers, or
                cnnlite.metrics.Metric. Accuracies are counted in the loss's kernel, others in Python, by a step that is slower.
            mixed_precision: "bfloat16" for faster products of rounded numbers, in training and prediction: see the property
                `mixed_precision`, which it sets; None leaves that as it is.

        Raises:
            ValueError: an unknown name. TypeError: something else.
        """
        if unsupported:
            raise TypeError(
                f"compile: unknown arguments {sorted(unsupported)}; it takes optimizer, loss, metrics and mixed_precision."
            )
        given = [] if metrics is None else list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
        optimizer, loss = optimizers.get(optimizer), None if loss is None else losses.get(loss)
        metrics = [get_metric(metric) for metric in given]
        if mixed_precision is not None:
            self.mixed_precision = mixed_precision
        # all of it is known to be right: a compile that fails leaves the model as it was
        self.optimizer, self.loss, self.metrics = optimizer, loss, metrics
        self.forget()  # what was compiled before may have other numbers in it

    @property
    def metrics_names(self) -> list[str]:
        """["loss", *names of metrics]: what `evaluate` returns, in order."""
        return ["loss", *[metric.name for metric in self.metrics]]

    def _compiled(self, op: str) -> tuple[optimizers.Optimizer, losses.Loss]:
        if self.optimizer is not None and self.loss is None:
            raise RuntimeError(f"{op}: expected a loss, got none; call model.compile(model.optimizer, loss).")
        if self.optimizer is None or self.loss is None:
            raise RuntimeError(
                f"{op}: expected a compiled model; call model.compile(optimizer='adam', loss='sparse_categorical_crossentropy', "
                "metrics=['accuracy']) first."
            )
        return self.optimizer, self.loss

    def _loss_kernel(self) -> LossKernel | None:
        """The kernel for the loss, if it and all metrics are computed without Python."""
        assert self.loss is not None and self.output_shape is not None
        if not all(metrics.is_counted(metric, self.output_shape) for metric in self.metrics):
            return None
        if self.loss.reduction not in ("sum_over_batch_size", "sum"):
            return None
        kernel = self.loss.kernel(self.network.last_activation())
        over_pixels = len(self.output_shape) > 1 and kernel is not None and kernel.of_last_axis
        return None if over_pixels else kernel

    def _ready(self, x: np.ndarray, y: Any, op: str) -> None:
        """Builds the model if it is not, and checks that data fit."""
        assert self.loss is not None
        self.build(x.shape[1:])
        self._check_samples(x.shape[1:], op)
        check_targets(y, self.output_shape, self.loss, op)  # type: ignore[arg-type]

    # one step

    def _step(self, op: str) -> Step:
        """What the coming steps share; the model is built."""
        optimizer, loss = self._compiled(op)
        parameters = self.trainable_weights
        optimizer.build(parameters)
        penalised = [parameter for parameter in parameters if parameter.regularizer is not None]
        return Step(
            optimizer,
            loss,
            self._loss_kernel() if parameters else None,
            parameters,
            penalised,
            self._has_masks(),
        )

    def _train_rows(self, batch: Rows, step: Step) -> list[float]:
        """One optimizer step; returns [loss, *metrics] of the batch before it."""
        values = self._begin_rows(batch, step)
        return values() if callable(values) else values

    def _begin_rows(self, batch: Rows, step: Step) -> list[float] | Later:
        """One optimizer step; a device that works by itself has only begun it, and `Later` waits for its [loss, *metrics]."""
        if step.kernel is None:
            return self._train_in_python(batch, step, self._penalty(step.penalised))
        self._draw_masks(step.masks)
        scale = 1.0 if step.loss.reduction == "sum" else 1.0 / batch.n
        program = self.network.train(batch.n, step.kernel, step.optimizer, scale)
        with self.network.exclusive:
            self._write(program.batch, batch)
            penalty = 0.0 if program.penalises else self._penalty(step.penalised)
            told = program()
            if program.ahead:
                return partial(self._values, told, batch.n, penalty)
            return self._values(told, batch.n, penalty)

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
        penalty += told.penalty
        if not self.metrics:
            return [loss + penalty]
        right = float(told.correct.sum(dtype=np.float64)) / n
        return [loss + penalty, *([right] * len(self.metrics))]

    def _penalty(self, parameters: list[Parameter] | None = None) -> float:
        """What regularisers add to the loss: those of weights that are trained, as in Keras."""
        return sum(
            parameter.regularizer.value(parameter.value)
            for parameter in (self.trainable_weights if parameters is None else parameters)
            if parameter.regularizer is not None
        )

    def _train_in_python(self, batch: Rows, step: Step, penalty: float) -> list[float]:
        """A step with a loss or metrics of the user's own: forward, their formulas, backward, optimizer."""
        loss = step.loss
        x, y, weights = self._converted(batch)
        kept = [parameter.read_gradient() for parameter in step.parameters]
        for parameter in step.parameters:
            parameter.write_gradient(0)
        y_pred = self.forward(x, training=True)
        values, grad = self._python_values(y, y_pred, weights), np.asarray(loss.gradient(y, y_pred))
        per_sample = np.asarray(loss.call(y, y_pred))
        grad = grad / max(1, per_sample.size // len(per_sample))  # the mean over further axes
        grad = grad * weights.reshape(-1, *[1] * (grad.ndim - 1))
        self.backward(grad if loss.reduction == "sum" else grad / len(x))
        step.optimizer.apply(step.parameters)
        for parameter, gradient in zip(step.parameters, kept, strict=True):
            parameter.write_gradient(gradient)
        return [values[0] + penalty, *values[1:]]

    def _converted(self, batch: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        assert self.loss is not None and self.output_shape is not None
        return converted(batch, self.dtype, self.loss, self.output_shape)

    def _python_values(self, y: np.ndarray, y_pred: np.ndarray, weights: np.ndarray) -> list[float]:
        assert self.loss is not None
        total = float((self.loss.per_sample(y, y_pred) * weights).sum())
        loss = total if self.loss.reduction == "sum" else total / len(y)
        return [loss, *(metric(y, y_pred) for metric in self.metrics)]

    # one evaluation

    def _evaluate_rows(self, batch: Rows, kernel: LossKernel | None, penalty: float) -> list[float]:
        """[loss, *metrics] of a batch."""
        if kernel is None:
            x, y, weights = self._converted(batch)
            values = self._python_values(y, self._predict_array(x, None), weights)
            return [values[0] + penalty, *values[1:]]
        program = self.network.evaluate(batch.n, kernel)
        with self.network.exclusive:
            self._write(program.batch, batch)
            return self._values(program(), batch.n, penalty)
