"""Which products of float32 arrays are faster when their operands are rounded to bfloat16 first.

A product gains the difference of two times for each of its multiply-adds; rounding costs a pass over each operand that is not small.
Nanoseconds on one core of a Zen 5, AVX-512; with AMX products gain more and the rule is a careful one.
"""

from __future__ import annotations

from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.matmul import Product
from cnnlite_kernels.precision import BFLOAT16, get_matmul_precision

FLOAT32_SUM, BFLOAT16_SUM = 0.0087, 0.0040  # of a multiply-add: 230 and 500 GFLOP/s
ROUND, TURN, PACK = (
    0.25,
    0.45,
    0.40,
)  # of a number that is rounded, turned (add_turn), packed (add_pack_outputs)
FEW_ROWS = 42  # of A, up to which float32 reads B where it lies


def asked(item: int) -> bool:
    """Whether products of numbers of `item` bytes are to be rounded, and this processor multiplies bfloat16."""
    return get_matmul_precision() == BFLOAT16 and item == 4 and host().bfloat16 is not None


def _gain(sums: float, k_len: int) -> float:
    """Of `sums` multiply-adds in runs of k_len, which are filled up to whole pairs."""
    return sums * (FLOAT32_SUM - BFLOAT16_SUM * (2 * -(-k_len // 2) / max(1, k_len)))


def forward(conv: Conv) -> bool:
    """Of conv2d: x is rounded.

    >>> from cnnlite_kernels.window import Window2D
    >>> forward(Conv(Window2D.of(3), 28, 28, 64, 64)), forward(Conv(Window2D.of(1), 28, 28, 64, 32))
    (True, False)
    """
    oh, ow = conv.output
    k_len = conv.cin * (conv.window.kernel[1] if conv.window.dilation[1] == 1 else 1)
    return conv.groups == 1 and _gain(oh * ow * conv.weights, k_len) > ROUND * conv.h * conv.w * conv.cin


def grad_input(conv: Conv) -> bool:
    """Of conv2d_grad_input: grad_y is rounded."""
    oh, ow = conv.output
    return conv.groups == 1 and _gain(oh * ow * conv.weights, conv.cout) > ROUND * oh * ow * conv.cout


def grad_weights(conv: Conv) -> bool:
    """Of conv2d_grad_weights: x is turned, grad_y packed."""
    oh, ow = conv.output
    passes = TURN * conv.h * conv.w * conv.cin + PACK * oh * ow * conv.cout
    return conv.groups == 1 and _gain(oh * ow * conv.weights, ow) > passes


def matmul(product: Product) -> bool:
    """Of matmul: A is rounded, B packed as it would be for float32; where that is not packed neither is this rounded."""
    m, n, k = product.m, product.n, product.k
    return m > FEW_ROWS and _gain(m * n * k, k) > (TURN if product.transpose_a else ROUND) * m * k
