"""Convolution and its gradients with operands of bfloat16 and sums of float32: conv2d.py's tables for bfloat16_product.py.

Convolutions here have one group. Images of bfloat16 are `Images` whose numbers have two bytes; a product reads them where they lie.
Weights and biases are float32 and are rounded when they are packed.
"""

from __future__ import annotations

import numpy as np

from cnnlite_kernels.cpu.bfloat16_pack import round_with_halo
from cnnlite_kernels.cpu.bfloat16_product import add_pack, add_product, packed_bytes
from cnnlite_kernels.cpu.conv2d import Conv, input_sums, output_rows, phases, reach
from cnnlite_kernels.cpu.images import Images, margins, with_halo
from cnnlite_kernels.cpu.memory import NOWHERE, Pointer
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.tile import BIAS, INDEX, RELU

BYTES = 2  # of a bfloat16


def add_round(plan: Plan, x: Images, y: Images) -> None:
    """Emits y = x rounded to bfloat16, y with zeros in its halo."""
    if x.n:
        plan.add(
            round_with_halo, x=x.first(4), y=y.start, n=x.n, h=x.h, row=x.w * x.c, x_row=x.row, x_image=x.image, **margins(y)
        )  # fmt: skip


def _joined(conv: Conv) -> tuple[int, int]:
    """(taps, k_len) of the forward pass: a row of the kernel is one tap where its pixels lie side by side."""
    kh, kw = conv.window.kernel
    return (kh, kw * conv.cin) if conv.window.dilation[1] == 1 else (kh * kw, conv.cin)


def packed_weights(conv: Conv) -> int:
    """Bytes that the packed weights of the forward pass take."""
    return packed_bytes(*_joined(conv), conv.cout)


def add_pack_weights(
    plan: Plan, conv: Conv, w: Pointer, packed: Pointer, columns: tuple[int, int] | None = None
) -> None:
    """Emits the rounding and packing of w (HWIO, float32) for `add_forward`; columns=(first, stop), multiples of WIDTH: only the
    blocks of cout that begin there."""
    count, k_len = _joined(conv)
    taps = np.arange(count) * k_len * conv.cout
    add_pack(plan, w, packed, taps, k_len, conv.cout, conv.cout, 1, within=columns)


def add_forward(
    plan: Plan, conv: Conv, x: Images, packed: Pointer, bias: Pointer | None, y: Images, *, item: int = 4, relu: bool = False,
    pool: tuple[int, int] | None = None, index: Pointer = NOWHERE, columns: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Emits y = conv(x, w) + bias, then relu and pooling, as conv2d.py's `add_forward`: x of bfloat16, y of float32 (item 4) or
    bfloat16 (2), bias float32."""
    x = with_halo(plan, x, conv.halo, item=BYTES)
    taps, k_len = conv.taps(x)
    flags = (BIAS if bias is not None else 0) | (RELU if relu else 0) | (INDEX if index != NOWHERE else 0)
    add_product(
        plan, x.start, packed, y.start, output_rows(conv, x, y, pool), conv.cout, taps, k_len,
        item=item, bias=NOWHERE if bias is None else bias, index=index, flags=flags, within=columns,
    )  # fmt: skip


def flipped_weights(conv: Conv) -> int:
    """Bytes that the packed weights of `add_grad_input` take: those of each phase of the strides, filled up to whole steps for AMX."""
    taps = [len(phase.kernel_rows) * len(phase.kernel_columns) for phase in phases(conv)]
    return sum(packed_bytes(count, conv.cout, conv.cin) for count in taps)


def add_flip_weights(
    plan: Plan, conv: Conv, w: Pointer, packed: Pointer, columns: tuple[int, int] | None = None
) -> None:
    """Emits the rounding and packing of w for `add_grad_input`: per phase the taps from last to first, cin and cout exchanged.

    columns=(first, stop), multiples of WIDTH: only the blocks of cin that begin there.
    """
    kw = conv.window.kernel[1]
    for phase in phases(conv):
        taps = [
            (i * kw + j) * conv.cin * conv.cout
            for i in phase.kernel_rows[::-1]
            for j in phase.kernel_columns[::-1]
        ]
        if taps:
            add_pack(plan, w, packed, taps, conv.cout, 1, conv.cin, conv.cout, within=columns)
            packed += packed_bytes(len(taps), conv.cout, conv.cin)


def grad_halo(conv: Conv):
    """Zeros around grad_y that `add_grad_input` reads."""
    return tuple(reach(conv, axis) for axis in (0, 1))


def add_grad_input(
    plan: Plan, conv: Conv, grad_y: Images, packed: Pointer, grad_x: Images, *, item: int = 4,
    columns: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Emits grad_x, of float32 (item 4) or bfloat16 (2), from grad_y of bfloat16: conv2d.py's `add_grad_input`, never scattered."""
    grad_y = with_halo(plan, grad_y, grad_halo(conv), item=BYTES)
    for rows, taps, k_len in input_sums(conv, grad_y, grad_x):
        if conv.cout % 2:  # a pair does not reach from one tap into the next
            taps, k_len = [tap + k for tap in taps for k in range(0, k_len, conv.cout)], conv.cout
        add_product(
            plan, grad_y.start, packed, grad_x.start, rows, conv.cin, taps, k_len, item=item, within=columns
        )
        packed += packed_bytes(len(taps), k_len, conv.cin)
