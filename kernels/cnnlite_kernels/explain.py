"""What "auto" would pick for an op, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnlite_kernels import channel_checks, checks, costs, dispatch, image_checks
from cnnlite_kernels.algorithms import DIRECT, dispatched, tile_of
from cnnlite_kernels.costs import Costs, Estimate, Shape, Work

ACTIVATIONS = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax")
IMAGES, KERNELS, RESULTS = "(n, h, w, cin)", "(kh, kw, cin // groups, cout)", "(n, oh, ow, cout)"
SHAPES: dict[str, dict[str, str | None]] = {
    "average_pool2d": {"x": "(n, h, w, c)"},
    "average_pool2d_grad": {"grad_y": "(n, oh, ow, c)", "x_shape": "(n, h, w, c)"},
    "batch_normalization": {"x": None},
    "batch_normalization_train": {"x": None},
    "batch_normalization_grad": {"grad_y": None},
    "conv2d": {"x": IMAGES, "w": KERNELS},
    "conv2d_grad_input": {"grad_y": RESULTS, "w": KERNELS, "x_shape": IMAGES},
    "conv2d_grad_weights": {"x": IMAGES, "grad_y": RESULTS, "w_shape": KERNELS},
    "cropping2d": {"x": "(n, h, w, c)"},
    "matmul": {"a": "(m, k)", "b": "(k, n)"},
    "max_pool2d": {"x": "(n, h, w, c)"},
    "max_pool2d_grad": {"grad_y": "(n, oh, ow, c)", "x": "(n, h, w, c)"},
    "min_pool2d": {"x": "(n, h, w, c)"},
    "min_pool2d_grad": {"grad_y": "(n, oh, ow, c)", "x": "(n, h, w, c)"},
    "prelu": {"x": None, "alpha": None},
    "prelu_grad": {"grad_y": None, "alpha": None},
    "softmax_cross_entropy": {"logits": "(n, classes)"},
    "up_sampling2d": {"x": "(n, h, w, c)"},
    "up_sampling2d_grad": {"grad_y": "(n, oh, ow, c)"},
    "zero_padding2d": {"x": "(n, h, w, c)"},
}
# Ops that are computed by another one's kernels.
COMPUTED_BY = {
    "conv2d_transpose": "conv2d_grad_input",
    "conv2d_transpose_grad_input": "conv2d",
    "conv2d_transpose_grad_weights": "conv2d_grad_weights",
    "global_average_pool2d": "average_pool2d",
    "global_average_pool2d_grad": "average_pool2d_grad",
    "global_max_pool2d": "max_pool2d",
    "global_max_pool2d_grad": "max_pool2d_grad",
}
# Arrays of the largest operand's size that are read and written, and arrays of one number for each channel.
CHANNELS = {
    "batch_normalization": (1, 1, 4, 0),  # mean, variance, gamma, beta
    "batch_normalization_train": (1, 1, 2, 4),  # gamma, beta; mean and variance, of the batch and moving
    "batch_normalization_grad": (2, 1, 3, 2),  # mean, variance, gamma; the gradients of gamma and beta
}


@dataclass(frozen=True)
class Explanation:
    """What "auto" would do; str() of it is the text for a person.

    Attributes:
        op: its name.
        device: "cpu" or "cuda".
        work: operations and elements.
        seconds: the model's estimates for either device and the copies.
        reason: why this device.
        missing: what keeps a GPU from being used; None where nothing does.
        constants: where the model's constants come from.
    """

    op: str
    device: str
    work: Work
    seconds: Estimate
    reason: str
    missing: str | None
    constants: str

    def __str__(self) -> str:
        cpu, gpu, upload, download = (f"{1e6 * seconds:,.0f} us" for seconds in self.seconds)
        total = f"{1e6 * (self.seconds.gpu + self.seconds.upload + self.seconds.download):,.0f} us"
        work = self.work
        lines = [
            f'{self.op}: "auto" picks {self.device}, because {self.reason}.',
            f"  work   {work.operations:,} operations, {work.read * work.item:,} bytes read, {work.written * work.item:,} written",
            f"  cpu    {cpu}",
            f"  cuda   {total} for NumPy arrays: {upload} up, {gpu} on the GPU, {download} down",
            f"  GPU    {self.missing or 'there is one'}",
            f"  constants are {self.constants}",
        ]
        return "\n".join(lines)


def explain(
    op: str,
    *shapes: Any,
    dtype: Any = "float32",
    strides: Any = None,
    padding: Any = None,
    dilation: Any = (1, 1),
    groups: int = 1,
    algorithm: str = "direct",
    pool_size: Any = None,
    size: Any = (2, 2),
    cropping: Any = ((0, 0), (0, 0)),
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> Explanation:
    """What `device="auto"` would pick for an op of NumPy arrays, and why. Arrays on a GPU stay there whatever it costs.

    Args:
        op: the name of an op of this package, as "conv2d".
        shapes: of its operands in their order, as (8, 28, 28, 1), (3, 3, 1, 32) for conv2d; the shape that conv2d_grad_input and
            conv2d_grad_weights take as their third argument is given like theirs.
        dtype: "float32" or "float64".
        strides, padding, dilation, groups, algorithm, pool_size, size, cropping, transpose_a, transpose_b: as the op takes them.

    Returns:
        An Explanation, which prints as a few lines.

    Raises:
        ValueError: no such op or one that another computes, another number of shapes, or shapes that do not fit.
        TypeError: another dtype.

    >>> explain("matmul", (64, 64), (64, 64)).device
    'cpu'
    """
    try:
        known = dtype is not None and np.dtype(dtype) in checks.FLOATS
    except TypeError:
        known = False
    if not known:
        raise TypeError(
            f'explain: expected dtype "float32" or "float64", got {dtype!r}; pass the one that the arrays have.'
        )
    algorithm = checks.algorithm("explain", algorithm)
    if padding is None:
        padding = (1, 1) if op == "zero_padding2d" else "valid"
    geometry = (strides, padding, dilation, groups, algorithm, pool_size, size, cropping)
    work = _work(op, _shapes(op, shapes), np.dtype(dtype).itemsize, *geometry, transpose_a, transpose_b)
    constants, origin = costs.current()
    return choose(dispatched(op, algorithm), work, constants, origin, dispatch.why_not())


def _shapes(op: str, shapes: tuple[Any, ...]) -> tuple[Shape, ...]:
    """The shapes that an op has, as tuples of ints."""
    elementwise = op.removesuffix("_grad") in ACTIVATIONS
    if op in COMPUTED_BY:
        raise ValueError(
            f"explain: expected an op with kernels of its own, got {op!r}; pass {COMPUTED_BY[op]!r}, by which it is computed."
        )
    if not elementwise and op not in SHAPES:
        raise ValueError(
            f"explain: expected the name of an op, got {op!r}; pass one of cnnlite_kernels, as 'conv2d'."
        )
    axes: dict[str, str | None] = {"x": None} if elementwise else SHAPES[op]
    if len(shapes) != len(axes):
        raise ValueError(
            f"explain: expected {len(axes)} shape{'s' * (len(axes) > 1)} for {op}, got {len(shapes)}; pass one for each operand."
        )
    return tuple(
        checks.shape("explain", name, shape, wanted)
        for (name, wanted), shape in zip(axes.items(), shapes, strict=True)
    )


def choose(op: str, work: Work, constants: Costs, origin: str, missing: str | None) -> Explanation:
    """The explanation for some work, where `missing` keeps a GPU from being used."""
    seconds = costs.estimate(work, constants)
    float64 = work.item == 8 and op in dispatch.FLOAT32_ONLY
    cpu, gpu = 1e6 * seconds.cpu, 1e6 * (seconds.gpu + seconds.upload + seconds.download)
    if op in dispatch.CPU_ONLY:
        device, reason = "cpu", "only the CPU has this algorithm"
    elif missing:
        device, reason = "cpu", "no GPU can be used here"
    elif float64:
        device, reason = "cpu", "the GPU's kernels of this op are of float32 only"
    elif seconds.gpu_pays:
        device, reason = (
            "cuda",
            f"the GPU with its copies would take {gpu:,.0f} us and the CPU {cpu:,.0f} us",
        )
    else:
        device, reason = (
            "cpu",
            f"the CPU would take {cpu:,.0f} us and the GPU with its copies {gpu:,.0f} us",
        )
    return Explanation(op, device, work, seconds, reason, missing, origin)


def _work(
    op: str, shapes: tuple[Shape, ...], item: int, strides: Any, padding: Any, dilation: Any, groups: int, algorithm: str,
    pool_size: Any, size: Any, cropping: Any, transpose_a: bool, transpose_b: bool,
) -> Work:  # fmt: skip
    """The work of a public op on arrays of these shapes."""
    if dispatched(op, algorithm) not in (op, *dispatch.TABLE):
        raise ValueError(
            f'explain: expected algorithm "direct" for {op}, got {algorithm!r}; only conv2d and conv2d_grad_input have others.'
        )
    sizes = tuple(math.prod(shape) for shape in shapes)
    if op in ("conv2d", "conv2d_grad_input", "conv2d_grad_weights"):
        first, second, third = (*shapes, ())[:3]
        x, w = {"conv2d": (first, second), "conv2d_grad_input": (third, second)}.get(op, (first, third))
        window, _, y = checks.convolution(op, x, w, strides or 1, padding, dilation, groups)
        result = {"conv2d": y, "conv2d_grad_input": x, "conv2d_grad_weights": w}[op]
        if algorithm != DIRECT:
            checks.algorithm_fits(op, algorithm, window, groups)
            tile = tile_of(algorithm, *result[1:3])
            return costs.winograd(tile, result, w, sizes[0] + sizes[1], math.prod(result), item)
        return costs.convolution(y, w, sizes[0] + sizes[1], math.prod(result), item)
    if op == "matmul":
        a, b = shapes
        m, n, k = checks.product(
            np.broadcast_to(0, a), np.broadcast_to(0, b), bool(transpose_a), bool(transpose_b)
        )
        return costs.product(m, n, k, item)
    if "_pool2d" in op:
        x = shapes[-1]
        window, y = checks.pooling(op, x, 2 if pool_size is None else pool_size, strides, padding)
        written = math.prod(x if op.endswith("grad") else y)
        read = sizes[0] if op == "average_pool2d_grad" else sum(sizes)  # which is not given x
        return costs.elementwise(math.prod(y), read, written, item, math.prod(window.kernel))
    if op == "softmax_cross_entropy":
        ((n, _),) = shapes
        return costs.elementwise(sizes[0], sizes[0] + n, n, item, 20)
    if op == "up_sampling2d":
        _, y = image_checks.up_sampling(op, shapes[0], size, "nearest")
        return costs.elementwise(math.prod(y), sizes[0], math.prod(y), item, costs.PASSES[op][0])
    if op == "up_sampling2d_grad":
        _, x = image_checks.up_sampled(op, shapes[0], size, "nearest")
        return costs.elementwise(sizes[0], sizes[0], math.prod(x), item, costs.PASSES[op][0])
    if op in ("zero_padding2d", "cropping2d"):
        if op == "zero_padding2d":
            _, y = image_checks.padded(op, shapes[0], padding)
        else:
            _, y = image_checks.cropped(op, shapes[0], cropping)
        written = math.prod(y)
        return costs.elementwise(max(sizes[0], written), sizes[0], written, item, costs.PASSES[op][0])
    if op in ("prelu", "prelu_grad"):
        channel_checks.slopes(op, np.broadcast_to(0.0, shapes[1]), np.broadcast_to(0.0, shapes[0]))
        read, written = (2 * sizes[0], sum(sizes)) if op == "prelu_grad" else (sizes[0], sizes[0])
        return costs.elementwise(max(sizes), read + sizes[1], written, item, costs.PASSES[op][0])
    if op in CHANNELS:
        read, written, channels_read, channels_written = CHANNELS[op]
        (numbers,), c = sizes, shapes[0][-1] if shapes[0] else 0
        read, written = read * numbers + channels_read * c, written * numbers + channels_written * c
        return costs.elementwise(numbers, read, written, item, costs.PASSES[op][0])
    return costs.elementwise(sizes[0], sizes[0] * (1 + op.endswith("_grad")), sizes[0], item)
