"""Depthwise convolutions: every input channel makes `cout // cin` outputs of its own. Little arithmetic for each byte, so no tiles.

Neighbouring threads have neighbouring channels; pixels that several windows look at come from the caches.
"""

from __future__ import annotations

import functools
from typing import Any

from numba import cuda, float32, uint32, uint64

from cnnlite_kernels.cuda.epilogue import ACTIVATIONS, BIAS, WIDE, write4
from cnnlite_kernels.cuda.geometry import Geometry
from cnnlite_kernels.cuda.grid import THREADS
from cnnlite_kernels.cuda.intrinsics import load4, store4
from cnnlite_kernels.cuda.kernel import U32, U64, Floats, Kernel, kernel
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.reduce import add_reduce

u = uint32
CHANNELS = 32  # of a block of grad_weights: a warp reads 128 contiguous bytes
LINES = THREADS // CHANNELS
BLOCKS = 4  # of grad_weights for each multiprocessor


@functools.cache
def forward(wide: bool) -> Kernel:
    """wide: a thread has four channels, which have one output each, and takes them in one instruction; else one output channel."""
    LANES = 4 if wide else 1

    def body(
        x: Floats, w: Floats, y: Floats, bias: Floats, blocks: U32, h: U32, width: U32, cin: U32, oh: U32, ow: U32, cout: U32,
        kh: U32, kw: U32, sh: U32, sw: U32, dh: U32, dw: U32, top: U32, left: U32, activation: U32, flags: U32,
    ) -> None:  # fmt: skip
        """y[n, p, q, j] = activation(bias[j] + sum over i, k of xp[n, p * sh + i * dh, q * sw + k * dw, j // m] * w[i, k, j]).

        Args:
            x: (n, h, width, cin). w: (kh, kw, cout). y: (n, oh, ow, cout). bias: (cout,). m = cout // cin.
            blocks: for each image.
            flags: for write4.
        """
        block = u(cuda.blockIdx.x)
        image = uint64(u(block // blocks))
        at = uint64(u(block % blocks)) * uint64(THREADS) + uint64(cuda.threadIdx.x)
        each = uint64(u(cout // u(LANES)))
        pixel, channel = u(at // each), u(u(at % each) * u(LANES))
        p, q = u(pixel // ow), u(pixel % ow)
        if p >= oh:
            return
        c = u(channel // u(cout // cin))
        s0 = s1 = s2 = s3 = float32(0)
        i = u(0)
        while i < kh:
            row = u(p * sh + i * dh - top)
            k = u(0)
            while k < kw:
                column = u(q * sw + k * dw - left)
                if row < h and column < width:
                    seen = (image * uint64(h) + uint64(row)) * uint64(width) + uint64(column)
                    x_at = seen * uint64(cin) + uint64(c)
                    w_at = uint64(u(i * kw + k)) * uint64(cout) + uint64(channel)
                    if LANES == 4:
                        x4, w4 = load4(x, x_at), load4(w, w_at)
                        s0, s1 = s0 + x4[0] * w4[0], s1 + x4[1] * w4[1]
                        s2, s3 = s2 + x4[2] * w4[2], s3 + x4[3] * w4[3]
                    else:
                        s0 += x[x_at] * w[w_at]
                k = u(k + u(1))
            i = u(i + u(1))
        y_at = ((image * uint64(oh) + uint64(p)) * uint64(ow) + uint64(q)) * uint64(cout) + uint64(channel)
        write4(
            y, y_at, (s0, s1, s2, s3), u(LANES), bias, uint64(channel), float32(1), float32(0), activation, flags
        )  # fmt: skip

    body.__name__ = body.__qualname__ = f"depthwise_forward{'' if wide else '_guarded'}"
    return Kernel(body, THREADS, 4)


@functools.cache
def grad_input(wide: bool) -> Kernel:
    """wide: a thread has four channels, which have one output each, and takes them in one instruction; else one channel."""
    LANES = 4 if wide else 1

    def body(
        grad_y: Floats, w: Floats, grad_x: Floats, blocks: U32, h: U32, width: U32, cin: U32, oh: U32, ow: U32, cout: U32,
        kh: U32, kw: U32, sh: U32, sw: U32, dh: U32, dw: U32, top: U32, left: U32,
    ) -> None:  # fmt: skip
        """grad_x[n, r, v, c] = sum over p, q, i, k, j of grad_y[n, p, q, j] * w[i, k, j]

        with p * sh + i * dh = r + top, q * sw + k * dw = v + left and j // (cout // cin) = c.

        Args:
            grad_y: (n, oh, ow, cout). w: (kh, kw, cout). grad_x: (n, h, width, cin).
            blocks: for each image.
        """
        block = u(cuda.blockIdx.x)
        image = uint64(u(block // blocks))
        at = uint64(u(block % blocks)) * uint64(THREADS) + uint64(cuda.threadIdx.x)
        each = uint64(u(cin // u(LANES)))
        pixel, c = u(at // each), u(u(at % each) * u(LANES))
        row, column = u(pixel // width), u(pixel % width)
        if row >= h:
            return
        outputs = u(cout // cin)
        s0 = s1 = s2 = s3 = float32(0)
        i = u(0)
        while i < kh:
            down = u(row + top - i * dh)  # wraps around to a huge number where it is negative
            p = u(down // sh)
            k = u(0)
            while k < kw and p < oh and u(p * sh) == down:
                right = u(column + left - k * dw)
                q = u(right // sw)
                if q < ow and u(q * sw) == right:
                    seen = (image * uint64(oh) + uint64(p)) * uint64(ow) + uint64(q)
                    first = uint64(u(c * outputs))
                    y_at = seen * uint64(cout) + first
                    w_at = uint64(u(i * kw + k)) * uint64(cout) + first
                    if LANES == 4:
                        y4, w4 = load4(grad_y, y_at), load4(w, w_at)
                        s0, s1 = s0 + y4[0] * w4[0], s1 + y4[1] * w4[1]
                        s2, s3 = s2 + y4[2] * w4[2], s3 + y4[3] * w4[3]
                    else:
                        j = u(0)
                        while j < outputs:
                            s0 += grad_y[y_at + uint64(j)] * w[w_at + uint64(j)]
                            j = u(j + u(1))
                k = u(k + u(1))
            i = u(i + u(1))
        x_at = ((image * uint64(h) + uint64(row)) * uint64(width) + uint64(column)) * uint64(cin) + uint64(c)
        if LANES == 4:
            store4(grad_x, x_at, (s0, s1, s2, s3))
        else:
            grad_x[x_at] = s0

    body.__name__ = body.__qualname__ = f"depthwise_grad_input{'' if wide else '_guarded'}"
    return Kernel(body, THREADS, 4)


@kernel(threads=THREADS, blocks=4)
def depthwise_grad_weights(
    x: Floats, grad_y: Floats, grad_w: Floats, across: U32, pixels: U64, part: U32, h: U32, width: U32, cin: U32, oh: U32, ow: U32,
    cout: U32, kh: U32, kw: U32, sh: U32, sw: U32, dh: U32, dw: U32, top: U32, left: U32, step_images: U32, step_y: U32, step_x: U32,
) -> None:  # fmt: skip
    """grad_w[s, i, k, j] = sum over pixels (n, p, q) of part s of xp[n, p * sh + i * dh, q * sw + k * dw, j // m] * grad_y[n, p, q, j].

    A block has CHANNELS output channels and one part, and goes over it once for each tap; after the first time from the caches. Of
    LINES threads for a channel each takes every LINES-th pixel, and the first adds up their sums in order.

    Args:
        x: (n, h, width, cin). grad_y: (pixels, cout). grad_w: (parts, kh, kw, cout). m = cout // cin.
        across: blocks over cout. part: pixels of a part.
        step_images, step_y, step_x: LINES pixels as images, rows and columns.
    """
    lines = cuda.shared.array(THREADS, float32)
    t, block = u(cuda.threadIdx.x), u(cuda.blockIdx.x)
    j = u(u(block % across) * u(CHANNELS) + t % u(CHANNELS))
    s, line = u(block // across), u(t // u(CHANNELS))
    begin = uint64(s) * uint64(part)
    terms = u(min(uint64(part), pixels - begin))
    c = u(j // u(cout // cin))
    first = begin + uint64(line)
    first_image = first // (uint64(oh) * uint64(ow))
    rest = first - first_image * (uint64(oh) * uint64(ow))
    first_p, first_q = u(rest // uint64(ow)), u(rest % uint64(ow))
    tap = u(0)
    while tap < kh * kw:
        i, k = u(tap // kw), u(tap % kw)
        image, p, q = first_image, first_p, first_q
        y_at = first * uint64(cout) + uint64(j)
        total = float32(0)
        done = line
        while done < terms:
            row, column = u(p * sh + i * dh - top), u(q * sw + k * dw - left)
            if row < h and column < width and j < cout:
                at = ((image * uint64(h) + uint64(row)) * uint64(width) + uint64(column)) * uint64(
                    cin
                ) + uint64(c)
                total += x[at] * grad_y[y_at]
            done = u(done + u(LINES))
            y_at += uint64(cout) * uint64(LINES)
            q, p, image = u(q + step_x), u(p + step_y), image + uint64(step_images)
            if q >= ow:
                q, p = u(q - ow), u(p + u(1))
            if p >= oh:
                p, image = u(p - oh), image + uint64(1)
        lines[t] = total
        cuda.syncthreads()
        if line == u(0) and j < cout:
            other = u(1)
            while other < u(LINES):
                total += lines[u(t + other * u(CHANNELS))]
                other = u(other + u(1))
            grad_w[(uint64(s) * uint64(u(kh * kw)) + uint64(tap)) * uint64(cout) + uint64(j)] = total
        cuda.syncthreads()
        tap = u(tap + u(1))


def _window(g: Geometry) -> tuple[int, ...]:
    return g.h, g.w, g.cin, g.oh, g.ow, g.cout, g.kh, g.kw, g.sh, g.sw, g.dh, g.dw, g.top, g.left


def _wide(g: Geometry, aligned: bool) -> bool:
    return aligned and g.cin == g.cout and g.cin % 4 == 0


def add_forward(
    plan: Plan, g: Geometry, x: Any, w: Any, bias: Any, y: Any, activation: str | None, aligned: bool
) -> None:
    """conv2d.add_forward for as many groups as input channels."""
    wide = _wide(g, aligned)
    blocks = -(-g.oh * g.ow * (g.cout // (4 if wide else 1)) // THREADS)
    flags = (BIAS if bias is not None else 0) | (WIDE if wide else 0)
    plan.add(
        forward(wide), g.n * blocks, x, w, y, y if bias is None else bias, blocks, *_window(g), ACTIVATIONS[activation], flags
    )  # fmt: skip


def add_grad_input(plan: Plan, g: Geometry, grad_y: Any, w: Any, grad_x: Any, aligned: bool) -> None:
    """conv2d.add_grad_input for as many groups as input channels."""
    wide = _wide(g, aligned)
    blocks = -(-g.h * g.w * (g.cin // (4 if wide else 1)) // THREADS)
    plan.add(grad_input(wide), g.n * blocks, grad_y, w, grad_x, blocks, *_window(g))


def add_grad_weights(plan: Plan, g: Geometry, x: Any, grad_y: Any, grad_w: Any, aligned: bool) -> None:
    """conv2d.add_grad_weights for as many groups as input channels."""
    across = -(-g.cout // CHANNELS)
    # A part is long enough that its sums, written and read again, are few beside what is read for them.
    parts = min(max(BLOCKS * plan.device.multiprocessors // across, 1), max(g.pixels // (8 * g.taps), 1))
    part = min(max(-(-g.pixels // parts), 1), 2**31)  # they are counted in 32 bits
    parts = max(-(-g.pixels // part), 1)
    rest, step_x = divmod(LINES, g.ow)
    step_images, step_y = divmod(rest, g.oh)
    count = g.taps * g.cout
    into = plan.transient(parts * count) if parts > 1 else grad_w
    plan.add(
        depthwise_grad_weights, across * parts, x, grad_y, into, across, g.pixels, part, *_window(g), step_images, step_y, step_x
    )  # fmt: skip
    if parts > 1:
        add_reduce(plan, into, grad_w, parts, count)
