"""How exactly a GPU multiplies, and which products its tensor cores take. Imports no Numba."""

from __future__ import annotations

FLOAT32, TF32, BF16 = "float32", "tf32", "bf16"
PRECISIONS = (FLOAT32, TF32, BF16)
ELEMENTS = {TF32: 4, BF16: 8}  # numbers of a chunk of 16 bytes
LEAST_CAPABILITY = (8, 0)  # Turing's tensor cores know neither format, and it has no cp.async

# The least part of the multiply-adds that must be asked for: the others are with padding. A tensor core is 8 times (tf32) to
# 16 times (bf16) as fast as the float32 units, on an A100.
LEAST_USEFUL = 0.25
TILE = 64  # rows and columns of the smallest block
MOST_NUMBERS = 2**33  # of a packed operand: kernels count its fours, and its chunks of 16 bytes, in uint32

_precision = FLOAT32


def set_matmul_precision(precision: str) -> None:
    """Sets how matrix products and convolutions round their operands on a GPU from now on; sums are float32 always.

    "float32" does not round them and is the default. "tf32" keeps 10 bits of each operand's fraction, "bf16" 7: both take tensor
    cores, on compute capability 8.0 and up and for products large enough to fill them, and are several times as fast. The error of
    a product grows to 2^-10 and 2^-7 of its factors. What runs on the CPU stays float32. Models follow from their next call.

    Args:
        precision: "float32", "tf32" or "bf16".

    Raises:
        ValueError: anything else.

    Example:
        >>> set_matmul_precision("tf32")
        >>> get_matmul_precision()
        'tf32'
        >>> set_matmul_precision("float32")
    """
    global _precision
    if precision not in PRECISIONS:
        raise ValueError(
            f'set_matmul_precision: expected "float32", "tf32" or "bf16", got {precision!r}; '
            'pass "float32" for exact products.'
        )
    _precision = precision


def get_matmul_precision() -> str:
    """What was last set with `set_matmul_precision`, by any thread; "float32" at first.

    >>> get_matmul_precision()
    'float32'
    """
    return _precision


def takes(capability: tuple[int, int], m: int, n: int, k: int, taps: int = 1) -> bool:
    """Whether tensor cores take the product of (m, taps * k) and (taps * k, n) in the precision that is set.

    They do where the padding that they need leaves LEAST_USEFUL of the work to be work: m and n to whole tiles of 64, k (of each tap)
    to 32 bytes.

    >>> set_matmul_precision("bf16")
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
