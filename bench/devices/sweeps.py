"""What is measured on both devices: ops and networks, each over sizes, so that a table shows where the GPU begins to pay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from cases import DOCUMENTED, RESNET50, ConvCase, MatmulCase, PoolCase

import cnnlite_kernels as ck

Call = Callable[..., Any]


@dataclass(frozen=True)
class Point:
    """One size of a sweep.

    Attributes:
        size: what the sweep goes over; work: floating-point operations, or None where bytes are the limit; moved: bytes
            read and written at least once; operands: makes the arrays; call: op(*arrays, device=...); resident: given the
            arrays and a GPU (devices.gpu.Timed), what runs with everything there already; by default `call` on arrays of the GPU.
    """

    size: int
    work: float | None
    moved: float
    operands: Callable[[], tuple[np.ndarray, ...]]
    call: Call
    resident: Callable[..., Callable[[], Any]] | None = None


@dataclass(frozen=True)
class Sweep:
    """An op over sizes; axis says what a size counts."""

    name: str
    axis: str
    points: tuple[Point, ...]


def _normal(*shapes: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(6)
    return tuple(rng.standard_normal(shape, dtype=np.float32) for shape in shapes)


def _bytes(*shapes: tuple[int, ...]) -> float:
    return 4.0 * sum(float(np.prod(shape)) for shape in shapes)


def matmul(sizes: Sequence[int]) -> Sweep:
    """Squares."""

    def point(size: int) -> Point:
        case = MatmulCase(f"square_{size}", size, size, size)
        shapes = case.a_shape, case.b_shape
        return Point(
            size,
            case.flops,
            _bytes(*shapes, case.y_shape),
            lambda: _normal(*shapes),
            lambda a, b, device: ck.matmul(a, b, device=device),
        )

    return Sweep("matmul", "side of the squares", tuple(map(point, sizes)))


def convolution(case: ConvCase, sizes: Sequence[int]) -> list[Sweep]:
    """The three passes of a layer over batches."""

    def forward(x: Any, w: Any, device: Any, case: ConvCase) -> Any:
        return ck.conv2d(x, w, device=device, **case.options)

    def grad_input(grad_y: Any, w: Any, device: Any, case: ConvCase) -> Any:
        return ck.conv2d_grad_input(grad_y, w, case.x_shape, device=device, **case.options)

    def grad_weights(x: Any, grad_y: Any, device: Any, case: ConvCase) -> Any:
        return ck.conv2d_grad_weights(x, grad_y, case.w_shape, device=device, **case.options)

    def sweep(name: str, call: Callable[..., Any], shapes: Callable[[ConvCase], tuple]) -> Sweep:
        points = []
        for n in sizes:
            sized = replace(case, n=n)
            points.append(
                Point(
                    n,
                    sized.flops,
                    _bytes(sized.x_shape, sized.w_shape, sized.y_shape),
                    lambda sized=sized: _normal(*shapes(sized)),  # type: ignore[misc]
                    lambda *arrays, device, sized=sized: call(*arrays, device=device, case=sized),
                )
            )
        return Sweep(f"{name} {case.name}", "images", tuple(points))

    return [
        sweep("conv2d", forward, lambda c: (c.x_shape, c.w_shape)),
        sweep("conv2d_grad_input", grad_input, lambda c: (c.y_shape, c.w_shape)),
        sweep("conv2d_grad_weights", grad_weights, lambda c: (c.x_shape, c.y_shape)),
    ]


def pooling(case: PoolCase, sizes: Sequence[int]) -> Sweep:
    """Max pooling over batches."""

    def point(n: int) -> Point:
        sized = case.with_batch(n)
        return Point(
            n,
            None,
            _bytes(sized.x_shape, sized.y_shape),
            lambda: _normal(sized.x_shape),
            lambda x, device: ck.max_pool2d(x, sized.pool_size, device=device, **sized.options),
        )

    return Sweep(f"max_pool2d {case.name}", "images", tuple(map(point, sizes)))


def relu(sizes: Sequence[int]) -> Sweep:
    """One number at a time."""
    return Sweep(
        "relu",
        "numbers",
        tuple(
            Point(
                size,
                None,
                _bytes((size,), (size,)),
                lambda size=size: _normal((size,)),  # type: ignore[misc]
                lambda x, device: ck.relu(x, device=device),
            )
            for size in sizes
        ),
    )


def cross_entropy(sizes: Sequence[int], classes: int = 1000) -> Sweep:
    """Softmax and cross-entropy with its gradient, over rows."""

    def point(n: int) -> Point:
        def operands() -> tuple[np.ndarray, ...]:
            return *_normal((n, classes)), np.arange(n, dtype=np.int32) % classes

        return Point(
            n,
            None,
            _bytes((n, classes), (n, classes), (n,)),
            operands,
            lambda logits, labels, device: ck.softmax_cross_entropy(
                logits, labels, return_grad=True, device=device
            ),
        )

    return Sweep(f"softmax_cross_entropy, {classes} classes", "rows", tuple(map(point, sizes)))


def all_sweeps(quick: bool) -> list[Sweep]:
    """Every op; with `quick` at two small sizes each."""
    batches = (1, 8) if quick else (1, 4, 16, 64, 256)
    conv2 = next(case for case in DOCUMENTED if case.name == "documented_conv2")
    pool1 = next(case for case in DOCUMENTED if case.name == "documented_pool1")
    wide = next(case for case in RESNET50 if case.name == "resnet50_conv3_3x3")
    assert isinstance(conv2, ConvCase)
    assert isinstance(pool1, PoolCase)
    return [
        matmul((64, 128) if quick else (64, 128, 256, 512, 1024, 2048)),
        *convolution(conv2, batches),
        *convolution(wide, batches[:2] if quick else batches[:4]),
        pooling(pool1, batches),
        relu((1 << 10, 1 << 14) if quick else tuple(1 << k for k in range(10, 26, 3))),
        cross_entropy(batches),
    ]
