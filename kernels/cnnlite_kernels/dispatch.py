"""Picks the device of an op: what was asked, else where the data lives. One function, one table.

A device's module is imported when it is first used, so that importing the ops costs nothing.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from collections.abc import Callable
from typing import Any

# op: {device: function}; the function lies in the module of the op's name, or of the name before the colon.
TABLE: dict[str, dict[str, str]] = {
    "conv2d": {"cpu": "conv2d:conv2d"},
    "conv2d_grad_input": {"cpu": "conv2d:conv2d_grad_input"},
    "conv2d_grad_weights": {"cpu": "conv2d:conv2d_grad_weights"},
    "max_pool2d": {"cpu": "max_pool2d:max_pool2d"},
    "max_pool2d_grad": {"cpu": "max_pool2d:max_pool2d_grad"},
    "matmul": {"cpu": "matmul:matmul"},
    "activation": {"cpu": "activations:activation"},
    "activation_grad": {"cpu": "activations:activation_grad"},
    "softmax_cross_entropy": {"cpu": "softmax_cross_entropy:softmax_cross_entropy"},
}


def find(op: str, device: Any, *operands: Any, name: str | None = None) -> Callable:
    """The function that computes `op` on a device.

    Args:
        op: a key of TABLE.
        device: None or "auto" for where the operands live, "cpu", "cuda" or "cuda:N".
        operands: the arrays as the caller gave them.
        name: what a message calls the op, if not `op`.

    Raises:
        ValueError: another device.
        RuntimeError: a device that is not there.

    >>> find("matmul", "tpu")
    Traceback (most recent call last):
    ValueError: matmul: expected device None, "auto", "cpu", "cuda" or "cuda:N", got 'tpu'; leave it out to run where the data is.
    """
    name = name or op
    if device is None or device == "auto":
        # An array in a GPU's memory says so by this attribute: CuPy, numba-cuda, PyTorch.
        device = "cuda" if any(hasattr(x, "__cuda_array_interface__") for x in operands) else "cpu"
    if device == "cpu":
        return _load("cpu", TABLE[op]["cpu"])
    if not isinstance(device, str) or not re.fullmatch(r"cuda(:\d+)?", device):
        raise ValueError(
            f'{name}: expected device None, "auto", "cpu", "cuda" or "cuda:N", got {device!r}; '
            "leave it out to run where the data is."
        )
    raise RuntimeError(f'{name}: expected a GPU for device "{device}", but {_missing()}.')


@functools.cache
def _load(device: str, target: str) -> Callable:
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(f"cnnlite_kernels.{device}.ops.{module}"), function)


def _missing() -> str:
    """What keeps an op from running on a GPU."""
    if importlib.util.find_spec("numba_cuda") is None:
        return (
            'numba-cuda is not installed; install it with pip install "cnnlite[cuda]", or pass device="cpu"'
        )
    from numba import cuda

    if not cuda.is_available():
        return (
            'numba-cuda finds no NVIDIA GPU or driver here; run nvidia-smi to see why, or pass device="cpu"'
        )
    return 'this version has no CUDA kernels yet; pass device="cpu", or upgrade with pip install -U "cnnlite[cuda]"'
