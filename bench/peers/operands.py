"""The arrays of one convolution, one matrix product or one other op, the same for every peer; needs numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peers.networks import F32, Pads
from peers.protocol import Request


@dataclass(frozen=True)
class ConvInputs:
    """x (n, h, w, cin), w (kh, kw, cin // groups, cout), grad_y (n, oh, ow, cout) and the geometry."""

    x: F32
    w: F32
    grad_y: F32
    strides: tuple[int, int]
    pads: Pads
    dilation: tuple[int, int]
    groups: int


def conv_inputs(request: Request) -> ConvInputs:
    """Made from a fixed seed, so that each worker makes the same ones by itself."""
    rng = np.random.default_rng(4)

    def normal(shape: tuple[int, ...]) -> F32:
        return rng.standard_normal(shape, dtype=np.float32)

    top, left = request["pads"]
    return ConvInputs(
        x=normal(tuple(request["x_shape"])),
        w=normal(tuple(request["w_shape"])),
        grad_y=normal(tuple(request["y_shape"])),
        strides=(request["strides"][0], request["strides"][1]),
        pads=((top[0], top[1]), (left[0], left[1])),
        dilation=(request["dilation"][0], request["dilation"][1]),
        groups=request["groups"],
    )


def matmul_operands(request: Request) -> tuple[F32, F32]:
    """a (m, k) and b (k, n)."""
    rng = np.random.default_rng(5)
    m, k, n = request["m"], request["k"], request["n"]
    return rng.standard_normal((m, k), dtype=np.float32), rng.standard_normal((k, n), dtype=np.float32)


SLOPE, EPSILON, KEPT = (
    0.25,
    1e-3,
    0.99,
)  # of leaky_relu; of batch normalization, and how much its moving averages keep


@dataclass(frozen=True)
class OpInputs:
    """x (n, h, w, c), grad_y of the result's shape, gamma and beta (c,), and w (4, 4, c // 2, c) of a transposed convolution."""

    x: F32
    grad_y: F32
    gamma: F32
    beta: F32
    w: F32


def op_inputs(request: Request) -> OpInputs:
    """Made from a fixed seed."""
    rng = np.random.default_rng(6)
    *_, c = request["shape"]
    x, grad_y = (rng.standard_normal(tuple(request[name]), dtype=np.float32) for name in ("shape", "y_shape"))
    gamma, beta = (rng.random(c, dtype=np.float32) for _ in range(2))
    return OpInputs(x, grad_y, gamma, beta, rng.standard_normal((4, 4, c // 2, c), dtype=np.float32))
