"""The gradient of a convolution with respect to its input: a convolution of grad_y, gathered, so that every pixel is written once."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.cuda import depthwise, tensor_conv2d
from cnnlite_kernels.cuda.conv2d_taps import Taps, add_taps
from cnnlite_kernels.cuda.geometry import Geometry
from cnnlite_kernels.cuda.matmul import add_matmul
from cnnlite_kernels.cuda.phases import phases
from cnnlite_kernels.cuda.plan import Plan


def add_grad_input(
    plan: Plan, g: Geometry, grad_y: Any, w: Any, grad_x: Any, aligned: bool = True, bias: Any = None
) -> None:  # fmt: skip
    """Emits grad_x[n, h, v, c] = sum over p, q, i, k, j with p * sh + i * dh = h + top and q * sw + k * dw = v + left of

        grad_y[n, p, q, j] * w[i, k, c, j]

    and 0 where no window looks, plus bias[c]. Strides cut the pixels into phases, each a convolution without strides of its own taps.

    Args:
        grad_y: (n, oh, ow, cout). w: (kh, kw, cin // groups, cout). grad_x: (n, h, w, cin). All flat, float32, in C order.
        aligned: all arrays begin at multiples of 16 bytes.
        bias: (cin,), or None; without groups, for a transposed convolution.
    """
    if not (g.n and g.cin):
        return
    if g.is_product:
        add_matmul(
            plan, grad_y, w, grad_x, g.pixels, g.cin, g.cout, transpose_b=True, bias=bias, aligned=aligned
        )
        return
    if tensor_conv2d.takes(plan, g):
        tensor_conv2d.add_grad_input(plan, g, grad_y, w, grad_x, aligned, bias=bias)
        return
    if g.is_depthwise:
        assert bias is None
        depthwise.add_grad_input(plan, g, grad_y, w, grad_x, aligned)
        return
    tap = g.cin_group * g.cout
    parts = [
        Taps(
            rows_h=down.length, rows_w=right.length, x_h=g.oh, x_w=g.ow, x_c=g.cout, x_sh=1, x_sw=1, x_top=down.output,
            x_left=right.output, y_h=g.h, y_w=g.w, y_c=g.cin, y_sh=g.sh, y_sw=g.sw, y_top=down.first, y_left=right.first,
            th=down.taps, tw=right.taps, dh=down.step, dw=right.step, w_first=(down.last * g.kw + right.last) * tap,
            w_down=-down.apart * g.kw * tap, w_right=-right.apart * tap, w_step=g.cout, w_group=g.cout_group,
            kc=g.cout_group, nc=g.cin_group,
        )
        for down in phases(g.h, g.kh, g.sh, g.dh, g.top)
        for right in phases(g.w, g.kw, g.sw, g.dw, g.left)
    ]  # fmt: skip
    add_taps(plan, parts, g.n, g.groups, grad_y, w, grad_x, bias, None, transpose=True, aligned=aligned)
