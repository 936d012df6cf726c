"""Which products tensor cores take. Imports no Numba."""

from __future__ import annotations

from cnnlite_kernels.precision import BFLOAT16, FLOAT32, TF32, get_matmul_precision

ELEMENTS = {TF32: 4, BFLOAT16: 8}  # numbers of a chunk of 16 bytes
LEAST_CAPABILITY = (8, 0)  # Turing's tensor cores know neither format, and it has no cp.async

# The least part of the multiply-adds that must be asked for: the others are with padding. A tensor core is 8 times (tf32) to
# 16 times (bfloat16) as fast as the float32 units, on an A100.
LEAST_USEFUL = 0.25
TILE = 64  # rows and columns of the smallest block
MOST_NUMBERS = 2**33  # of a packed operand: kernels count its fours, and its chunks of 16 bytes, in uint32


def takes(capability: tuple[int, int], m: int, n: int, k: int, taps: int = 1) -> bool:
    """Whether tensor cores take the product of (m, taps * k) and (taps * k, n) in the precision that is set.

    They do where the padding that they need leaves LEAST_USEFUL of the work to be work: m and n to whole tiles of 64, k (of each tap)
    to 32 bytes.

    >>> from cnnlite_kernels.precision import set_matmul_precision
    >>> set_matmul_precision("bfloat16")
    >>> takes((8, 0), 32, 64, 576), takes((8, 0), 32, 10, 64), takes((7, 5), 32, 64, 576)
    (True, False, False)
    >>> set_matmul_precision("float32")
    >>> takes((8, 0), 32, 64, 576)
    False
    """
    precision = get_matmul_precision()
    if precision == FLOAT32 or capability < LEAST_CAPABILITY or not (m and n and k):
        return False
    step = 2 * ELEMENTS[precision]
    rows, columns, terms = (-(-size // unit) * unit for size, unit in ((m, TILE), (n, TILE), (k, step)))
    small = max(rows, columns) * terms * taps < MOST_NUMBERS
    return small and m * n * k >= LEAST_USEFUL * rows * columns * terms
