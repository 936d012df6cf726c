"""Two-dimensional convolution (cross-correlation: the kernel is not flipped), forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..window import Window2D
from .activations import activate
from .taps import crop, pad, tap


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    strides: Any = (1, 1),
    padding: Any = "valid",
    dilation: Any = (1, 1),
    groups: int = 1,
    activation: str | None = None,
) -> np.ndarray:
    """Convolve images with a bank of kernels.

    y[n, p, q, j] = activation(b[j] + sum over i, k, c of
                               xp[n, p * sh + i * dh, q * sw + k * dw, g * cg + c] * w[i, k, c, j])

    with xp the zero-padded x, cg = cin // groups channels in each group, and g = j // (cout // groups) the
    group that output channel j belongs to.

    Args:
        x: images (n, h, w, cin).
        w: kernels (kh, kw, cin // groups, cout).
        b: bias (cout,), or none.
        strides, padding, dilation: see `Window2D.of`.
        groups: divides cin and cout; cin of them make a depthwise convolution.
        activation: None, "relu", "sigmoid" or "tanh".

    Returns:
        y (n, oh, ow, cout), float64.

    Raises:
        ValueError: impossible geometry, from `Window2D`.

    >>> x = np.arange(9).reshape(1, 3, 3, 1)
    >>> w = np.array([[1, 0], [0, 2]]).reshape(2, 2, 1, 1)
    >>> conv2d(x, w)[0, :, :, 0].tolist()
    [[8.0, 11.0], [17.0, 20.0]]
    """
    x, w = _float64(x), _float64(w)
    window = Window2D.of(w.shape[:2], strides, dilation, padding)
    size = window.output_size(x.shape[1], x.shape[2])
    padded = pad(x, window)
    y = np.zeros((x.shape[0], *size, w.shape[3]))
    for inputs, outputs in _groups(x.shape[3], w.shape[3], groups):
        for i, k in np.ndindex(*window.kernel):
            y[..., outputs] += tap(padded, window, i, k, size)[..., inputs] @ w[i, k, :, outputs]
    if b is not None:
        y += _float64(b)
    return activate(y, activation)


def conv2d_grad_input(
    grad_y: np.ndarray,
    w: np.ndarray,
    x_shape: tuple[int, int, int, int],
    *,
    strides: Any = (1, 1),
    padding: Any = "valid",
    dilation: Any = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Gradient of a loss with respect to the input of `conv2d` (without activation).

    grad_xp[n, p * sh + i * dh, q * sw + k * dw, g * cg + c] += grad_y[n, p, q, j] * w[i, k, c, j]

    over all n, p, q, i, k, c, j; grad_x is grad_xp without its padding. Pixels that no window covers have
    gradient 0.

    Args:
        grad_y: gradient with respect to the output, (n, oh, ow, cout).
        w: kernels (kh, kw, cin // groups, cout).
        x_shape: (n, h, w, cin).
        strides, padding, dilation, groups: as given to `conv2d`.

    Returns:
        grad_x (n, h, w, cin), float64.

    >>> conv2d_grad_input(np.ones((1, 2, 2, 1)), np.ones((2, 2, 1, 1)), (1, 3, 3, 1))[0, :, :, 0].tolist()
    [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    grad_y, w = _float64(grad_y), _float64(w)
    window = Window2D.of(w.shape[:2], strides, dilation, padding)
    size = window.output_size(x_shape[1], x_shape[2])
    grad_padded = pad(np.zeros(x_shape), window)
    for inputs, outputs in _groups(x_shape[3], w.shape[3], groups):
        for i, k in np.ndindex(*window.kernel):
            tap(grad_padded, window, i, k, size)[..., inputs] += grad_y[..., outputs] @ w[i, k, :, outputs].T
    return crop(grad_padded, window, x_shape[1], x_shape[2]).copy()


def conv2d_grad_weights(
    x: np.ndarray,
    grad_y: np.ndarray,
    w_shape: tuple[int, int, int, int],
    *,
    strides: Any = (1, 1),
    padding: Any = "valid",
    dilation: Any = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Gradient of a loss with respect to the kernels of `conv2d` (without activation).

    grad_w[i, k, c, j] = sum over n, p, q of
                         xp[n, p * sh + i * dh, q * sw + k * dw, g * cg + c] * grad_y[n, p, q, j]

    Args:
        x: images (n, h, w, cin).
        grad_y: gradient with respect to the output, (n, oh, ow, cout).
        w_shape: (kh, kw, cin // groups, cout).
        strides, padding, dilation, groups: as given to `conv2d`.

    Returns:
        grad_w (kh, kw, cin // groups, cout), float64; zeros for an empty batch.

    >>> x = np.arange(9).reshape(1, 3, 3, 1)
    >>> conv2d_grad_weights(x, np.ones((1, 2, 2, 1)), (2, 2, 1, 1))[:, :, 0, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    """
    x, grad_y = _float64(x), _float64(grad_y)
    window = Window2D.of(w_shape[:2], strides, dilation, padding)
    size = window.output_size(x.shape[1], x.shape[2])
    padded = pad(x, window)
    grad_w = np.zeros(w_shape)
    for inputs, outputs in _groups(x.shape[3], w_shape[3], groups):
        for i, k in np.ndindex(*window.kernel):
            pixels = tap(padded, window, i, k, size)[..., inputs]
            grad_w[i, k, :, outputs] = np.tensordot(pixels, grad_y[..., outputs], axes=((0, 1, 2), (0, 1, 2)))
    return grad_w


def _float64(array: Any) -> np.ndarray:
    return np.asarray(array, dtype=np.float64)


def _groups(cin: int, cout: int, groups: int) -> list[tuple[slice, slice]]:
    """Each group's (input channels, output channels)."""
    each_in, each_out = cin // groups, cout // groups
    return [
        (slice(g * each_in, (g + 1) * each_in), slice(g * each_out, (g + 1) * each_out))
        for g in range(groups)
    ]
