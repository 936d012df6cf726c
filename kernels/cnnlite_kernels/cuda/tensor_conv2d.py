"""Convolutions on tensor cores: forward and input gradient by `tensor_matmul.product`, weight gradient by `grad_weights`.

Images are packed with their padding (convert.py), so that a tap's pixel is found by adding, and no tap needs a test.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlite_kernels import precision as precisions
from cnnlite_kernels.cuda import tensor_cores
from cnnlite_kernels.cuda.convert import Rows, add_pack_columns, add_pack_rows, chunks_of, kind_of
from cnnlite_kernels.cuda.epilogue import WIDE
from cnnlite_kernels.cuda.phases import Phase, phases
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.reduce import add_reduce
from cnnlite_kernels.cuda.tensor_grad_weights import grad_weights
from cnnlite_kernels.cuda.tensor_matmul import Pixels, add_product
from cnnlite_kernels.cuda.tensor_tile import choose, split

if TYPE_CHECKING:
    from cnnlite_kernels.cuda.geometry import Geometry


def takes(plan: Plan, g: Geometry) -> bool:
    """Whether the functions below take a convolution, all three passes: no groups, and see tensor_cores.takes."""
    capability, taps = plan.device.capability, g.kh * g.kw
    return (
        g.groups == 1
        and tensor_cores.takes(capability, g.n * g.oh * g.ow, g.cout, g.cin, taps)
        and tensor_cores.takes(capability, g.n * g.h * g.w, g.cin, g.cout, taps)
        and max(_images(g)[0].bound, _outputs(g)[0].bound) < tensor_cores.MOST_NUMBERS
    )


def _images(g: Geometry) -> tuple[Rows, tuple[int, int]]:
    """How x is packed, and the pixels of that between neighbours in y: with 1 x 1 kernels only the pixels that are looked at are."""
    if g.kh == g.kw == 1 and not g.top and not g.left:
        rows = Rows(g.n, g.oh, g.ow, g.cin, g.h * g.w * g.cin, g.sh * g.w * g.cin, g.sw * g.cin, g.oh, g.ow)
        if (g.oh - 1) * g.sh < g.h and (g.ow - 1) * g.sw < g.w:
            return rows, (1, 1)
    high, wide = (g.oh - 1) * g.sh + (g.kh - 1) * g.dh + 1, (g.ow - 1) * g.sw + (g.kw - 1) * g.dw + 1
    rows = Rows(g.n, g.h, g.w, g.cin, g.h * g.w * g.cin, g.w * g.cin, g.cin, high, wide, g.top, g.left)
    return rows, (g.sh, g.sw)


def _pixels(g: Geometry, rows: Rows, strides: tuple[int, int], chunks: int) -> Pixels:
    """How y's pixels and their taps run over x as it is packed."""
    line = rows.wide * chunks
    x, y, image = strides[1] * chunks, strides[0] * line, rows.high * line
    return Pixels(g.ow, g.oh, x, y, image, chunks, g.kw, g.dw * chunks, g.dh * line)


def add_forward(
    plan: Plan, g: Geometry, x: Any, w: Any, bias: Any, y: Any, activation: str | None = None, aligned: bool = True,
    precision: str | None = None,
) -> None:  # fmt: skip
    """Emits y = activation(conv2d(x, w) + bias), operands rounded to `precision`, sums float32.

    Args:
        x: (n, h, w, cin). w: (kh, kw, cin, cout). bias: (cout,) or None. y: (n, oh, ow, cout). All flat.
        aligned: all begin at multiples of 16 bytes.
        precision: "tf32" or "bfloat16"; None for the one that is set.
    """
    precision = precision or precisions.get_matmul_precision()
    m, taps = g.n * g.oh * g.ow, g.kh * g.kw
    if not (m and g.cout):
        return
    rows, strides = _images(g)
    chunks = chunks_of(g.cin, precision)
    first = 4 * rows.chunks(precision)
    packed = plan.transient(first + 4 * taps * chunks * g.cout, np.uint32)
    add_pack_rows(plan, x, packed[:first], rows, precision, aligned)
    add_pack_columns(plan, w, packed[first:], taps, g.cin, g.cout, precision)
    add_product(
        plan, precision, packed[:first], packed[first:], y, m, g.cout, taps * chunks, _pixels(g, rows, strides, chunks),
        (g.cout, g.ow * g.cout, g.oh * g.ow * g.cout), bias=bias, activation=activation, aligned=aligned,
    )  # fmt: skip


def _outputs(g: Geometry) -> tuple[Rows, list[Phase], list[Phase]]:
    """How grad_y is packed for the input's gradient, and the phases of the input's rows and columns."""
    down, across = phases(g.h, g.kh, g.sh, g.dh, g.top), phases(g.w, g.kw, g.sw, g.dw, g.left)
    (above, high), (left, wide) = _border(down, g.oh), _border(across, g.ow)
    by = (g.oh * g.ow * g.cout, g.ow * g.cout, g.cout)
    return Rows(g.n, g.oh, g.ow, g.cout, *by, high, wide, above, left), down, across


def add_grad_input(
    plan: Plan, g: Geometry, grad_y: Any, w: Any, grad_x: Any, aligned: bool = True, precision: str | None = None,
    bias: Any = None,
) -> None:  # fmt: skip
    """Emits grad_x (n, h, w, cin) from grad_y (n, oh, ow, cout) and w (kh, kw, cin, cout), a product for each phase of the strides.

    See add_forward. No pixel is written twice, and one that no window covers gets 0; and then bias (cin,) is added, if there is one.
    """
    precision = precision or precisions.get_matmul_precision()
    if not (g.n and g.h and g.w and g.cin):
        return
    rows, down, across = _outputs(g)
    chunks, tap = chunks_of(g.cout, precision), g.cin * g.cout
    line, end = rows.wide * chunks, 4 * rows.chunks(precision)
    packed = plan.transient(end + 4 * g.kh * g.kw * chunks * g.cin, np.uint32)
    add_pack_rows(plan, grad_y, packed[:end], rows, precision, aligned)
    for v, h in itertools.product(down, across):
        taps, begin, weights = v.taps * h.taps, 0, packed[:end]
        if taps:
            # Taps from the last on, each of them cin rows of cout numbers.
            steps = (g.cout, -v.apart * g.kw * tap, -h.apart * tap)
            order = Rows(
                g.cin, v.taps, h.taps, g.cout, *steps, v.taps, h.taps, begin=(v.last * g.kw + h.last) * tap
            )
            weights = packed[end : end + 4 * order.chunks(precision)]
            add_pack_rows(plan, w, weights, order, precision, aligned)
            begin = 4 * ((v.output + rows.top) * line + (h.output + rows.left) * chunks)
        pixels = Pixels(
            h.length,
            v.length,
            chunks,
            line,
            rows.high * line,
            chunks,
            max(h.taps, 1),
            h.step * chunks,
            v.step * line,
        )
        grads = grad_x[(v.first * g.w + h.first) * g.cin :]
        add_product(
            plan, precision, packed[begin:end], weights, grads, g.n * v.length * h.length, g.cin,
            taps * chunks, pixels, (g.sw * g.cin, g.sh * g.w * g.cin, g.h * g.w * g.cin), bias=bias, aligned=aligned,
        )  # fmt: skip


def _border(axis: list[Phase], size: int) -> tuple[int, int]:
    """(zeros before, size with the zeros on both sides) of an axis of grad_y, so that no pixel looks beyond it."""
    with_taps = [phase for phase in axis if phase.taps]
    before = max(0, *(-phase.output for phase in with_taps), 0)
    last = max(
        (phase.output + phase.length - 1 + (phase.taps - 1) * phase.step for phase in with_taps), default=0
    )
    return before, before + max(size, last + 1)


def add_grad_weights(
    plan: Plan, g: Geometry, x: Any, grad_y: Any, grad_w: Any, aligned: bool = True, precision: str | None = None
) -> None:  # fmt: skip
    """Emits grad_w (kh, kw, cin, cout) from x and grad_y, split over the pixels and added up in a fixed order; see add_forward."""
    precision = precision or precisions.get_matmul_precision()
    taps, pixels = g.kh * g.kw, g.n * g.oh * g.ow
    if not (g.cin and g.cout):
        return
    rows, strides = _images(g)
    chunks, out_chunks = chunks_of(g.cin, precision), chunks_of(g.cout, precision)
    first = 4 * rows.chunks(precision)
    packed = plan.transient(first + 4 * pixels * out_chunks, np.uint32)
    add_pack_rows(plan, x, packed[:first], rows, precision, aligned)
    outputs = Rows(1, 1, pixels, g.cout, 0, 0, g.cout, 1, pixels)
    add_pack_rows(plan, grad_y, packed[first:], outputs, precision, aligned)

    size = tensor_cores.ELEMENTS[precision]
    m, terms, count = taps * chunks * size, 4 * size, taps * g.cin * g.cout
    tile = choose(m, g.cout, plan.device.multiprocessors)
    blocks, steps = -(-m // tile.rows) * -(-g.cout // tile.columns), -(-pixels // terms)
    parts, part = split(blocks, steps, tile.blocks * plan.device.multiprocessors)
    into = grad_w if parts == 1 else plan.transient(parts * count)
    wide = WIDE if not g.cout % 4 and (parts > 1 or aligned) else 0
    a_pixels = _pixels(g, rows, strides, chunks)
    plan.add(
        grad_weights(kind_of(precision), tile), blocks * parts, packed[:first], packed[first:], into, m, g.cout, pixels,
        *a_pixels, out_chunks, g.cin, part * terms, count, wide,
    )  # fmt: skip
    if parts > 1:
        add_reduce(plan, into, grad_w, parts, count)
