"""Keras on the CPU, with TensorFlow or JAX below as KERAS_BACKEND says: `fit` and `predict` on arrays, verbose=0."""

from __future__ import annotations

import os
import time
from importlib import import_module
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

from peers import networks
from peers.memory import peak_above
from peers.protocol import Measurement, Request, serve, thread_count

BACKEND = keras.backend.backend()


def twin(network: networks.Network, optimizer: Any = "adam") -> Any:
    """A compiled Keras model with the shared weights."""
    layers = keras.layers
    model = keras.Sequential([keras.Input(network.input_shape)])
    for layer in network.layers:
        if isinstance(layer, networks.Conv):
            model.add(
                layers.Conv2D(
                    layer.filters, layer.kernel, layer.strides, padding=layer.padding, activation="relu"
                )
            )
        elif isinstance(layer, networks.Pool):
            model.add(layers.MaxPooling2D(layer.size))
        elif isinstance(layer, networks.Dense):
            model.add(layers.Dense(layer.units, activation=layer.activation))
        else:
            model.add(layers.Flatten())
    model.set_weights(networks.weights(network))
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(request: Request) -> Measurement:
    """One epoch of `fit` over `images` images."""
    batch, n = request["batch"], request["images"]
    network, x, y = networks.asked_for(request)
    checked = twin(network, keras.optimizers.SGD(networks.CHECK_RATE))
    few = networks.CHECK_STEPS * batch
    checked.fit(x[:few], y[:few], batch_size=batch, shuffle=False, verbose=0)
    answer = checked.predict(x[:64], verbose=0)
    model = twin(network)
    return Measurement(lambda: model.fit(x, y, batch_size=batch, verbose=0), n, lambda: answer)


def predict(request: Request) -> Measurement:
    """`predict`; for one image `predict_on_batch`, which spares it the building of a data set."""
    batch, n = request["batch"], request["images"]
    network, x, _ = networks.asked_for(request)
    model = twin(network)
    if n == 1:
        return Measurement(
            lambda: model.predict_on_batch(x), n, lambda: model.predict_on_batch(x), "predict_on_batch"
        )
    return Measurement(
        lambda: model.predict(x, batch_size=batch, verbose=0),
        n,
        lambda: model.predict(x[:64], batch_size=batch, verbose=0),
    )


def train_memory(request: Request) -> Measurement:
    """Peak of the process while it trains, above the arrays it was given, in bytes."""
    network, x, y = networks.asked_for(request)
    twin(network).fit(x, y, batch_size=request["batch"], verbose=0)
    return Measurement(None, 1, value=peak_above(x, y))


def predict_memory(request: Request) -> Measurement:
    """Peak of the process while it predicts, above the images it was given, in bytes."""
    network, x, _ = networks.asked_for(request)
    twin(network).predict(x, batch_size=request["batch"], verbose=0)
    return Measurement(None, 1, value=peak_above(x))


def first_step(request: Request) -> Measurement:
    """When the first step of training was done, in seconds since the epoch."""
    network, x, y = networks.asked_for(request)
    twin(network).fit(x, y, batch_size=request["batch"], verbose=0)
    return Measurement(None, 1, value=time.time())


if __name__ == "__main__":
    below = import_module(BACKEND)
    if BACKEND == "tensorflow":
        below.config.threading.set_intra_op_parallelism_threads(thread_count())
        below.config.threading.set_inter_op_parallelism_threads(thread_count())
    # JAX has no such setting: it makes a thread for each processor that this process is pinned to.
    serve(
        lambda: {"keras": keras.__version__, BACKEND: below.__version__},
        {
            "train": train,
            "predict": predict,
            "train_memory": train_memory,
            "predict_memory": predict_memory,
            "first_step": first_step,
        },
    )
