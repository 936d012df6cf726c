"""Convolution, pooling and products as loops that Numba compiles in parallel: what one writes first, and what courses write.

The peer that this project is measured against when it says that kernels in Python can be quick. Layouts are minitorch's and PyTorch's:
x (n, c, h, w), w (o, c, kh, kw); strides 1, no padding. Every result is written by one thread; arrays are float32.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from peers.networks import F32

compiled = njit(parallel=True, fastmath=True, cache=True)


@compiled
def conv2d(x: F32, w: F32, b: F32) -> F32:
    """y (n, o, oh, ow), relu of the convolution and its bias."""
    n, c, h, width = x.shape
    o, _, kh, kw = w.shape
    y = np.empty((n, o, h - kh + 1, width - kw + 1), np.float32)
    for image in prange(n):
        for f in range(o):
            for i in range(h - kh + 1):
                for j in range(width - kw + 1):
                    total = b[f]
                    for k in range(c):
                        for p in range(kh):
                            for q in range(kw):
                                total += x[image, k, i + p, j + q] * w[f, k, p, q]
                    y[image, f, i, j] = max(total, np.float32(0))
    return y


@compiled
def conv2d_grad_input(grad_y: F32, w: F32) -> F32:
    """grad_x (n, c, h, w): each gradient spread over what its output saw."""
    n, o, oh, ow = grad_y.shape
    _, c, kh, kw = w.shape
    grad_x = np.zeros((n, c, oh + kh - 1, ow + kw - 1), np.float32)
    for image in prange(n):
        for f in range(o):
            for k in range(c):
                for i in range(oh):
                    for j in range(ow):
                        grad = grad_y[image, f, i, j]
                        for p in range(kh):
                            for q in range(kw):
                                grad_x[image, k, i + p, j + q] += grad * w[f, k, p, q]
    return grad_x


@compiled
def conv2d_grad_weights(x: F32, grad_y: F32) -> F32:
    """grad_w (o, c, kh, kw)."""
    n, c, h, width = x.shape
    _, o, oh, ow = grad_y.shape
    kh, kw = h - oh + 1, width - ow + 1
    grad_w = np.zeros((o, c, kh, kw), np.float32)
    for f in prange(o):
        for image in range(n):
            for k in range(c):
                for p in range(kh):
                    for q in range(kw):
                        total = np.float32(0)
                        for i in range(oh):
                            for j in range(ow):
                                total += x[image, k, i + p, j + q] * grad_y[image, f, i, j]
                        grad_w[f, k, p, q] += total
    return grad_w


@compiled
def max_pool2d(x: F32, size: int) -> F32:
    """y (n, c, h // size, w // size)."""
    n, c, h, w = x.shape
    y = np.empty((n, c, h // size, w // size), np.float32)
    for image in prange(n):
        for k in range(c):
            for i in range(h // size):
                for j in range(w // size):
                    best = x[image, k, i * size, j * size]
                    for p in range(size):
                        for q in range(size):
                            best = max(best, x[image, k, i * size + p, j * size + q])
                    y[image, k, i, j] = best
    return y


@compiled
def max_pool2d_grad(grad_y: F32, x: F32, y: F32, size: int) -> F32:
    """grad_x: to the first of the largest in each window."""
    n, c, oh, ow = grad_y.shape
    grad_x = np.zeros(x.shape, np.float32)
    for image in prange(n):
        for k in range(c):
            for i in range(oh):
                for j in range(ow):
                    found = False
                    for p in range(size):
                        for q in range(size):
                            if not found and x[image, k, i * size + p, j * size + q] == y[image, k, i, j]:
                                grad_x[image, k, i * size + p, j * size + q] = grad_y[image, k, i, j]
                                found = True
    return grad_x


@compiled
def matmul(a: F32, b: F32) -> F32:
    """a (m, k) times b (k, n): rows in parallel, rows of b inside, as who has heard of caches writes it."""
    m, k = a.shape
    n = b.shape[1]
    y = np.zeros((m, n), np.float32)
    for i in prange(m):
        for p in range(k):
            for j in range(n):
                y[i, j] += a[i, p] * b[p, j]
    return y
