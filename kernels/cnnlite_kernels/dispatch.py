"""Picks the device of an op: what was asked, else where the data lives, else what it would cost. One function, one table.

    None      where the operands live: on the CPU if all are NumPy arrays (or other arrays in the host's memory), on the GPU if one is
              there; NumPy operands beside it go up.
    "auto"    the same, but NumPy arrays go to a GPU, and come back, where one is usable and costs.py finds that it pays.
    "cpu"     the CPU. Operands on a GPU are an error: nothing comes down unasked.
    "cuda"    the GPU that the operands are on, else the first; "cuda:1" the second.

The result is where the operands were: a DeviceArray if one of them was on a GPU, else NumPy's. A device's module is imported when it
is first used, so that importing the ops costs nothing and the CPU needs nothing of CUDA.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from cnnlite_kernels.cuda.driver import missing, no_gpu

# op: (its module in <device>/ops, its function there)
TABLE: dict[str, tuple[str, str]] = {
    "conv2d": ("conv2d", "conv2d"),
    "conv2d_grad_input": ("conv2d", "conv2d_grad_input"),
    "conv2d_grad_weights": ("conv2d", "conv2d_grad_weights"),
    "conv2d_winograd": ("winograd", "conv2d"),
    "conv2d_grad_input_winograd": ("winograd", "conv2d_grad_input"),
    "cropping2d": ("frames", "frame"),
    "average_pool2d": ("average_pool2d", "average_pool2d"),
    "average_pool2d_grad": ("average_pool2d", "average_pool2d_grad"),
    "batch_normalization": ("batch_normalization", "batch_normalization"),
    "batch_normalization_train": ("batch_normalization", "batch_normalization_train"),
    "batch_normalization_grad": ("batch_normalization", "batch_normalization_grad"),
    "max_pool2d": ("max_pool2d", "max_pool2d"),
    "max_pool2d_grad": ("max_pool2d", "max_pool2d_grad"),
    "min_pool2d": ("max_pool2d", "min_pool2d"),
    "min_pool2d_grad": ("max_pool2d", "min_pool2d_grad"),
    "prelu": ("prelu", "prelu"),
    "prelu_grad": ("prelu", "prelu_grad"),
    "up_sampling2d": ("up_sampling2d", "up_sampling2d"),
    "up_sampling2d_grad": ("up_sampling2d", "up_sampling2d_grad"),
    "zero_padding2d": ("frames", "frame"),
    "matmul": ("matmul", "matmul"),
    "activation": ("activations", "activation"),
    "activation_grad": ("activations", "activation_grad"),
    "softmax_cross_entropy": ("softmax_cross_entropy", "softmax_cross_entropy"),
}
# Algorithms that the CPU has and GPUs have not: "auto" leaves them to the CPU.
CPU_ONLY = frozenset(op for op in TABLE if op.endswith("_winograd"))
# Ops whose GPU kernels are of float32 only: "auto" leaves float64 to the CPU, which is faster at it than most GPUs.
FLOAT32_ONLY = frozenset(op for op in TABLE if op.startswith(("conv2d", "matmul"))) - CPU_ONLY


def find(op: str, device: Any, *operands: Any, name: str | None = None) -> Callable:
    """The function that computes `op` on a device.

    Args:
        op: a key of TABLE.
        device: None, "auto", "cpu", "cuda" or "cuda:N".
        operands: the arrays as the caller gave them.
        name: what a message calls the op, if not `op`.

    Raises:
        ValueError: another device, "cpu" for operands on a GPU, or a GPU for an algorithm that is the CPU's only.
        RuntimeError: a device that is not there.

    >>> find("matmul", "tpu")
    Traceback (most recent call last):
    ValueError: matmul: expected device None, "auto", "cpu", "cuda" or "cuda:N", got 'tpu'; leave it out to run where the data is.
    """
    # A comparison for each NumPy array and no more: this is on the way of every op.
    remote = False
    for x in operands:
        if type(x) is not np.ndarray and x is not None and _on_gpu(x):
            remote = True
    if op in CPU_ONLY and (remote or device not in (None, "auto", "cpu")):
        where = "an operand on a GPU" if remote else f'device "cuda:{cuda_number(name or op, device)}"'
        raise ValueError(
            f'{name or op}: expected arrays in the host\'s memory and no GPU for algorithm="winograd", which only the CPU has, '
            f"got {where}; leave algorithm out there."
        )
    if device is None or device == "auto":
        if remote:
            return _on_cuda(op, name or op, None)
        if device is None or op in CPU_ONLY or not usable():
            return _load("cpu", op)
        return functools.partial(_cheapest, op)
    if device == "cpu":
        if remote:
            raise ValueError(
                f'{name or op}: expected operands in the host\'s memory for device "cpu", got one on a GPU; copy it with '
                "copy_to_host() (CuPy: get(), PyTorch: cpu()), or leave device out."
            )
        return _load("cpu", op)
    number = cuda_number(name or op, device)
    if remote and device == "cuda":
        return _on_cuda(op, name or op, None)
    return _on_cuda(op, name or op, gpu(name or op, device, number))


def cuda_number(name: str, device: Any) -> int:
    """N of "cuda:N", 0 of "cuda".

    Raises:
        ValueError: another device.
    """
    if not isinstance(device, str) or not re.fullmatch(r"cuda(:\d+)?", device):
        raise ValueError(
            f'{name}: expected device None, "auto", "cpu", "cuda" or "cuda:N", got {device!r}; '
            "leave it out to run where the data is."
        )
    return int(device[5:] or 0)


def gpu(name: str, device: str, number: int | None = None) -> Any:
    """The GPU (cuda.plan.Device) that "cuda" or "cuda:N" names; `name` is what a message calls the op or layer that asks.

    Raises:
        ValueError: another device.
        RuntimeError: it is not there; the message says which piece is missing.
    """
    number = cuda_number(name, device) if number is None else number
    if importlib.util.find_spec("numba_cuda") is None:
        raise no_gpu(name, f'device "{device}"', missing())
    from cnnlite_kernels.cuda import gpu as gpus

    try:
        return gpus.current(number)
    except gpus.GpuError as problem:
        raise no_gpu(name, f'device "{device}"', problem) from None


def why_not() -> str | None:
    """Why "auto" takes no GPU: what is missing, None where one can be used. Asked once, then known."""
    return _state(os.getpid())


def usable() -> bool:
    """Whether "auto" has a GPU to choose. Costs one lookup."""
    return _state(os.getpid()) is None


@functools.cache
def _state(process: int) -> str | None:
    """`why_not` of a process: a fork of one that used a GPU cannot use it."""
    problem = missing()
    if problem is None:
        try:
            _try(gpu("auto", "cuda"))
        except Exception as error:  # whatever is wrong with the GPU, its driver or a package, the CPU works
            problem = str(error)
    return problem


def _try(device: Any) -> None:
    """Raises whatever keeps a GPU from running a kernel: there may be a driver, and no compiler or one that does not fit it."""
    from cnnlite_kernels.cuda.activations import add_fill
    from cnnlite_kernels.cuda.plan import Plan

    plan = Plan(device)
    one, found = plan.scratch(1), np.zeros(1, np.float32)
    add_fill(plan, one, 1, 1.0)
    plan.run()
    device.download(one, found)
    if found[0] != 1:
        raise RuntimeError(f"{device!r} computes wrong numbers")


def _cheapest(op: str, *args: Any) -> None:
    """Computes an op of NumPy arrays where that costs least."""
    from cnnlite_kernels import costs

    if op in FLOAT32_ONLY and args[0].dtype != np.float32:
        pays = False
    else:
        pays = costs.estimate(costs.work(op, args), costs.current()[0]).gpu_pays
    run = _on_cuda(op, op, gpu(op, "cuda", 0)) if pays else _load("cpu", op)
    run(*args)


def _on_cuda(op: str, name: str, device: Any) -> Callable:
    """The op's function on a GPU; on the operands' own where `device` is None."""
    if importlib.util.find_spec("numba_cuda") is None:
        raise no_gpu(name, "an operand on one", missing())
    return functools.partial(_load("cuda", op), device)


def _on_gpu(value: Any) -> bool:
    from cnnlite_kernels.cuda.array import on_gpu

    return on_gpu(value)


@functools.cache
def _load(device: str, op: str) -> Callable:
    module, function = TABLE[op]
    return getattr(importlib.import_module(f"cnnlite_kernels.{device}.ops.{module}"), function)
