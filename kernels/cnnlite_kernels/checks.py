"""Every shape, dtype and value error of the ops is raised here, before an op is dispatched.

What passes is what a kernel may assume: C-contiguous, aligned, native byte order, float32 or float64 throughout, shapes
that fit. An operand that lies otherwise in memory (sliced, transposed, Fortran order, backwards) is copied, once.

An operand is a NumPy array or what np.asarray or DLPack makes one of (PyTorch's tensors on the CPU, a memmap), or it lies on a GPU and
is then a DeviceArray (cuda/array.py): the same checks hold for both.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from cnnlite_kernels.algorithms import DIRECT, TAPS, TILES
from cnnlite_kernels.window import POOL_NAMES, Window2D

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
ACTIVATIONS = (None, "relu", "sigmoid", "tanh")
Shape = tuple[int, ...]


def array_of(op: str, name: str, value: Any) -> Any:
    """`value` as an array of NumPy's, or as a DeviceArray where it lies on a GPU; without a copy where its memory allows.

    Raises:
        RuntimeError: it lies on a GPU that cannot be used.
        TypeError: its library does not give it away, as PyTorch a tensor with gradients.
    """
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    from cnnlite_kernels.cuda.array import adopt, on_gpu

    if on_gpu(value):
        return adopt(op, name, value)
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as problem:
        raise TypeError(
            f"{op}: expected {name} as an array of numbers, got {type(value).__name__} ({problem})."
        ) from None


def operand(op: str, name: str, value: Any, axes: str | None = None, like: Any = None) -> Any:
    """`value` as an array that a kernel can read: itself where it can be.

    Args:
        op, name: what a message calls the op and the operand.
        value: an array, or what `array_of` makes one of.
        axes: the axes it must have in words, as "(n, h, w, cin)"; any where None.
        like: the operand whose dtype it must have.

    Raises:
        TypeError: a dtype other than float32 and float64, or than that of `like`.
        ValueError: another number of axes.

    >>> operand("relu", "x", np.arange(3))
    Traceback (most recent call last):
    TypeError: relu: expected x of dtype float32 or float64, got int64; convert it with x.astype("float32").
    """
    array = value if type(value) is np.ndarray else array_of(op, name, value)
    dtype = array.dtype
    if dtype not in FLOATS:
        if dtype.kind != "f" or dtype.itemsize not in (4, 8) or not isinstance(array, np.ndarray):
            raise TypeError(
                f'{op}: expected {name} of dtype float32 or float64, got {dtype}; convert it with {name}.astype("float32").'
            )
        array = array.astype(dtype.newbyteorder("="))
    if axes is not None and array.ndim != axes.count(",") + (axes[-2] != ","):
        raise ValueError(
            f"{op}: expected {name} of shape {axes}, got {array.shape}; reshape it, or add an axis with np.expand_dims."
        )
    if like is not None and array.dtype != like.dtype:
        raise TypeError(
            f"{op}: expected {name} of dtype {like.dtype} as the first operand has, got {array.dtype}; "
            f'convert it with {name}.astype("{like.dtype}").'
        )
    if isinstance(array, np.ndarray):
        flags = array.flags
        if not (flags.c_contiguous and flags.aligned):
            array = np.array(array, order="C")
    return array


def remote(arrays: Sequence[Any]) -> Any:
    """The first of the operands that is on a GPU, None where all are NumPy's: the result is where the operands are."""
    for array in arrays:
        if type(array) is not np.ndarray and not isinstance(array, np.ndarray):
            return array
    return None


def new(shape: Shape, dtype: Any, inputs: Sequence[Any]) -> Any:
    """A new array for a result, where the operands are."""
    there = remote(inputs)
    return np.empty(shape, dtype) if there is None else there.empty(there.device, shape, dtype)


def output(
    op: str, out: Any, shape: Shape, dtype: np.dtype, inputs: Sequence[Any], in_place: bool = False
) -> Any:
    """Where the result goes: `out` if the caller gave one that is fit, else a new array where the operands are.

    `inputs` are the operands as `operand` returned them, which `out` must not overlap: a kernel reads them while it writes.
    With `in_place` it may be one of them, exactly.

    Raises:
        TypeError: `out` is no array, of another dtype, or not where the operands are.
        ValueError: another shape, read-only, not C-contiguous, or memory shared with an input.
    """
    if out is None:
        return new(shape, dtype, inputs)
    there = remote(inputs)
    if there is not None:
        return _remote_output(op, out, shape, dtype, inputs, in_place, there.device)
    if not isinstance(out, np.ndarray):
        raise TypeError(
            f"{op}: expected out to be a NumPy array or None, got {type(out).__name__}; pass np.empty({shape})."
        )
    if out.shape != shape:
        raise ValueError(
            f"{op}: expected out of shape {shape}, got {out.shape}; pass np.empty({shape}, {str(dtype)!r})."
        )
    if out.dtype != dtype:
        raise TypeError(
            f"{op}: expected out of dtype {dtype} as the operands have, got {out.dtype}; pass np.empty({shape}, {str(dtype)!r})."
        )
    if not out.flags.writeable:
        raise ValueError(
            f"{op}: expected out to be writeable, got a read-only array; pass a copy, or no out."
        )
    if not (out.flags.c_contiguous and out.flags.aligned):
        raise ValueError(
            f"{op}: expected out to be C-contiguous, got strides {out.strides}; pass no out and copy the result."
        )
    for array in inputs:
        if in_place and out is array:
            continue
        if overlap(out, array) and not (in_place and _same(out, array)):
            raise ValueError(
                f"{op}: expected out to share no memory with the inputs, got one that overlaps; pass another array, or no out."
            )
    return out


def _remote_output(
    op: str, out: Any, shape: Shape, dtype: np.dtype, inputs: Sequence[Any], in_place: bool, device: Any
) -> Any:
    """`output` for operands on a GPU: a DeviceArray, or another library's array there that is C-contiguous."""
    out = array_of(op, "out", out)
    if isinstance(out, np.ndarray) or out.device is not device:
        where = "the host" if isinstance(out, np.ndarray) else repr(out.device)
        raise TypeError(
            f"{op}: expected out on {device!r} as the operands are, got an array on {where}; pass no out."
        )
    if out.shape != shape:
        raise ValueError(f"{op}: expected out of shape {shape}, got {out.shape}; pass no out.")
    if out.dtype != dtype:
        raise TypeError(
            f"{op}: expected out of dtype {dtype} as the operands have, got {out.dtype}; pass no out."
        )
    if not out.writeable:
        raise ValueError(
            f"{op}: expected out to be writeable and C-contiguous, got an array that is not; pass no out and copy the result."
        )
    for array in inputs:
        if overlap(out, array) and not (in_place and out.same(array)):
            raise ValueError(
                f"{op}: expected out to share no memory with the inputs, got one that overlaps; pass another array, or no out."
            )
    return out


def overlap(a: Any, b: Any) -> bool:
    """Whether two C-contiguous arrays share memory: bounds that overlap are memory that overlaps."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.may_share_memory(a, b)
    return bool(a.overlaps(b))


def clear(array: Any) -> None:
    """array[...] = 0, wherever it is."""
    if isinstance(array, np.ndarray):
        array[...] = 0
    else:
        array.device.upload(np.zeros(array.size, array.dtype), array.flat)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.ctypes.data == b.ctypes.data


def shape(op: str, name: str, value: Any, axes: str | None) -> Shape:
    """A shape that an argument such as x_shape gives: one int, at least 0, for each of `axes`; any number of them where None."""
    try:
        found = tuple(index(size) for size in value)
    except TypeError:
        found = (-1,)
    if (axes is not None and len(found) != axes.count(",") + 1) or min(found, default=0) < 0:
        raise ValueError(
            f"{op}: expected {name} as ints {axes or 'of at least 0'}, got {value!r}; pass the shape of the array it stands for."
        )
    return found


def activation(op: str, value: Any) -> str | None:
    """The activation an op ends in."""
    if value not in ACTIVATIONS:
        raise ValueError(
            f'{op}: expected activation None, "relu", "sigmoid" or "tanh", got {value!r}; apply others to the result.'
        )
    return value


def algorithm(op: str, value: Any) -> str:
    """The name of an algorithm of a convolution."""
    if not isinstance(value, str) or value not in TILES:
        raise ValueError(
            f'{op}: expected algorithm "direct", "winograd" or "winograd2x2", got {value!r}; leave it out for the direct one.'
        )
    return value


def algorithm_fits(op: str, value: str, window: Window2D, groups: int) -> None:
    """Raises a ValueError unless an algorithm can compute a convolution."""
    if value != DIRECT and (window.kernel, window.strides, window.dilation, groups) != (
        (TAPS, TAPS), (1, 1), (1, 1), 1
    ):  # fmt: skip
        raise ValueError(
            f"{op}: expected a 3 x 3 window, strides 1, dilation 1 and groups=1 for algorithm={value!r}, got a window of "
            f"{window.kernel}, strides {window.strides}, dilation {window.dilation} and groups={groups}; leave algorithm out."
        )


def convolution(
    op: str, x_shape: Shape, w_shape: Shape, strides: Any, padding: Any, dilation: Any, groups: Any
) -> tuple[Window2D, int, Shape]:
    """(window, groups, y_shape) of a convolution of x (n, h, w, cin) with w (kh, kw, cin // groups, cout).

    Raises:
        ValueError: shapes that do not fit each other, or a window that does not fit the image.

    >>> convolution("conv2d", (8, 13, 13, 16), (3, 3, 32, 64), 1, "valid", 1, 1)
    Traceback (most recent call last):
    ValueError: conv2d: expected x with 32 channels to match w (3, 3, 32, 64), got x of shape (8, 13, 13, 16); \
pass x with 32 channels, or w of shape (3, 3, 16, 64).
    """
    n, h, w, cin = x_shape
    kh, kw, depth, cout = w_shape
    groups = _at_least_one(op, groups)
    window = Window2D.of((kh, kw), strides, dilation, padding, op=op)
    if cin != depth * groups:
        what = f"{depth * groups} channels" + (f" ({groups} groups of {depth})" if groups > 1 else "")
        mend = (
            f"w of shape {(kh, kw, cin // groups, cout)}"
            if cin % groups == 0
            else f"groups that divide {cin}"
        )
        raise ValueError(
            f"{op}: expected x with {what} to match w {w_shape}, got x of shape {x_shape}; "
            f"pass x with {depth * groups} channels, or {mend}."
        )
    kernel_groups(op, groups, w_shape)
    return window, groups, (n, *window.output_size(h, w, op=op), cout)


def kernel_groups(op: str, groups: Any, w_shape: Shape) -> int:
    """The groups of a convolution, which divide the output channels of w."""
    groups, cout = _at_least_one(op, groups), w_shape[3]
    if cout % groups:
        raise ValueError(
            f"{op}: expected the {cout} output channels of w {w_shape} to be a multiple of groups={groups}; "
            f"pass groups that divide {cout}, or another number of kernels."
        )
    return groups


def _at_least_one(op: str, groups: Any) -> int:
    try:
        groups = index(groups)
    except TypeError:
        groups = 0 if groups is None else groups
    if not isinstance(groups, int) or groups < 1:
        raise ValueError(
            f"{op}: expected groups as an int of at least 1, got {groups!r}; pass groups=1 for a plain convolution."
        )
    return groups


def packed(
    op: str, name: str, value: Any, device: str | None, like: Any, groups: int = 1, algorithm: str = "direct"
) -> Any:
    """`value`, a PackedWeights, fit for `op` beside the operand `like`.

    Raises:
        ValueError: packed for another op, algorithm or groups, or used on a GPU.
        TypeError: of another dtype.
    """
    if value.op != op:
        raise ValueError(
            f"{op}: expected {name} packed by pack_{op}_weights, got weights packed for {value.op}; pack the array for {op}."
        )
    if algorithm != value.form:
        raise ValueError(
            f"{op}: expected algorithm={value.form!r}, for which {name} is packed, got {algorithm!r}; pass the array for others."
        )
    if device not in (None, "auto", "cpu") or not isinstance(like, np.ndarray):
        raise ValueError(
            f"{op}: expected packed {name} on the CPU, which it is packed for, got a call on a GPU; "
            f"pass the array that {name} was packed from."
        )
    if value.dtype != like.dtype:
        raise TypeError(
            f"{op}: expected {name} packed from an array of dtype {like.dtype} as the first operand has, got {value.dtype}; "
            f'pack {name}.astype("{like.dtype}").'
        )
    if groups != value.groups:
        raise ValueError(
            f"{op}: expected groups={value.groups} as {name} was packed with, got {groups!r}; pass the same, or pack again."
        )
    return value


def bias(op: str, name: str, value: Any, size: int, like: Any) -> Any:
    """A bias (size,), or None."""
    if value is None:
        return None
    array = operand(op, name, value, "(n,)" if op == "matmul" else "(cout,)", like)
    if array.shape != (size,):
        raise ValueError(
            f"{op}: expected {name} of shape {(size,)}, one number for each column of the result, got {array.shape}."
        )
    return array


def same_shape(op: str, name: str, array: Any, expected: Shape, why: str) -> None:
    """Raises a ValueError unless the array has this shape; `why` says where it comes from."""
    if array.shape != expected:
        raise ValueError(
            f"{op}: expected {name} of shape {expected} {why}, got {array.shape}; pass the array that belongs to it."
        )


def pooling(op: str, x_shape: Shape, pool_size: Any, strides: Any, padding: Any) -> tuple[Window2D, Shape]:
    """(window, y_shape) of a pooling of x (n, h, w, c).

    Raises:
        ValueError: a window that does not fit the image, or explicit padding as large as the pool.
    """
    n, h, w, c = x_shape
    window = Window2D.of(
        pool_size, pool_size if strides is None else strides, padding=padding, op=op, names=POOL_NAMES
    )
    if not isinstance(window.padding, str):
        (ph, pw), (rows, columns) = window.kernel, window.padding
        if max(rows) >= ph or max(columns) >= pw:
            raise ValueError(
                f"{op}: expected padding smaller than the pool size {window.kernel}, so that every window has a pixel, "
                f"got {window.padding}; pad less or pool more."
            )
    return window, (n, *window.output_size(h, w, op=op), c)


def pool_indices(op: str, value: Any, x_shape: Shape, y_shape: Shape, window: Window2D) -> Any:
    """The places of the winners as max_pool2d or min_pool2d returned them: int32, inside the window and inside the image.

    On a GPU the places are not looked at: one outside is no pixel's, and its gradient is lost.

    Raises:
        TypeError: not int32.
        ValueError: another shape than y has, or a place outside.
    """
    array, pooling_op = array_of(op, "indices", value), op.removesuffix("_grad")
    if array.dtype.newbyteorder("=") != np.int32:
        raise TypeError(
            f"{op}: expected indices of dtype int32, got {array.dtype}; pass what {pooling_op}(..., return_indices=True) returned."
        )
    same_shape(op, "indices", array, y_shape, "as grad_y has")
    if not isinstance(array, np.ndarray):
        return array
    array = np.require(array, np.int32, ["C", "A"])
    wrong = _outside(array, (x_shape[1], x_shape[2]), window)
    if wrong is not None:
        raise ValueError(
            f"{op}: expected indices of pixels inside the image and the window {window.kernel}, got {wrong}; "
            f"pass what {pooling_op}(..., return_indices=True) returned for the same x and options."
        )
    return array


def _outside(places: np.ndarray, size: tuple[int, int], window: Window2D) -> int | None:
    """A place outside the window or the image, or None. Windows that lie in the image as a whole need one comparison, which is a
    pass at memory's speed; the others are few."""
    kh, kw = window.kernel
    if places.size and places.view(np.uint32).max() >= kh * kw:  # what is negative is large
        return int(places[(places < 0) | (places >= kh * kw)][0])
    for axis, output, allowed in _overhanging(window, *size):
        strip = places.take(output, axis)
        inside = allowed[strip]
        if not inside.all():
            return int(strip[~inside][0])
    return None


@functools.lru_cache(64)
def _overhanging(window: Window2D, h: int, w: int) -> list[tuple[int, int, np.ndarray]]:
    """(axis of y, row or column, which of the window's places lie in the image) for windows that reach outside."""
    kh, kw = window.kernel
    places = np.arange(kh * kw)
    found = []
    for axis, taps in ((0, places // kw), (1, places % kw)):
        size = (h, w)[axis]
        for output in range(window.output_size(h, w)[axis]):
            pixels = output * window.strides[axis] - window.pads(h, w)[axis][0] + taps
            allowed = (pixels >= 0) & (pixels < size)
            if not allowed.all():
                found.append((axis + 1, output, allowed))
    return found


def product(a: Any, b: Any, transpose_a: bool, transpose_b: bool) -> tuple[int, int, int]:
    """(m, n, k) of a matrix product.

    >>> product(np.zeros((2, 3)), np.zeros((4, 5)), False, False)
    Traceback (most recent call last):
    ValueError: matmul: expected b with 3 rows to match the 3 columns of a, got a (2, 3) and b (4, 5); \
transpose one of them (transpose_a, transpose_b) or pass others.
    """
    m, k = a.shape[::-1] if transpose_a else a.shape
    rows, n = b.shape[::-1] if transpose_b else b.shape
    if rows != k:
        ours, theirs = "columns" if transpose_b else "rows", "rows" if transpose_a else "columns"
        raise ValueError(
            f"matmul: expected b with {k} {ours} to match the {k} {theirs} of a, got a {a.shape} and b {b.shape}; "
            "transpose one of them (transpose_a, transpose_b) or pass others."
        )
    return m, n, k


def scale(name: str, value: Any) -> float:
    """A scale factor of matmul."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"matmul: expected {name} as a number, got {value!r}; pass an int or a float."
        ) from None


def labels(op: str, value: Any, n: int, classes: int) -> np.ndarray:
    """True classes (n,), each from 0 to classes - 1, as int32 of NumPy's: labels on a GPU come down to be looked at.

    Raises:
        TypeError: not integers.
        ValueError: another shape, or a class that is not there.
    """
    array = array_of(op, "labels", value)
    if not isinstance(array, np.ndarray):
        array = array.copy_to_host()
    if array.dtype.kind not in "iu":
        raise TypeError(
            f'{op}: expected labels of an integer dtype, got {array.dtype}; convert them with labels.astype("int32").'
        )
    same_shape(op, "labels", array, (n,), f"to match logits {(n, classes)}")
    if n and (array.min() < 0 or array.max() >= classes):
        raise ValueError(
            f"{op}: expected labels from 0 to {classes - 1} to match logits {(n, classes)}, got {array.min()} to {array.max()}; "
            "number the classes from 0."
        )
    return np.require(array, np.int32, ["C", "A"])


def last_axis(op: str, name: str, x: Any) -> None:
    """Raises a ValueError unless x has a last axis with at least one number in it."""
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(
            f"{op}: expected {name} with at least one number along its last axis, got shape {x.shape}; leave empty rows out."
        )
