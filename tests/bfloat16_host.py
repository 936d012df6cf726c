"""What tests of bfloat16 on the CPU share: the precision set and every product taken, and rounding in NumPy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from cnnlite_kernels import precision
from cnnlite_kernels.cpu import bfloat16_pays
from cnnlite_kernels.cpu.host import host

needs_bfloat16 = pytest.mark.skipif(
    host().bfloat16 is None, reason="this processor multiplies no bfloat16 (AVX512-BF16 or AMX)"
)


@pytest.fixture
def asked() -> Iterator[None]:
    """set_matmul_precision("bfloat16"), and the default again afterwards."""
    precision.set_matmul_precision("bfloat16")
    yield
    precision.set_matmul_precision("float32")


@pytest.fixture
def everywhere(asked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of any size are rounded, whether that pays or not."""
    for name in ("forward", "grad_input", "grad_weights"):
        monkeypatch.setattr(bfloat16_pays, name, lambda conv: conv.groups == 1)
    monkeypatch.setattr(bfloat16_pays, "matmul", lambda product: True)


def to_bits(x: np.ndarray) -> np.ndarray:
    """float32 as bits of bfloat16, to nearest even; denormals become zeros, NaN a quiet NaN."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    nearest = ((bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    top = (bits >> 16).astype(np.uint16)
    tiny = bits & 0x7F800000 == 0
    return np.where(np.isnan(x), top | 0x40, np.where(tiny, top & 0x8000, nearest)).astype(np.uint16)


def from_bits(bits: np.ndarray) -> np.ndarray:
    """Bits of bfloat16 as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(x: np.ndarray) -> np.ndarray:
    return from_bits(to_bits(x))
