"""Transposed two-dimensional convolution: the gradient of a convolution, taken for a layer that makes images larger."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlite_kernels import checks, dispatch, image_checks
from cnnlite_kernels.arrays import ArrayT, Operand
from cnnlite_kernels.ops.conv2d import conv2d, conv2d_grad_weights


def conv2d_transpose(
    x: ArrayT,
    w: Operand,
    b: Operand | None = None,
    *,
    strides: Any = (1, 1),
    padding: Any = "valid",
    output_padding: Any = None,
    dilation: Any = (1, 1),
    out: ArrayT | None = None,
    device: str | None = None,
) -> ArrayT:
    """Each pixel of x writes its multiple of a kernel into y, strides apart, and what overlaps adds up.

    yp[n, p * sh + i * dh, q * sw + k * dw, j] += x[n, p, q, c] * w[i, k, j, c]

    over all p, q, i, k, c; y is yp without its padding, plus b. It is `conv2d_grad_input` of a convolution that makes x's size of y's.

    Args:
        x: images (n, h, w, cin), float32 or float64, in any memory layout; n may be 0.
        w: kernels (kh, kw, cout, cin), of x's dtype, as Keras has them.
        b: bias (cout,), of x's dtype, or none.
        strides, dilation: an int or a pair.
        padding: "valid", "same", or ((top, bottom), (left, right)) pixels, which are cut off y.
        output_padding: rows and columns added to y at its end, an int or a pair, less than the strides. An axis of `size` pixels
            becomes (size - 1) * stride + extent - pads + output_padding long, extent = (kernel - 1) * dilation + 1; with
            "same" pads are extent // 2 * 2. None: size * stride for "same"; for "valid" at least that; 0 for pixels.
        out: where to write y, C-contiguous and apart from the inputs; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        y (n, oh, ow, cout), of x's dtype; `out` if it was given.

    Raises:
        ValueError: shapes that do not fit each other, padding that leaves nothing, output_padding from which no convolution leads back,
            an unfit `out`.
        TypeError: operands of another dtype.
        RuntimeError: a device that is not there.

    >>> import numpy as np
    >>> x, w = np.array([1.0, 10.0]).reshape(1, 1, 2, 1), np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    >>> conv2d_transpose(x, w, strides=2).shape, conv2d_transpose(x, w, strides=(1, 2))[0, 0, :, 0].tolist()
    ((1, 2, 5, 1), [1.0, 2.0, 13.0, 20.0, 30.0])
    """
    op = "conv2d_transpose"
    run = dispatch.find("conv2d_grad_input", device, x, w, b, name=op)
    x = checks.operand(op, "x", x, "(n, h, w, cin)")
    w = checks.operand(op, "w", w, "(kh, kw, cout, cin)", like=x)
    window, shape = image_checks.transposed_convolution(
        op, x.shape, w.shape, strides, padding, output_padding, dilation
    )
    b = checks.bias(op, "b", b, shape[3], x)
    inputs = [array for array in (x, w, b) if array is not None]
    y = checks.output(op, out, shape, x.dtype, inputs)
    if not y.size:
        return y
    run(x, w, y, window, 1)
    if b is not None:
        # y + b is (y - 0) * 1 + b
        add = dispatch.find("batch_normalization", device, y, b, name=op)
        add(y, np.zeros(shape[3], x.dtype), np.ones(shape[3], x.dtype), None, b, y, 0.0)
    return y


def conv2d_transpose_grad_input(
    grad_y: ArrayT,
    w: Operand,
    *,
    strides: Any = (1, 1),
    padding: Any = "valid",
    dilation: Any = (1, 1),
    out: ArrayT | None = None,
    device: str | None = None,
) -> ArrayT:
    """Gradient of a loss with respect to the input of `conv2d_transpose`: a convolution of grad_y.

    Args:
        grad_y: gradient with respect to the output, (n, oh, ow, cout), float32 or float64.
        w: kernels (kh, kw, cout, cin), of grad_y's dtype.
        strides, padding, dilation: as given to `conv2d_transpose`.
        out, device: as of `conv2d`.

    Returns:
        grad_x (n, h, w, cin), of grad_y's dtype; `out` if it was given.

    Raises:
        ValueError, TypeError, RuntimeError: as `conv2d`, which they name.

    >>> import numpy as np
    >>> conv2d_transpose_grad_input(np.ones((1, 1, 5, 1)), np.ones((1, 3, 1, 1)), strides=(1, 2)).ravel().tolist()
    [3.0, 3.0]
    """
    return conv2d(grad_y, w, strides=strides, padding=padding, dilation=dilation, out=out, device=device)


def conv2d_transpose_grad_weights(
    x: ArrayT,
    grad_y: Operand,
    w_shape: tuple[int, int, int, int],
    *,
    strides: Any = (1, 1),
    padding: Any = "valid",
    dilation: Any = (1, 1),
    out: ArrayT | None = None,
    device: str | None = None,
) -> ArrayT:
    """Gradient of a loss with respect to the kernels of `conv2d_transpose`: `conv2d_grad_weights`, x and grad_y exchanged.

    Args:
        x: images (n, h, w, cin), of grad_y's dtype.
        grad_y: gradient with respect to the output, (n, oh, ow, cout), float32 or float64.
        w_shape: (kh, kw, cout, cin).
        strides, padding, dilation: as given to `conv2d_transpose`.
        out, device: as of `conv2d_grad_weights`.

    Returns:
        grad_w (kh, kw, cout, cin), of x's dtype; zeros for an empty batch. `out` if it was given.

    Raises:
        ValueError, TypeError, RuntimeError: as `conv2d_grad_weights`, which they name, with grad_y as x and x as grad_y.

    >>> import numpy as np
    >>> x, grad_y = np.array([1.0, 10.0]).reshape(1, 1, 2, 1), np.arange(5.0).reshape(1, 1, 5, 1)
    >>> conv2d_transpose_grad_weights(x, grad_y, (1, 3, 1, 1), strides=(1, 2)).ravel().tolist()
    [20.0, 31.0, 42.0]
    """
    return conv2d_grad_weights(
        grad_y, x, w_shape, strides=strides, padding=padding, dilation=dilation, out=out, device=device
    )
