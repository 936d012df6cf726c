"""A small piece of work for every CUDA kernel that is no product, with its answer: the same on any device that runs plans.

Products: cuda_products.py. `emit` puts a sample's launches on a plan and says what its arrays must hold once the plan has run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from cnnlite_kernels import random, reference
from cnnlite_kernels.cuda import (
    activations,
    average_pool2d,
    batch_normalization,
    dropout,
    frames,
    gradients,
    joins,
    losses,
    max_pool2d,
    optimizers,
    penalties,
    prelu,
    reduce,
    up_sampling2d,
)
from cnnlite_kernels.cuda.ops import contiguous
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.settings import (
    ABSOLUTE,
    BINARY,
    BINARY_LOGITS,
    DIVERGENCE,
    HINGE,
    HUBER,
    OPTIMIZER,
    SQUARED,
)
from cnnlite_kernels.window import Window2D

SEED = 0
DTYPES = (np.float32, np.float64)
CLASSES = (3, 10, 1030)  # of rows that a thread, a warp and a block work on


class Check(NamedTuple):
    """An array of the device, and what it must hold, to `ulps` of its dtype relative to the largest wanted; 0 for the very numbers."""

    found: Any
    wanted: np.ndarray
    ulps: int = 0


Checks = list[Check]
Emit = Callable[[Plan], Checks]


class Sample(NamedTuple):
    """Some work. simple: of kernels in plain Python, without shuffles and intrinsics, which numba-cuda's simulator can run."""

    name: str
    emit: Emit
    simple: bool = False

    def __str__(self) -> str:
        return self.name


def run(sample: Sample, device: Any) -> list[np.ndarray]:
    """Runs a sample, checks its answers and gives them."""
    plan = Plan(device)
    checks = sample.emit(plan)
    plan.run()
    results = []
    for found, wanted, ulps in checks:
        result = np.empty(wanted.shape, found.dtype)
        device.download(found, result)
        device.synchronize()
        tolerance = ulps * np.finfo(result.dtype).eps if ulps else 0
        largest = float(np.abs(wanted).max(initial=0))
        np.testing.assert_allclose(result, wanted, rtol=0, atol=tolerance * largest)
        results.append(result)
    return results


def there(plan: Plan, array: np.ndarray) -> Any:
    """A flat copy on the plan's device."""
    copy = plan.scratch(array.size, array.dtype)
    plan.device.upload(np.ascontiguousarray(array).reshape(-1), copy)
    return copy


def integers(shape: tuple[int, ...], dtype: Any, seed: int = SEED) -> np.ndarray:
    """Small ones: sums and products are exact."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def normals(shape: tuple[int, ...], dtype: Any, seed: int = SEED) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def _named(dtype: Any, name: str) -> str:
    return f"{name}, {np.dtype(dtype).name}"


# pooling


def _pooling(
    plan: Plan, size: tuple[int, int], dtype: Any, with_index: bool, with_relu: bool, minimum: bool = False
) -> Checks:
    """Pooling, and with places its gradient."""
    n, h, w, c = shape = (2, 7, 6, 3)
    window = Window2D.of(size, (2, 2), padding="same")
    x = integers(shape, dtype)
    pool = reference.min_pool2d if minimum else reference.max_pool2d
    wanted, places = pool(x, size, strides=2, padding="same", return_indices=True)
    y = plan.scratch(wanted.size, dtype)
    if not with_index:
        max_pool2d.add_forward(plan, window, n, h, w, c, there(plan, x), y, minimum=minimum)
        return [Check(y, wanted)]
    index, grad_x = plan.scratch(wanted.size, np.int32), plan.scratch(x.size, dtype)
    max_pool2d.add_forward(plan, window, n, h, w, c, there(plan, x), y, index, minimum)
    grad_y = integers(wanted.shape, dtype, SEED + 1)
    pooled = y if with_relu else None
    max_pool2d.add_grad(plan, window, n, h, w, c, there(plan, grad_y), index, grad_x, pooled)
    if with_relu:
        grad_y = np.where(wanted > 0, grad_y, 0)
    wanted_grad = reference.max_pool2d_grad(grad_y, -x if minimum else x, size, strides=2, padding="same")
    return [Check(y, wanted), Check(index, places), Check(grad_x, wanted_grad)]


def _pools() -> Iterator[Sample]:
    for size, dtype, (with_index, with_relu) in product(
        ((2, 2), (3, 3), (2, 3)), DTYPES, ((False, False), (True, False), (True, True))
    ):
        what = " with its gradient" * with_index + " behind relu" * with_relu
        name = _named(dtype, f"max pooling {size[0]} x {size[1]}{what}")
        emit = partial(_pooling, size=size, dtype=dtype, with_index=with_index, with_relu=with_relu)
        yield Sample(name, emit, simple=True)


def _min_pools() -> Iterator[Sample]:
    for size, dtype, with_index in product(((2, 2), (3, 3), (2, 3)), DTYPES, (False, True)):
        name = _named(dtype, f"min pooling {size[0]} x {size[1]}{' with its gradient' * with_index}")
        emit = partial(_pooling, size=size, dtype=dtype, with_index=with_index, with_relu=False, minimum=True)
        yield Sample(name, emit, simple=True)


def _average(plan: Plan, dtype: Any) -> Checks:
    """Windows of 9, 6 and 4 pixels inside the image, all of which divide 36."""
    n, h, w, c = shape = (2, 7, 6, 3)
    window = Window2D.of(3, 2, padding="same")
    y_shape = n, *window.output_size(h, w), c
    x, grad_y = 36 * integers(shape, dtype), 36 * integers(y_shape, dtype, SEED + 1)
    y, grad_x = plan.scratch(grad_y.size, dtype), plan.scratch(x.size, dtype)
    average_pool2d.add_forward(plan, window, *shape, there(plan, x), y)
    average_pool2d.add_grad(plan, window, *shape, there(plan, grad_y), grad_x)
    wanted = reference.average_pool2d(x, 3, strides=2, padding="same")
    gradient = reference.average_pool2d_grad(grad_y, shape, 3, strides=2, padding="same")
    return [Check(y, wanted), Check(grad_x, gradient)]


def _mean_of_many(plan: Plan, dtype: Any) -> Checks:
    """Windows of 128 pixels, in two blocks."""
    n, h, w, c = shape = (2, 8, 16, 3)
    x, y = integers(shape, dtype), plan.scratch(n * c, dtype)
    average_pool2d.add_forward(plan, Window2D.of((h, w)), *shape, there(plan, x), y)
    return [Check(y, x.mean(axis=(1, 2)))]


def _averages() -> Iterator[Sample]:
    for dtype in DTYPES:
        yield Sample(_named(dtype, "average pooling"), partial(_average, dtype=dtype))
        yield Sample(_named(dtype, "average pooling of large windows"), partial(_mean_of_many, dtype=dtype))


def _up_sampling(plan: Plan, interpolation: str, dtype: Any) -> Checks:
    n, h, w, c = shape = (2, 3, 4, 3)
    x, grad_y = integers(shape, dtype), integers((n, 2 * h, 4 * w, c), dtype, SEED + 1)
    y, grad_x = plan.scratch(grad_y.size, dtype), plan.scratch(x.size, dtype)
    up_sampling2d.add_forward(plan, (2, 4), interpolation, *shape, there(plan, x), y)
    up_sampling2d.add_grad(plan, (2, 4), interpolation, *shape, there(plan, grad_y), grad_x)
    wanted = reference.up_sampling2d(x, (2, 4), interpolation=interpolation)
    gradient = reference.up_sampling2d_grad(grad_y, (2, 4), interpolation=interpolation)
    return [Check(y, wanted), Check(grad_x, gradient)]


def _up_samplings() -> Iterator[Sample]:
    for interpolation, dtype in product(("nearest", "bilinear"), DTYPES):
        emit = partial(_up_sampling, interpolation=interpolation, dtype=dtype)
        yield Sample(_named(dtype, f"{interpolation} enlarging"), emit)


def _frame(plan: Plan, dtype: Any, c: int) -> Checks:
    """A row and columns of zeros, and a row that is cut off."""
    n, h, w, _ = shape = (2, 3, 4, c)
    margins = ((1, -1), (0, 2))
    x, grad_y = integers(shape, dtype), integers((n, h, w + 2, c), dtype, SEED + 1)
    y, grad_x = plan.scratch(grad_y.size, dtype), plan.scratch(x.size, dtype)
    frames.add_forward(plan, margins, *shape, there(plan, x), y)
    frames.add_grad(plan, margins, *shape, there(plan, grad_y), grad_x)
    wanted = np.pad(x[:, :-1], ((0, 0), (1, 0), (0, 2), (0, 0)))
    gradient = np.pad(grad_y[:, 1:, :-2], ((0, 0), (0, 1), (0, 0), (0, 0)))
    return [Check(y, wanted), Check(grad_x, gradient)]


def _join(plan: Plan, dtype: Any, channels: tuple[int, int]) -> Checks:
    """Two images side by side in the channels of one, and back, added to what is there."""
    pixels, parts = 30, [integers((30, c), dtype, SEED + c) for c in channels]
    y, back = plan.scratch(pixels * sum(channels), dtype), there(plan, parts[1])
    for part, first in zip(parts, (0, channels[0]), strict=True):
        joins.add_join(plan, there(plan, part), y, pixels, part.shape[1], sum(channels), first)
    joins.add_part(plan, y, back, pixels, channels[1], sum(channels), channels[0], accumulate=True)
    return [Check(y, np.concatenate(parts, -1)), Check(back, 2 * parts[1])]


def _frames_and_joins() -> Iterator[Sample]:
    for dtype in DTYPES:
        yield Sample(_named(dtype, "frame"), partial(_frame, dtype=dtype, c=3))
        yield Sample(_named(dtype, "join of channels"), partial(_join, dtype=dtype, channels=(3, 5)))
    yield Sample("frame of fours", partial(_frame, dtype=np.float32, c=8))
    yield Sample("join of fours of channels", partial(_join, dtype=np.float32, channels=(4, 8)))


# normalization


def _normalization(plan: Plan, c: int, dtype: Any, aligned: bool, training: bool) -> Checks:
    """In training with statistics of x and moving averages, outside with some that are given; and the gradients."""
    rows, epsilon = 1200 // c, 1e-3
    x, grad_y = normals((rows, c), dtype) + dtype(3), normals((rows, c), dtype, SEED + 1)
    gamma, beta, mean, variance = (normals((c,), dtype, SEED + 2 + i) for i in range(4))
    variance = np.abs(variance)
    there_x, there_gamma = there(plan, x), there(plan, gamma)
    y, grad_x, grad_gamma, grad_beta = (plan.scratch(size, dtype) for size in (x.size, x.size, c, c))
    statistics, moving = (
        (there(plan, mean), there(plan, variance)),
        (there(plan, mean), there(plan, variance)),
    )
    checks = []
    if training:
        statistics = plan.scratch(c, dtype), plan.scratch(c, dtype)
        batch_normalization.add_statistics(plan, there_x, *statistics, rows, c, moving=moving, momentum=0.75)
        before = mean, variance
        _, mean, variance = reference.batch_normalization_train(x, gamma, beta, epsilon=epsilon)
        for found, given, old, new in zip(statistics, moving, before, (mean, variance), strict=True):
            checks += [Check(found, new, 16), Check(given, 0.75 * old + 0.25 * new, 16)]
    batch_normalization.add_forward(
        plan, there_x, y, *statistics, there_gamma, there(plan, beta), epsilon, rows, c, aligned=aligned
    )
    batch_normalization.add_grad(
        plan, there(plan, grad_y), there_x, *statistics, there_gamma, epsilon, grad_x, grad_gamma, grad_beta, rows, c,
        training=training, aligned=aligned,
    )  # fmt: skip
    wanted = reference.batch_normalization(x, mean, variance, gamma, beta, epsilon=epsilon)
    gradients = reference.batch_normalization_grad(
        grad_y, x, mean, variance, gamma, epsilon=epsilon, training=training
    )
    found = (grad_x, grad_gamma, grad_beta)
    return [*checks, Check(y, wanted, 32), *(Check(*pair, 64) for pair in zip(found, gradients, strict=True))]


def _normalizations() -> Iterator[Sample]:
    for c, training, dtype in product((1, 3, 40), (True, False), DTYPES):
        emit = partial(_normalization, c=c, dtype=dtype, aligned=True, training=training)
        what = "in training" if training else "with given statistics"
        yield Sample(_named(dtype, f"batch normalization of {c} {what}"), emit)
    emit = partial(_normalization, c=40, dtype=np.float32, aligned=False, training=True)
    yield Sample("batch normalization that is not aligned", emit)


# activations and other things that are done to each number


def _activation(plan: Plan, kind: str, dtype: Any, aligned: bool, c: int) -> Checks:
    rows = 303 if c == 1 else 5
    x, grad_y = normals((rows, c), dtype), normals((rows, c), dtype, SEED + 1)
    on_device = there(plan, x)
    y, grad_x = plan.scratch(x.size, dtype), plan.scratch(x.size, dtype)
    slope = {"slope": 0.2} if kind == "leaky_relu" else {}
    activations.add_forward(plan, kind, on_device, y, rows, c, aligned=aligned, **slope)
    activations.add_grad(plan, kind, y, there(plan, grad_y), grad_x, rows, c, aligned=aligned, **slope)
    wanted = getattr(reference, kind)(x)
    return [Check(y, wanted, 4), Check(grad_x, getattr(reference, f"{kind}_grad")(grad_y, wanted), 32)]


def _prelu(plan: Plan, shape: tuple[int, int, int], dtype: Any, of_x: Any = (3, 4, 5, 6)) -> Checks:
    n, h, w, c = of_x
    x, grad_y, alpha = integers(of_x, dtype), integers(of_x, dtype, SEED + 1), integers(shape, dtype)
    y, grad_x, grad_alpha = (plan.scratch(size, dtype) for size in (x.size, x.size, alpha.size))
    there_x, slopes = there(plan, x), there(plan, alpha)
    prelu.add_forward(plan, n, h, w, c, there_x, slopes, shape, y)
    prelu.add_grad(plan, n, h, w, c, there_x, slopes, shape, there(plan, grad_y), grad_x, grad_alpha)
    gradients = reference.prelu_grad(grad_y, x, alpha)
    return [Check(y, reference.prelu(x, alpha)), *map(Check, (grad_x, grad_alpha), gradients)]


def _sum_and_fill(plan: Plan, dtype: Any, aligned: bool) -> Checks:
    x, y = integers((303,), dtype), integers((303,), dtype, SEED + 1)
    into, filled = there(plan, y), plan.scratch(303, dtype)
    total = plan.scratch(303, dtype)
    activations.add_total(plan, there(plan, x), into, total, 303, aligned=aligned)
    activations.add_sum(plan, total, into, 303, aligned=aligned)
    activations.add_fill(plan, filled, 303, 0.5)
    return [Check(total, x + y), Check(into, x + 2 * y), Check(filled, np.full(303, 0.5))]


def _dropout(plan: Plan, dtype: Any, aligned: bool) -> Checks:
    """Of part of a batch, which begins in the middle of a counter's four numbers unless they are moved four at a time."""
    count, first, rate, key = 303, 8 if aligned else 5, 0.25, 12345
    x = integers((count,), dtype)
    y = plan.scratch(count, dtype)
    keys = there(plan, np.array([key], np.int64))
    dropout.add_dropout(plan, there(plan, x), y, count, rate, keys, 0, first, aligned=aligned)
    kept = random.uint32(key, first + count)[first:] >= random.keep_threshold(rate)
    return [Check(y, np.where(kept, x / (1 - rate), 0), 2)]


def _strided_copy(plan: Plan, dtype: Any) -> Checks:
    x = integers((3, 4, 5, 6), dtype)
    n, a, b, c = x.shape
    y = plan.scratch(x.size, dtype)
    contiguous._add(plan, there(plan, x), y, 0, (n, c, b, a), (a * b * c, 1, c, b * c))
    return [Check(y, x.transpose(0, 3, 2, 1).reshape(-1))]


def _reduction(plan: Plan) -> Checks:
    partials, out, bias = (integers(shape, np.float32) for shape in ((4, 303), (303,), (3,)))
    into = there(plan, out)
    reduce.add_reduce(
        plan, there(plan, partials), into, 4, 303, alpha=2, beta=3, bias=there(plan, bias), activation="relu"
    )
    return [Check(into, np.maximum(2 * partials.sum(0) + 3 * out + np.tile(bias, 101), 0))]


def _elementwise() -> Iterator[Sample]:
    for dtype, aligned in ((np.float32, True), (np.float32, False), (np.float64, False)):
        by, simple = " by four" * aligned, not aligned
        for kind in ("relu", "relu6", "leaky_relu", "sigmoid", "tanh"):
            emit = partial(_activation, kind=kind, dtype=dtype, aligned=aligned, c=1)
            # the simulator has no types: Python's float that math.exp gives becomes float32 beside one of NumPy
            typed = simple and not (kind == "sigmoid" and dtype == np.float64)
            yield Sample(_named(dtype, f"{kind}{by}"), emit, typed)
        emit_of = {"sum and constant": _sum_and_fill, "dropout": _dropout}
        for name, function in emit_of.items():
            yield Sample(
                _named(dtype, f"{name}{by}"), partial(function, dtype=dtype, aligned=aligned), simple
            )
    for c, dtype in product(CLASSES, DTYPES):
        emit = partial(_activation, kind="softmax", dtype=dtype, aligned=True, c=c)
        yield Sample(_named(dtype, f"softmax of {c}"), emit, simple=c == CLASSES[0])
    for dtype, shape in product(DTYPES, ((4, 5, 6), (1, 1, 6), (4, 1, 6), (4, 5, 1), (4, 1, 1), (1, 1, 1))):
        name = "prelu with slopes " + " x ".join(map(str, shape))
        yield Sample(_named(dtype, name), partial(_prelu, shape=shape, dtype=dtype))
    for dtype in DTYPES:
        emit = partial(_prelu, shape=(2, 1, 1), dtype=dtype, of_x=(1, 2, 64, 20))
        yield Sample(_named(dtype, "prelu with slopes of long rows"), emit)
    for dtype in DTYPES:
        yield Sample(_named(dtype, "copy of any strides"), partial(_strided_copy, dtype=dtype), simple=True)
    yield Sample("partial sums", _reduction, simple=True)


# losses


def _cross_entropy(plan: Plan, c: int, sparse: bool, with_grad: bool, dtype: Any) -> Checks:
    n, scale = 5, 0.25
    logits, weights = normals((n, c), dtype), np.arange(1, n + 1, dtype=dtype)
    labels = np.random.default_rng(SEED).integers(0, c, n).astype(np.int32)
    targets = labels if sparse else np.eye(c, dtype=dtype)[labels]
    grad = plan.scratch(n * c, dtype) if with_grad else None
    loss, correct = plan.scratch(n, dtype), plan.scratch(n, dtype)
    losses.add_softmax_cross_entropy(
        plan, there(plan, logits), there(plan, targets), there(plan, weights), grad, loss, correct, n, c, scale, labels=sparse
    )  # fmt: skip
    checks = [
        Check(loss, weights * reference.softmax_cross_entropy(logits, labels), 64),
        Check(correct, logits.argmax(1) == labels),
    ]
    if with_grad:
        wanted = scale * weights[:, None] * reference.softmax_cross_entropy_grad(logits, labels)
        checks.append(Check(grad, wanted, 64))
    return checks


def _elementwise_loss(plan: Plan, c: int, kind: int, with_grad: bool, dtype: Any) -> Checks:
    n, scale = 5, 0.25
    rng = np.random.default_rng(SEED)
    y, t, weights = rng.uniform(0.1, 0.9, (n, c)), rng.random((n, c)), np.arange(1.0, n + 1)
    y, t, weights = (array.astype(dtype) for array in (y, t, weights))
    grad = plan.scratch(n * c, dtype) if with_grad else None
    loss, correct = plan.scratch(n, dtype), plan.scratch(n, dtype)
    losses.add_elementwise(
        plan, there(plan, y), there(plan, t), there(plan, weights), grad, loss, correct, n, c, scale, kind=kind, smallest=1e-7,
        delta=0.25,
    )  # fmt: skip
    z, u = y.astype(np.float64), t.astype(np.float64)
    far, terms = np.abs(z - u), 1 if kind == DIVERGENCE else c
    each, slope = {
        SQUARED: ((z - u) ** 2, 2 * (z - u)),
        BINARY: (-(u * np.log(z) + (1 - u) * np.log(1 - z)), (z - u) / (z * (1 - z))),
        BINARY_LOGITS: (np.log1p(np.exp(z)) - z * u, reference.sigmoid(z) - u),
        ABSOLUTE: (far, np.sign(z - u)),
        DIVERGENCE: (u * np.log(u / z), -u / z),
        HINGE: (np.maximum(1 - z * u, 0), np.where(z * u <= 1, -u, 0)),
        HUBER: (np.where(far <= 0.25, far**2 / 2, far / 4 - 1 / 32), np.clip(z - u, -0.25, 0.25)),
    }[kind]
    checks = [
        Check(loss, weights * each.sum(1) / terms, 64 + c),
        Check(correct, y.argmax(1) == t.argmax(1)),
    ]
    if with_grad:
        checks.append(Check(grad, scale * weights[:, None] * slope / terms, 64))
    return checks


def _losses() -> Iterator[Sample]:
    names = {
        SQUARED: "squared error", BINARY: "binary", BINARY_LOGITS: "binary of logits", ABSOLUTE: "absolute error",
        DIVERGENCE: "divergence", HINGE: "hinge", HUBER: "Huber loss",
    }  # fmt: skip
    for c, with_grad, dtype in product(CLASSES, (False, True), DTYPES):
        what, simple = f" of {c}{', gradient' * with_grad}", c == CLASSES[0]
        for sparse in (False, True):
            emit = partial(_cross_entropy, c=c, sparse=sparse, with_grad=with_grad, dtype=dtype)
            of = "labels" if sparse else "targets"
            yield Sample(_named(dtype, f"cross-entropy of {of}{what}"), emit, simple)
        for kind, name in names.items():
            emit = partial(_elementwise_loss, c=c, kind=kind, with_grad=with_grad, dtype=dtype)
            yield Sample(_named(dtype, f"{name}{what}"), emit, simple)


# gradients and optimizers


def _bias_gradient(plan: Plan, c: int, kind: str | None, dtype: Any) -> Checks:
    rows = 40
    grad_y = integers((rows, c), dtype)
    y = integers((rows, c), dtype, SEED + 1)
    grad_b = plan.scratch(c, dtype)
    if kind is None:
        gradients.add_bias_grad(plan, there(plan, grad_y), grad_b, rows, c)
        return [Check(grad_b, grad_y.sum(0))]
    grad_x = plan.scratch(grad_y.size, dtype)
    gradients.add_activation_and_bias_grad(
        plan, kind, there(plan, y), there(plan, grad_y), grad_x, grad_b, rows, c, slope=0.25
    )
    slope = (0.25,) if kind == "leaky_relu" else ()
    wanted = getattr(reference, f"{kind}_grad")(grad_y, y, *slope)
    return [Check(grad_x, wanted), Check(grad_b, wanted.sum(0))]


def _regularizer_and_limit(plan: Plan, dtype: Any) -> Checks:
    p, g = integers((303,), dtype), integers((303,), dtype, SEED + 1)
    grads = there(plan, g)
    gradients.add_regularize(plan, grads, there(plan, p), 303, 0.5, 0.25)
    gradients.add_clip_values(plan, grads, 303, 3.0)
    return [Check(grads, np.clip(g + 0.5 * np.sign(p) + 0.5 * p, -3, 3))]


def _limit_of_the_norm(plan: Plan, dtype: Any) -> Checks:
    g = normals((303,), dtype)
    grads = there(plan, g)
    gradients.add_clip_norm(plan, grads, 303, 2.0)
    return [Check(grads, g * (2 / np.linalg.norm(g.astype(np.float64))), 4)]


def _penalty(plan: Plan) -> Checks:
    p = integers((303,), np.float32)
    sums = plan.scratch(penalties.sums_of(plan, 303), np.float64)
    penalties.add_penalty(plan, there(plan, p), sums, 303, 0.5, 0.25)
    return [Check(sums, np.array([(0.5 * abs(q) + 0.25 * q * q).sum() for q in np.split(p, [256])]))]


SETTINGS = {
    "rate": 0.01, "momentum": 0.9, "beta_1": 0.9, "beta_2": 0.999, "rho": 0.9, "epsilon": 1e-3, "weight_decay": 0.1, "steps": 3,
}  # fmt: skip


def _step(plan: Plan, name: str, made_for: tuple[int, ...], dtype: Any) -> Checks:
    """A step from slots that are not zero; momentum, variance and mean as the kernels' docstrings have them."""
    s = SETTINGS
    p, g = normals((303,), dtype), normals((303,), dtype, SEED + 1)
    number = {"sgd": 1, "adam": 2, "rmsprop": 3}[name]
    slots = [np.random.default_rng(i).uniform(1, 2, 303).astype(dtype) for i in range(number)]
    p0, g0, *old = (array.astype(np.float64) for array in (p, g, *slots))
    keep, new = (1 - s["rate"] * s["weight_decay"]) * p0, list(old)
    if name == "sgd":
        if made_for[0]:
            new[0] = s["momentum"] * old[0] - s["rate"] * g0
        wanted = keep + (new[0] if made_for[0] else -s["rate"] * g0)
    elif name == "adam":
        new[0] = old[0] + (1 - s["beta_1"]) * (g0 - old[0])
        new[1] = old[1] + (1 - s["beta_2"]) * (g0**2 - old[1])
        rate = s["rate"] * np.sqrt(1 - s["beta_2"] ** s["steps"]) / (1 - s["beta_1"] ** s["steps"])
        wanted = keep - rate * new[0] / (np.sqrt(new[1]) + s["epsilon"])
    else:
        momentum, centered = made_for
        spread = new[0] = s["rho"] * old[0] + (1 - s["rho"]) * g0**2
        if centered:
            new[2] = s["rho"] * old[2] / 4 + (1 - s["rho"]) * g0
            spread = spread - new[2] ** 2
        change = s["rate"] * g0 / np.sqrt(spread + s["epsilon"])
        if momentum:
            change = new[1] = s["momentum"] * old[1] + change
        wanted = keep - change
    if name == "rmsprop":
        slots[2] = slots[2] / 4  # a mean that is small enough for its variance
        new[2] = new[2] if made_for[1] else slots[2].astype(np.float64)
    parameters, state = there(plan, p), [there(plan, slot) for slot in slots]
    settings = there(plan, np.array([float(s.get(field, 0)) for field in OPTIMIZER]))
    optimizers.add_step(plan, name, made_for, parameters, there(plan, g), settings, state, 303)
    return [Check(parameters, wanted, 32), *(Check(*pair, 8) for pair in zip(state, new, strict=True))]


def _training() -> Iterator[Sample]:
    for dtype in DTYPES:
        for c, kind in product((1, 5, 40), (None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh")):
            name = _named(dtype, f"bias gradient of {c}{f' behind {kind}' if kind else ''}")
            yield Sample(name, partial(_bias_gradient, c=c, kind=kind, dtype=dtype), simple=True)
        emit = partial(_regularizer_and_limit, dtype=dtype)
        yield Sample(_named(dtype, "regularizer and limit"), emit, simple=True)
        yield Sample(_named(dtype, "limit of the norm"), partial(_limit_of_the_norm, dtype=dtype))
        steps = [
            ("sgd", (0,)),
            ("sgd", (1,)),
            ("adam", ()),
            *(("rmsprop", pair) for pair in product((0, 1), repeat=2)),
        ]
        for kernel, made_for in steps:
            name = _named(dtype, " ".join([kernel, *map(str, made_for)]))
            yield Sample(name, partial(_step, name=kernel, made_for=made_for, dtype=dtype), simple=True)
    yield Sample("penalty", _penalty)


SAMPLES: tuple[Sample, ...] = (
    *_pools(),
    *_min_pools(),
    *_averages(),
    *_up_samplings(),
    *_frames_and_joins(),
    *_normalizations(),
    *_elementwise(),
    *_losses(),
    *_training(),
)
