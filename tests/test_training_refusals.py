"""What fit, evaluate, predict, compile and single batches refuse, and what their messages say."""

from __future__ import annotations

from typing import Any

import networks
import numpy as np
import pytest
from small_training import compiled, data, endless

from cnnlite import callbacks, metrics, optimizers

pytestmark = pytest.mark.usefixtures("seeded")


def refused() -> dict[str, tuple[Any, type[Exception], str]]:
    x, y = data(20)
    hot = np.eye(3)[y]
    dense = "categorical_crossentropy"

    def fitted(*arguments: Any, loss: Any = "sparse_categorical_crossentropy", **named: Any) -> Any:
        return lambda: compiled(loss).fit(*arguments, **{"verbose": 0, **named})

    return {
        "not compiled": (lambda: networks.small().fit(x, y), RuntimeError, r"fit: expected a compiled model; call model.compile\("),
        "no loss": (lambda: compiled(None).evaluate(x, y), RuntimeError, r"evaluate: expected a loss, got none; call model.compile\("),
        "batch": (lambda: networks.small().train_on_batch(x, y), RuntimeError, "train_on_batch: expected a compiled model"),
        "optimizer": (lambda: compiled(optimizer="adagrad"), ValueError, r"optimizer: expected one of \['adam', 'adamw', .*\]"),
        "optimizer object": (lambda: compiled(optimizer=3), TypeError, "optimizer: expected a name or an Optimizer, got int"),
        "loss": (lambda: compiled("poisson"), ValueError, "loss: expected one of .*, got 'poisson'"),
        "loss object": (lambda: compiled(3), TypeError, "loss: expected a name, a Loss or a function, got int"),
        "metric": (lambda: compiled(more=["f1"]), ValueError, "metrics: expected one of .*, got 'f1'"),
        "metric object": (lambda: compiled(more=[3]), TypeError, "metrics: expected names, functions or Metrics, got int"),
        "metric class": (lambda: compiled(more=[metrics.Metric]), TypeError, "got the class Metric; call it first"),
        "argument": (lambda: networks.small().compile(jit_compile=True), TypeError, r"compile: unknown arguments \['jit_compile'\]"),
        "one hot": (fitted(x, hot), ValueError, r"expected labels y of shape \(n,\) .* got \(n, 3\). They look one-hot"),
        "labels": (fitted(x, y, loss=dense), ValueError, r"targets y of shape \(n, 3\), got \(n,\).*sparse_categorical_crossentropy"),
        "range": (fitted(x, y + 1), ValueError, "expected labels from 0 to 2 for an output of 3 classes, got 1 to 3"),
        "negative": (fitted(x, y - 1), ValueError, "expected labels from 0 to 2 .* got -1 to 1"),
        "nan label": (fitted(x, y * np.nan), ValueError, "expected labels from 0 to 2 .* got nan to nan"),
        "fractions": (fitted(x, y + 0.25), ValueError, r"expected whole numbers as labels, got fractions such as \d.25"),
        "targets": (fitted(x, hot[:, :2], loss="mse"), ValueError, r"expected targets y of shape \(n, 3\), got \(n, 2\)"),
        "words": (fitted(x, ["a"] * 20), TypeError, "expected y to hold numbers"),
        "no y": (fitted(x), ValueError, "fit: expected labels or targets y, got None"),
        "no x": (fitted(), TypeError, "fit: expected x to be an array"),
        "lengths": (fitted(x, y[:5]), ValueError, "expected x and y with the same number of samples, got 20 and 5"),
        "nothing": (fitted(x[:0], y[:0]), ValueError, "fit: expected at least one sample"),
        "features": (fitted(x[:, :4], y), ValueError, r"fit: expected x of shape \(n, 6\), got \(n, 4\)"),
        "one sample": (lambda: compiled().predict(x[0]), ValueError, r"expected x of shape \(n, 6\), got \(n,\). Is it one sample"),
        "axis": (lambda: compiled().predict(x[None]), ValueError, r"got \(n, 20, 6\). There is an axis too many\."),
        "number": (lambda: compiled().predict(3.0), ValueError, "expected x to have a first axis of samples"),
        "complex": (lambda: compiled().predict(x * 1j), TypeError, "expected x to hold numbers"),
        "batch_size": (fitted(x, y, batch_size=0), ValueError, "expected batch_size of at least 1, got 0"),
        "predict size": (lambda: compiled().predict(x, batch_size=0), ValueError, "predict: expected batch_size of at least 1"),
        "evaluate size": (lambda: compiled().evaluate(x, y, batch_size="a"), TypeError, "evaluate: expected batch_size to be an int"),
        "epochs": (fitted(x, y, epochs=1.5), ValueError, "fit: expected epochs as an integer of at least 0, got 1.5"),
        "initial_epoch": (fitted(x, y, initial_epoch=-1), ValueError, "expected initial_epoch as an integer of at least 0, got -1"),
        "verbose": (fitted(x, y, verbose="loud"), ValueError, r"fit: expected verbose 0 \(silent\), 1 .* got 'loud'"),
        "predict verbose": (lambda: compiled().predict(x, verbose=3), ValueError, "predict: expected verbose 0"),
        "freq": (fitted(x, y, validation_freq=0), ValueError, "expected validation_freq as an integer of at least 1 or a list"),
        "split": (fitted(x, y, validation_split=1.5), ValueError, "expected validation_split between 0 and 1, got 1.5"),
        "validation": (fitted(x, y, validation_data=(x,)), ValueError, r"expected validation_data as \(x, y\), \(x, y, sample_weight\)"),
        "validation text": (fitted(x, y, validation_data="xy"), ValueError, r"expected validation_data as \(x, y\)"),
        "validation y": (fitted(x, y, validation_data=(x, y + 9)), ValueError, "fit, validation_data: expected labels from 0 to 2"),
        "validation weights": (fitted(x, y, validation_data=(x, y, y[:3])), ValueError, "fit, validation_data: .* got 20 and 3"),
        "validation size": (
            fitted(x, y, validation_data=(x, y), validation_batch_size=0), ValueError, "expected batch_size of at least 1, got 0"
        ),
        "class of a batch": (lambda: compiled().train_on_batch(x, y, class_weight=[1]), ValueError, "train_on_batch: expected class"),
        "weights": (fitted(x, y, sample_weight=hot), ValueError, r"expected sample_weight of shape \(n,\)"),
        "class": (fitted(x, y, class_weight={"a": 1}), ValueError, r"expected class_weight as \{class number: weight\}"),
        "callbacks": (fitted(x, y, callbacks=3), TypeError, "callbacks: expected a list of callbacks or one, got 3"),
        "split text": (fitted(x, y, validation_split="0.2"), TypeError, "expected validation_split as a number, got '0.2'"),
        "callback": (fitted(x, y, callbacks=[callbacks.EarlyStopping]), TypeError, "Call a class before passing it"),
        "function": (fitted(endless), TypeError, "A generator function has to be called"),
        "y too": (fitted(endless(), y), ValueError, "fit: expected y=None with a generator"),
        "weights too": (fitted(endless(), sample_weight=y), ValueError, "fit: expected sample_weight=None with a generator"),
        "split too": (fitted(endless(), validation_split=0.5), ValueError, "validation_split needs arrays"),
        "evaluate y": (lambda: compiled().evaluate(endless(), y, verbose=0), ValueError, "evaluate: expected y=None"),
        "evaluate no y": (lambda: compiled().evaluate(x, verbose=0), ValueError, "evaluate: expected labels or targets y, got None"),
        "evaluate x": (lambda: compiled().evaluate(verbose=0), TypeError, "evaluate: expected x to be an array"),
        "batch x": (lambda: compiled().train_on_batch(None, y), TypeError, "train_on_batch: expected x to be an array"),
        "batch y": (lambda: compiled().train_on_batch(x, None), ValueError, "train_on_batch: expected labels or targets y, got None"),
        "scalar": (lambda: compiled().predict_on_batch(3), ValueError, "predict_on_batch: expected x to have a first axis"),
        "own loss": (fitted(x, y, loss=lambda a, b: 3.0), ValueError, r"return \(losses of shape \(20,\), gradient of shape \(20, 3\)\)"),
        "rate": (lambda: optimizers.SGD("fast"), ValueError, "expected learning_rate as a number of at least 0 or a schedule"),
    }  # fmt: skip


@pytest.mark.parametrize("name", refused())
def test_refusals(name: str) -> None:
    call, error, message = refused()[name]
    with pytest.raises(error, match=message):
        call()


def test_labels_are_checked_for_any_last_activation() -> None:
    """A label out of range must not read another class's probability."""
    x, y = data(20)
    for activation in (None, "sigmoid", "softmax"):
        with pytest.raises(ValueError, match="expected labels from 0 to 2"):
            compiled(activation=activation).train_on_batch(x, y - 1)


def test_images_without_channels_are_told_to_add_them() -> None:
    model = networks.documented()
    message = r"expected x of shape \(n, 28, 28, 1\), got \(n, 28, 28\). Add the channel axis: x\[..., None\]"
    with pytest.raises(ValueError, match=message):
        model.predict(np.zeros((2, 28, 28)))
    with pytest.raises(ValueError, match=r"got \(n, 28, 1\)\. Is it one sample\? Then x\[None\]\."):
        model.predict(np.zeros((28, 28, 1)))
    with pytest.raises(
        ValueError, match=r"got \(n, 28\)\. Is it one sample\? Then x\[None, \.\.\., None\]\."
    ):
        model.predict(np.zeros((28, 28)))
