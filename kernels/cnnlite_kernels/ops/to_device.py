"""Arrays to a GPU, for ops to find them there."""

from __future__ import annotations

import re
from typing import Any

from cnnlite_kernels import checks, dispatch
from cnnlite_kernels.cuda.array import DeviceArray

NUMBERS = "biufc"  # kinds of dtypes


def to_device(array: Any, device: str = "cuda") -> DeviceArray:
    """A copy of an array on a GPU; the array itself, without a copy, if it is there already.

    Args:
        array: NumPy's or another library's, of any shape; its dtype is kept.
        device: "cuda" or "cuda:N".

    Returns:
        A DeviceArray; copy_to_host() brings it back.

    Raises:
        ValueError: another device.
        TypeError: a dtype that is not of numbers.
        RuntimeError: a device that is not there.

    >>> import numpy as np
    >>> to_device(np.zeros(3), "cpu")
    Traceback (most recent call last):
    ValueError: to_device: expected device "cuda" or "cuda:N", got 'cpu'; NumPy arrays are on the CPU already.
    """
    if not isinstance(device, str) or not re.fullmatch(r"cuda(:\d+)?", device):
        raise ValueError(
            f'to_device: expected device "cuda" or "cuda:N", got {device!r}; NumPy arrays are on the CPU already.'
        )
    gpu = dispatch.gpu("to_device", device)
    found = checks.array_of("to_device", "array", array)
    if isinstance(found, DeviceArray):
        if found.device is gpu:
            return found
        found = found.copy_to_host()
    if found.dtype.kind not in NUMBERS:
        raise TypeError(
            f"to_device: expected an array of numbers, got dtype {found.dtype}; convert it with astype."
        )
    return DeviceArray.copy_of(gpu, found)
