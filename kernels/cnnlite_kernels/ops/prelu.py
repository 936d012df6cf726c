"""PReLU, a rectifier whose slope is learned, and its gradients."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels import channel_checks, checks, dispatch
from cnnlite_kernels.arrays import ArrayT, Operand


def prelu(x: ArrayT, alpha: Operand, *, out: ArrayT | None = None, device: str | None = None) -> ArrayT:
    """y = x where x > 0, else alpha * x (He et al. 2015).

    Args:
        x: (n, ...) of two to four axes, float32 or float64, in any memory layout; n may be 0.
        alpha: of x's shape without n, and of its dtype; 1 along axes that share a slope, as (1, 1, c) for images.
        out: where to write y, C-contiguous: x itself, or an array apart from the operands; a new one if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        y, of x's shape and dtype; `out` if it was given.

    Raises:
        ValueError: x of other axes or with empty ones, alpha of another shape, an unfit `out`.
        TypeError: another dtype.
        RuntimeError: a device that is not there.

    >>> import numpy as np
    >>> prelu(np.array([[-2.0, 3.0]]), np.array([0.25])).tolist()
    [[-0.5, 3.0]]
    """
    op = "prelu"
    run = dispatch.find(op, device, x, alpha)
    x = checks.operand(op, "x", x)
    alpha, shapes = channel_checks.slopes(op, alpha, x)
    y = checks.output(op, out, x.shape, x.dtype, (x, alpha), in_place=True)
    if y.size:
        run(x, alpha, y, shapes)
    return y


def prelu_grad(
    grad_y: ArrayT, x: Operand, alpha: Operand, *, out: ArrayT | None = None, device: str | None = None
) -> Any:
    """Gradients of a loss with respect to x and alpha.

    grad_x = grad_y where x > 0, else alpha * grad_y; grad_alpha = the sum of x * grad_y where x <= 0, over all that share a slope.

    Args:
        grad_y: gradient with respect to the output, of x's shape and dtype.
        x, alpha: as given to `prelu`.
        out: where to write grad_x, C-contiguous: grad_y or x itself, or an array apart from the operands; a new one if None.
        device: as of `prelu`.

    Returns:
        (grad_x, grad_alpha), of the shapes and the dtype of x and alpha; zeros for no images.

    Raises:
        ValueError, TypeError, RuntimeError: as `prelu`.

    >>> import numpy as np
    >>> grad_x, grad_alpha = prelu_grad(np.array([[4.0, 8.0]]), np.array([[-2.0, 3.0]]), np.array([0.25]))
    >>> grad_x.tolist(), grad_alpha.tolist()
    ([[1.0, 8.0]], [-8.0])
    """
    op = "prelu_grad"
    run = dispatch.find(op, device, grad_y, x, alpha)
    x = checks.operand(op, "x", x)
    alpha, shapes = channel_checks.slopes(op, alpha, x)
    grad_y = checks.operand(op, "grad_y", grad_y, like=x)
    checks.same_shape(op, "grad_y", grad_y, x.shape, "as x has")
    grad_x = checks.output(op, out, x.shape, x.dtype, (grad_y, x, alpha), in_place=True)
    grad_alpha = checks.new(alpha.shape, x.dtype, (grad_y, x, alpha))
    if x.size:
        run(grad_y, x, alpha, grad_x, grad_alpha, shapes)
    else:
        checks.clear(grad_alpha)
    return grad_x, grad_alpha
