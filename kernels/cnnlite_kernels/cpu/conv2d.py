"""Direct convolution and its gradients: tables of rows and taps for the sweep (product.py), nothing is unrolled in memory.

Images are NHWC, weights HWIO. Each function emits kernels into a plan; the images of a plan are those of one part of a batch. The
forward pass and both gradients share one geometry, which is why this file is long.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from cnnlite_kernels.cpu.images import NO_HALO, Images, with_halo
from cnnlite_kernels.cpu.line_tile import Taps, add_line_product, suits
from cnnlite_kernels.cpu.lines import Lines
from cnnlite_kernels.cpu.memory import NOWHERE, Pointer
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.product import Rows, add_pack, add_product, block_width, padded_columns
from cnnlite_kernels.cpu.tile import ACCUMULATE, BIAS, INDEX, RELU
from cnnlite_kernels.window import Window2D

SMALL_IMAGE = 32 * 32  # pixels: up to here grad_x, which every tap reads and writes, stays in L2
FEW_ROWS = 4  # of a product, for which wider blocks of columns are better than blocks of three vectors
TAP_COST = 5  # sums over as many channels take as long as reading and writing a tile of results once more
WORTH = 0.98  # of the time, below which taps one by one pay

PIECE_ROWS = 256  # rows of w that are packed at a time, 32 KB in each block of columns


class Conv(NamedTuple):
    """The geometry of one convolution: window, size of the image, channels.

    used: the outputs anybody looks at, if not all: pooling drops a last odd row or column.
    like: of the whole image, where this one is a band of its rows: whatever changes the order of sums is decided by it.
    """

    window: Window2D
    h: int
    w: int
    cin: int
    cout: int
    groups: int = 1
    used: tuple[int, int] | None = None
    like: Conv | None = None

    @property
    def output(self) -> tuple[int, int]:
        return self.used or self.window.output_size(self.h, self.w)

    @property
    def halo(self):
        """Zeros around x that the taps reach."""
        return self.window.pads(self.h, self.w)

    @property
    def depth(self) -> int:
        """Numbers of w that make one output."""
        kh, kw = self.window.kernel
        return kh * kw * (self.cin // self.groups)

    @property
    def weights(self) -> int:
        return self.depth * self.cout

    def taps(self, x: Images) -> tuple[np.ndarray, int]:
        """(offsets in x, contiguous numbers in x and in w) of the taps. A row of the kernel is one tap where x and w both have its
        numbers side by side."""
        (kh, kw), (dh, dw) = self.window.kernel, self.window.dilation
        depth = self.cin // self.groups
        rows, columns = np.mgrid[:kh, :kw]
        if dw == 1 and self.groups == 1:
            return np.arange(kh) * dh * x.row, kw * depth
        return (rows * dh * x.row + columns * dw * x.c).reshape(-1), depth


def packed_weights(conv: Conv, item: int) -> int:
    """Numbers that the packed weights of the forward pass take."""
    return conv.groups * conv.depth * padded_columns(conv.cout // conv.groups, item)


def add_pack_weights(
    plan: Plan, conv: Conv, w: Pointer, packed: Pointer, rows: tuple[int, int] | None = None
) -> None:
    """Emits the packing of w (HWIO) for `add_forward`; rows=(first, stop): only these of its (kh, kw, cin) rows."""
    first, stop = rows or (0, conv.depth)
    cout = conv.cout // conv.groups
    size = conv.depth * padded_columns(cout, plan.item)
    for g in range(conv.groups):
        add_pack(
            plan, w + (first * conv.cout + g * cout) * plan.item, packed + g * size * plan.item,
            taps=[0], k_len=stop - first, k_step=conv.cout, columns=cout, column_step=1, threes=True,
            packed_rows=(first, conv.depth),
        )  # fmt: skip


def output_rows(conv: Conv, x: Images, y: Images, pool: tuple[int, int] | None = None) -> Rows:
    """The rows of the forward pass: the outputs in the order of pooling windows, the outputs of each window together."""
    (sh, sw), ((top, _), (left, _)) = conv.window.strides, conv.halo
    ph, pw = pool or (1, 1)
    oh, ow = conv.output
    i, j, di, dj = np.meshgrid(*map(np.arange, (oh // ph, ow // pw, ph, pw)), indexing="ij")
    a = x.pixels((i * ph + di) * sh - top, (j * pw + dj) * sw - left).reshape(-1)
    c = y.pixels(i[:, :, 0, 0], j[:, :, 0, 0]).reshape(-1)
    return spread(Rows(a, c, pool=ph * pw), x, y)


def add_forward(
    plan: Plan, conv: Conv, x: Images, packed: Pointer, bias: Pointer | None, y: Images, *, relu: bool = False,
    pool: tuple[int, int] | None = None, index: Pointer = NOWHERE,
    columns: tuple[int, int] | None = None, piece: int = 0,
) -> None:  # fmt: skip
    """Emits y = conv(x, w) + bias, then relu.

    y[n, oh, ow, co] = sum over kh, kw, ci of x[n, oh * sh + kh * dh - top, ow * sw + kw * dw - left, ci] * w[kh, kw, ci, co]

    With pool=(ph, pw) y is the maximum over windows of ph x pw outputs side by side, and what pooling drops at the borders is not
    computed; at `index`, unless it is NOWHERE, goes which of the window's outputs it was, ph * pw where relu left nothing.

    columns=(first, stop), multiples of block_width: only the blocks of each group's cout that begin there. piece: `packed` is w
    as it lies, and so many of its rows (`piece_rows`) are packed at a time: for few outputs that is less to read and write.
    """
    flags = (BIAS if bias is not None else 0) | (RELU if relu else 0) | (INDEX if index != NOWHERE else 0)
    cin, cout = conv.cin // conv.groups, conv.cout // conv.groups
    if pool is None and goes_by_lines(conv) and not piece:
        _add_lines(plan, conv, x, packed, NOWHERE if bias is None else bias, y, flags, columns)
        return
    if pool is None and skips_padding(conv):
        terms = _terms_by_taps(conv, x, y)
    else:
        x = with_halo(plan, x, conv.halo)
        taps, k_len = conv.taps(x)
        terms = [Term(output_rows(conv, x, y, pool), taps, 0, k_len)]
    size = conv.depth * padded_columns(cout, plan.item)
    for g in range(conv.groups):
        first = g * cout
        of_x, of_y = x.start + g * cin * plan.item, y.start + first * plan.item
        of_w = packed + (first if piece else g * size) * plan.item
        options: dict[str, Any] = dict(
            within=columns, bias=NOWHERE if bias is None else bias + first * plan.item, index=index + first
        )
        for number, term in enumerate(terms):
            now = (ACCUMULATE if number else 0) | (flags if number == len(terms) - 1 else 0)
            if piece:
                _add_by_pieces(plan, conv, of_x, of_w, of_y, term, piece, now, options)
            else:
                add_product(
                    plan, of_x, of_w, of_y, term.rows, cout, term.taps, term.k_len,
                    packed_rows=(term.first, conv.depth), flags=now, threes=True, **options,
                )  # fmt: skip


def goes_by_lines(conv: Conv) -> bool:
    """Whether the forward pass takes the outputs of a row side by side (line_tile.py), of few channels."""
    return conv.groups == 1 and not skips_padding(conv) and suits(conv.cin, conv.depth, conv.output[1])


def _add_lines(
    plan: Plan, conv: Conv, x: Images, packed: Pointer, bias: Pointer, y: Images, flags: int, columns: tuple[int, int] | None
) -> None:  # fmt: skip
    (kh, kw), (sh, sw), (dh, dw) = conv.window.kernel, conv.window.strides, conv.window.dilation
    (top, _), (left, _) = conv.halo
    oh, ow = conv.output
    x = with_halo(plan, x, conv.halo)
    lines = Lines(ow, sw * x.c, y.c, oh, sh * x.row, y.row, x.n, x.image, y.image)
    add_line_product(
        plan, x.start + int(x.pixels(-top, -left)) * plan.item, packed, y.first(plan.item), lines, conv.cout,
        Taps(kh, dh * x.row, kw, dw * x.c, conv.cin), bias=bias, flags=flags, within=columns,
    )  # fmt: skip


class Term(NamedTuple):
    """A part of the sum: for these rows the taps that begin at row `first` of w, each k_len of its rows."""

    rows: Rows
    taps: np.ndarray
    first: int
    k_len: int


def _terms_by_taps(conv: Conv, x: Images, y: Images) -> list[Term]:
    """Zeros, then each tap for the outputs where it lies on a pixel, one that does so for all of them last: nothing is computed of
    the padding, which is a fifth of a 3 x 3 convolution of 7 x 7 pixels, and x needs no zeros around it."""
    (kh, kw), (sh, sw), (dh, dw) = conv.window.kernel, conv.window.strides, conv.window.dilation
    (top, _), (left, _) = conv.halo
    depth, (oh, ow) = conv.cin // conv.groups, conv.output
    r, c = (table.reshape(-1) for table in np.mgrid[:oh, :ow])
    everywhere = y.pixels(r, c)
    terms, whole = [], conv.like or conv
    for i in range(kh):
        for j in range(kw):
            r, c = np.meshgrid(_reached(conv, 0, i), _reached(conv, 1, j), indexing="ij")
            a = x.pixels(r * sh + i * dh - top, c * sw + j * dw - left)
            rows = spread(Rows(a.reshape(-1), y.pixels(r, c).reshape(-1)), x, y)
            outputs = len(_reached(whole, 0, i)) * len(_reached(whole, 1, j))
            terms.append((outputs, Term(rows, np.zeros(1, np.int64), (i * kw + j) * depth, depth)))
    terms.sort(key=lambda each: each[0])
    zeros = Term(spread(Rows(everywhere, everywhere), y, y), np.zeros(0, np.int64), 0, 0)
    return [zeros, *(term for _, term in terms)]


def _add_by_pieces(
    plan: Plan, conv: Conv, a: Pointer, w: Pointer, c: Pointer, term: Term, piece: int, flags: int, options: dict[str, Any]
) -> None:  # fmt: skip
    """Piece after piece of w's rows: packed into scratch, where L2 still has it when it is read."""
    cout = conv.cout // conv.groups
    if len(term.taps) == 0:
        add_product(plan, a, NOWHERE, c, term.rows, cout, [], 0, flags=flags, threes=True, **options)
        return
    within = options["within"]
    scratch = plan.mark()
    packed = plan.scratch(piece * padded_columns(cout, plan.item) * plan.item)
    pieces = [tap + k for tap in term.taps for k in range(0, term.k_len, piece)]
    for number, at in enumerate(pieces):
        first = term.first + number * piece
        add_pack(
            plan, w + first * conv.cout * plan.item, packed, taps=[0], k_len=piece, k_step=conv.cout, columns=cout,
            column_step=1, within=within, threes=True,
        )  # fmt: skip
        now = (flags & ACCUMULATE if number == 0 else ACCUMULATE) | (
            flags & ~ACCUMULATE if number == len(pieces) - 1 else 0
        )
        add_product(plan, a, packed, c, term.rows, cout, [at], piece, flags=now, threes=True, **options)
    plan.free(scratch)


@functools.cache
def skips_padding(conv: Conv) -> bool:
    """Whether the forward pass takes tap by tap, each for the outputs where it lies on a pixel and not on padding."""
    conv = conv.like or conv
    (kh, kw), (oh, ow) = conv.window.kernel, conv.output
    if conv.halo == NO_HALO or not _pays_by_taps(conv, conv.cin // conv.groups, oh * ow):
        return False
    most = [max(len(_reached(conv, axis, tap)) for tap in range(taps)) for axis, taps in ((0, kh), (1, kw))]
    return most == [oh, ow]


def _pays_by_taps(conv: Conv, depth: int, pixels: int) -> bool:
    """Whether taps one by one, for those pairs of an output and a pixel of x that they join, take less time than all taps for each of
    `pixels` (outputs, or pixels of x)."""
    kh, kw = conv.window.kernel
    joined = sum(len(_reached(conv, 0, i)) for i in range(kh)) * sum(
        len(_reached(conv, 1, j)) for j in range(kw)
    )
    return joined * (1 + TAP_COST / max(1, depth)) < WORTH * pixels * kh * kw


def piece_rows(conv: Conv) -> int:
    """Rows of w in one piece of several equal ones, at most PIECE_ROWS; 0 where none is long."""
    depth = conv.cin // conv.groups
    together = conv.window.dilation[1] == 1 and conv.groups == 1 and not skips_padding(conv)
    k_len = depth * (conv.window.kernel[1] if together else 1)
    most = max((rows for rows in range(1, min(k_len, PIECE_ROWS) + 1) if k_len % rows == 0), default=0)
    return most if most >= min(k_len, PIECE_ROWS // 2) else 0


def spread(rows: Rows, x: Images, y: Images, enough: int = 128) -> Rows:
    """The rows of one image, for all images: each image a group, or one long table where an image alone has few rows."""
    if x.n > 1 and len(rows.a) < enough:
        images = np.arange(x.n)[:, None]
        return rows._replace(
            a=(images * x.image + rows.a).reshape(-1), c=(images * y.image + rows.c).reshape(-1)
        )
    return rows._replace(groups=x.n, a_group=x.image, c_group=y.image)


class Phase(NamedTuple):
    """The pixels of x that are `row` and `column` past a multiple of the strides (padding counted), and the taps that touch them."""

    row: int
    column: int
    kernel_rows: list[int]
    kernel_columns: list[int]


def phases(conv: Conv) -> list[Phase]:
    (kh, kw), (sh, sw), (dh, dw) = conv.window.kernel, conv.window.strides, conv.window.dilation
    return [
        Phase(
            r,
            c,
            [i for i in range(kh) if (i * dh - r) % sh == 0],
            [j for j in range(kw) if (j * dw - c) % sw == 0],
        )
        for r in range(sh)
        for c in range(sw)
    ]


def flipped_weights(conv: Conv, item: int) -> int:
    """Numbers that the packed weights of `add_grad_input` take."""
    kh, kw = conv.window.kernel
    return kh * kw * conv.cout * padded_columns(conv.cin // conv.groups, item)


def add_flip_weights(
    plan: Plan, conv: Conv, w: Pointer, packed: Pointer, columns: tuple[int, int] | None = None
) -> None:
    """Emits the packing of w for `add_grad_input`: per phase the taps from last to first, cin and cout exchanged.

    columns=(first, stop): only these of each group's cin, whole blocks.
    """
    cin, cout = conv.cin // conv.groups, conv.cout // conv.groups
    for phase in phases(conv):
        taps = [(i, j) for i in phase.kernel_rows[::-1] for j in phase.kernel_columns[::-1]]
        for g in range(conv.groups if taps else 0):
            _add_flip(plan, conv, w + g * cout * plan.item, packed, taps, columns)
            packed += len(taps) * cout * padded_columns(cin, plan.item) * plan.item


def _add_flip(
    plan: Plan, conv: Conv, w: Pointer, packed: Pointer, taps: Sequence[tuple[int, int]], columns: tuple[int, int] | None
) -> None:  # fmt: skip
    """Emits the packing of these taps of one group, whose first number is at w."""
    cin, cout = conv.cin // conv.groups, conv.cout // conv.groups
    offsets = [(i * conv.window.kernel[1] + j) * cin * conv.cout for i, j in taps]
    add_pack(
        plan, w, packed,
        taps=offsets, k_len=cout, k_step=1, columns=cin, column_step=conv.cout, within=columns, threes=True,
    )  # fmt: skip


def grad_halo(conv: Conv):
    """Zeros around grad_y that `add_grad_input` reads."""
    if _scatters(conv):
        return NO_HALO
    return tuple(reach(conv, axis) for axis in (0, 1))


def reach(conv: Conv, axis: int) -> tuple[int, int]:
    """How far before the first and past the last row (column) of grad_y the taps of some pixel of x reach."""
    stride, dilation, taps = conv.window.strides[axis], conv.window.dilation[axis], conv.window.kernel[axis]
    before, size = conv.halo[axis][0], (conv.h, conv.w)[axis]
    reached = [
        (pixel + before - tap * dilation) // stride
        for tap in range(taps)
        for pixel in {0, *range(max(0, size - stride), size), *range(min(stride, size))}
        if (pixel + before - tap * dilation) % stride == 0
    ]
    return max(0, -min(reached, default=0)), max(0, max(reached, default=0) - (conv.output[axis] - 1))


def input_sums(conv: Conv, grad_y: Images, grad_x: Images) -> Iterator[tuple[Rows, list[int], int]]:
    """(rows, taps, k_len) for each phase of the strides, in the order of `add_flip_weights`: a row for each pixel of x.

    A row of the kernel is one tap where its outputs lie side by side in grad_y.
    """
    (sh, sw), (dh, dw), ((top, _), (left, _)) = conv.window.strides, conv.window.dilation, conv.halo
    cout = conv.cout // conv.groups
    for phase in phases(conv):
        r = np.arange((phase.row - top) % sh, conv.h, sh)
        c = np.arange((phase.column - left) % sw, conv.w, sw)
        r, c = (table.reshape(-1) for table in np.meshgrid(r, c, indexing="ij"))
        # a row begins at the output whose window starts in this pixel's phase; taps go back from there
        a = (grad_y.pixels(0, 0) + (r + top) // sh * grad_y.row + (c + left) // sw * grad_y.c).reshape(-1)
        rows = spread(Rows(a, grad_x.pixels(r, c)), grad_y, grad_x)
        up = [-((i * dh - phase.row) // sh) * grad_y.row for i in phase.kernel_rows[::-1]]
        back = [-((j * dw - phase.column) // sw) * grad_y.c for j in phase.kernel_columns[::-1]]
        taps, k_len = [u + b for u in up for b in back], cout
        if conv.groups == 1 and up and back and np.all(np.diff(back) == cout):
            taps, k_len = [u + back[0] for u in up], len(back) * cout
        yield rows, taps, k_len


def add_grad_input(
    plan: Plan, conv: Conv, grad_y: Images, packed: Pointer, grad_x: Images, *,
    columns: tuple[int, int] | None = None, as_it_lies: bool = False, zeros: bool = False, bias: Pointer | None = None,
) -> None:  # fmt: skip
    """Emits grad_x: the convolution of grad_y with the flipped weights, once for each phase of the strides.

    grad_x[n, ih, iw, ci] = sum over kh, kw, co of grad_y[n, oh, ow, co] * w[kh, kw, ci, co]
    where oh = (ih + top - kh * dh) / sh and ow = (iw + left - kw * dw) / sw are whole and inside grad_y.

    columns=(first, stop), multiples of block_width: only the blocks of each group's cin that begin there. as_it_lies: `packed` is w,
    and what a product needs of it is packed just before, into scratch: for few pixels that is less to read and write. zeros: grad_x
    holds zeros already. bias: numbers (cin,) that are added, where this makes the output of a transposed convolution.
    """
    cin, cout = conv.cin // conv.groups, conv.cout // conv.groups
    scattered = _scatters(conv)
    if scattered:
        terms = _scattered_terms(conv, grad_y, grad_x)
    else:
        grad_y = with_halo(plan, grad_y, grad_halo(conv))
        terms = _phase_terms(conv, grad_y, grad_x)
    if zeros:
        terms = [term for term in terms if term.flipped]
    all_taps = conv.window.kernel[0] * conv.window.kernel[1]
    group_size = padded_columns(cin, plan.item) * cout * plan.item
    first, stop = columns or (0, cin)
    for g in range(conv.groups):
        for term in terms:
            scratch = plan.mark()
            of_w, rows_of_b = packed, None
            if as_it_lies and term.flipped:
                depth = len(term.flipped) * cout
                # a block may be a vector wider than it begins in these columns
                room = padded_columns(min(stop, cin) - first, plan.item) + block_width(plan.item)
                of_w = plan.scratch(depth * room * plan.item) + -first * depth * plan.item
                _add_flip(plan, conv, packed + g * cout * plan.item, of_w, term.flipped, columns)
            elif scattered:
                of_w += g * all_taps * group_size
                rows_of_b = term.place * cout, all_taps * cout
            else:
                of_w += (term.place * conv.groups + g * len(term.flipped)) * group_size
            add_product(
                plan, grad_y.start + g * cout * plan.item, of_w, grad_x.start + g * cin * plan.item,
                term.rows, cin, term.taps, term.k_len, packed_rows=rows_of_b if term.flipped else None,
                flags=term.flags | (BIAS if bias is not None and not term.flags & ACCUMULATE else 0),
                bias=NOWHERE if bias is None else bias + g * cin * plan.item, within=columns, threes=True,
            )  # fmt: skip
            plan.free(scratch)


class FlippedTerm(NamedTuple):
    """A part of the sum of grad_x: for these rows the taps, `flipped` in the order in which they are packed, after `place` others."""

    rows: Rows
    taps: list[int]
    k_len: int
    flipped: list[tuple[int, int]]
    place: int
    flags: int


def _phase_terms(conv: Conv, grad_y: Images, grad_x: Images) -> list[FlippedTerm]:
    """All taps that touch a phase, for its pixels."""
    terms, place = [], 0
    for phase, (rows, taps, k_len) in zip(phases(conv), input_sums(conv, grad_y, grad_x), strict=True):
        flipped = [(i, j) for i in phase.kernel_rows[::-1] for j in phase.kernel_columns[::-1]]
        terms.append(FlippedTerm(rows, taps, k_len, flipped, place, 0))
        place += len(flipped)
    return terms


def _scattered_terms(conv: Conv, grad_y: Images, grad_x: Images) -> list[FlippedTerm]:
    """grad_x[n, oh + kh * dh - top, ow + kw * dw - left, ci] += sum over co of grad_y[n, oh, ow, co] * w[kh, kw, ci, co], tap by tap,
    after zeros."""
    (kh, kw), (dh, dw), ((top, _), (left, _)) = conv.window.kernel, conv.window.dilation, conv.halo
    pixels = grad_x.pixels(*np.mgrid[: conv.h, : conv.w]).reshape(-1)
    everywhere = spread(Rows(pixels, pixels), grad_x, grad_x)
    terms = [FlippedTerm(everywhere, [], 0, [], 0, 0)]
    for i in range(kh):
        for j in range(kw):
            r, c = np.meshgrid(_reached(conv, 0, i), _reached(conv, 1, j), indexing="ij")
            a, to = grad_y.pixels(r, c), grad_x.pixels(r + i * dh - top, c + j * dw - left)
            rows = spread(Rows(a.reshape(-1), to.reshape(-1)), grad_y, grad_x)
            place = (kh - 1 - i) * kw + kw - 1 - j  # taps are packed from last to first
            terms.append(FlippedTerm(rows, [0], conv.cout // conv.groups, [(i, j)], place, ACCUMULATE))
    return terms


def leaves_zeros(conv: Conv) -> bool:
    """Whether no window covers some pixels of x, those between the strides of small windows."""
    return any(not (phase.kernel_rows and phase.kernel_columns) for phase in phases(conv))


def _reached(conv: Conv, axis: int, tap: int) -> np.ndarray:
    """The outputs along an axis whose tap lies on a pixel of x and not on padding."""
    outputs, stride = np.arange(conv.output[axis]), conv.window.strides[axis]
    pixels = outputs * stride + tap * conv.window.dilation[axis] - conv.halo[axis][0]
    return outputs[(pixels >= 0) & (pixels < (conv.h, conv.w)[axis])]


@functools.cache
def _scatters(conv: Conv) -> bool:
    """Whether it is less work to add each output's gradient to the pixels it came from, tap by tap, than to collect for each pixel,
    zeros around grad_y included: where images are small. Stride 1 only."""
    conv = conv.like or conv
    if conv.window.strides != (1, 1) or conv.h * conv.w > SMALL_IMAGE:
        return False
    return _pays_by_taps(conv, conv.cout // conv.groups, conv.h * conv.w)


def add_grad_weights(
    plan: Plan, conv: Conv, x: Images, grad_y: Images, grad_w: Pointer, *, flags: int = 0,
    depth: slice = slice(None), columns: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Emits grad_w (HWIO): the sum over all outputs of the part. flags=ACCUMULATE adds to what is there.

    Only the block `depth` of the (kh, kw, cin) taps and the columns (first, stop) of each group's cout, if they are given.

    grad_w[kh, kw, ci, co] (+)= sum over n, oh, ow of x[n, oh * sh + kh * dh - top, ow * sw + kw * dw - left, ci] * grad_y[n, oh, ow, co]
    """
    x = with_halo(plan, x, conv.halo)
    (kh, kw), (sh, sw), (dh, dw) = conv.window.kernel, conv.window.strides, conv.window.dilation
    (top, _), (left, _) = conv.halo
    oh, ow = conv.output
    cin, cout = conv.cin // conv.groups, conv.cout // conv.groups
    i, j, k = np.meshgrid(*map(np.arange, (kh, kw, cin)), indexing="ij")
    a = (x.pixels(i * dh - top, j * dw - left) + k).reshape(-1)
    rows = Rows(a[depth], np.arange(conv.depth)[depth] * conv.cout)
    start, stop = columns or (0, cout)
    n, r = np.meshgrid(np.arange(x.n), np.arange(oh), indexing="ij")
    taps_a = (n * x.image + r * sh * x.row).reshape(-1)
    taps_b = (n * grad_y.image + grad_y.pixels(r, 0)).reshape(-1)
    for g in range(conv.groups):
        first = (g * cout + start) * plan.item
        add_product(
            plan, x.start + g * cin * plan.item, grad_y.start + first, grad_w + first,
            rows, stop - start, taps_a, ow, taps_b=taps_b, a_step=sw * x.c, b_step=grad_y.c, flags=flags,
            threes=len(rows.a) > FEW_ROWS,
        )  # fmt: skip
