"""Plain Numba loops (`peers.loops`) around NumPy, as in minitorch: the documented network forward, backward and Adam."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from peers import loops, networks
from peers.memory import peak_above
from peers.networks import F32
from peers.operands import conv_inputs, matmul_operands
from peers.protocol import Absent, Measurement, Request, serve, thread_count

# Its time is in step with the images, and more of them only take longer.
FEW_IMAGES = 256
Update = Callable[[list[F32], list[F32]], None]


class Twin:
    """A network of `networks` with unpadded convolutions of stride 1; NHWC images of one channel or more in, as NCHW within."""

    def __init__(self, network: networks.Network) -> None:
        self.layers = network.layers
        given = iter(networks.weights(network))
        self.weights: list[F32] = []
        before: tuple[int, ...] = ()
        for layer, shape in zip(network.layers, networks.shapes(network), strict=False):
            if isinstance(layer, networks.Conv):
                if layer.strides != (1, 1) or layer.padding != "valid":
                    raise Absent("written for stride 1 without padding")
                w = next(given).transpose(3, 2, 0, 1)
            elif isinstance(layer, networks.Dense):
                w = next(given)
                if before:
                    # The shared weights expect (h, w, c); this network flattens (c, h, w).
                    w, before = w.reshape(*before, -1).transpose(2, 0, 1, 3).reshape(w.shape), ()
            else:
                before = shape if isinstance(layer, networks.Flatten) else before
                continue
            self.weights += [np.ascontiguousarray(w), next(given).copy()]

    def forward(self, x: F32) -> list[F32]:
        """What went into each layer, and last the probabilities (n, classes)."""
        seen = [np.ascontiguousarray(x.transpose(0, 3, 1, 2))]
        weights = iter(self.weights)
        for layer in self.layers:
            at = seen[-1]
            if isinstance(layer, networks.Conv):
                seen.append(loops.conv2d(at, next(weights), next(weights)))
            elif isinstance(layer, networks.Pool):
                seen.append(loops.max_pool2d(at, layer.size[0]))
            elif isinstance(layer, networks.Flatten):
                seen.append(at.reshape(len(at), -1))
            else:
                y = loops.matmul(at, next(weights)) + next(weights)
                if layer.activation == "relu":
                    seen.append(np.maximum(y, 0))
                else:
                    y = np.exp(y - y.max(axis=1, keepdims=True))
                    seen.append(y / y.sum(axis=1, keepdims=True))
        return seen

    def gradients(self, x: F32, labels: Any) -> list[F32]:
        """Of the mean cross-entropy, in the order of the weights."""
        seen = self.forward(x)
        grad = seen[-1].copy()
        grad[np.arange(len(labels)), labels] -= 1
        grad /= np.float32(len(labels))
        found: list[F32] = []
        at = len(self.weights)
        for number in reversed(range(len(self.layers))):
            layer, given, y = self.layers[number], seen[number], seen[number + 1]
            if isinstance(layer, networks.Pool):
                grad = loops.max_pool2d_grad(grad, given, y, layer.size[0])
                continue
            if isinstance(layer, networks.Flatten):
                grad = grad.reshape(given.shape)
                continue
            at -= 2
            if isinstance(layer, networks.Conv) or layer.activation == "relu":
                grad = np.where(y > 0, grad, np.float32(0))
            if isinstance(layer, networks.Conv):
                found += [grad.sum(axis=(0, 2, 3)), loops.conv2d_grad_weights(given, grad)]
                if number:
                    grad = loops.conv2d_grad_input(grad, self.weights[at])
            else:
                found += [grad.sum(axis=0), loops.matmul(np.ascontiguousarray(given.T), grad)]
                grad = loops.matmul(grad, np.ascontiguousarray(self.weights[at].T))
        return found[::-1]

    def fit(self, x: F32, labels: Any, batch: int, update: Update, shuffle: bool = True) -> None:
        """One epoch."""
        order = np.random.default_rng(0).permutation(len(x)) if shuffle else np.arange(len(x))
        for start in range(0, len(x), batch):
            chosen = order[start : start + batch]
            update(self.weights, self.gradients(x[chosen], labels[chosen]))

    def predict(self, x: F32, batch: int) -> F32:
        return np.concatenate([self.forward(x[i : i + batch])[-1] for i in range(0, len(x), batch)])


def sgd(weights: list[F32], gradients: list[F32]) -> None:
    """Plain descent."""
    for w, grad in zip(weights, gradients, strict=True):
        w -= np.float32(networks.CHECK_RATE) * grad


def adam(like: list[F32]) -> Update:
    """Kingma and Ba's algorithm 1 in NumPy, with Keras's constants."""
    first, second = [np.zeros_like(w) for w in like], [np.zeros_like(w) for w in like]
    steps = 0

    def update(weights: list[F32], gradients: list[F32]) -> None:
        nonlocal steps
        steps += 1
        rate = np.float32(1e-3 * np.sqrt(1 - 0.999**steps) / (1 - 0.9**steps))
        for w, grad, m, v in zip(weights, gradients, first, second, strict=True):
            m += np.float32(0.1) * (grad - m)
            v += np.float32(0.001) * (grad * grad - v)
            w -= rate * m / (np.sqrt(v) + np.float32(1e-7))

    return update


def few(n: int, batch: int) -> int:
    """Images that are enough to time it: whole batches, at least one."""
    return min(n, max(batch, FEW_IMAGES // batch * batch))


def train(request: Request) -> Measurement:
    """Some steps; checked with plain descent as every peer is."""
    batch = request["batch"]
    network, x, y = networks.asked_for(request)
    checked, steps = Twin(network), networks.CHECK_STEPS * batch
    checked.fit(x[:steps], y[:steps], batch, sgd, shuffle=False)
    answer = checked.predict(x[:64], 64)
    model, n = Twin(network), few(request["images"], batch)
    update = adam(model.weights)
    return Measurement(lambda: model.fit(x[:n], y[:n], batch, update), n, lambda: answer)


def predict(request: Request) -> Measurement:
    """`batch` images at a time."""
    batch, n = request["batch"], few(request["images"], request["batch"])
    network, x, _ = networks.asked_for(request)
    model = Twin(network)
    return Measurement(lambda: model.predict(x[:n], batch), n, lambda: model.predict(x[:64], batch))


def train_memory(request: Request) -> Measurement:
    """Peak of the process after some steps, above the arrays it was given, in bytes."""
    network, x, y = networks.asked_for(request)
    model = Twin(network)
    model.fit(x[:FEW_IMAGES], y[:FEW_IMAGES], request["batch"], adam(model.weights))
    return Measurement(None, 1, value=peak_above(x, y))


def predict_memory(request: Request) -> Measurement:
    """Peak of the process after some batches, above the images it was given, in bytes."""
    network, x, _ = networks.asked_for(request)
    Twin(network).predict(x[:FEW_IMAGES], request["batch"])
    return Measurement(None, 1, value=peak_above(x))


def first_step(request: Request) -> Measurement:
    """When the first step of training was done, in seconds since the epoch."""
    network, x, y = networks.asked_for(request)
    model = Twin(network)
    model.fit(x, y, request["batch"], adam(model.weights))
    return Measurement(None, 1, value=time.time())


def conv(request: Request) -> Measurement:
    """One pass of one convolution, padded beforehand."""
    at = conv_inputs(request)
    if at.groups != 1 or at.dilation != (1, 1) or at.strides != (1, 1):
        raise Absent("written for stride 1, groups 1 and dilation 1")
    (top, bottom), (left, right) = at.pads
    h, width = at.x.shape[1:3]
    padded = np.pad(at.x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    x, grad_y = (np.ascontiguousarray(each.transpose(0, 3, 1, 2)) for each in (padded, at.grad_y))
    w, zeros = np.ascontiguousarray(at.w.transpose(3, 2, 0, 1)), np.zeros(at.w.shape[-1], np.float32)
    if request["pass"] == "forward":
        # The loops end with relu; the answer that is compared must not.
        return Measurement(
            lambda: loops.conv2d(x, w, zeros),
            1,
            lambda: (loops.conv2d(x, w, zeros) - loops.conv2d(x, -w, zeros)).transpose(0, 2, 3, 1),
        )
    if request["pass"] == "grad_input":
        seen = (slice(None), slice(top, top + h), slice(left, left + width))
        return Measurement(
            lambda: loops.conv2d_grad_input(grad_y, w),
            1,
            lambda: loops.conv2d_grad_input(grad_y, w).transpose(0, 2, 3, 1)[seen],
        )
    return Measurement(
        lambda: loops.conv2d_grad_weights(x, grad_y),
        1,
        lambda: loops.conv2d_grad_weights(x, grad_y).transpose(2, 3, 1, 0),
    )


def matmul(request: Request) -> Measurement:
    """(m, k) times (k, n)."""
    a, b = matmul_operands(request)
    return Measurement(lambda: loops.matmul(a, b), 1, lambda: loops.matmul(a, b))


if __name__ == "__main__":
    numba.set_num_threads(thread_count())
    serve(
        lambda: {"numba": numba.__version__, "numpy": np.__version__},
        {
            "train": train,
            "predict": predict,
            "train_memory": train_memory,
            "predict_memory": predict_memory,
            "first_step": first_step,
            "conv": conv,
            "matmul": matmul,
        },
    )
