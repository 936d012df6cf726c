"""Which GPUs there are, and what is missing to use them, asked of NVIDIA's driver without any package."""

from __future__ import annotations

import ctypes
import importlib.util
import sys

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
NAME_BYTES = 100


class GpuError(RuntimeError):
    """Why no GPU can be used, and what to do about it."""


def gpu_names() -> list[str]:
    """The names of the GPUs that the driver finds.

    Raises:
        GpuError: there is no driver, or it finds no device; the message says which.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        raise GpuError(f"no NVIDIA driver here ({DRIVER} is not found); install it for your system") from None
    code = driver.cuInit(0)
    count = ctypes.c_int()
    code = code or driver.cuDeviceGetCount(ctypes.byref(count))
    if code == NO_DEVICE or (code == 0 and count.value == 0):
        raise GpuError("the NVIDIA driver finds no device; in a container, start it with --gpus all")
    if code:
        raise GpuError(f"the NVIDIA driver does not start (CUDA error {code}); nvidia-smi says more")
    return [_name(driver, number) for number in range(count.value)]


def _name(driver: ctypes.CDLL, number: int) -> str:
    device, text = ctypes.c_int(), ctypes.create_string_buffer(NAME_BYTES)
    code = driver.cuDeviceGet(ctypes.byref(device), number) or driver.cuDeviceGetName(
        text, NAME_BYTES, device
    )
    return text.value.decode() if code == 0 else f"device {number}"


def describe_gpus() -> list[str]:
    """Lines that say which GPUs there are and which pieces are missing."""
    try:
        lines = [f"{number}: {name}" for number, name in enumerate(gpu_names())]
    except GpuError as problem:
        lines = [f"none: {problem}"]
    if importlib.util.find_spec("numba_cuda") is None:
        lines.append('numba-cuda is not installed: pip install "cnnlite[cuda]" (CUDA 12: "cnnlite[cuda12]")')
    return lines
