"""How exactly products are multiplied: one setting for the CPU and for GPUs. Imports no Numba."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

FLOAT32, TF32, BFLOAT16 = "float32", "tf32", "bfloat16"
PRECISIONS = (FLOAT32, TF32, BFLOAT16)

_precision = FLOAT32
_here: ContextVar[str | None] = ContextVar("matmul_precision", default=None)


def set_matmul_precision(precision: str) -> None:
    """Sets how matrix products and convolutions of float32 round their operands from now on; sums are float32 always.

    "float32" does not round them and is the default. "tf32" keeps 10 bits of each operand's fraction, "bfloat16" 7; the error of a
    product grows to 2^-10 and 2^-7 of its factors. On a GPU both take tensor cores, on compute capability 8.0 and up and for products
    large enough to fill them, and are several times as fast. On the CPU "bfloat16" is followed where the processor multiplies it
    (AVX512-BF16 or AMX) and the product is wide enough to pay, at up to twice the speed with AVX512-BF16; all else, "tf32" too, stays
    float32 there. Rounded to bfloat16 numbers from 3.396e38 on are infinite, and on the CPU denormals are zeros. Models follow from
    their next call, but for those with a `mixed_precision` of their own.

    Args:
        precision: "float32", "tf32" or "bfloat16".

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
            f'set_matmul_precision: expected "float32", "tf32" or "bfloat16", got {precision!r}; '
            'pass "float32" for exact products.'
        )
    _precision = precision


def get_matmul_precision() -> str:
    """What was last set with `set_matmul_precision`, by any thread; "float32" at first. Within `matmul_precision` what that says.

    >>> get_matmul_precision()
    'float32'
    """
    return _here.get() or _precision


@contextlib.contextmanager
def matmul_precision(precision: str | None) -> Iterator[None]:
    """Within, what this thread emits is rounded like this, whatever is set for all; None changes nothing.

    >>> with matmul_precision("tf32"):
    ...     get_matmul_precision()
    'tf32'
    """
    before = _here.set(precision or _here.get())
    try:
        yield
    finally:
        _here.reset(before)
