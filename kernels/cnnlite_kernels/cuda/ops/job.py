"""A job: the plan of one call of an op, with NumPy operands going up before it and NumPy results coming down after it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlite_kernels.cuda import gpu
from cnnlite_kernels.cuda.array import DeviceArray, settle
from cnnlite_kernels.cuda.plan import Plan

WIDE = 16  # bytes that addresses must be a multiple of for 128-bit loads and stores


class Job:
    """A plan on the device where the operands are, or else on the one asked for.

    Args:
        op: what a message calls the op.
        device: that was asked for (a plan.Device); None for the operands' own, or the first GPU.
        arrays: all operands and results, NumPy's or DeviceArrays.
        float32: whether the kernels are of float32 only.

    Raises:
        TypeError: operands of float64 where kernels are of float32 only.
        ValueError: operands on different GPUs, or on another than was asked for.

    Attributes:
        aligned: whether all arrays begin at multiples of 16 bytes.
    """

    def __init__(self, op: str, device: Any, *arrays: Any, float32: bool = False) -> None:
        arrays = tuple(array for array in arrays if array is not None)
        self._remote = [array for array in arrays if isinstance(array, DeviceArray)]
        for array in self._remote:
            device = device or array.device
            if array.device is not device:
                raise ValueError(
                    f"{op}: expected all operands on {device!r}, got one on {array.device!r}; copy it there with to_device."
                )
        if float32 and arrays[0].dtype != np.float32:
            raise TypeError(
                f'{op}: expected operands of dtype float32 on a GPU, got {arrays[0].dtype}; convert them with astype("float32"), '
                'or pass device="cpu".'
            )
        self.plan = Plan(gpu.current() if device is None else device)
        self._results: list[tuple[Any, np.ndarray]] = []
        self.aligned = all(getattr(array.flat, "address", 0) % WIDE == 0 for array in self._remote)

    def read(self, array: Any) -> Any:
        """The flat device array of an operand; None for None."""
        if array is None:
            return None
        if isinstance(array, DeviceArray):
            return array.flat
        flat = self.plan.scratch(array.size, array.dtype)
        self.plan.device.upload(array.reshape(-1), flat)
        return flat

    def write(self, array: Any, update: bool = False) -> Any:
        """The flat device array of a result, holding what it holds with `update`; None for None."""
        if array is None or isinstance(array, DeviceArray):
            return self.read(array)
        flat = self.read(array) if update else self.plan.scratch(array.size, array.dtype)
        self._results.append((flat, array))
        return flat

    def run(self) -> None:
        """Runs the plan. NumPy results are there when it returns; DeviceArrays may still be in the making."""
        device: Any = self.plan.device
        self.plan.run()
        for flat, array in self._results:
            device.download(flat, array.reshape(-1))
        settle(device, (array.producer for array in self._remote))
