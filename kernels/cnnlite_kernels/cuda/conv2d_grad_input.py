"""The gradient of a convolution with respect to its input: a convolution of grad_y, gathered, so that every pixel is written once."""

from __future__ import annotations

from typing import Any, NamedTuple

from cnnlite_kernels.cuda import depthwise, tensor_conv2d
from cnnlite_kernels.cuda.conv2d_taps import Taps, add_taps
from cnnlite_kernels.cuda.geometry import Geometry
from cnnlite_kernels.cuda.matmul import add_matmul
from cnnlite_kernels.cuda.plan import Plan


class Phase(NamedTuple):
    """Input rows (or columns) `first`, first + stride, ... on which the same taps of the window fall.

    Attributes:
        first: the first of them. length: how many.
        taps: of the window; the gradient takes them from the last to the first, so that its outputs follow in order.
        last: the last tap, apart: from a tap to the one before.
        output: that the last tap of the first row belongs to; may be negative, which is outside.
        step: outputs from a tap to the one before.

    Input row h gets from tap i the output p with p * stride + i * dilation = h + before. So i * dilation is congruent to h + before
    modulo the stride, the same for every stride-th row; and such taps are stride / gcd(stride, dilation) apart.
    """

    first: int
    length: int
    taps: int
    last: int
    apart: int
    output: int
    step: int


def phases(size: int, kernel: int, stride: int, dilation: int, before: int) -> list[Phase]:
    """Of one axis of `size` input pixels, with `before` pixels of padding before the first; together they are all pixels, once.

    >>> [(p.first, p.length, p.taps, p.last, p.output) for p in phases(5, 3, 2, 1, 1)]
    [(0, 3, 1, 1, 0), (1, 2, 2, 2, 0)]
    """
    found = []
    for first in range(min(stride, size)):
        rest = (first + before) % stride
        taps = [i for i in range(kernel) if i * dilation % stride == rest]
        apart = taps[1] - taps[0] if len(taps) > 1 else 0
        last = taps[-1] if taps else 0
        output = (first + before - last * dilation) // stride
        found.append(
            Phase(
                first,
                -(-(size - first) // stride),
                len(taps),
                last,
                apart,
                output,
                apart * dilation // stride,
            )
        )
    return found


def add_grad_input(plan: Plan, g: Geometry, grad_y: Any, w: Any, grad_x: Any, aligned: bool = True) -> None:
    """Emits grad_x[n, h, v, c] = sum over p, q, i, k, j with p * sh + i * dh = h + top and q * sw + k * dw = v + left of

        grad_y[n, p, q, j] * w[i, k, c, j]

    and 0 where no window looks. Strides cut the pixels into phases, each a convolution without strides of its own taps.

    Args:
        grad_y: (n, oh, ow, cout). w: (kh, kw, cin // groups, cout). grad_x: (n, h, w, cin). All flat, float32, in C order.
        aligned: all arrays begin at multiples of 16 bytes.
    """
    if not (g.n and g.cin):
        return
    if g.is_product:
        add_matmul(plan, grad_y, w, grad_x, g.pixels, g.cin, g.cout, transpose_b=True, aligned=aligned)
        return
    if tensor_conv2d.takes(plan, g):
        tensor_conv2d.add_grad_input(plan, g, grad_y, w, grad_x, aligned)
        return
    if g.is_depthwise:
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
    add_taps(plan, parts, g.n, g.groups, grad_y, w, grad_x, None, None, transpose=True, aligned=aligned)
