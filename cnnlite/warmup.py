"""Compiling beforehand: runs every op and two networks on small random arrays, and says what was compiled."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TextIO

import numpy as np

# Images: in a batch of fit, in the last batch of evaluate, and in predict. Tiles depend on them.
BATCHES, EVALUATED, PREDICTED = (32, 128), 16, 256


class Step(NamedTuple):
    """Something to run so that its kernels get compiled."""

    name: str
    run: Callable[[], Any]


def steps(dtype: str) -> list[Step]:
    """What has to run for a dtype. Shapes matter only as far as tiles depend on them."""
    return [
        Step("conv2d", lambda: _conv2d(dtype)),
        Step("max_pool2d", lambda: _max_pool2d(dtype)),
        Step("images", lambda: _images(dtype)),
        Step("normalization", lambda: _normalization(dtype)),
        Step("matmul", lambda: _matmul(dtype)),
        Step("activations", lambda: _activations(dtype)),
        Step("losses", lambda: _losses(dtype)),
        Step("networks", lambda: _networks(dtype)),
    ]


def warm_up(dtypes: Sequence[str] = ("float32",), out: TextIO | None = None) -> int:
    """Compiles what the ops and a usual network need, and keeps it in the cache.

    Args:
        dtypes: "float32", "float64".
        out: where to write what is compiled, with seconds; None for standard output.

    Returns:
        How many kernels were compiled: 0 when the cache held everything.
    """
    from cnnlite_kernels.cpu import jit

    out = sys.stdout if out is None else out
    compiled: list[str] = []
    shown = 0

    def show() -> None:
        nonlocal shown
        for name in compiled[shown:]:
            print(f"  {name:<40} {jit.compile_seconds.get(name, 0):6.2f} s", file=out, flush=True)
        shown = len(compiled)

    def tell(name: str) -> None:
        show()
        compiled.append(name)

    begun = time.perf_counter()
    jit.compile_started.append(tell)
    try:
        for dtype in dtypes:
            for step in steps(dtype):
                print(f"{step.name}, {dtype}", file=out, flush=True)
                step.run()
                show()
    finally:
        jit.compile_started.remove(tell)
    folder = jit.folder()
    what = f"{len(compiled)} kernels compiled" if compiled else "Nothing had to be compiled"
    print(f"{what}, {time.perf_counter() - begun:.1f} s in all.", file=out)
    if folder is None:
        print("There is no cache, so they are lost: CNNLITE_CACHE_LOG=1 says why.", file=out)
    else:
        print(f"Cache: {folder}", file=out)
    return len(compiled)


def _random(dtype: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def _conv2d(dtype: str) -> None:
    from cnnlite_kernels import conv2d, conv2d_grad_input, conv2d_grad_weights

    for size, cin, cout, kernel, groups, options in (
        (8, 3, 32, 3, 1, {}),
        (8, 32, 64, 3, 1, {"padding": "same"}),
        (9, 16, 48, 5, 1, {"padding": "same", "strides": (2, 2)}),
        (8, 64, 64, 1, 1, {}),
        (8, 24, 10, 3, 1, {"padding": "same"}),
        (8, 32, 32, 3, 32, {"padding": "same"}),
    ):
        x, w = _random(dtype, 2, size, size, cin), _random(dtype, kernel, kernel, cin // groups, cout)
        geometry: dict[str, Any] = {"groups": groups, **options}
        y = conv2d(x, w, _random(dtype, cout), activation="relu", **geometry)
        conv2d_grad_input(y, w, x.shape, **geometry)
        conv2d_grad_weights(x, y, w.shape, **geometry)


def _max_pool2d(dtype: str) -> None:
    from cnnlite_kernels import max_pool2d, max_pool2d_grad

    x = _random(dtype, 2, 8, 8, 32)
    for strides, padding in ((None, "valid"), ((1, 1), "same")):
        y, _ = max_pool2d(x, (2, 2), strides=strides, padding=padding, return_indices=True)
        max_pool2d_grad(y, x, (2, 2), strides=strides, padding=padding)


def _images(dtype: str) -> None:
    """Images that become smaller or larger otherwise."""
    import cnnlite_kernels as ops

    x, w = _random(dtype, 2, 8, 8, 32), _random(dtype, 4, 4, 16, 32)
    y = ops.conv2d_transpose(x, w, _random(dtype, 16), strides=2, padding="same")
    ops.conv2d_transpose_grad_input(y, w, strides=2, padding="same")
    ops.conv2d_transpose_grad_weights(x, y, w.shape, strides=2, padding="same")
    for interpolation in ("nearest", "bilinear"):
        ops.up_sampling2d_grad(
            ops.up_sampling2d(x, 2, interpolation=interpolation), 2, interpolation=interpolation
        )
    ops.average_pool2d_grad(ops.average_pool2d(x, 2), x.shape, 2)
    ops.global_average_pool2d_grad(ops.global_average_pool2d(_random(dtype, 2, 9, 9, 32)), (2, 9, 9, 32))
    ops.min_pool2d_grad(ops.min_pool2d(x, 2), x, 2)
    ops.cropping2d(ops.zero_padding2d(x), 1)


def _normalization(dtype: str) -> None:
    from cnnlite_kernels import batch_normalization, batch_normalization_grad, batch_normalization_train

    x, ones = _random(dtype, 4, 4, 4, 32), np.ones(32, dtype)
    y, mean, variance = batch_normalization_train(
        x, ones, ones, moving_mean=ones.copy(), moving_variance=ones.copy()
    )
    batch_normalization(x, mean, variance, ones, ones)
    for training in (False, True):
        batch_normalization_grad(y, x, mean, variance, ones, training=training)


def _matmul(dtype: str) -> None:
    from cnnlite_kernels import matmul

    for rows, depth, columns in ((128, 128, 128), (50, 40, 30), (1, 64, 64)):
        for transpose_a in (False, True):
            for transpose_b in (False, True):
                a = _random(dtype, *((depth, rows) if transpose_a else (rows, depth)))
                b = _random(dtype, *((columns, depth) if transpose_b else (depth, columns)))
                matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b, bias=_random(dtype, columns))


def _activations(dtype: str) -> None:
    import cnnlite_kernels as ops

    x = _random(dtype, 4, 10)
    for name in ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax"):
        y = getattr(ops, name)(x)
        getattr(ops, f"{name}_grad")(x, y)
    for alpha in (_random(dtype, 10), _random(dtype, 1)):
        ops.prelu_grad(ops.prelu(x, alpha), x, alpha)


def _losses(dtype: str) -> None:
    from cnnlite_kernels import softmax_cross_entropy

    for return_grad in (False, True):
        softmax_cross_entropy(_random(dtype, 4, 10), np.arange(4), return_grad=return_grad)


def _networks(dtype: str) -> None:
    """The README's network, trained, evaluated and used as it is there, and one with a few other layers."""
    from cnnlite import layers, models

    usual = models.Sequential(
        [
            layers.Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        dtype=dtype,
    )
    other = models.Sequential(
        [
            layers.Conv2D(32, (3, 3), padding="same", activation="relu", input_shape=(16, 16, 3)),
            layers.Conv2D(48, (3, 3), padding="same", strides=(2, 2), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10),
            layers.Activation("softmax"),
        ],
        dtype=dtype,
    )
    for optimizer in ("sgd", "rmsprop", "adam"):
        _train_and_use(usual, optimizer, _random(dtype, PREDICTED, 28, 28, 1))
    _train_and_use(other, "adam", _random(dtype, PREDICTED, 16, 16, 3))


def _train_and_use(model: Any, optimizer: str, images: np.ndarray) -> None:
    labels = np.arange(len(images)) % 10
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    for batch in BATCHES:
        model.fit(images[: 2 * batch], labels[: 2 * batch], batch_size=batch, verbose=0)
    some = slice(BATCHES[0] + EVALUATED)
    model.evaluate(images[some], labels[some], batch_size=BATCHES[0], verbose=0)
    for count in (1, BATCHES[0], PREDICTED):
        model.predict(images[:count], batch_size=PREDICTED, verbose=0)
