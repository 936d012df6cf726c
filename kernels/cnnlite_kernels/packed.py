"""Weights packed before: in the order in which the CPU's microkernel reads them, for many calls with the same weights.

`conv2d` and `matmul` pack their weights in every call, a pass over memory that shows where there are few pixels or rows for each
weight: one image in the deep layers of a network. Who calls them often with the same weights packs once.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from cnnlite_kernels import checks, dispatch
from cnnlite_kernels.arrays import Operand


class PackedWeights:
    """What `pack_conv2d_weights` and `pack_matmul_weights` return, to be given to `conv2d` as w or to `matmul` as b.

    It is a copy, laid out for the vectors of this processor: it does not follow the array it was made from, and can be neither
    changed nor pickled. It is for the CPU, and no array: gradients and every other op take the array itself. Products with it are
    those of its dtype, whatever `set_matmul_precision` says.

    Attributes:
        op: the op it is for, "conv2d" or "matmul".
        shape: of the weights as the op takes them, (kh, kw, cin // groups, cout) or (k, n).
        dtype: float32 or float64, that of the operands beside it.
        groups: of the convolution, 1 for a product.
        form: what is stored, "direct" for the numbers themselves.
        data: where it is stored, one axis, read-only; its order is the CPU kernels' own.
    """

    __slots__ = ("data", "dtype", "form", "groups", "op", "shape")

    def __init__(
        self, op: str, shape: tuple[int, ...], groups: int, data: np.ndarray, form: str = "direct"
    ) -> None:
        data.flags.writeable = False
        for name, value in (
            ("op", op), ("shape", shape), ("dtype", data.dtype), ("groups", groups), ("form", form), ("data", data),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    op: str
    shape: tuple[int, ...]
    dtype: np.dtype
    groups: int
    form: str
    data: np.ndarray

    @property
    def ndim(self) -> int:
        """Axes of `shape`."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Weights."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that are stored: as many as the weights have, or more where the last vector of columns is filled up."""
        return self.data.nbytes

    def __repr__(self) -> str:
        groups = f", groups={self.groups}" if self.groups > 1 else ""
        return f"PackedWeights({self.op}, shape={self.shape}, dtype={self.dtype}{groups}, form={self.form!r})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"PackedWeights: expected {name} to stay as it is, got {value!r}; pack the weights again."
        )

    def __reduce__(self) -> Any:
        raise TypeError(
            "PackedWeights: expected no copy and no pickle, its layout is this processor's; keep the array and pack it there."
        )

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise TypeError(f"it is packed for {self.op} alone; pass the array that it was made from")


def pack_conv2d_weights(w: Operand, *, groups: int = 1) -> PackedWeights:
    """The kernels of a convolution, packed once for many calls of `conv2d`.

    conv2d(x, pack_conv2d_weights(w)) gives the bits of conv2d(x, w), for any x, strides, padding, dilation, bias and activation.

    Args:
        w: kernels (kh, kw, cin // groups, cout), float32 or float64, on the CPU. What they are changed to later does not count.
        groups: as it will be given to `conv2d`.

    Raises:
        ValueError, TypeError: as `conv2d`.

    >>> from cnnlite_kernels import conv2d
    >>> packed = pack_conv2d_weights(np.ones((3, 3, 32, 64), np.float32))
    >>> packed
    PackedWeights(conv2d, shape=(3, 3, 32, 64), dtype=float32, form='direct')
    >>> conv2d(np.ones((1, 5, 5, 32), np.float32), packed)[0, 0, 0, 0].item()
    288.0
    """
    op = "pack_conv2d_weights"
    dispatch.find("conv2d", "cpu", w, name=op)
    w = checks.operand(op, "w", w, "(kh, kw, cin // groups, cout)")
    groups = checks.kernel_groups(op, groups, w.shape)
    from cnnlite_kernels.cpu.ops.conv2d import pack_weights

    return PackedWeights("conv2d", w.shape, groups, pack_weights(w, groups))


def pack_matmul_weights(b: Operand, *, transpose_b: bool = False) -> PackedWeights:
    """The right-hand side of a product, packed once for many calls of `matmul`.

    matmul(a, pack_matmul_weights(b)) gives matmul(a, b), for any a: the same bits wherever matmul would have packed b itself.

    Args:
        b: (k, n), or (n, k) with transpose_b, float32 or float64, on the CPU. What it is changed to later does not count.
        transpose_b: here, not in the call of `matmul`.

    Raises:
        ValueError, TypeError: as `matmul`.

    >>> from cnnlite_kernels import matmul
    >>> matmul(np.array([[1.0, 2.0]]), pack_matmul_weights(np.array([[3.0, 4.0]]), transpose_b=True))
    array([[11.]])
    """
    op = "pack_matmul_weights"
    dispatch.find("matmul", "cpu", b, name=op)
    b = checks.operand(op, "b", b, "(k, n)")
    from cnnlite_kernels.cpu.ops.matmul import pack_weights

    shape = b.shape[::-1] if transpose_b else b.shape
    return PackedWeights("matmul", shape, 1, pack_weights(b, bool(transpose_b)))
