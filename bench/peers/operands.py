"""The arrays of one convolution or one matrix product, the same for every peer; needs numpy only."""

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
