"""Types of the ops' arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from cnnlite_kernels.cuda.array import DeviceArray

ArrayT = TypeVar("ArrayT", np.ndarray, "DeviceArray")
"""The first operand's type, which the result has too where the operands are all in one place."""

Operand = Any
"""NumPy's array, a DeviceArray, or another library's: whatever np.asarray takes, or has DLPack or __cuda_array_interface__."""
