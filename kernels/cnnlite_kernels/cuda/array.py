"""Arrays in a GPU's memory: what the ops return there, and how arrays of other libraries come in and go out.

Whatever has `__cuda_array_interface__` or speaks DLPack comes in without a copy where it lies row by row without gaps, and is
copied once, on the GPU, where it does not. Streams: our work waits for what the producer has asked of its stream, and the producer's
stream then waits for ours, so that it may use the results, and its memory again. A library says which stream that is by
`__cuda_array_interface__`; PyTorch is asked; where nobody knows, an op returns when the GPU has done it.

This file imports nothing of CUDA: it is read before one knows whether there is a GPU.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from cnnlite_kernels.cuda import dlpack
from cnnlite_kernels.cuda.driver import missing, no_gpu


class DeviceArray:
    """A C-contiguous array in a GPU's memory.

    Args:
        device: where it is (plan.Device).
        flat: the device's flat array of as many elements.
        shape: of this view.
        producer: the stream of the library whose memory this is, which must wait for what is done here; UNNAMED where it is not
            known; None for our own memory.
        writeable: whether it can be an output.
    """

    def __init__(
        self,
        device: Any,
        flat: Any,
        shape: Sequence[int],
        producer: int | None = None,
        writeable: bool = True,
    ) -> None:
        self.device, self.flat, self.shape = device, flat, tuple(shape)
        self.producer, self.writeable = producer, writeable

    dtype = property(lambda self: np.dtype(self.flat.dtype))
    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.size * self.itemsize)

    @classmethod
    def empty(cls, device: Any, shape: Sequence[int], dtype: Any) -> DeviceArray:
        """A new array of any content."""
        return cls(device, device.empty(math.prod(shape), np.dtype(dtype)), shape)

    @classmethod
    def copy_of(cls, device: Any, host: np.ndarray) -> DeviceArray:
        """A copy of an array of NumPy's."""
        copy = cls.empty(device, host.shape, host.dtype)
        device.upload(np.ascontiguousarray(host).reshape(-1), copy.flat)
        return copy

    def copy_to_host(self, out: np.ndarray | None = None) -> np.ndarray:
        """A copy in the host's memory, in `out` (C-contiguous, of this shape and dtype) or a new array; waits for it."""
        if out is None:
            out = np.empty(self.shape, self.dtype)
        fits = out.shape == self.shape and out.dtype == self.dtype
        if not (fits and out.flags.c_contiguous and out.flags.writeable):
            raise ValueError(
                f"copy_to_host: expected out writeable and C-contiguous of shape {self.shape} and dtype {self.dtype}, "
                f"got {out.shape} and {out.dtype}; pass np.empty({self.shape}, {str(self.dtype)!r})."
            )
        self.device.download(self.flat, out.reshape(-1))
        self.device.synchronize()
        return out

    def reshape(self, *shape: int) -> DeviceArray:
        """The same memory in another shape; one size may be -1."""
        sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
        known = math.prod(size for size in sizes if size != -1)
        if sizes.count(-1) == 1 and known:
            sizes = tuple(self.size // known if size == -1 else size for size in sizes)
        if math.prod(sizes) != self.size or min(sizes, default=0) < 0:
            raise ValueError(
                f"reshape: expected a shape of {self.size} elements for an array {self.shape}, got {shape}."
            )
        return DeviceArray(self.device, self.flat, sizes, self.producer, self.writeable)

    def overlaps(self, other: DeviceArray) -> bool:
        """Whether the two share memory; both are contiguous."""
        if isinstance(self.flat, np.ndarray):  # the tests' interpreter
            return np.may_share_memory(self.flat, other.flat)
        begin, there = self.flat.address, other.flat.address
        return begin < there + other.nbytes and there < begin + self.nbytes

    def same(self, other: DeviceArray) -> bool:
        """Whether the two are one memory."""
        return self.overlaps(other) and self.shape == other.shape and _begin(self.flat) == _begin(other.flat)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, device={self.device!r})"

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            f"an array on {self.device!r} is not copied to the host unasked; call copy_to_host() on it."
        )

    # other libraries

    def _share(self) -> int:
        """The address, given away: the memory's owner must know that others may be using it."""
        owner = self.flat.owner
        if hasattr(owner, "shared"):
            owner.shared = True
        return self.flat.address

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3: https://nvidia.github.io/numba-cuda/user/cuda_array_interface.html."""
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._share() if self.size else 0, not self.writeable),
            "strides": None,
            "stream": self.device.stream,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self.device.number

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule; the consumer's stream waits for ours. None means the default stream, -1 no waiting."""
        if dl_device not in (None, self.__dlpack_device__()) or copy:
            raise BufferError("an array on a GPU is exported as it is; call copy_to_host() for a copy.")
        if not self.writeable:
            raise BufferError(
                "a read-only array cannot be exported by DLPack without a version; copy it first."
            )
        if stream != -1:
            self.device.order(self.device.stream, LEGACY_STREAM if stream is None else stream)
        return dlpack.capsule(self._share(), self.shape, self.dtype, self.__dlpack_device__(), self)


def _begin(flat: Any) -> int:
    return flat.ctypes.data if isinstance(flat, np.ndarray) else flat.address


LEGACY_STREAM = 1  # the default stream's handle
UNNAMED = -1  # in the place of a stream's handle


def on_gpu(value: Any) -> bool:
    """Whether an operand lies in a GPU's memory, as it says itself."""
    if value is None or isinstance(value, np.ndarray):
        return False
    try:
        if isinstance(value, DeviceArray) or hasattr(value, "__cuda_array_interface__"):
            return True
    except RuntimeError:  # a tensor of PyTorch's with gradients: it has none to give
        pass
    ask = getattr(value, "__dlpack_device__", None)
    return ask is not None and ask()[0] in (dlpack.CUDA, dlpack.CUDA_MANAGED)


def _interface(value: Any) -> dict[str, Any] | None:
    """What an array says of itself; None if it says nothing."""
    try:
        return getattr(value, "__cuda_array_interface__", None)
    except RuntimeError:
        return None


def settle(device: Any, producers: Iterable[int | None]) -> None:
    """Has the streams of other libraries wait for what the device was asked for, since it is about their memory."""
    for producer in set(producers) - {None}:
        if producer == UNNAMED:
            device.synchronize()
        else:
            device.order(device.stream, producer)


def adopt(op: str, name: str, value: Any) -> DeviceArray:
    """An array of another library on a GPU as one of ours: without a copy where it is C-contiguous.

    Raises:
        TypeError: its dtype or layout is none that NumPy knows.
        RuntimeError: the GPU cannot be used.
    """
    if isinstance(value, DeviceArray):
        return value
    if importlib.util.find_spec("numba_cuda") is None:
        raise no_gpu(op, name, missing())
    from cuda.core.utils import StridedMemoryView

    from cnnlite_kernels.cuda import gpu

    interface = _interface(value)
    try:
        device = gpu.current(_number(value, interface))
    except gpu.GpuError as problem:
        raise no_gpu(op, name, problem) from None
    try:
        with device.active():  # cuda.core makes an event
            view = StridedMemoryView.from_any_interface(value, stream_ptr=device.stream)
        dtype = view.dtype
    except (BufferError, RuntimeError, TypeError, ValueError) as problem:
        raise TypeError(
            f"{op}: expected {name} as an array of numbers, got {type(value).__name__} ({problem})."
        ) from None
    if dtype is None:
        raise TypeError(f"{op}: expected {name} of a dtype that NumPy knows, got {type(value).__name__}.")
    return of_view(op, name, device, view, dtype, _producer(value, interface, device))


def _producer(value: Any, interface: dict[str, Any] | None, device: Any) -> int:
    """The stream that the library whose array this is works on."""
    named = (interface or {}).get("stream")
    if named is not None:
        return named
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        # 0 is the default stream, which is in order with ours by itself
        return torch.cuda.current_stream(value.device).cuda_stream or device.stream
    return UNNAMED


def of_view(op: str, name: str, device: Any, view: Any, dtype: np.dtype, producer: int | None) -> DeviceArray:
    """The array that a StridedMemoryView describes; strides count elements.

    Raises:
        TypeError: it has gaps, and elements that are not of 4 or 8 bytes.
        ValueError: it begins where no element can.
    """
    from cnnlite_kernels.cuda.memory import Vector

    if view.ptr % dtype.itemsize:
        raise ValueError(
            f"{op}: expected {name} to begin at a multiple of {dtype.itemsize} bytes, got address {view.ptr:#x}; copy it first."
        )

    shape = tuple(view.shape)
    size = math.prod(shape)
    rows = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    strides = rows if view.strides is None else tuple(view.strides)
    gaps = any(n > 1 and have != want for n, have, want in zip(shape, strides, rows, strict=True))
    if size == 0 or not gaps:
        return DeviceArray(device, Vector(view, view.ptr, size, dtype), shape, producer, not view.readonly)
    if dtype.itemsize not in (4, 8):
        raise TypeError(
            f"{op}: expected {name} C-contiguous, or of a dtype of 4 or 8 bytes, got {dtype} in another layout; copy it first."
        )
    from cnnlite_kernels.cuda.ops.contiguous import contiguous

    # from the lowest address to the highest, for strides may be negative
    low, high = (
        sum(pick(0, stride * (n - 1)) for n, stride in zip(shape, strides, strict=True))
        for pick in (min, max)
    )
    memory = Vector(view, view.ptr + low * dtype.itemsize, high - low + 1, dtype)
    copy = DeviceArray(device, contiguous(device, memory, -low, shape, strides), shape, writeable=False)
    settle(device, [producer])
    return copy


def _number(value: Any, interface: dict[str, Any] | None) -> int:
    """Which GPU an array is on.

    Raises:
        GpuError: there is none.
    """
    ask = getattr(value, "__dlpack_device__", None)
    if ask is not None:
        kind, number = ask()
        if kind == dlpack.CUDA:
            return number
    address = (interface or {"data": (0, False)})["data"][0]
    if not address:
        return 0
    from cuda.bindings import driver

    from cnnlite_kernels.cuda.driver import call, gpu_names

    try:
        call(driver.cuInit, 0)
    except RuntimeError:
        gpu_names()  # says which piece is missing
        raise
    attribute = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(call(driver.cuPointerGetAttribute, attribute, address))
