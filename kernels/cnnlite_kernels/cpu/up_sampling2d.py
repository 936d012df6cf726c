"""Enlarging images by whole factors, nearest and bilinear, and the gradient.

The two axes are done one after the other: a row of y is first made of two rows of x, then its pixels of two of that row's. Tables
say which two and how much the second counts; nearest is a second that counts nothing.
"""

from __future__ import annotations

import numpy as np
from numba import carray
from numba.extending import register_jitable

from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import INT64, POINTER, address, array_at, copy_bytes
from cnnlite_kernels.cpu.plan import Plan

Pair = tuple[int, int]
FLOAT64 = 8

UP_SAMPLING = np.dtype(
    [
        (name, POINTER)
        for name in (
            "x", "y", "scratch", "row_lower", "row_upper", "row_share", "column_lower", "column_upper", "column_share",
            "row_starts", "row_from", "row_weights", "column_starts", "column_from", "column_weights",
        )
    ]
    + [
        (name, np.int64)
        for name in ("n", "h", "w", "c", "x_row", "x_image", "oh", "ow", "y_row", "y_image", "first_row", "last_row")
    ]
)  # fmt: skip


@kernel(UP_SAMPLING)
def forward(item):
    """y[n, p, q, c] = (1 - t) v[l, c] + t v[u, c], v[j, c] = (1 - s) x[n, L, j, c] + s x[n, U, j, c], p from first_row to last_row.

    L, U and s: row_lower, row_upper, row_share (oh,) at p; l, u, t: column_lower, ... (ow,) at q. What counts nothing is not read.
    x (n, h, w, c), rows x_row and images x_image apart, y (n, oh, ow, c) likewise. scratch: a row of x.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        lowers = array_at(address(bases, d.row_lower), d.oh, INT64)
        uppers = array_at(address(bases, d.row_upper), d.oh, INT64)
        shares = array_at(address(bases, d.row_share), d.oh, FLOAT64)
        left = array_at(address(bases, d.column_lower), d.ow, INT64)
        right = array_at(address(bases, d.column_upper), d.ow, INT64)
        right_shares = array_at(address(bases, d.column_share), d.ow, FLOAT64)
        blend = address(bases, d.scratch)
        for n in range(d.n):
            for p in range(d.first_row, d.last_row):
                image = address(bases, d.x) + n * d.x_image * item
                ys = address(bases, d.y) + (n * d.y_image + p * d.y_row) * item
                row = image + lowers[p] * d.x_row * item
                above = max(p - 1, d.first_row)
                if above < p and lowers[p] == lowers[above] and shares[p] == 0 and shares[above] == 0:
                    copy_bytes(ys, ys - d.y_row * item, d.ow * d.c * item)
                    continue
                if shares[p] != 0:
                    first = array_at(row, d.w * d.c, item)
                    second = array_at(image + uppers[p] * d.x_row * item, d.w * d.c, item)
                    mixed = array_at(blend, d.w * d.c, item)
                    share, rest = mixed.dtype.type(shares[p]), mixed.dtype.type(1 - shares[p])
                    for i in range(d.w * d.c):
                        mixed[i] = rest * first[i] + share * second[i]
                    row = blend
                for q in range(d.ow):
                    one = array_at(row + left[q] * d.c * item, d.c, item)
                    y = array_at(ys + q * d.c * item, d.c, item)
                    if right_shares[q] == 0:
                        copy_bytes(y.ctypes.data, one.ctypes.data, d.c * item)
                    else:
                        other = array_at(row + right[q] * d.c * item, d.c, item)
                        share, rest = y.dtype.type(right_shares[q]), y.dtype.type(1 - right_shares[q])
                        for c in range(d.c):
                            y[c] = rest * one[c] + share * other[c]

    return body


@kernel(UP_SAMPLING)
def forward_by_two(item):
    """`forward` of the nearest pixel by 2 x 2: y[n, p, q, c] = x[n, p // 2, q // 2, c], p from first_row to last_row."""

    def body(bases, d):
        d = carray(d, 1)[0]
        for n in range(d.n):
            for p in range(d.first_row, d.last_row):
                ys = address(bases, d.y) + (n * d.y_image + p * d.y_row) * item
                if p % 2 == 1 and p > d.first_row:
                    copy_bytes(ys, ys - d.y_row * item, d.ow * d.c * item)
                    continue
                x = array_at(address(bases, d.x) + (n * d.x_image + p // 2 * d.x_row) * item, d.w * d.c, item)
                y = array_at(ys, d.ow * d.c, item)
                for j in range(d.w):
                    at, left, right = j * d.c, 2 * j * d.c, (2 * j + 1) * d.c
                    for c in range(d.c):
                        y[left + c] = x[at + c]
                        y[right + c] = x[at + c]

    return body


@register_jitable
def add_one(total, count, fresh, x, weight):
    """total = weight * x, or total += that, over `count` numbers."""
    if fresh:
        for i in range(count):
            total[i] = weight * x[i]
    else:
        for i in range(count):
            total[i] += weight * x[i]


@register_jitable
def add_two(total, count, fresh, x, weight, other, other_weight):
    """total = weight * x + other_weight * other, or total += that, over `count` numbers."""
    if fresh:
        for i in range(count):
            total[i] = weight * x[i] + other_weight * other[i]
    else:
        for i in range(count):
            total[i] += weight * x[i] + other_weight * other[i]


@kernel(UP_SAMPLING)
def backward(item):
    """x[n, i, j, c] = sum over q of b[q, j] v[q, c], v[q, c] = sum over p of a[p, i] y[n, p, q, c], i from first_row to last_row.

    The gradients: y (n, oh, ow, c) is read, x (n, h, w, c) written. a[p, i]: row_weights from row_starts[i] to row_starts[i + 1], for
    p = row_from there; b likewise. scratch: a row of y.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        row_starts = array_at(address(bases, d.row_starts), d.h + 1, INT64)
        row_from = array_at(address(bases, d.row_from), row_starts[d.h], INT64)
        row_weights = array_at(address(bases, d.row_weights), row_starts[d.h], FLOAT64)
        column_starts = array_at(address(bases, d.column_starts), d.w + 1, INT64)
        column_from = array_at(address(bases, d.column_from), column_starts[d.w], INT64)
        column_weights = array_at(address(bases, d.column_weights), column_starts[d.w], FLOAT64)
        line = address(bases, d.scratch)
        for n in range(d.n):
            for i in range(d.first_row, d.last_row):
                image = address(bases, d.y) + n * d.y_image * item
                xs = address(bases, d.x) + (n * d.x_image + i * d.x_row) * item
                numbers = d.ow * d.c
                total = array_at(line, numbers, item)
                number = total.dtype.type
                first, stop = row_starts[i], row_starts[i + 1]
                for at in range(first, stop, 2):  # two at a time, the last one by itself where they are odd
                    y = array_at(image + row_from[at] * d.y_row * item, numbers, item)
                    weight = number(row_weights[at])
                    if at + 1 < stop:
                        below = array_at(image + row_from[at + 1] * d.y_row * item, numbers, item)
                        add_two(total, numbers, at == first, y, weight, below, number(row_weights[at + 1]))
                    else:
                        add_one(total, numbers, at == first, y, weight)
                for j in range(d.w):
                    x = array_at(xs + j * d.c * item, d.c, item)
                    first, stop = column_starts[j], column_starts[j + 1]
                    for at in range(first, stop, 2):
                        v = array_at(line + column_from[at] * d.c * item, d.c, item)
                        weight = number(column_weights[at])
                        if at + 1 < stop:
                            after = array_at(line + column_from[at + 1] * d.c * item, d.c, item)
                            add_two(x, d.c, at == first, v, weight, after, number(column_weights[at + 1]))
                        else:
                            add_one(x, d.c, at == first, v, weight)

    return body


@kernel(UP_SAMPLING)
def backward_by_two(item):
    """`backward` of the nearest pixel by 2 x 2: x[n, i, j, c] = the sum of y[n, 2 i + p, 2 j + q, c] over p and q of 0 and 1."""

    def body(bases, d):
        d = carray(d, 1)[0]
        numbers = d.ow * d.c
        for n in range(d.n):
            for i in range(d.first_row, d.last_row):
                ys = address(bases, d.y) + (n * d.y_image + 2 * i * d.y_row) * item
                upper, lower = array_at(ys, numbers, item), array_at(ys + d.y_row * item, numbers, item)
                x = array_at(address(bases, d.x) + (n * d.x_image + i * d.x_row) * item, d.w * d.c, item)
                for j in range(d.w):
                    to, left, right = j * d.c, 2 * j * d.c, (2 * j + 1) * d.c
                    for c in range(d.c):
                        x[to + c] = (upper[left + c] + upper[right + c]) + (
                            lower[left + c] + lower[right + c]
                        )

    return body


def neighbours(pixels: int, factor: int, interpolation: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(lower, upper, share of upper) for each of the pixels * factor new pixels of an axis: (1 - share) x[lower] + share x[upper].

    In units of half a new pixel, the middle of new pixel p lies at 2 p + 1 - factor from that of old pixel 0, and the old ones are
    2 factor apart.

    >>> [table.tolist() for table in neighbours(2, 2, "bilinear")]
    [[0, 0, 0, 1], [1, 1, 1, 1], [0.0, 0.25, 0.75, 0.0]]
    """
    new = np.arange(pixels * factor)
    if interpolation == "nearest":
        return new // factor, new // factor, np.zeros(new.size)
    middle = np.clip(2 * new + 1 - factor, 0, 2 * factor * (pixels - 1))
    lower, rest = middle // (2 * factor), middle % (2 * factor)
    return lower, np.minimum(lower + 1, pixels - 1), rest / (2 * factor)


def givers(pixels: int, factor: int, interpolation: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(starts, from, weights): old pixel i counted weights[k] in new pixel from[k], k from starts[i] to starts[i + 1], in their order.

    >>> [table.tolist() for table in givers(2, 2, "bilinear")]
    [[0, 3, 6], [0, 1, 2, 1, 2, 3], [1.0, 0.75, 0.25, 0.25, 0.75, 1.0]]
    """
    lower, upper, share = neighbours(pixels, factor, interpolation)
    new = np.arange(lower.size)
    old = np.concatenate([lower, upper[share > 0]])
    made, weight = np.concatenate([new, new[share > 0]]), np.concatenate([1 - share, share[share > 0]])
    order = np.lexsort((made, old))
    starts = np.searchsorted(old[order], np.arange(pixels + 1))
    return starts, made[order], weight[order]


def _fields(x: Images, y: Images, rows: Pair) -> dict[str, int]:
    return {
        "n": x.n, "h": x.h, "w": x.w, "c": x.c, "x_row": x.row, "x_image": x.image, "oh": y.h, "ow": y.w, "y_row": y.row,
        "y_image": y.image, "first_row": rows[0], "last_row": rows[1],
    }  # fmt: skip


def add_forward(
    plan: Plan, size: Pair, interpolation: str, x: Images, y: Images, rows: Pair | None = None
) -> None:
    """Emits y = x enlarged by the factors `size`, or only the `rows` (first, stop) of each image of y."""
    fields = _fields(x, y, rows or (0, y.h))
    if (size, interpolation) == ((2, 2), "nearest"):
        plan.add(forward_by_two, plan.item, x=x.first(plan.item), y=y.first(plan.item), **fields)
        return
    mark = plan.mark()
    tables = {}
    for axis, pixels, factor in (("row", x.h, size[0]), ("column", x.w, size[1])):
        lower, upper, share = neighbours(pixels, factor, interpolation)
        tables[f"{axis}_lower"], tables[f"{axis}_upper"] = plan.table(lower), plan.table(upper)
        tables[f"{axis}_share"] = plan.table(share, np.float64)
    plan.add(
        forward, plan.item, x=x.first(plan.item), y=y.first(plan.item), scratch=plan.scratch(x.w * x.c * plan.item), **tables,
        **fields,
    )  # fmt: skip
    plan.free(mark)


def add_grad(
    plan: Plan, size: Pair, interpolation: str, grad_y: Images, grad_x: Images, rows: Pair | None = None
) -> None:
    """Emits the gradient with respect to x, or only the `rows` (first, stop) of each image of it."""
    fields = _fields(grad_x, grad_y, rows or (0, grad_x.h))
    if (size, interpolation) == ((2, 2), "nearest"):
        plan.add(backward_by_two, plan.item, x=grad_x.first(plan.item), y=grad_y.first(plan.item), **fields)
        return
    mark = plan.mark()
    tables = {}
    for axis, pixels, factor in (("row", grad_x.h, size[0]), ("column", grad_x.w, size[1])):
        starts, made, weights = givers(pixels, factor, interpolation)
        tables[f"{axis}_starts"], tables[f"{axis}_from"] = plan.table(starts), plan.table(made)
        tables[f"{axis}_weights"] = plan.table(weights, np.float64)
    plan.add(
        backward, plan.item, x=grad_x.first(plan.item), y=grad_y.first(plan.item),
        scratch=plan.scratch(grad_y.w * grad_y.c * plan.item), **tables, **fields,
    )  # fmt: skip
    plan.free(mark)
