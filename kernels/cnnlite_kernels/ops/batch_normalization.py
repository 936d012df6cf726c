"""Batch normalization with statistics that are given, with those of the batch, and its gradients."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels import checks, dispatch
from cnnlite_kernels.arrays import ArrayT, Operand
from cnnlite_kernels.channel_checks import apart, channels, factor, optional_channels, updated


def batch_normalization(
    x: ArrayT,
    mean: Operand,
    variance: Operand,
    gamma: Operand | None = None,
    beta: Operand | None = None,
    *,
    epsilon: float = 1e-3,
    out: ArrayT | None = None,
    device: str | None = None,
) -> ArrayT:
    """y[..., c] = gamma[c] * (x[..., c] - mean[c]) / sqrt(variance[c] + epsilon) + beta[c]: as outside training, statistics given.

    Args:
        x: (..., c), float32 or float64, of any number of axes and in any memory layout; c is at least 1.
        mean, variance: (c,), of x's dtype.
        gamma, beta: (c,), of x's dtype; 1 and 0 where None.
        epsilon: keeps the root from zero.
        out: where to write y, C-contiguous: x itself, or an array apart from the inputs; a new one if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        y, of x's shape and dtype; `out` if it was given.

    Raises:
        ValueError: shapes that do not fit, a negative epsilon, an unfit `out`, an unknown device.
        TypeError: operands of another dtype, an epsilon that is no number.
        RuntimeError: a device that is not there.

    >>> import numpy as np
    >>> batch_normalization(np.array([[1.0], [5.0]]), np.array([3.0]), np.array([4.0]), epsilon=0).tolist()
    [[-1.0], [1.0]]
    """
    op = "batch_normalization"
    run = dispatch.find(op, device, x, mean, variance, gamma, beta)
    x = checks.operand(op, "x", x)
    checks.last_axis(op, "x", x)
    mean, variance = channels(op, "mean", mean, x), channels(op, "variance", variance, x)
    gamma, beta = optional_channels(op, "gamma", gamma, x), optional_channels(op, "beta", beta, x)
    epsilon = factor(op, "epsilon", epsilon)
    inputs = [array for array in (x, mean, variance, gamma, beta) if array is not None]
    y = checks.output(op, out, x.shape, x.dtype, inputs, in_place=True)
    if y.size:
        run(x, mean, variance, gamma, beta, y, epsilon)
    return y


def batch_normalization_train(
    x: ArrayT,
    gamma: Operand | None = None,
    beta: Operand | None = None,
    *,
    epsilon: float = 1e-3,
    moving_mean: Operand | None = None,
    moving_variance: Operand | None = None,
    momentum: float = 0.99,
    out: ArrayT | None = None,
    device: str | None = None,
) -> Any:
    """`batch_normalization` as in training: with the mean and the variance that each channel of x has over all other axes.

    The variance is the mean squared difference from the mean, as in Keras (PyTorch's running variance divides by one pixel less).

    Args:
        x: (..., c), float32 or float64, with at least one pixel; in any memory layout.
        gamma, beta, epsilon: as of `batch_normalization`.
        moving_mean, moving_variance: (c,), of x's dtype, C-contiguous, both or neither: moving averages of the statistics, which
            are updated in place, moving = momentum * moving + (1 - momentum) * new.
        momentum: from 0 to 1.
        out, device: as of `batch_normalization`.

    Returns:
        (y, mean, variance): y of x's shape, mean and variance (c,), of x's dtype; the latter are for the gradient.

    Raises:
        ValueError: as `batch_normalization`; x without a pixel, one moving average without the other, unfit to be updated or
            overlapping another array, a momentum beyond 0 to 1.
        TypeError, RuntimeError: as `batch_normalization`.

    >>> import numpy as np
    >>> moving_mean, moving_variance = np.zeros(1), np.ones(1)
    >>> x = np.array([[1.0], [5.0]])
    >>> y, mean, variance = batch_normalization_train(
    ...     x, epsilon=0, moving_mean=moving_mean, moving_variance=moving_variance, momentum=0.5
    ... )
    >>> y.tolist(), mean.tolist(), variance.tolist(), moving_mean.tolist(), moving_variance.tolist()
    ([[-1.0], [1.0]], [3.0], [4.0], [1.5], [2.5])
    """
    op = "batch_normalization_train"
    run = dispatch.find(op, device, x, gamma, beta, moving_mean, moving_variance)
    x = checks.operand(op, "x", x)
    checks.last_axis(op, "x", x)
    if not x.size:
        raise ValueError(
            f"{op}: expected x with at least one pixel to take the mean of, got shape {x.shape}; leave empty batches out."
        )
    gamma, beta = optional_channels(op, "gamma", gamma, x), optional_channels(op, "beta", beta, x)
    if (moving_mean is None) != (moving_variance is None):
        raise ValueError(
            f"{op}: expected moving_mean and moving_variance both or neither, got one; pass the other too."
        )
    moving_mean = updated(op, "moving_mean", moving_mean, x)
    moving_variance = updated(op, "moving_variance", moving_variance, x)
    epsilon, momentum = factor(op, "epsilon", epsilon), factor(op, "momentum", momentum, 1)
    inputs = [array for array in (x, gamma, beta, moving_mean, moving_variance) if array is not None]
    y = checks.output(op, out, x.shape, x.dtype, inputs, in_place=True)
    apart(op, "moving_mean", moving_mean, (x, gamma, beta, moving_variance, y))
    apart(op, "moving_variance", moving_variance, (x, gamma, beta, y))
    mean, variance = (checks.new(x.shape[-1:], x.dtype, inputs) for _ in range(2))
    run(x, gamma, beta, y, mean, variance, moving_mean, moving_variance, epsilon, momentum)
    return y, mean, variance


def batch_normalization_grad(
    grad_y: ArrayT,
    x: Operand,
    mean: Operand,
    variance: Operand,
    gamma: Operand | None = None,
    *,
    epsilon: float = 1e-3,
    training: bool = True,
    out: ArrayT | None = None,
    device: str | None = None,
) -> Any:
    """Gradients of a loss with respect to x, gamma and beta.

    With z = (x - mean) / sqrt(variance + epsilon), m pixels and sums over all of them (Ioffe and Szegedy 2015):

    grad_beta = sum of grad_y, grad_gamma = sum of grad_y z,
    grad_x = gamma / sqrt(variance + epsilon) * (grad_y - grad_beta / m - z grad_gamma / m) in training, where mean and variance
    follow x, and gamma / sqrt(variance + epsilon) * grad_y outside it.

    Args:
        grad_y: gradient with respect to the output (..., c), float32 or float64.
        x: what was normalized, of grad_y's shape and dtype.
        mean, variance: (c,): in training what `batch_normalization_train` returned, else what `batch_normalization` was given.
        gamma, epsilon: as given to the forward pass.
        training: whether mean and variance are those of x.
        out: where to write grad_x, C-contiguous: grad_y or x itself, or an array apart from the inputs; a new one if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        (grad_x, grad_gamma, grad_beta): grad_x of x's shape, the others (c,), of x's dtype; zeros for no pixels.

    Raises:
        ValueError, TypeError, RuntimeError: as `batch_normalization`.

    >>> import numpy as np
    >>> x, grad_y = np.array([[1.0], [5.0], [3.0]]), np.array([[2.0], [4.0], [0.0]])
    >>> _, grad_gamma, grad_beta = batch_normalization_grad(grad_y, x, np.array([3.0]), np.array([4.0]), epsilon=0)
    >>> grad_gamma.tolist(), grad_beta.tolist()
    ([2.0], [6.0])
    """
    op = "batch_normalization_grad"
    run = dispatch.find(op, device, grad_y, x, mean, variance, gamma)
    x = checks.operand(op, "x", x)
    checks.last_axis(op, "x", x)
    grad_y = checks.operand(op, "grad_y", grad_y, like=x)
    checks.same_shape(op, "grad_y", grad_y, x.shape, "as x has")
    mean, variance = channels(op, "mean", mean, x), channels(op, "variance", variance, x)
    gamma = optional_channels(op, "gamma", gamma, x)
    epsilon = factor(op, "epsilon", epsilon)
    inputs = [array for array in (grad_y, x, mean, variance, gamma) if array is not None]
    grad_x = checks.output(op, out, x.shape, x.dtype, inputs, in_place=True)
    grad_gamma, grad_beta = (checks.new(x.shape[-1:], x.dtype, inputs) for _ in range(2))
    run(grad_y, x, mean, variance, gamma, grad_x, grad_gamma, grad_beta, epsilon, bool(training))
    return grad_x, grad_gamma, grad_beta
