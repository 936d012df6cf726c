"""NumPy's matrix product (OpenBLAS), what one makes of it for convolution, and SciPy's correlation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from peers import networks
from peers.memory import peak_above
from peers.networks import F32
from peers.operands import ConvInputs, conv_inputs, matmul_operands
from peers.protocol import Absent, Measurement, Request, fastest, serve

try:
    from scipy import __version__ as scipy_version
    from scipy import signal
except ImportError:
    signal = None

# Its time is in step with the images, and more of them only take longer.
FEW_IMAGES = 1024
Conv2D: TypeAlias = Callable[[F32, F32, tuple[int, int]], F32]


def columns(x: F32, kernel: tuple[int, int], strides: tuple[int, int]) -> F32:
    """(n, oh, ow, kh * kw * cin) of x (n, h, w, cin) that is padded already: a row for each output pixel ("im2col")."""
    windows = sliding_window_view(x, kernel, axis=(1, 2))[:, :: strides[0], :: strides[1]]
    n, oh, ow = windows.shape[:3]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(n, oh, ow, -1)


def im2col(x: F32, w: F32, strides: tuple[int, int]) -> F32:
    """One product of the columns and the weights."""
    return columns(x, (w.shape[0], w.shape[1]), strides) @ w.reshape(-1, w.shape[-1])


def taps(x: F32, w: F32, strides: tuple[int, int]) -> F32:
    """A product for each weight of the window, of a shifted view of x."""
    (kh, kw), (sh, sw) = w.shape[:2], strides
    oh, ow = (x.shape[1] - kh) // sh + 1, (x.shape[2] - kw) // sw + 1
    y = np.zeros((len(x), oh, ow, w.shape[-1]), np.float32)
    for i in range(kh):
        for j in range(kw):
            y += x[:, i : i + sh * (oh - 1) + 1 : sh, j : j + sw * (ow - 1) + 1 : sw] @ w[i, j]
    return y


def correlate(x: F32, w: F32, strides: tuple[int, int]) -> F32:
    """SciPy's correlation of each image with each filter, directly or by Fourier's transform as SciPy chooses."""
    filters = [w[None, ..., o] for o in range(w.shape[-1])]
    y = [signal.correlate(x, each, mode="valid")[..., 0] for each in filters]
    return np.stack(y, -1)[:, :: strides[0], :: strides[1]]


def ways(images: int) -> dict[str, Conv2D]:
    """SciPy only where one image is asked for: it takes a hundred times as long."""
    return {"im2col": im2col, "taps": taps, **({"scipy.signal": correlate} if signal and images == 1 else {})}


def padded(x: F32, pads: networks.Pads) -> F32:
    return np.pad(x, ((0, 0), *pads, (0, 0))) if np.any(pads) else x


def forward(network: networks.Network, given: list[F32], x: F32, conv: Conv2D) -> F32:
    """(n, h, w, c) images to (n, classes) probabilities."""
    weights = iter(given)
    for layer in network.layers:
        if isinstance(layer, networks.Conv):
            before = padded(x, layer.pads(x.shape[1], x.shape[2]))
            x = conv(before, next(weights), layer.strides)
            x += next(weights)
            np.maximum(x, 0, out=x)
        elif isinstance(layer, networks.Pool):
            (ph, pw), (n, h, w, c) = layer.size, x.shape
            whole = x[:, : h // ph * ph, : w // pw * pw]
            x = whole.reshape(n, h // ph, ph, w // pw, pw, c).max(axis=(2, 4))
        elif isinstance(layer, networks.Flatten):
            x = x.reshape(len(x), -1)
        else:
            x = x @ next(weights) + next(weights)
            if layer.activation == "relu":
                np.maximum(x, 0, out=x)
            else:
                x = np.exp(x - x.max(axis=1, keepdims=True))
                x /= x.sum(axis=1, keepdims=True)
    return x


def predict(request: Request) -> Measurement:
    """`batch` images at a time, in the quickest of the ways."""
    batch = request["batch"]
    n = min(request["images"], max(batch, FEW_IMAGES))
    network, x, _ = networks.asked_for({**request, "images": n})
    given = networks.weights(network)

    def make(conv: Conv2D) -> Measurement:
        def once() -> F32:
            return np.concatenate(
                [forward(network, given, x[i : i + batch], conv) for i in range(0, n, batch)]
            )

        return Measurement(once, n, lambda: once()[:64])

    return fastest({name: partial(make, conv) for name, conv in ways(n).items()}, 0.1)


def predict_memory(request: Request) -> Measurement:
    """Peak of the process while it predicts, above the images it was given, in bytes."""
    network, x, _ = networks.asked_for(request)
    given = networks.weights(network)
    for start in range(0, len(x), request["batch"]):
        forward(network, given, x[start : start + request["batch"]], im2col)
    return Measurement(None, 1, note="im2col", value=peak_above(x))


def grad_input(at: ConvInputs) -> F32:
    """A product for each weight of the window, added where its outputs look."""
    (top, bottom), (left, right) = at.pads
    n, h, w, _ = at.x.shape
    (kh, kw), (sh, sw), (oh, ow) = at.w.shape[:2], at.strides, at.grad_y.shape[1:3]
    grad = np.zeros((n, h + top + bottom, w + left + right, at.x.shape[-1]), np.float32)
    for i in range(kh):
        for j in range(kw):
            seen = grad[:, i : i + sh * (oh - 1) + 1 : sh, j : j + sw * (ow - 1) + 1 : sw]
            seen += at.grad_y @ at.w[i, j].T
    return grad[:, top : top + h, left : left + w]


def grad_weights(at: ConvInputs) -> F32:
    """One product of the columns and the gradient."""
    found = columns(padded(at.x, at.pads), (at.w.shape[0], at.w.shape[1]), at.strides)
    across = found.reshape(-1, found.shape[-1]).T @ at.grad_y.reshape(-1, at.grad_y.shape[-1])
    return across.reshape(at.w.shape)


def conv(request: Request) -> Measurement:
    """One pass of one convolution."""
    at = conv_inputs(request)
    if at.groups != 1 or at.dilation != (1, 1):
        raise Absent("written for groups 1 and dilation 1")
    if request["pass"] == "forward":

        def make(way: Conv2D) -> Measurement:
            def once() -> F32:
                return way(padded(at.x, at.pads), at.w, at.strides)

            return Measurement(once, 1, once)

        return fastest({name: partial(make, way) for name, way in ways(len(at.x)).items()}, 0.1)
    gradient = grad_input if request["pass"] == "grad_input" else grad_weights
    return Measurement(lambda: gradient(at), 1, lambda: gradient(at))


def matmul(request: Request) -> Measurement:
    """(m, k) times (k, n)."""
    a, b = matmul_operands(request)
    out = np.empty((request["m"], request["n"]), np.float32)
    return Measurement(lambda: np.matmul(a, b, out=out), 1, lambda: a @ b)


def versions() -> dict[str, str]:
    """SciPy's where it is installed."""
    blas: Any = np.show_config(mode="dicts")
    name = blas["Build Dependencies"]["blas"]
    return {
        "numpy": f"{np.__version__} ({name['name']} {name['version']})",
        **({"scipy": scipy_version} if signal else {}),
    }


if __name__ == "__main__":
    serve(
        versions,
        {"predict": predict, "predict_memory": predict_memory, "conv": conv, "matmul": matmul},
    )
