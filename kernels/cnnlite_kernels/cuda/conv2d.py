"""Convolutions: which kernels compute one, by its geometry. NHWC images, HWIO weights, float32, nothing materialised.

The bytes that a forward pass moves are bounded by what each tile of rows and columns needs once: the input pixels under its rows,
halo included, its columns' weights and its outputs. A pixel that several taps of a tile look at comes from the caches for all but
the first. Batches that keep a GPU busy with tiles of 128 rows move about that; for a single image tiles are smaller and sums are
cut, which moves more bytes and leaves no multiprocessor idle.
"""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.cuda import depthwise, narrow, tensor_conv2d
from cnnlite_kernels.cuda.conv2d_grad_input import add_grad_input
from cnnlite_kernels.cuda.conv2d_grad_weights import add_grad_weights
from cnnlite_kernels.cuda.conv2d_taps import Taps, add_taps
from cnnlite_kernels.cuda.geometry import Geometry
from cnnlite_kernels.cuda.matmul import add_matmul
from cnnlite_kernels.cuda.plan import Plan

__all__ = ["Geometry", "add_forward", "add_grad_input", "add_grad_weights"]


def add_forward(
    plan: Plan,
    g: Geometry,
    x: Any,
    w: Any,
    bias: Any,
    y: Any,
    activation: str | None = None,
    aligned: bool = True,
) -> None:
    """Emits y[n, p, q, j] = activation(bias[j] + sum over i, k, c of xp[n, p * sh + i * dh, q * sw + k * dw, c] * w[i, k, c, j]).

    xp is x with zeros around it; with groups an output channel sees its group's input channels.

    Args:
        x: (n, h, w, cin). w: (kh, kw, cin // groups, cout). y: (n, oh, ow, cout). All flat, float32, in C order.
        bias: (cout,), or None.
        activation: a key of epilogue.ACTIVATIONS.
        aligned: all arrays begin at multiples of 16 bytes.
    """
    if not (g.pixels and g.cout):
        return
    if g.is_product:
        add_matmul(plan, x, w, y, g.pixels, g.cout, g.cin, bias=bias, activation=activation, aligned=aligned)
    elif tensor_conv2d.takes(plan, g):
        tensor_conv2d.add_forward(plan, g, x, w, bias, y, activation, aligned)
    elif g.is_depthwise:
        depthwise.add_forward(plan, g, x, w, bias, y, activation, aligned)
    elif narrow.takes(g):
        narrow.add_forward(plan, g, x, w, bias, y, activation, aligned)
    else:
        taps = Taps(
            rows_h=g.oh, rows_w=g.ow, x_h=g.h, x_w=g.w, x_c=g.cin, x_sh=g.sh, x_sw=g.sw, x_top=-g.top, x_left=-g.left,
            y_h=g.oh, y_w=g.ow, y_c=g.cout, y_sh=1, y_sw=1, y_top=0, y_left=0, th=g.kh, tw=g.kw, dh=g.dh, dw=g.dw,
            w_first=0, w_down=g.kw * g.cin_group * g.cout, w_right=g.cin_group * g.cout, w_step=g.cout,
            w_group=g.cout_group, kc=g.cin_group, nc=g.cout_group,
        )  # fmt: skip
        add_taps(plan, [taps], g.n, g.groups, x, w, y, bias, activation, transpose=False, aligned=aligned)
