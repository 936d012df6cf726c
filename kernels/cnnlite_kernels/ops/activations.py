"""Activations, each with its gradient in terms of its output y: what a fused layer still has in memory."""

from __future__ import annotations

from cnnlite_kernels import channel_checks, checks, dispatch
from cnnlite_kernels.arrays import ArrayT, Operand


def relu(x: ArrayT, *, out: ArrayT | None = None, device: str | None = None) -> ArrayT:
    """y = max(x, 0); NaN stays NaN.

    Args:
        x: float32 or float64, of any shape and memory layout.
        out: where to write y, C-contiguous: x itself, or an array apart from it; a new one if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        y, of x's shape and dtype; `out` if it was given.

    Raises:
        TypeError: x of another dtype.
        ValueError: an unfit `out`, an unknown device.
        RuntimeError: a device that is not there.

    >>> import numpy as np
    >>> relu(np.array([-1.0, 2.0, np.nan])).tolist()
    [0.0, 2.0, nan]
    """
    return _forward("relu", x, out, device)


def relu_grad(grad_y: ArrayT, y: Operand, *, out: ArrayT | None = None, device: str | None = None) -> ArrayT:
    """grad_x = grad_y where y > 0, else 0.

    Args:
        grad_y: gradient with respect to the output, float32 or float64, of any shape.
        y: the output of `relu`, of grad_y's shape and dtype.
        out: where to write grad_x, C-contiguous: grad_y or y itself, or an array apart from them; a new one if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        grad_x, of grad_y's shape and dtype; `out` if it was given.

    Raises:
        ValueError: y of another shape than grad_y, an unfit `out`, an unknown device.
        TypeError, RuntimeError: as `relu`.

    >>> import numpy as np
    >>> relu_grad(np.array([5.0, 5.0]), np.array([0.0, 2.0])).tolist()
    [0.0, 5.0]
    """
    return _backward("relu", grad_y, y, out, device)


def relu6(x: ArrayT, *, out: ArrayT | None = None, device: str | None = None) -> ArrayT:
    """y = min(max(x, 0), 6); NaN stays NaN. Howard et al., MobileNets, 2017.

    Arguments, result and errors are those of `relu`.

    >>> import numpy as np
    >>> relu6(np.array([-1.0, 2.0, 7.0, np.nan])).tolist()
    [0.0, 2.0, 6.0, nan]
    """
    return _forward("relu6", x, out, device)


def relu6_grad(grad_y: ArrayT, y: Operand, *, out: ArrayT | None = None, device: str | None = None) -> ArrayT:
    """grad_x = grad_y where 0 < y < 6, else 0, y being the output of `relu6`.

    Arguments, result and errors are those of `relu_grad`.

    >>> import numpy as np
    >>> relu6_grad(np.array([5.0, 5.0, 5.0]), np.array([0.0, 2.0, 6.0])).tolist()
    [0.0, 5.0, 0.0]
    """
    return _backward("relu6", grad_y, y, out, device)


def leaky_relu(
    x: ArrayT, negative_slope: float = 0.2, *, out: ArrayT | None = None, device: str | None = None
) -> ArrayT:
    """y = negative_slope * x where x < 0, else x; NaN stays NaN.

    Args:
        negative_slope: at least 0; 0 is relu. The default is that of keras.ops.

    The other arguments, result and errors are those of `relu`.

    Raises:
        TypeError: a slope that is no number.
        ValueError: a negative slope, from whose y the sign of x could not be told, or one that is not finite.

    >>> import numpy as np
    >>> leaky_relu(np.array([-1.0, 2.0, np.nan]), 0.25).tolist()
    [-0.25, 2.0, nan]
    """
    return _forward("leaky_relu", x, out, device, _slope("leaky_relu", negative_slope))


def leaky_relu_grad(
    grad_y: ArrayT, y: Operand, negative_slope: float = 0.2, *, out: ArrayT | None = None, device: str | None = None
) -> ArrayT:  # fmt: skip
    """grad_x = grad_y where y > 0, else negative_slope * grad_y, y being the output of `leaky_relu` with the same slope.

    The other arguments, result and errors are those of `relu_grad`; of the slope, those of `leaky_relu`.

    >>> import numpy as np
    >>> leaky_relu_grad(np.array([8.0, 8.0]), np.array([-1.0, 2.0]), 0.25).tolist()
    [2.0, 8.0]
    """
    return _backward("leaky_relu", grad_y, y, out, device, _slope("leaky_relu_grad", negative_slope))


def sigmoid(x: ArrayT, *, out: ArrayT | None = None, device: str | None = None) -> ArrayT:
    """y = 1 / (1 + exp(-x)), computed so that no exponential overflows.

    Arguments, result and errors are those of `relu`.

    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return _forward("sigmoid", x, out, device)


def sigmoid_grad(
    grad_y: ArrayT, y: Operand, *, out: ArrayT | None = None, device: str | None = None
) -> ArrayT:
    """grad_x = grad_y * y * (1 - y), y being the output of `sigmoid`.

    Arguments, result and errors are those of `relu_grad`.

    >>> import numpy as np
    >>> sigmoid_grad(np.array([8.0]), np.array([0.5])).tolist()
    [2.0]
    """
    return _backward("sigmoid", grad_y, y, out, device)


def tanh(x: ArrayT, *, out: ArrayT | None = None, device: str | None = None) -> ArrayT:
    """y = tanh(x).

    Arguments, result and errors are those of `relu`.

    >>> import numpy as np
    >>> tanh(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    return _forward("tanh", x, out, device)


def tanh_grad(grad_y: ArrayT, y: Operand, *, out: ArrayT | None = None, device: str | None = None) -> ArrayT:
    """grad_x = grad_y * (1 - y * y), y being the output of `tanh`.

    Arguments, result and errors are those of `relu_grad`.

    >>> import numpy as np
    >>> tanh_grad(np.array([4.0]), np.array([0.5])).tolist()
    [3.0]
    """
    return _backward("tanh", grad_y, y, out, device)


def softmax(x: ArrayT, *, out: ArrayT | None = None, device: str | None = None) -> ArrayT:
    """y_i = exp(x_i) / sum_j exp(x_j) along the last axis; the largest x is taken off first: none overflows.

    Arguments, result and errors are those of `relu`; x must have a last axis that is not empty.

    >>> import numpy as np
    >>> softmax(np.array([[0.0, 0.0], [1000.0, -1000.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    return _forward("softmax", x, out, device)


def softmax_grad(
    grad_y: ArrayT, y: Operand, *, out: ArrayT | None = None, device: str | None = None
) -> ArrayT:
    """grad_x_i = y_i * (grad_y_i - sum_j grad_y_j y_j) along the last axis, y being the output of `softmax`.

    Arguments, result and errors are those of `relu_grad`; the last axis must not be empty.

    >>> import numpy as np
    >>> softmax_grad(np.array([4.0, 0.0]), np.array([0.5, 0.5])).tolist()
    [1.0, -1.0]
    """
    return _backward("softmax", grad_y, y, out, device)


def _slope(op: str, value: float) -> float:
    return channel_checks.factor(op, "negative_slope", value)


def _forward(kind: str, x: ArrayT, out: ArrayT | None, device: str | None, slope: float = 0.0) -> ArrayT:
    run = dispatch.find("activation", device, x, name=kind)
    x = checks.operand(kind, "x", x)
    if kind == "softmax":
        checks.last_axis(kind, "x", x)
    y = checks.output(kind, out, x.shape, x.dtype, (x,), in_place=True)
    if y.size:
        run(kind, x, y, slope)
    return y


def _backward(
    kind: str, grad_y: ArrayT, y: Operand, out: ArrayT | None, device: str | None, slope: float = 0.0
) -> ArrayT:
    op = f"{kind}_grad"
    run = dispatch.find("activation_grad", device, grad_y, y, name=op)
    grad_y = checks.operand(op, "grad_y", grad_y)
    y = checks.operand(op, "y", y, like=grad_y)
    checks.same_shape(op, "y", y, grad_y.shape, "as grad_y has")
    if kind == "softmax":
        checks.last_axis(op, "y", y)
    grad_x = checks.output(op, out, y.shape, y.dtype, (grad_y, y), in_place=True)
    if grad_x.size:
        run(kind, grad_y, y, grad_x, slope)
    return grad_x
