"""Prediction, and the passes that programs other than `fit` are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnlite import seeds
from cnnlite.batches import ArrayBatches, StreamBatches, as_array, borrow, check_positive, gather, is_stream
from cnnlite.callbacks import CallbackList
from cnnlite.layers import Dropout
from cnnlite.models.stack import Stack
from cnnlite.models.steps import verbosity
from cnnlite.models.targets import batch_of
from cnnlite.progress import Progress

AT_ONCE = 256  # images that predict hands to the threads together, at least


class Inference(Stack):
    """What a model does without targets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last: tuple[Any, dict[str, int], int] | None = None

    def forget(self) -> None:
        super().forget()
        self._last = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_last": None}

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> np.ndarray:
        """The network's outputs.

        Args:
            x: (n, *input_shape) of any numbers, nested lists, or a generator of batches. Converted batch by batch.
            batch_size: images at a time, 32 if None; it changes memory, not results.
            verbose: 0 silent, 1 a progress bar, 2 a line; "auto" is 0.
            steps: batches to read; callbacks: see cnnlite.callbacks.

        Returns:
            (n, *output_shape) of the model's dtype.

        Raises:
            ValueError: samples of another shape. TypeError: not numbers.
        """
        if (
            type(x) is np.ndarray
            and x.dtype == self.dtype
            and verbose in (0, "auto")
            and steps is None
            and callbacks is None
        ):
            return self._predict_array(x, batch_size)
        return self._predict_any(x, batch_size, verbose, steps, callbacks)

    def _predict_array(self, x: np.ndarray, batch_size: int | None) -> np.ndarray:
        """The short way for an array that needs no conversion."""
        if batch_size is not None:
            check_positive(batch_size, "batch_size", "predict")
        if not self.built:
            self.build(x.shape[1:])
        if x.shape[1:] != self.input_shape:
            self._check_samples(x.shape[1:], "predict")
        n = len(x)
        out = np.empty((n, *self.output_shape), self.dtype)  # type: ignore[misc]
        if not (x.flags.c_contiguous and x.flags.aligned):
            x = x.copy()
        at_once = max(AT_ONCE, batch_size or 0)
        network = self.network
        if n <= at_once:
            if n:
                network.predict(x, out)
            return out
        network.predict_in_turn(x, out, at_once)
        return out

    def _predict_any(
        self, x: Any, batch_size: int | None, verbose: int | str, steps: int | None, callbacks: Any
    ) -> np.ndarray:
        size = 32 if batch_size is None else batch_size
        stream = is_stream(x)
        batches: Any = (
            StreamBatches(x, steps=steps, op="predict")
            if stream
            else ArrayBatches(x, batch_size=size, steps=steps, op="predict")
        )
        params = {"steps": batches.steps}
        outputs = []
        with Progress(verbosity(verbose, 0, "predict"), batches.steps, 0 if stream else size) as progress:
            called = CallbackList(callbacks, self, params, say=progress.message)
            called.on_predict_begin()
            for number, batch in enumerate(batches):
                called.on_predict_batch_begin(number)
                if stream:
                    array, rows = batch.x, slice(0, len(batch.x))
                else:
                    array, rows = batches.x, batch
                outputs.append(self._predict_rows(array, rows))
                called.on_predict_batch_end(number, {"outputs": outputs[-1]})
                progress.update(number + 1, None, {})
            progress.epoch_end({})
            called.on_predict_end()
        if not outputs:
            self.build(np.shape(x)[1:])
            return np.empty((0, *self.output_shape), self.dtype)  # type: ignore[misc]
        return np.concatenate(outputs)

    def _predict_rows(self, array: np.ndarray, rows: Any) -> np.ndarray:
        self.build(array.shape[1:])
        self._check_samples(array.shape[1:], "predict")
        x = borrow(array, rows, self.dtype)
        if x is None:
            n = rows.stop - rows.start
            x = gather(array, rows, np.empty((n, *array.shape[1:]), self.dtype))
        return self._predict_array(x, None)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """`predict` of one batch."""
        x = as_array(x, "x", "predict_on_batch")
        return self._predict_any(x, max(1, len(x)), 0, None, None)

    def _check_samples(self, shape: tuple[int, ...], op: str) -> None:
        if shape != self.input_shape:
            hint, wanted = "", self.input_shape or ()
            if (*shape, 1) == wanted:
                hint = " Add the channel axis: x[..., None]."
            elif shape[1:] == wanted:
                hint = " There is an axis too many."
            elif shape == wanted[1:]:
                hint = " Is it one sample? Then x[None]."
            elif (*shape, 1) == wanted[1:]:
                hint = " Is it one sample? Then x[None, ..., None]."
            raise ValueError(
                f"{op}: expected x of shape {batch_of(self.input_shape)}, got {batch_of(shape)}.{hint}"
            )

    def __call__(self, x: Any, training: bool = False) -> np.ndarray:
        """The network's outputs for a batch; with training=True as during training (see `forward`)."""
        return self.forward(x, training=training)

    def forward(self, x: Any, training: bool = False, outputs: Sequence[str] | None = None) -> Any:
        """The forward pass of one batch, remembered for `backward`.

        Args:
            x: (n, *input_shape).
            training: whether dropout drops, and batch normalization that is not frozen normalises with the batch's mean and variance
                and moves its moving ones.
            outputs: names of layers whose outputs are wanted.

        Returns:
            (n, *output_shape); with `outputs` a dict of arrays by name. Only these may be given a gradient in `backward`, and
            the network's own output.

        A forward pass replaces what an earlier one has left: `backward` is always that of the last one, and may be called more
        than once, which adds up. A training step with a loss or metric of one's own is a forward pass too.
        """
        array = as_array(x, "x", "forward")
        self.build(array.shape[1:])
        self._check_samples(array.shape[1:], "forward")
        if len(array) == 0:
            raise ValueError("forward: expected at least one sample, got none.")
        names = [outputs] if isinstance(outputs, str) else list(outputs or [])
        for name in names:
            self.get_layer(name)
        passes, numbers = self.network.passes(len(array), training, names, self.trainable_weights)
        gather(array, slice(0, len(array)), passes.x.reshape(array.shape))
        self._draw_masks(training and self._has_masks())
        passes.forward()
        self._last = passes, numbers, int(self.network.key[0])
        if outputs is None:
            return self._output(passes, numbers[""], self.output_shape)
        return {
            name: self._output(passes, numbers[name], self.get_layer(name).output_shape) for name in names
        }

    def _has_masks(self) -> bool:
        return any(isinstance(layer, Dropout) for layer in self.layers)

    def _draw_masks(self, wanted: bool) -> None:
        if wanted:
            self.network.key[0] = seeds.draw_key()

    def _output(self, passes: Any, number: int, shape: Any) -> np.ndarray:
        return passes.outputs[number].reshape(-1, *shape).copy()

    def backward(self, grad: Any, weights: bool = True) -> np.ndarray:
        """The backward pass of the last `forward`.

        Args:
            grad: the gradient with respect to the output, (n, *output_shape), or a dict of gradients with respect to outputs of
                layers that `forward` was asked for, by name.
            weights: whether gradients of trainable weights are added to `gradients`. Without, for whoever wants x's alone, they are
                not computed, and neither are those of layers that were frozen (`trainable = False`) at the forward pass. Freezing
                changes batch normalization besides, see `BatchNormalization`; this does not.

        Returns:
            The gradient with respect to x, (n, *input_shape).

        Raises:
            RuntimeError: no forward pass before. ValueError: a layer whose output was not asked for, or another shape.
        """
        if self._last is None:
            raise RuntimeError("backward: expected a forward pass before it; call model.forward(x).")
        passes, numbers, key = self._last
        given = grad if isinstance(grad, Mapping) else {"": grad}
        if not given:
            raise ValueError("backward: expected at least one gradient, got an empty dict.")
        grads: dict[int, np.ndarray] = {}
        for name, value in given.items():
            if name not in numbers:
                asked = [known for known in numbers if known]
                raise ValueError(
                    f"backward: expected gradients of outputs that forward was asked for, {asked}, got {name!r}."
                )
            shape = self.output_shape if name == "" else self.get_layer(name).output_shape
            value = np.asarray(value, self.dtype)
            n = len(passes.x) // int(np.prod(self.input_shape))  # type: ignore[arg-type]
            if value.shape != (n, *shape):  # type: ignore[misc]
                raise ValueError(f"backward: expected a gradient of shape {(n, *shape)}, got {value.shape}.")  # type: ignore[misc]
            number = numbers[name]
            value = value.reshape(n, -1)  # layers that share a stage may differ in shape
            grads[number] = grads[number] + value if number in grads else value
        self.network.key[0] = key  # the masks of that forward pass, whatever was trained since
        return passes.backward(grads, weights).reshape(-1, *self.input_shape).copy()  # type: ignore[misc]

    def zero_gradients(self) -> None:
        """Sets the gradients of all weights to zero."""
        for parameter in self.weights:
            parameter.write_gradient(0)

    @property
    def gradients(self) -> list[np.ndarray]:
        """Copies of the gradients that backward passes have added up, for each of `trainable_weights`."""
        return [parameter.read_gradient() for parameter in self.trainable_weights]
