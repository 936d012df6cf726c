"""Batch normalization, forward and backward, in training and outside it."""

from __future__ import annotations

import numpy as np


def batch_normalization(
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    *,
    epsilon: float = 1e-3,
) -> np.ndarray:
    """y[..., c] = gamma[c] * (x[..., c] - mean[c]) / sqrt(variance[c] + epsilon) + beta[c]: with statistics that are given.

    Args:
        x: (..., c). mean, variance: (c,). gamma, beta: (c,); 1 and 0 where None.
        epsilon: keeps the root from zero.

    Returns:
        y, of x's shape, float64.

    >>> batch_normalization(np.array([[1.0], [5.0]]), np.array([3.0]), np.array([4.0]), epsilon=0).tolist()
    [[-1.0], [1.0]]
    """
    y = _normalized(x, mean, variance, epsilon)
    if gamma is not None:
        y = y * gamma
    return y if beta is None else y + beta


def batch_normalization_train(
    x: np.ndarray, gamma: np.ndarray | None = None, beta: np.ndarray | None = None, *, epsilon: float = 1e-3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`batch_normalization` with the batch's own statistics: the mean and the variance of each channel over all other axes.

    The variance is the mean squared difference from the mean (divided by the number of pixels, not by one less).

    Returns:
        (y, mean, variance), float64.

    >>> y, mean, variance = batch_normalization_train(np.array([[1.0], [5.0]]), epsilon=0)
    >>> y.tolist(), mean.tolist(), variance.tolist()
    ([[-1.0], [1.0]], [3.0], [4.0])
    """
    x = np.asarray(x, dtype=np.float64)
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes)
    variance = ((x - mean) ** 2).mean(axis=axes)
    return batch_normalization(x, mean, variance, gamma, beta, epsilon=epsilon), mean, variance


def batch_normalization_grad(
    grad_y: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    gamma: np.ndarray | None = None,
    *,
    epsilon: float = 1e-3,
    training: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of a loss with respect to x, gamma and beta.

    With z = (x - mean) / sqrt(variance + epsilon), m pixels and sums over all of them (Ioffe and Szegedy 2015):

    grad_beta = sum of grad_y, grad_gamma = sum of grad_y z,
    grad_x = gamma / sqrt(variance + epsilon) * (grad_y - grad_beta / m - z grad_gamma / m) in training, where mean and variance
    follow x, and gamma / sqrt(variance + epsilon) * grad_y outside it.

    Args:
        grad_y: gradient with respect to the output, of x's shape.
        x, mean, variance, gamma, epsilon: of the forward pass.
        training: whether mean and variance are those of x.

    Returns:
        (grad_x, grad_gamma (c,), grad_beta (c,)), float64.

    >>> x, grad_y = np.array([[1.0], [5.0]]), np.array([[2.0], [4.0]])
    >>> _, grad_gamma, grad_beta = batch_normalization_grad(grad_y, x, np.array([3.0]), np.array([4.0]), epsilon=0)
    >>> grad_gamma.tolist(), grad_beta.tolist()
    ([2.0], [6.0])
    """
    grad_y = np.asarray(grad_y, dtype=np.float64)
    z = _normalized(x, mean, variance, epsilon)
    axes = tuple(range(z.ndim - 1))
    grad_beta, grad_gamma = grad_y.sum(axis=axes), (grad_y * z).sum(axis=axes)
    scale = 1 / np.sqrt(np.asarray(variance, dtype=np.float64) + epsilon)
    if gamma is not None:
        scale = scale * gamma
    if not training or not z.size:
        return scale * grad_y, grad_gamma, grad_beta
    pixels = z.size // z.shape[-1]
    return scale * (grad_y - grad_beta / pixels - z * grad_gamma / pixels), grad_gamma, grad_beta


def _normalized(x: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float) -> np.ndarray:
    x, mean, variance = (np.asarray(array, dtype=np.float64) for array in (x, mean, variance))
    return (x - mean) / np.sqrt(variance + epsilon)
