"""Activations over whole arrays and their gradients; with the gradient goes the bias's, which is a sum over the same numbers."""

from __future__ import annotations

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.exponential import (
    row_exponential_sum,
    row_exponentials,
    row_maximum,
    row_sigmoids,
    row_tanhs,
)
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import NOWHERE, POINTER, Pointer, address, array_at
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.rectifiers import leaky_relu_row, relu_row

NONE, RELU, SIGMOID, TANH, SOFTMAX, LEAKY_RELU, RELU6 = range(7)
KINDS = {
    None: NONE, "linear": NONE, "relu": RELU, "sigmoid": SIGMOID, "tanh": TANH, "softmax": SOFTMAX, "leaky_relu": LEAKY_RELU,
    "relu6": RELU6,
}  # fmt: skip

ROWS = np.dtype(
    [(name, POINTER) for name in ("x", "y", "grad_y", "grad_x", "grad_b")]
    + [
        (name, np.int64)
        for name in (
            "n", "h", "w", "c",  # images; everything is done pixel by pixel over c channels
            "x_row", "x_image", "y_row", "y_image", "grad_y_row", "grad_y_image", "grad_x_row", "grad_x_image",
            "with_bias", "accumulate",  # whether grad_b is wanted, and whether it is added to what is there
        )
    ]
    + [("slope", np.float64)]  # of leaky_relu
)  # fmt: skip


@kernel(ROWS)
def forward(item, kind):
    """y = f(x) over images (n, h, w, c); x and y may be the same.

    relu: max(x, 0), a NaN stays. relu6: min(max(x, 0), 6). leaky_relu: slope * x where x < 0, else x. sigmoid: 1 / (1 + e^-x).
    softmax: e^(x - max x) / sum over the channels of a pixel.
    """
    lanes = host().lanes(item)

    def body(bases, d):
        d = carray(d, 1)[0]
        xs, ys = address(bases, d.x), address(bases, d.y)
        for n in range(d.n):
            for h in range(d.h):
                for w in range(d.w):
                    x = array_at(xs + (n * d.x_image + h * d.x_row + w * d.c) * item, d.c, item)
                    y = array_at(ys + (n * d.y_image + h * d.y_row + w * d.c) * item, d.c, item)
                    zero = x.dtype.type(0)
                    one = x.dtype.type(1)
                    if kind == RELU:
                        relu_row(x.ctypes.data, y.ctypes.data, d.c, 0, lanes, item)
                    elif kind == RELU6:
                        relu_row(x.ctypes.data, y.ctypes.data, d.c, 6, lanes, item)
                    elif kind == LEAKY_RELU:
                        leaky_relu_row(x.ctypes.data, y.ctypes.data, x.dtype.type(d.slope), d.c, lanes, item)
                    elif kind == SIGMOID:
                        row_sigmoids(x.ctypes.data, y.ctypes.data, d.c, lanes, item)
                    elif kind == TANH:
                        row_tanhs(x.ctypes.data, y.ctypes.data, d.c, lanes, item)
                    elif kind == SOFTMAX:
                        x_at, y_at = x.ctypes.data, y.ctypes.data
                        top = row_maximum(x_at, d.c, lanes, item)
                        total = row_exponential_sum(x_at, d.c, top, lanes, item)
                        row_exponentials(x_at, y_at, d.c, top, zero, one / total, lanes, item)
                    else:
                        y[:] = x

    return body


@kernel(ROWS)
def backward(item, kind):
    """grad_x = grad_y * f'(x), from y = f(x); grad_b[c] = its sum over all pixels, if asked. grad_x may be grad_y.

    relu: grad_y where y > 0. relu6: where 0 < y < 6. leaky_relu: grad_y, where y <= 0 slope * grad_y. sigmoid: grad_y y (1 - y).
    tanh: grad_y (1 - y^2). softmax: y (grad_y - sum of grad_y y).
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        ys, gys, gxs = address(bases, d.y), address(bases, d.grad_y), address(bases, d.grad_x)
        grad_b = array_at(address(bases, d.grad_b), d.c * d.with_bias, item)
        if not d.accumulate:
            grad_b[:] = 0
        for n in range(d.n):
            for h in range(d.h):
                for w in range(d.w):
                    y = array_at(ys + (n * d.y_image + h * d.y_row + w * d.c) * item, d.c, item)
                    grad_y = array_at(
                        gys + (n * d.grad_y_image + h * d.grad_y_row + w * d.c) * item, d.c, item
                    )
                    grad_x = array_at(
                        gxs + (n * d.grad_x_image + h * d.grad_x_row + w * d.c) * item, d.c, item
                    )
                    zero = y.dtype.type(0)
                    one = y.dtype.type(1)
                    if kind == RELU:
                        for c in range(d.c):
                            grad_x[c] = grad_y[c] if y[c] > zero else zero
                    elif kind == RELU6:
                        six = y.dtype.type(6)
                        for c in range(d.c):
                            grad_x[c] = grad_y[c] if zero < y[c] < six else zero
                    elif kind == LEAKY_RELU:
                        slope = y.dtype.type(d.slope)
                        for c in range(d.c):
                            grad_x[c] = grad_y[c] if y[c] > zero else slope * grad_y[c]
                    elif kind == SIGMOID:
                        for c in range(d.c):
                            grad_x[c] = grad_y[c] * y[c] * (one - y[c])
                    elif kind == TANH:
                        for c in range(d.c):
                            grad_x[c] = grad_y[c] * (one - y[c] * y[c])
                    elif kind == SOFTMAX:
                        dot = zero
                        for c in range(d.c):
                            dot += grad_y[c] * y[c]
                        for c in range(d.c):
                            grad_x[c] = y[c] * (grad_y[c] - dot)
                    elif gxs != gys:
                        for c in range(d.c):
                            grad_x[c] = grad_y[c]
                    if d.with_bias:
                        for c in range(d.c):
                            grad_b[c] += grad_x[c]

    return body


@kernel(ROWS)
def add(item):
    """y = x + grad_y over images (n, h, w, c); y may be either."""

    def body(bases, d):
        d = carray(d, 1)[0]
        for n in range(d.n):
            for h in range(d.h):
                x = array_at(address(bases, d.x) + (n * d.x_image + h * d.x_row) * item, d.w * d.c, item)
                y = array_at(address(bases, d.y) + (n * d.y_image + h * d.y_row) * item, d.w * d.c, item)
                z_at = address(bases, d.grad_y) + (n * d.grad_y_image + h * d.grad_y_row) * item
                z = array_at(z_at, d.w * d.c, item)
                for i in range(d.w * d.c):
                    y[i] = z[i] + x[i]

    return body


UNPOOL = np.dtype(
    [(name, POINTER) for name in ("grad_y", "index", "grad_x", "grad_b")]
    + [
        (name, np.int64)
        for name in (
            "n", "h", "w", "c", "y_row", "y_image", "index_row", "index_image", "x_row", "x_image", "ph", "pw",
            "with_bias", "accumulate",  # as of ROWS
        )
    ]
)  # fmt: skip


@kernel(UNPOOL)
def unpool(item, index_item):
    """The gradient before relu and pooling side by side: grad_y goes to the window's pixel that index names, the others get 0.

    grad_y (n, h, w, c) and index (n, h, w, c) (uint8 or int32, ph * pw where relu left nothing); grad_x (n, h * ph, w * pw, c).
    grad_b[c] = sum over all pixels of grad_x.
    """

    def body(bases, d):
        d = carray(d, 1)[0]
        gys, gxs, places = address(bases, d.grad_y), address(bases, d.grad_x), address(bases, d.index)
        grad_b = array_at(address(bases, d.grad_b), d.c * d.with_bias, item)
        if not d.accumulate:
            grad_b[:] = 0
        pool = d.ph * d.pw
        for n in range(d.n):
            for h in range(d.h):
                for w in range(d.w):
                    grad_y = array_at(gys + (n * d.y_image + h * d.y_row + w * d.c) * item, d.c, item)
                    at = n * d.index_image + h * d.index_row + w * d.c
                    index = array_at(places + at * abs(index_item), d.c, index_item)
                    zero = grad_y.dtype.type(0)
                    for i in range(d.ph):
                        for j in range(d.pw):
                            to = n * d.x_image + (h * d.ph + i) * d.x_row + (w * d.pw + j) * d.c
                            grad_x = array_at(gxs + to * item, d.c, item)
                            place = index.dtype.type(i * d.pw + j)
                            for c in range(d.c):
                                grad_x[c] = grad_y[c] if index[c] == place else zero
                    if d.with_bias:
                        for c in range(d.c):
                            grad_b[c] += grad_y[c] if index[c] < pool else zero

    return body


def _images(**named: Images) -> dict[str, int]:
    return {
        f"{name}_{part}": getattr(images, part) for name, images in named.items() for part in ("row", "image")
    }


def kind_of(activation: str | None, slope: float) -> int:
    """The literal of an activation. A slope of 0 is relu, of which -infinity is 0 and no NaN."""
    return RELU if activation == "leaky_relu" and slope == 0 else KINDS[activation]


def _rows(x: Images, each_pixel: bool) -> dict[str, int]:
    """The loops over x: a row of an image is one long pixel where nothing is done for each of them."""
    return {"n": x.n, "h": x.h, "w": x.w if each_pixel else 1, "c": x.c if each_pixel else x.w * x.c}


def add_forward(plan: Plan, activation: str | None, x: Images, y: Images, slope: float = 0.0) -> None:
    """Emits y = activation(x). slope: of leaky_relu, at least 0."""
    kind = kind_of(activation, slope)
    plan.add(
        forward, plan.item, kind,
        x=x.first(plan.item), y=y.first(plan.item), slope=slope, **_rows(x, kind == SOFTMAX), **_images(x=x, y=y),
    )  # fmt: skip


def add_grad(
    plan: Plan,
    activation: str | None,
    y: Images,
    grad_y: Images,
    grad_x: Images,
    grad_b: Pointer = NOWHERE,
    accumulate: bool = False,
    slope: float = 0.0,
) -> None:
    """Emits grad_x = grad_y * activation', and the bias's gradient if a place for it is given. slope: of leaky_relu, at least 0."""
    kind, with_bias = kind_of(activation, slope), grad_b != NOWHERE
    plan.add(
        backward, plan.item, kind,
        y=y.first(plan.item), grad_y=grad_y.first(plan.item), slope=slope,
        grad_x=grad_x.first(plan.item), grad_b=grad_b, with_bias=int(with_bias), accumulate=int(accumulate),
        **_rows(y, with_bias or kind == SOFTMAX), **_images(y=y, grad_y=grad_y, grad_x=grad_x),
    )  # fmt: skip


def add_sum(plan: Plan, x: Images, y: Images, z: Images | None = None) -> None:
    """Emits y = z + x, or y += x without z; y may be either."""
    z = z or y
    plan.add(
        add, plan.item,
        x=x.first(plan.item), y=y.first(plan.item), grad_y=z.first(plan.item), n=x.n, h=x.h, w=x.w, c=x.c,
        **_images(x=x, y=y, grad_y=z),
    )  # fmt: skip


def add_unpool(
    plan: Plan,
    grad_y: Images,
    index: Pointer,
    y: Images,
    grad_x: Images,
    pool: tuple[int, int],
    grad_b: Pointer = NOWHERE,
    accumulate: bool = False,
    index_item: int = 1,
) -> None:
    """Emits the gradient of relu and pooling side by side, from the index that conv2d.add_forward wrote, which lies as y does; or of
    pooling alone, from that of max_pool2d.add_forward, with INT32 as index_item."""
    plan.add(
        unpool, plan.item, index_item,
        grad_y=grad_y.first(plan.item), index=index + y.origin * abs(index_item),
        grad_x=grad_x.first(plan.item), grad_b=grad_b, with_bias=int(grad_b != NOWHERE), accumulate=int(accumulate),
        n=grad_y.n, h=grad_y.h, w=grad_y.w, c=grad_y.c, ph=pool[0], pw=pool[1],
        **_images(y=grad_y, index=y, x=grad_x),
    )  # fmt: skip
