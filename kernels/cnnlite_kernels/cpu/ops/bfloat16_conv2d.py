"""conv2d and its gradients of float32 arrays with operands rounded to bfloat16: weights are packed first, each part rounds its images."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

from cnnlite_kernels.cpu import bfloat16_conv2d as emit
from cnnlite_kernels.cpu import bfloat16_grad_weights as by_pixels
from cnnlite_kernels.cpu.bfloat16_product import WIDTH
from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.gradients import collect
from cnnlite_kernels.cpu.images import NO_HALO, Images
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops.activations import in_place
from cnnlite_kernels.cpu.ops.cuts import (
    Cut,
    by_inputs,
    by_outputs,
    multiply_adds,
    rows_and_columns,
    x_start,
    y_start,
)  # fmt: skip
from cnnlite_kernels.cpu.ops.work import KEPT, NUMBERS, Work, number_of_parts, pieces
from cnnlite_kernels.cpu.plan import LINE, Part, Plan
from cnnlite_kernels.cpu.product import tile_rows
from cnnlite_kernels.cpu.tile import ACCUMULATE

X, Y, W, BIAS, OUT, SHARED = (
    Pointer(base, 0) for base in (Base.X, Base.Y, Base.W, Base.GRADS, Base.OUT, Base.EXTRA)
)
PIECE = 1 << 17  # numbers that are rounded at a time, so that a product finds them in L2
MOST_PIECES = 128  # parts of a segment


def _rounded(plan: Plan, x: Images, halo) -> Images:
    """x as bfloat16 in scratch."""
    y = x._replace(halo=halo)
    y = y._replace(start=plan.scratch(y.size * 2))
    emit.add_round(plan, x, y)
    return y


def _packs(add_pack: Callable, conv: Conv, columns: int) -> list[Part]:
    """The parts that pack the weights, each some blocks of their `columns`."""
    parts = []
    for within in pieces(columns, number_of_parts(conv.weights, NUMBERS), WIDTH):
        plan = Plan()
        add_pack(plan, conv, W, SHARED, within)
        parts.append(Part(plan))
    return parts


def _rounds(to: Images) -> list[Part]:
    """The parts that round x to `to`, at an offset of Base.EXTRA."""
    x = to._replace(start=X, halo=NO_HALO)
    parts = []
    for first, stop in pieces(to.n, number_of_parts(to.size, NUMBERS)):
        plan = Plan()
        here = to._replace(start=to.start + first * to.image * 2, n=stop - first)
        emit.add_round(plan, x._replace(start=X + first * x.image * 4, n=stop - first), here)
        parts.append(Part(plan))
    return parts


def _enough(parts: int, numbers: int) -> int:
    """More parts, where else one would round more than L2 holds."""
    return max(parts, min(MOST_PIECES, numbers // PIECE))


@functools.lru_cache(KEPT)
def forward(conv: Conv, n: int, with_bias: bool, activation: str | None) -> Work:
    """out = activation(conv(x, w) + grads), grads the bias."""
    oh, ow = conv.output
    row_parts, columns = rows_and_columns(conv, n, WIDTH)
    before, shared = _packs(emit.add_pack_weights, conv, conv.cout), emit.packed_weights(conv)
    source = X
    if len(columns) > 1:  # several parts read the same rows of x: they are rounded once
        source = SHARED + -(-shared // LINE) * LINE
        padded = Images(source, n, conv.h, conv.w, conv.cin, conv.halo)
        before += _rounds(padded)
        shared = source.offset + padded.size * 2
        (top, bottom), (left, right) = conv.halo
        conv = conv._replace(
            window=replace(conv.window, padding=NO_HALO), h=conv.h + top + bottom, w=conv.w + left + right
        )
    else:
        row_parts = _enough(row_parts, n * conv.h * conv.w * conv.cin)
    plans: dict[tuple, Plan] = {}
    parts = []
    for cut in by_outputs(conv.window, n, conv.h, conv.w, row_parts):
        here = conv._replace(window=cut.window, h=cut.h)
        at = X if source == X else source + x_start(conv, cut) * 2
        for within in columns:
            plan = plans.get((here, cut.n, at, within))
            if plan is None:
                plan = plans[here, cut.n, at, within] = Plan()
                x = Images(at, cut.n, here.h, here.w, here.cin)
                emit.add_forward(
                    plan, here, _rounded(plan, x, here.halo) if source == X else x, SHARED, BIAS if with_bias else None,
                    Images(OUT, cut.n, *here.output, here.cout), relu=activation == "relu", columns=within,
                )  # fmt: skip
            parts.append(Part(plan, {Base.X: x_start(conv, cut) * 4, Base.OUT: y_start(conv, cut) * 4}))
    last = [] if activation in (None, "relu") else in_place(activation, n * oh * ow * conv.cout, 4)
    return Work([before, parts, last], shared)


@functools.lru_cache(KEPT)
def grad_input(conv: Conv, n: int) -> Work:
    """out = the gradient with respect to x, of y = grad_y."""
    oh, ow = conv.output
    wanted = _enough(number_of_parts(multiply_adds(conv, n)), n * oh * ow * conv.cout)
    plans: dict[tuple, Plan] = {}
    parts = []
    for cut in by_inputs(conv.window, n, conv.h, conv.w, wanted):
        here = conv._replace(window=cut.window, h=cut.h)
        plan = plans.get((here, cut.n))
        if plan is None:
            plan = plans[here, cut.n] = Plan()
            grad_y = _rounded(plan, Images(Y, cut.n, *here.output, here.cout), emit.grad_halo(here))
            emit.add_grad_input(plan, here, grad_y, SHARED, Images(OUT, cut.n, here.h, here.w, here.cin))
        parts.append(Part(plan, {Base.Y: y_start(conv, cut) * 4, Base.OUT: x_start(conv, cut) * 4}))
    return Work([_packs(emit.add_flip_weights, conv, conv.cin), parts], emit.flipped_weights(conv))


@functools.lru_cache(KEPT)
def grad_weights(conv: Conv, n: int) -> Work:
    """out = the gradient with respect to w, of x and y = grad_y."""
    conv = by_pixels.merged(conv)
    oh, ow = conv.output
    wanted = number_of_parts(multiply_adds(conv, n))
    numbers = n * (conv.h * conv.w * conv.cin + oh * ow * conv.cout)
    if wanted == 1 or 2 * wanted * conv.weights <= numbers:
        return _summed_grad_weights(conv, n, wanted, numbers)
    x = by_pixels.turned(conv, n, SHARED)
    packed = SHARED + -(-x.size * 2 // LINE) * LINE
    before = []
    for first, stop in pieces(n, number_of_parts(numbers, NUMBERS)):
        plan = Plan()
        cut = Cut(conv.window, conv.h, conv.w, stop - first, first, 0, 0)
        some, grad_y = _operands(conv, cut, conv)
        to = x._replace(start=x.start + first * x.image * 2, n=stop - first)
        by_pixels.add_turn(plan, conv, some, to)
        by_pixels.add_pack_outputs(plan, conv, grad_y, packed, part=(first, n))
        before.append(Part(plan))
    parts = []
    columns = list(pieces(conv.cout, wanted, WIDTH))
    for within in columns:
        for first, stop in pieces(conv.depth, -(-wanted // len(columns)), tile_rows(conv.depth)):
            plan = Plan()
            by_pixels.add_grad_weights(plan, conv, x, packed, OUT, depth=slice(first, stop), columns=within)
            parts.append(Part(plan))
    return Work([before, parts], packed.offset + by_pixels.packed_outputs(conv, n))


def _operands(conv: Conv, cut: Cut, here: Conv) -> tuple[Images, Images]:
    """A cut of x and its part of grad_y."""
    x = Images(X + x_start(conv, cut) * 4, cut.n, here.h, here.w, here.cin)
    return x, Images(Y + y_start(conv, cut) * 4, cut.n, *here.output, here.cout)


def _summed_grad_weights(conv: Conv, n: int, wanted: int, numbers: int) -> Work:
    """Each part sums over its own outputs, a piece at a time, then the parts are added up in their order."""
    cuts = list(by_outputs(conv.window, n, conv.h, conv.w, _enough(wanted, numbers)))
    shares = list(pieces(len(cuts), wanted))
    parts = []
    for number, (first, stop) in enumerate(shares):
        plan = Plan()
        for cut in cuts[first:stop]:
            here = conv._replace(window=cut.window, h=cut.h)
            by_pixels.add_from_images(
                plan, here, *_operands(conv, cut, here), SHARED + number * conv.weights * 4,
                flags=ACCUMULATE if cut != cuts[first] else 0,
            )  # fmt: skip
        parts.append(Part(plan))
    sums = []
    for first, stop in pieces(conv.weights, number_of_parts(len(shares) * conv.weights, NUMBERS)):
        plan = Plan()
        plan.add(
            collect, 4, parts=SHARED + first * 4, grads=OUT + first * 4, count=stop - first, number=len(shares), stride=conv.weights,
        )  # fmt: skip
        sums.append(Part(plan))
    return Work([parts, sums], len(shares) * conv.weights * 4)
