"""Activations, each with its gradient in terms of its output y: what a fused layer still has in memory."""

from __future__ import annotations

import numpy as np


def relu(x: np.ndarray) -> np.ndarray:
    """y = max(x, 0); NaN stays NaN. Any shape in, the same out, float64.

    >>> relu(np.array([-1.0, 2.0, np.nan])).tolist()
    [0.0, 2.0, nan]
    """
    return np.maximum(np.asarray(x, dtype=np.float64), 0.0)


def relu_grad(grad_y: np.ndarray, y: np.ndarray) -> np.ndarray:
    """grad_x = grad_y where y > 0, else 0.

    >>> relu_grad(np.array([5.0, 5.0]), np.array([0.0, 2.0])).tolist()
    [0.0, 5.0]
    """
    return np.where(np.asarray(y) > 0, np.asarray(grad_y, dtype=np.float64), 0.0)


def relu6(x: np.ndarray) -> np.ndarray:
    """y = min(max(x, 0), 6); NaN stays NaN. Any shape in, the same out, float64.

    >>> relu6(np.array([-1.0, 2.0, 7.0, np.nan])).tolist()
    [0.0, 2.0, 6.0, nan]
    """
    return np.minimum(relu(x), 6.0)


def relu6_grad(grad_y: np.ndarray, y: np.ndarray) -> np.ndarray:
    """grad_x = grad_y where 0 < y < 6, else 0.

    >>> relu6_grad(np.array([5.0, 5.0, 5.0]), np.array([0.0, 2.0, 6.0])).tolist()
    [0.0, 5.0, 0.0]
    """
    return np.where((np.asarray(y) > 0) & (np.asarray(y) < 6), np.asarray(grad_y, dtype=np.float64), 0.0)


def leaky_relu(x: np.ndarray, negative_slope: float = 0.2) -> np.ndarray:
    """y = negative_slope * x where x < 0, else x; NaN stays NaN. Any shape in, the same out, float64.

    >>> leaky_relu(np.array([-1.0, 2.0, np.nan]), 0.25).tolist()
    [-0.25, 2.0, nan]
    """
    x = np.asarray(x, dtype=np.float64)
    return np.where(x < 0, negative_slope * x, x)


def leaky_relu_grad(grad_y: np.ndarray, y: np.ndarray, negative_slope: float = 0.2) -> np.ndarray:
    """grad_x = grad_y where y > 0, else negative_slope * grad_y: y of a slope above 0 has the sign of x.

    >>> leaky_relu_grad(np.array([8.0, 8.0]), np.array([-1.0, 2.0]), 0.25).tolist()
    [2.0, 8.0]
    """
    grad_y = np.asarray(grad_y, dtype=np.float64)
    return np.where(np.asarray(y) > 0, grad_y, negative_slope * grad_y)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """y = 1 / (1 + exp(-x)), written so that no exponential overflows. Any shape in, the same out, float64.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    x = np.asarray(x, dtype=np.float64)
    decay = np.exp(-np.abs(x))
    return np.where(x < 0, decay, 1.0) / (1.0 + decay)


def sigmoid_grad(grad_y: np.ndarray, y: np.ndarray) -> np.ndarray:
    """grad_x = grad_y * y * (1 - y).

    >>> sigmoid_grad(np.array([8.0]), np.array([0.5])).tolist()
    [2.0]
    """
    y = np.asarray(y, dtype=np.float64)
    return grad_y * y * (1.0 - y)


def tanh(x: np.ndarray) -> np.ndarray:
    """y = tanh(x). Any shape in, the same out, float64.

    >>> tanh(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    return np.tanh(np.asarray(x, dtype=np.float64))


def tanh_grad(grad_y: np.ndarray, y: np.ndarray) -> np.ndarray:
    """grad_x = grad_y * (1 - y * y).

    >>> tanh_grad(np.array([4.0]), np.array([0.5])).tolist()
    [3.0]
    """
    y = np.asarray(y, dtype=np.float64)
    return grad_y * (1.0 - y * y)


def softmax(x: np.ndarray) -> np.ndarray:
    """y_i = exp(x_i) / sum_j exp(x_j) along the last axis; the largest x is taken off first: none overflows.

    >>> softmax(np.array([[0, 0], [1000, -1000]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    x = np.asarray(x, dtype=np.float64)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_grad(grad_y: np.ndarray, y: np.ndarray) -> np.ndarray:
    """grad_x_i = y_i * (grad_y_i - sum_j grad_y_j y_j): grad_y times the Jacobian diag(y) - y y^T, per row.

    >>> softmax_grad(np.array([4.0, 0.0]), np.array([0.5, 0.5])).tolist()
    [1.0, -1.0]
    """
    y = np.asarray(y, dtype=np.float64)
    return y * (grad_y - (grad_y * y).sum(axis=-1, keepdims=True))


_FUSED = {"relu": (relu, relu_grad), "sigmoid": (sigmoid, sigmoid_grad), "tanh": (tanh, tanh_grad)}


def activate(x: np.ndarray, activation: str | None) -> np.ndarray:
    """The activation that conv2d and matmul apply last: None, "relu", "sigmoid" or "tanh".

    >>> activate(np.array([-1.0, 1.0]), "relu").tolist()
    [0.0, 1.0]
    """
    return x if activation is None else _FUSED[activation][0](x)


def activate_grad(grad_y: np.ndarray, y: np.ndarray, activation: str | None) -> np.ndarray:
    """Gradient through `activate`, from its output y.

    >>> activate_grad(np.array([3.0, 3.0]), np.array([0.0, 1.0]), "relu").tolist()
    [0.0, 3.0]
    """
    return np.asarray(grad_y, dtype=np.float64) if activation is None else _FUSED[activation][1](grad_y, y)
