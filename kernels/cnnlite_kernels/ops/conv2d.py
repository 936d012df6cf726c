"""Two-dimensional convolution (cross-correlation, as in Keras: the kernel is not flipped) and its gradients."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels import checks, dispatch
from cnnlite_kernels.algorithms import DIRECT, dispatched, tile_of
from cnnlite_kernels.arrays import ArrayT, Operand
from cnnlite_kernels.packed import PackedWeights


def conv2d(
    x: ArrayT,
    w: Operand | PackedWeights,
    b: Operand | None = None,
    *,
    strides: Any = (1, 1),
    padding: Any = "valid",
    dilation: Any = (1, 1),
    groups: int = 1,
    activation: str | None = None,
    algorithm: str = "direct",
    out: ArrayT | None = None,
    device: str | None = None,
) -> ArrayT:
    """Convolve images with a bank of kernels.

    y[n, p, q, j] = activation(b[j] + sum over i, k, c of
                               xp[n, p * sh + i * dh, q * sw + k * dw, g * cg + c] * w[i, k, c, j])

    with xp the zero-padded x, cg = cin // groups channels in each group, and g = j // (cout // groups) the group that
    output channel j belongs to.

    Args:
        x: images (n, h, w, cin), float32 or float64, in any memory layout; n may be 0.
        w: kernels (kh, kw, cin // groups, cout), of x's dtype; on the CPU also what `pack_conv2d_weights` made of them, for many
            calls with the same ones.
        b: bias (cout,), of x's dtype, or none.
        strides: pixels from one window to the next, an int or (rows, columns).
        padding: "valid" (none), "same" (TensorFlow's: ceil(size / stride) outputs, an odd pixel goes after), or
            ((top, bottom), (left, right)) pixels of zeros.
        dilation: pixels from one tap of the kernel to the next, an int or (rows, columns).
        groups: divides cin and cout; cin of them make a depthwise convolution.
        activation: None, "relu", "sigmoid" or "tanh", applied in the same pass.
        algorithm: "direct", or on the CPU, for 3 x 3 kernels at strides and dilation 1 and one group, "winograd" or "winograd2x2", which
            multiply less (see below).
        out: where to write y, C-contiguous and apart from the inputs; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        y (n, oh, ow, cout), of x's dtype; `out` if it was given.

    Winograd's algorithm makes tiles of 2 x 2 outputs ("winograd2x2") with 2.25 times fewer multiplications, or tiles of 4 x 4
    ("winograd") with 4 times fewer, and is up to three times as fast where images and channels are large. It adds in another order, and
    the numbers of a tile cost each other digits where their sizes differ. On 256 channels of normal random numbers in float32 the error
    against float64, in units of y's standard deviation, is 5e-7 with "winograd2x2", 1.5e-6 with "winograd" and 9e-7 with "direct" (root
    mean square; the largest of 200,000: 3e-6, 2e-5 and 1e-5). Small whole numbers give the exact result with "winograd2x2". A NaN or an
    infinity makes all outputs of its tile NaN or infinite. `set_matmul_precision` does not concern it: nothing is rounded.

    Raises:
        ValueError: shapes that do not fit, a window that does not fit the image, an unfit `out`, an unknown option, an algorithm
            that cannot do this convolution or device.
        TypeError: an operand of another dtype.
        RuntimeError: a device that is not there.

    >>> import numpy as np
    >>> x = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    >>> w = np.array([[1, 0], [0, 2]], np.float32).reshape(2, 2, 1, 1)
    >>> conv2d(x, w, np.array([-10], np.float32), activation="relu")[0, :, :, 0].tolist()
    [[0.0, 1.0], [7.0, 10.0]]
    """
    algorithm = checks.algorithm("conv2d", algorithm)
    packed = isinstance(w, PackedWeights)
    where = "cpu" if packed and device == "auto" else device
    run = dispatch.find(dispatched("conv2d", algorithm), where, x, w, b, name="conv2d")
    x = checks.operand("conv2d", "x", x, "(n, h, w, cin)")
    if packed:
        w = checks.packed("conv2d", "w", w, device, x, groups, algorithm)
    else:
        w = checks.operand("conv2d", "w", w, "(kh, kw, cin // groups, cout)", like=x)
    b = checks.bias("conv2d", "b", b, w.shape[3], like=x)
    activation = checks.activation("conv2d", activation)
    window, groups, shape = checks.convolution("conv2d", x.shape, w.shape, strides, padding, dilation, groups)
    inputs: tuple[Any, ...] = (x, w.data if packed else w)
    y = checks.output("conv2d", out, shape, x.dtype, inputs if b is None else (*inputs, b))
    checks.algorithm_fits("conv2d", algorithm, window, groups)
    if y.size:
        # Winograd's function has its tile where the direct one has groups
        run(
            x, w, b, y, window, groups if algorithm == DIRECT else tile_of(algorithm, *shape[1:3]), activation
        )
    return y


def conv2d_grad_input(
    grad_y: ArrayT,
    w: Operand,
    x_shape: tuple[int, int, int, int],
    *,
    strides: Any = (1, 1),
    padding: Any = "valid",
    dilation: Any = (1, 1),
    groups: int = 1,
    algorithm: str = "direct",
    out: ArrayT | None = None,
    device: str | None = None,
) -> ArrayT:
    """Gradient of a loss with respect to the input of `conv2d` (without activation).

    grad_xp[n, p * sh + i * dh, q * sw + k * dw, g * cg + c] += grad_y[n, p, q, j] * w[i, k, c, j]

    over all n, p, q, i, k, c, j; grad_x is grad_xp without its padding. Pixels that no window covers have gradient 0.

    Args:
        grad_y: gradient with respect to the output, (n, oh, ow, cout), float32 or float64.
        w: kernels (kh, kw, cin // groups, cout), of grad_y's dtype.
        x_shape: (n, h, w, cin).
        strides, padding, dilation, groups: as given to `conv2d`.
        algorithm: "direct", "winograd" or "winograd2x2", as in `conv2d`; it need not be the forward pass's.
        out: where to write grad_x, C-contiguous and apart from the inputs; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        grad_x (n, h, w, cin), of grad_y's dtype; `out` if it was given.

    Raises:
        ValueError, TypeError, RuntimeError: as `conv2d`.

    >>> import numpy as np
    >>> conv2d_grad_input(np.ones((1, 2, 2, 1)), np.ones((2, 2, 1, 1)), (1, 3, 3, 1))[0, :, :, 0].tolist()
    [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    op = "conv2d_grad_input"
    algorithm = checks.algorithm(op, algorithm)
    run = dispatch.find(dispatched(op, algorithm), device, grad_y, w, name=op)
    grad_y = checks.operand(op, "grad_y", grad_y, "(n, oh, ow, cout)")
    w = checks.operand(op, "w", w, "(kh, kw, cin // groups, cout)", like=grad_y)
    shape = checks.shape(op, "x_shape", x_shape, "(n, h, w, cin)")
    window, groups, y_shape = checks.convolution(op, shape, w.shape, strides, padding, dilation, groups)
    checks.same_shape(op, "grad_y", grad_y, y_shape, f"for x_shape {shape} and w {w.shape}")
    grad_x = checks.output(op, out, shape, grad_y.dtype, (grad_y, w))
    checks.algorithm_fits(op, algorithm, window, groups)
    if grad_x.size:
        run(grad_y, w, grad_x, window, groups if algorithm == DIRECT else tile_of(algorithm, *shape[1:3]))
    return grad_x


def conv2d_grad_weights(
    x: ArrayT,
    grad_y: Operand,
    w_shape: tuple[int, int, int, int],
    *,
    strides: Any = (1, 1),
    padding: Any = "valid",
    dilation: Any = (1, 1),
    groups: int = 1,
    out: ArrayT | None = None,
    device: str | None = None,
) -> ArrayT:
    """Gradient of a loss with respect to the kernels of `conv2d` (without activation).

    grad_w[i, k, c, j] = sum over n, p, q of
                         xp[n, p * sh + i * dh, q * sw + k * dw, g * cg + c] * grad_y[n, p, q, j]

    Args:
        x: images (n, h, w, cin), float32 or float64.
        grad_y: gradient with respect to the output, (n, oh, ow, cout), of x's dtype.
        w_shape: (kh, kw, cin // groups, cout).
        strides, padding, dilation, groups: as given to `conv2d`.
        out: where to write grad_w, C-contiguous and apart from the inputs; a new array if None.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        grad_w (kh, kw, cin // groups, cout), of x's dtype; zeros for an empty batch. `out` if it was given.

    Raises:
        ValueError, TypeError, RuntimeError: as `conv2d`.

    >>> import numpy as np
    >>> x = np.arange(9.0).reshape(1, 3, 3, 1)
    >>> conv2d_grad_weights(x, np.ones((1, 2, 2, 1)), (2, 2, 1, 1))[:, :, 0, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    """
    op = "conv2d_grad_weights"
    run = dispatch.find(op, device, x, grad_y)
    x = checks.operand(op, "x", x, "(n, h, w, cin)")
    grad_y = checks.operand(op, "grad_y", grad_y, "(n, oh, ow, cout)", like=x)
    shape = checks.shape(op, "w_shape", w_shape, "(kh, kw, cin // groups, cout)")
    window, groups, y_shape = checks.convolution(op, x.shape, shape, strides, padding, dilation, groups)
    checks.same_shape(op, "grad_y", grad_y, y_shape, f"for x {x.shape} and w_shape {shape}")
    grad_w = checks.output(op, out, shape, x.dtype, (x, grad_y))
    if grad_y.size == 0:
        checks.clear(grad_w)
    elif grad_w.size:
        run(x, grad_y, grad_w, window, groups)
    return grad_w
