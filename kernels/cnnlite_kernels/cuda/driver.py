"""NVIDIA's driver: whether it is there, and its functions with their errors raised.

`gpu_names` and `missing` ask the driver through ctypes, without any package, so that a machine with no GPU pays for nothing and a
broken driver breaks nothing. `call` is for the functions of cuda.bindings.driver, which comes with numba-cuda.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
NOT_INITIALIZED = 3  # CUDA_ERROR_NOT_INITIALIZED: in a fork of a process that used the driver
OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
NAME_BYTES = 100
FORKED = "this process was forked from one that used a GPU; start it with multiprocessing's spawn method"
MULTIPROCESSORS, MAJOR, MINOR = 16, 75, 76  # CU_DEVICE_ATTRIBUTE_..., _COMPUTE_CAPABILITY_MAJOR, _MINOR


class GpuError(RuntimeError):
    """Why no GPU can be used, and what to do about it."""


def gpu_names() -> list[str]:
    """The names of the GPUs that the driver finds.

    Raises:
        GpuError: there is no driver, or it finds no device; the message says which.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
        code = driver.cuInit(0)
        count = ctypes.c_int()
        code = code or driver.cuDeviceGetCount(ctypes.byref(count))
    except AttributeError:
        raise GpuError(
            f"the NVIDIA driver here is damaged ({DRIVER} lacks its functions); install it again"
        ) from None
    except OSError:
        raise GpuError(f"no NVIDIA driver here ({DRIVER} is not found); install it for your system") from None
    if code == NO_DEVICE or (code == 0 and count.value == 0):
        raise GpuError(
            "the NVIDIA driver finds no device; in a container, start it with --gpus all, and see what CUDA_VISIBLE_DEVICES is"
        )
    if code == NOT_INITIALIZED:
        raise GpuError(FORKED)
    if code:
        raise GpuError(f"the NVIDIA driver does not start (CUDA error {code}); nvidia-smi says more")
    return [_name(driver, number) for number in range(count.value)]


def _name(driver: ctypes.CDLL, number: int) -> str:
    device, text = ctypes.c_int(), ctypes.create_string_buffer(NAME_BYTES)
    code = driver.cuDeviceGet(ctypes.byref(device), number) or driver.cuDeviceGetName(
        text, NAME_BYTES, device
    )
    return text.value.decode() if code == 0 else f"device {number}"


def describe(number: int) -> str:
    """A GPU's name, compute capability, multiprocessors and memory, for a person; `gpu_names` must have found it."""
    driver = ctypes.CDLL(DRIVER)
    value, device, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    driver.cuDeviceGet(ctypes.byref(device), number)
    values = []
    for attribute in (MAJOR, MINOR, MULTIPROCESSORS):
        code = driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        values.append("?" if code else str(value.value))
    code = driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    size = "?" if code else f"{memory.value / 2**30:.0f}"
    major, minor, multiprocessors = values
    return f"{_name(driver, number)}, compute capability {major}.{minor}, {multiprocessors} multiprocessors, {size} GiB"


def missing() -> str | None:
    """What keeps kernels from running on a GPU and how to mend it; None where nothing does."""
    if importlib.util.find_spec("numba_cuda") is None:
        return 'numba-cuda is not installed; install it with pip install "cnnlite[cuda]" (CUDA 12: "cnnlite[cuda12]")'
    try:
        gpu_names()
    except GpuError as problem:
        return str(problem)
    return None


def no_gpu(name: str, wanted_for: str, problem: object) -> RuntimeError:
    """The error of an op or layer `name` that needs a GPU where none can be used."""
    return RuntimeError(f'{name}: expected a GPU for {wanted_for}, but {problem}; or pass device="cpu".')


def call(function: Callable[..., tuple[Any, ...]], *args: Any) -> Any:
    """Calls a function of cuda.bindings.driver: its result, None, or a tuple where there are several.

    Raises:
        MemoryError: the GPU's memory is full.
        RuntimeError: any other error of the driver, by its name.
    """
    code, *results = function(*args)
    if int(code):
        if int(code) == NOT_INITIALIZED:
            raise GpuError(f"{FORKED}.")
        if int(code) == OUT_OF_MEMORY:
            raise MemoryError("the GPU's memory is full; use a smaller batch, or free arrays that lie there")
        raise RuntimeError(f"CUDA: {function.__name__} failed with {getattr(code, 'name', code)}.")
    return results[0] if len(results) == 1 else tuple(results) or None
