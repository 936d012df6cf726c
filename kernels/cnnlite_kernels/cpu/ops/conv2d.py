"""conv2d and its gradients on arrays: first the weights are packed, then each part of the batch goes through the tile."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cnnlite_kernels.cpu import bfloat16_pays, depthwise, few_channels
from cnnlite_kernels.cpu import conv2d as emit
from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.gradients import collect
from cnnlite_kernels.cpu.images import NO_HALO, Images, add_clear, copy_with_halo, with_halo
from cnnlite_kernels.cpu.memory import Base, Pointer
from cnnlite_kernels.cpu.ops import bfloat16_conv2d
from cnnlite_kernels.cpu.ops.activations import in_place
from cnnlite_kernels.cpu.ops.cuts import (
    Cut,
    by_inputs,
    by_outputs,
    multiply_adds,
    phase_pixels,
    rows_and_columns,
    x_start,
    y_start,
)  # fmt: skip
from cnnlite_kernels.cpu.ops.work import KEPT, NUMBERS, Work, aligned, number_of_parts, pieces
from cnnlite_kernels.cpu.plan import LINE, Part, Plan
from cnnlite_kernels.cpu.product import CACHE, block_width, tile_rows
from cnnlite_kernels.packed import PackedWeights
from cnnlite_kernels.window import Window2D

X, Y, W, BIAS, OUT, SHARED = (
    Pointer(base, 0) for base in (Base.X, Base.Y, Base.W, Base.GRADS, Base.OUT, Base.EXTRA)
)

# Blocks of columns in a part that reads weights as they lie, at least: 512 bytes of each row.
PIECE_BLOCKS = 4
FEW_OUTPUTS = 200  # up to which a part packs weights that L2 does not hold itself, just before it reads them

WAY, WAYS = 4096, 12  # bytes of L1 with one line in each place, and lines in a place, as on most processors
WIDE = 256  # channels of y, for which a copy of x is a hundredth of the work or so
COLLISION = 1024  # bytes; pixels that lie multiples of it apart share at most four places of eight or twelve lines in L1


def pack_weights(w: np.ndarray, groups: int) -> np.ndarray:
    """w as `conv2d` reads it, packed once for many calls; a copy of it where nothing would be packed."""
    kh, kw, depth, cout = w.shape
    conv = Conv(Window2D.of((kh, kw)), kh, kw, depth * groups, cout, groups)
    if depthwise.is_depthwise(conv):
        packed = aligned(w.size, w.dtype)
        packed[:] = w.reshape(-1)
    else:
        packed = aligned(emit.packed_weights(conv, w.itemsize), w.dtype)
        if packed.size:
            _packing(conv, w.itemsize).run(w=w, out=packed)
    return packed


@functools.lru_cache(KEPT)
def _packing(conv: Conv, item: int) -> Work:
    return Work([_packs(emit.add_pack_weights, conv, OUT, conv.depth, 1, item)])


def conv2d(
    x: np.ndarray, w: np.ndarray | PackedWeights, b: np.ndarray | None, out: np.ndarray, window: Window2D, groups: int,
    activation: str | None,
) -> None:  # fmt: skip
    """out = activation(conv(x, w) + b)."""
    conv = Conv(window, x.shape[1], x.shape[2], x.shape[3], w.shape[3], groups)
    packed = isinstance(w, PackedWeights)
    if not packed and bfloat16_pays.asked(x.itemsize) and bfloat16_pays.forward(conv):
        work = bfloat16_conv2d.forward(conv, x.shape[0], b is not None, activation)
    else:
        work = _forward(conv, x.shape[0], x.itemsize, b is not None, activation, packed)
    work.run(x=x, w=w.data if isinstance(w, PackedWeights) else w, grads=b, out=out)


def conv2d_grad_input(
    grad_y: np.ndarray, w: np.ndarray, out: np.ndarray, window: Window2D, groups: int
) -> None:
    """out = the gradient with respect to x, of its shape."""
    conv = Conv(window, out.shape[1], out.shape[2], out.shape[3], w.shape[3], groups)
    if bfloat16_pays.asked(out.itemsize) and bfloat16_pays.grad_input(conv):
        work = bfloat16_conv2d.grad_input(conv, out.shape[0])
    else:
        work = _grad_input(conv, out.shape[0], out.itemsize)
    work.run(y=grad_y, w=w, out=out)


def conv2d_grad_weights(
    x: np.ndarray, grad_y: np.ndarray, out: np.ndarray, window: Window2D, groups: int
) -> None:
    """out = the gradient with respect to w, of its shape."""
    conv = Conv(window, x.shape[1], x.shape[2], x.shape[3], out.shape[3], groups)
    if bfloat16_pays.asked(x.itemsize) and bfloat16_pays.grad_weights(conv):
        work = bfloat16_conv2d.grad_weights(conv, x.shape[0])
    else:
        work = _grad_weights(conv, x.shape[0], x.itemsize)
    work.run(x=x, y=grad_y, out=out)


@functools.lru_cache(KEPT)
def _forward(conv: Conv, n: int, item: int, with_bias: bool, activation: str | None, packed: bool) -> Work:
    if depthwise.is_depthwise(conv):
        return _depthwise_forward(conv, n, item, with_bias, activation)
    oh, ow = conv.output
    few = n * oh * ow <= FEW_OUTPUTS and conv.groups == 1 and conv.weights * item > CACHE
    piece = emit.piece_rows(conv) if few and not packed else 0
    row_parts, columns = rows_and_columns(conv, n, block_width(item) * (PIECE_BLOCKS if piece else 1))
    as_given = packed or piece > 0
    before = [] if as_given else _packs(emit.add_pack_weights, conv, SHARED, conv.depth, 1, item)
    shared = 0 if as_given else emit.packed_weights(conv, item) * item
    source = X
    if len(columns) > 1 and conv.halo != NO_HALO and not emit.skips_padding(conv):
        # several parts read the same rows of x: they are padded once
        source = SHARED + -(-shared // LINE) * LINE
        padded = Images(source, n, conv.h, conv.w, conv.cin, conv.halo)
        before = before + _pads(padded, item)
        shared = source.offset + padded.size * item
        (top, bottom), (left, right) = conv.halo
        conv = conv._replace(
            window=replace(conv.window, padding=NO_HALO), h=conv.h + top + bottom, w=conv.w + left + right
        )
    images = Images(source, n, conv.h, conv.w, conv.cin)
    if piece == 0 and _evicts(conv, n, item):
        copies, images = _spaced(images, conv, SHARED + -(-shared // LINE) * LINE, item)
        before, source = before + copies, images.start
        shared = source.offset + images.size * item
        conv = conv._replace(window=replace(conv.window, strides=(1, 1)), h=images.h, w=images.w)
    plans: dict[tuple, Plan] = {}
    parts = []
    for cut in by_outputs(conv.window, n, conv.h, conv.w, row_parts):
        here = conv._replace(window=cut.window, h=cut.h)
        of_x, of_y = (cut.image * images.image + cut.x_row * images.row) * item, y_start(conv, cut) * item
        at = X if source == X else source + of_x
        for within in columns:
            plan = plans.get((here, cut.n, at, within))
            if plan is None:
                plan = plans[here, cut.n, at, within] = Plan(item)
                x = images._replace(start=at, n=cut.n, h=here.h)
                y = Images(OUT, cut.n, *here.output, here.cout)
                emit.add_forward(
                    plan, here, x, W if as_given else SHARED, BIAS if with_bias else None, y,
                    relu=activation == "relu", columns=within, piece=piece,
                )  # fmt: skip
            parts.append(Part(plan, {Base.X: of_x, Base.OUT: of_y}))
    last = [] if activation in (None, "relu") else in_place(activation, n * oh * ow * conv.cout, item)
    return Work([before, parts, last], shared)


def _depthwise_forward(conv: Conv, n: int, item: int, with_bias: bool, activation: str | None) -> Work:
    plans: dict[tuple, Plan] = {}
    parts = []
    for cut in by_outputs(conv.window, n, conv.h, conv.w, number_of_parts(multiply_adds(conv, n))):
        here = conv._replace(window=cut.window, h=cut.h)
        plan = plans.get((here, cut.n))
        if plan is None:
            plan = plans[here, cut.n] = Plan(item)
            x, y = Images(X, cut.n, here.h, here.w, here.cin), Images(OUT, cut.n, *here.output, here.cout)
            depthwise.add_forward(plan, here, x, W, BIAS if with_bias else None, y, relu=activation == "relu")
        parts.append(Part(plan, {Base.X: x_start(conv, cut) * item, Base.OUT: y_start(conv, cut) * item}))
    oh, ow = conv.output
    last = [] if activation in (None, "relu") else in_place(activation, n * oh * ow * conv.cout, item)
    return Work([parts, last])


def _pads(padded: Images, item: int, source: Pointer = X) -> list[Part]:
    """The parts that copy the images at `source` to `padded`, at an offset of Base.EXTRA, with zeros around each image."""
    x = padded._replace(start=source, halo=NO_HALO)
    parts = []
    for first, stop in pieces(padded.n, number_of_parts(padded.size, NUMBERS)):
        plan = Plan(item)
        with_halo(plan, x._replace(n=stop - first), padded.halo, padded.start + first * padded.image * item)
        parts.append(Part(plan, {Base(source.base): first * x.image * item}))
    return parts


@functools.lru_cache(KEPT)
def _grad_input(conv: Conv, n: int, item: int) -> Work:
    if depthwise.is_depthwise(conv):
        return _unpacked_grad_input(conv, n, item, depthwise.add_grad_input)
    if few_channels.is_better(conv):
        return _unpacked_grad_input(conv, n, item, few_channels.add_grad_input)
    halo = emit.grad_halo(conv)
    row_parts, columns = rows_and_columns(conv, n, block_width(item), grad_input=True)
    if row_parts > n and halo != NO_HALO:  # several parts would pad the same rows of grad_y
        row_parts, columns = number_of_parts(multiply_adds(conv, n)), [(0, conv.cin // conv.groups)]
    as_it_lies = phase_pixels(conv, n) <= FEW_OUTPUTS and conv.groups == 1 and conv.weights * item > CACHE
    before, shared, source = [], 0, Y
    if not as_it_lies:
        before = _packs(emit.add_flip_weights, conv, SHARED, conv.cin // conv.groups, block_width(item), item)
        shared = emit.flipped_weights(conv, item) * item
    if len(columns) > 1 and halo != NO_HALO:
        source = SHARED + -(-shared // LINE) * LINE
        padded = Images(source, n, *conv.output, conv.cout, halo)
        before = before + _pads(padded, item, Y)
        shared = source.offset + padded.size * item
    zeros = len(columns) > 1 and emit.leaves_zeros(conv)  # whole rows of zeros, not in pieces of some columns
    size = n * conv.h * conv.w * conv.cin
    for first, stop in pieces(size, number_of_parts(size, NUMBERS)) if zeros else ():
        clearing = Plan(item)
        add_clear(clearing, OUT + first * item, stop - first)
        before = [*before, Part(clearing)]
    plans: dict[tuple, Plan] = {}
    parts = []
    for cut in by_inputs(conv.window, n, conv.h, conv.w, row_parts):
        here = conv._replace(window=cut.window, h=cut.h)
        of_y, of_x = y_start(conv, cut) * item, x_start(conv, cut) * item
        grad_y = Images(Y, cut.n, *here.output, here.cout)
        if source != Y:
            grad_y = grad_y._replace(halo=halo)
            grad_y = grad_y._replace(start=source + cut.image * grad_y.image * item)
        for within in columns:
            plan = plans.get((here, grad_y, within))
            if plan is None:
                plan = plans[here, grad_y, within] = Plan(item)
                grad_x = Images(OUT, cut.n, here.h, here.w, here.cin)
                emit.add_grad_input(
                    plan, here, grad_y, W if as_it_lies else SHARED, grad_x, columns=within, as_it_lies=as_it_lies,
                    zeros=zeros,
                )  # fmt: skip
            parts.append(Part(plan, {Base.Y: of_y, Base.OUT: of_x}))
    return Work([before, parts], shared)


def _unpacked_grad_input(conv: Conv, n: int, item: int, add_grad_input: Callable) -> Work:
    """By an emitter that reads the weights as they lie."""
    plans: dict[tuple, Plan] = {}
    parts = []
    for cut in by_inputs(conv.window, n, conv.h, conv.w, number_of_parts(multiply_adds(conv, n))):
        here = conv._replace(window=cut.window, h=cut.h)
        plan = plans.get((here, cut.n))
        if plan is None:
            plan = plans[here, cut.n] = Plan(item)
            grad_y, grad_x = (
                Images(Y, cut.n, *here.output, here.cout),
                Images(OUT, cut.n, here.h, here.w, here.cin),
            )
            add_grad_input(plan, here, grad_y, W, grad_x)
        parts.append(Part(plan, {Base.Y: y_start(conv, cut) * item, Base.OUT: x_start(conv, cut) * item}))
    return Work([parts])


def _packs(add_pack, conv: Conv, to: Pointer, size: int, multiple: int, item: int) -> list[Part]:
    """The parts that pack the weights to `to`, each a piece of `size` rows (columns) that lies together in w."""
    parts = []
    for within in pieces(size, number_of_parts(conv.weights, NUMBERS), multiple):
        plan = Plan(item)
        add_pack(plan, conv, W, to, within)
        parts.append(Part(plan))
    return parts


@functools.lru_cache(KEPT)
def _grad_weights(conv: Conv, n: int, item: int) -> Work:
    if depthwise.is_depthwise(conv):
        return _depthwise_grad_weights(conv, n, item)
    wanted = number_of_parts(multiply_adds(conv, n))
    x, grad_y = Images(X, n, conv.h, conv.w, conv.cin), Images(Y, n, *conv.output, conv.cout)
    cuts = list(by_outputs(conv.window, n, conv.h, conv.w, wanted))
    if len(cuts) > 1 and 2 * len(cuts) * conv.weights <= x.size + grad_y.size:
        return _summed_grad_weights(conv, cuts, item)
    copies, shared = [], 0
    if conv.halo != NO_HALO:
        x = x._replace(start=SHARED, halo=conv.halo)
        copies, shared = _pads(x, item), x.size * item
    elif conv.window.kernel == (1, 1) and (conv.window.strides != (1, 1) or _collides(x, item)):
        copies, x = _spaced(x, conv, SHARED, item)
        shared = x.size * item
        conv = conv._replace(window=replace(conv.window, strides=(1, 1)), h=x.h, w=x.w)
    if _collides(grad_y, item):
        same = conv._replace(window=Window2D.of(1), h=grad_y.h, w=grad_y.w)
        more, grad_y = _spaced(grad_y, same, SHARED + -(-shared // LINE) * LINE, item)
        copies, shared = copies + more, grad_y.start.offset + grad_y.size * item
    parts = []
    columns = list(pieces(conv.cout // conv.groups, wanted, block_width(item)))
    for within in columns:
        rows = pieces(conv.depth, -(-wanted // len(columns)), tile_rows(conv.depth))
        for first, stop in rows:
            plan = Plan(item)
            emit.add_grad_weights(plan, conv, x, grad_y, OUT, depth=slice(first, stop), columns=within)
            parts.append(Part(plan))
    return Work([copies, parts], shared)


def _collides(images: Images, item: int) -> bool:
    """Whether the same channel of neighbouring pixels falls on few places in L1."""
    return images.c * item % COLLISION == 0


def _evicts(conv: Conv, n: int, item: int) -> bool:
    """Whether the rows of a tile of a 1 x 1 convolution are more lines in one place of L1 than it holds there, and w is wide enough for a
    copy of x to pay."""
    if conv.window.kernel != (1, 1) or conv.halo != NO_HALO or conv.groups > 1 or conv.cout < WIDE:
        return False
    oh, ow = conv.output
    return conv.window.strides[1] * conv.cin * item % WAY == 0 and tile_rows(n * oh * ow, conv.depth) >= WAYS


def _spaced(images: Images, conv: Conv, to: Pointer, item: int) -> tuple[list[Part], Images]:
    """The parts that copy those pixels of the images that a 1 x 1 window looks at, a cache line further apart, and the copy."""
    (sh, sw), (oh, ow) = conv.window.strides, conv.output
    copy = Images(to, images.n, oh, ow, images.c + LINE // item)
    plans: dict[int, Plan] = {}
    parts = []
    each = -(-number_of_parts(copy.size, NUMBERS) // max(1, images.n))
    for image in range(images.n):
        for first, stop in pieces(oh, each):
            plan = plans.get(stop - first)
            if plan is None:
                plan = plans[stop - first] = Plan(item)
                plan.add(
                    copy_with_halo, item, x=images.start, y=to, n=stop - first, h=ow, row=images.c, right=LINE // item,
                    x_row=sw * images.c, x_image=sh * images.row,
                )  # fmt: skip
            of_x = image * images.image + first * sh * images.row
            of_copy = image * copy.image + first * copy.row
            parts.append(Part(plan, {Base(images.start.base): of_x * item, Base.EXTRA: of_copy * item}))
    return parts, copy


def _summed_grad_weights(conv: Conv, cuts: list[Cut], item: int) -> Work:
    """Each part sums over its own outputs, then the parts are added up in their order: for large images and few weights."""
    plans: dict[tuple, Plan] = {}
    parts = []
    for number, cut in enumerate(cuts):
        here = conv._replace(window=cut.window, h=cut.h)
        plan = plans.get((here, cut.n))
        if plan is None:
            plan = plans[here, cut.n] = Plan(item)
            x, grad_y = Images(X, cut.n, here.h, here.w, here.cin), Images(Y, cut.n, *here.output, here.cout)
            add = depthwise.add_grad_weights if depthwise.is_depthwise(conv) else emit.add_grad_weights
            add(plan, here, x, grad_y, SHARED)
        bases = {
            Base.X: x_start(conv, cut) * item, Base.Y: y_start(conv, cut) * item, Base.EXTRA: number * conv.weights * item
        }  # fmt: skip
        parts.append(Part(plan, bases))
    sums = []
    for first, stop in pieces(conv.weights, number_of_parts(len(cuts) * conv.weights, NUMBERS)):
        plan = Plan(item)
        plan.add(
            collect, item, parts=SHARED + first * item, grads=OUT + first * item,
            count=stop - first, number=len(cuts), stride=conv.weights,
        )  # fmt: skip
        sums.append(Part(plan))
    return Work([parts, sums], len(cuts) * conv.weights * item)


def _depthwise_grad_weights(conv: Conv, n: int, item: int) -> Work:
    """By outputs where the weights are few beside them, else by channels."""
    wanted = number_of_parts(multiply_adds(conv, n))
    cuts = list(by_outputs(conv.window, n, conv.h, conv.w, wanted))
    oh, ow = conv.output
    if len(cuts) > 1 and 2 * len(cuts) * conv.weights <= n * (conv.h * conv.w + oh * ow) * conv.cin:
        return _summed_grad_weights(conv, cuts, item)
    x, grad_y = Images(X, n, conv.h, conv.w, conv.cin), Images(Y, n, oh, ow, conv.cout)
    parts = []
    for channels in pieces(conv.cin, wanted, block_width(item)):
        plan = Plan(item)
        depthwise.add_grad_weights(plan, conv, x, grad_y, OUT, channels=channels)
        parts.append(Part(plan))
    return Work([parts])
