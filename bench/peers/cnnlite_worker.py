"""This library, through its public names only, in the interpreter that runs the benchmark."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

import numba
import numpy as np

import cnnlite
from cnnlite import layers, models, optimizers
from cnnlite_kernels import conv2d, conv2d_grad_input, conv2d_grad_weights, pack_conv2d_weights
from cnnlite_kernels import matmul as cnnlite_matmul
from peers import networks
from peers.bfloat16_conv import bfloat16_conv
from peers.memory import peak_above
from peers.operands import conv_inputs, matmul_operands
from peers.ops_cnnlite import op
from peers.protocol import Absent, Measurement, Request, serve, thread_count


def twin(
    network: networks.Network,
    optimizer: Any = "adam",
    shared_weights: bool = True,
    precision: str | None = None,
) -> Any:
    """A compiled model, with the weights that all peers share or with its own."""
    model = models.Sequential([layers.Input(network.input_shape)])
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
    if shared_weights:
        model.set_weights(networks.weights(network))
    model.compile(
        optimizer=optimizer,
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        mixed_precision=precision,
    )
    return model


def train(request: Request) -> Measurement:
    """One epoch of `fit` over `images` images."""
    batch, n = request["batch"], request["images"]
    network, x, y = networks.asked_for(request)
    precision = request.get("precision")
    checked = twin(network, optimizers.SGD(networks.CHECK_RATE), precision=precision)
    few = networks.CHECK_STEPS * batch
    checked.fit(x[:few], y[:few], batch_size=batch, shuffle=False, verbose=0)
    answer = checked.predict(x[:64], verbose=0)
    model = twin(network, precision=precision)
    return Measurement(lambda: model.fit(x, y, batch_size=batch, verbose=0), n, lambda: answer)


def predict(request: Request) -> Measurement:
    """`predict` of all images; of one image when `images` is 1."""
    batch, n = request["batch"], request["images"]
    network, x, _ = networks.asked_for(request)
    model = twin(network, precision=request.get("precision"))
    if n == 1:
        return Measurement(lambda: model.predict(x, verbose=0), n, lambda: model.predict(x, verbose=0))
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


def conv(request: Request) -> Measurement:
    """One pass of one convolution; the weights of a forward pass are packed before where PyTorch's quickest way packs them before."""
    at = conv_inputs(request)
    geometry: dict[str, Any] = {
        "strides": at.strides,
        "padding": at.pads,
        "dilation": at.dilation,
        "groups": at.groups,
    }
    x_shape, w_shape, algorithm = at.x.shape, at.w.shape, request.get("algorithm", "direct")
    packed_before = request["pass"] == "forward" and request.get("way", "").startswith("packed")
    w = pack_conv2d_weights(at.w, groups=at.groups) if packed_before else at.w
    passes = {
        "forward": lambda: conv2d(at.x, w, algorithm=algorithm, **geometry),
        "grad_input": lambda: conv2d_grad_input(at.grad_y, at.w, x_shape, algorithm=algorithm, **geometry),
        "grad_weights": lambda: conv2d_grad_weights(at.x, at.grad_y, w_shape, **geometry),
    }
    once = passes[request["pass"]]
    return Measurement(once, 1, once, "packed" if packed_before else "plain")


def matmul(request: Request) -> Measurement:
    """(m, k) times (k, n)."""
    a, b = matmul_operands(request)
    out = np.empty((request["m"], request["n"]), np.float32)
    return Measurement(lambda: cnnlite_matmul(a, b, out=out), 1, lambda: cnnlite_matmul(a, b))


def accuracy(request: Request) -> Measurement:
    """Mean test accuracy of the documented network after some epochs on a full data set, for some seeds."""
    data = import_module(f"cnnlite.datasets.{request['dataset']}")
    try:
        (x_train, y_train), (x_test, y_test) = data.load_data()
    except OSError as error:
        raise Absent(f"{request['dataset']} is not on this machine (CNNLITE_DATA)") from error
    if len(x_train) < 60_000:
        raise Absent(f"only {len(x_train)} images of {request['dataset']} here")
    found = []
    for seed in range(request["seeds"]):
        cnnlite.set_random_seed(seed)
        model = twin(networks.NETWORKS["documented"], shared_weights=False)
        model.fit(x_train[..., None] / 255.0, y_train, epochs=request["epochs"], verbose=0)
        found.append(model.evaluate(x_test[..., None] / 255.0, y_test, verbose=0)[1])
    return Measurement(None, 1, note=f"{min(found):.4f} to {max(found):.4f}", value=float(np.mean(found)))


if __name__ == "__main__":
    cnnlite.set_num_threads(thread_count())
    serve(
        lambda: {"cnnlite": cnnlite.__version__, "numba": numba.__version__, "numpy": np.__version__},
        {
            "train": train,
            "predict": predict,
            "train_memory": train_memory,
            "predict_memory": predict_memory,
            "first_step": first_step,
            "conv": conv,
            "conv_bfloat16": bfloat16_conv,
            "matmul": matmul,
            "op": op,
            "accuracy": accuracy,
        },
    )
