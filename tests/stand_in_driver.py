"""A stand-in for NVIDIA's driver (cuda.bindings.driver): memory is the host's, and kernels run in the PTX interpreter.

It shows that gpu.Gpu asks for the right things in the right order: memory, copies, parameters of launches, graphs, events. It shows
nothing about a GPU.
"""

from __future__ import annotations

import ctypes
import struct
from types import SimpleNamespace
from typing import Any

import numpy as np

from cnnlite_kernels.cuda.binary import Binary
from cnnlite_kernels.cuda.kernel import REALS, SCALARS, SLOT, Kernel
from tools.ptx.machine import Machine

FULL = 2  # CUDA_ERROR_OUT_OF_MEMORY
SLOTS_OF_ARRAY = 7
ALIGNMENT = 256


class Driver:
    """One GPU.

    Args:
        capability: that it claims.
        memory: bytes that it has.

    Attributes:
        calls: names of the functions that were called, in order.
        contexts: the stack of current contexts.
        streams: what each stream has waited for: (event's stream, stream).
    """

    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT=0,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=1,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=2,
    )
    CUstream_flags = SimpleNamespace(CU_STREAM_DEFAULT=0, CU_STREAM_NON_BLOCKING=1)
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_RELAXED=2)
    CUevent_flags = SimpleNamespace(CU_EVENT_DEFAULT=0)
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_NUM_REGS=4)

    def __init__(self, capability: tuple[int, int] = (8, 0), memory: int = 1 << 30) -> None:
        self._attributes = (108, *capability)
        self.free = memory
        self.calls: list[str] = []
        self.contexts: list[str] = []
        self.streams: list[tuple[int, int]] = []
        self._memory: dict[int, np.ndarray] = {}
        self._kernels: list[tuple[Kernel, np.dtype]] = []
        self._machines: dict[int, Machine] = {}
        self._recording: dict[int, list[tuple[Any, ...]]] = {}
        self._events: dict[int, int] = {}
        self._loaded: set[int] = set()
        self._handles = 100

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("cu"):
            object.__getattribute__(self, "calls").append(name)
        return object.__getattribute__(self, name)

    def handle(self) -> int:
        self._handles += 1
        return self._handles

    # what is not of the driver: kernels come as numbers, not as machine code

    def binary(self, kernel: Kernel, dtype: np.dtype, capability: tuple[int, int]) -> Binary:
        """In the place of binary.binary."""
        assert capability == self._attributes[1:]
        self._kernels.append((kernel, dtype))
        return Binary(str(len(self._kernels) - 1).encode(), kernel.name)

    def array(self, address: int, size: int, dtype: Any) -> np.ndarray:
        """The elements at an address."""
        dtype = np.dtype(dtype)
        for start, memory in self._memory.items():
            if start <= address and address + size * dtype.itemsize <= start + memory.nbytes:
                return memory[address - start :][: size * dtype.itemsize].view(dtype)
        raise AssertionError(f"{size} x {dtype} at {address:#x} is no memory of this GPU")

    # devices and contexts

    def cuInit(self, flags: int) -> tuple[int]:
        return (0,)

    def cuDeviceGet(self, number: int) -> tuple[int, int]:
        return 0, number

    def cuDeviceGetName(self, size: int, device: int) -> tuple[int, bytes]:
        return 0, b"Stand-in\0\0\0"

    def cuDeviceGetAttribute(self, attribute: int, device: int) -> tuple[int, int]:
        return 0, self._attributes[attribute]

    def cuDevicePrimaryCtxRetain(self, device: int) -> tuple[int, str]:
        return 0, f"context {device}"

    def cuCtxPushCurrent(self, context: str) -> tuple[int]:
        self.contexts.append(context)
        return (0,)

    def cuCtxPopCurrent(self) -> tuple[int, str]:
        return 0, self.contexts.pop()

    def cuCtxSynchronize(self) -> tuple[int]:
        assert self.contexts
        assert not self._recording, "no context is waited for while a stream of it is recorded"
        return (0,)

    # memory

    def cuMemAlloc(self, size: int) -> tuple[int, ...]:
        assert self.contexts
        if size > self.free:
            return FULL, 0
        self.free -= size
        memory = np.full(size + ALIGNMENT, 0xFF, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        address = memory.ctypes.data + start
        self._memory[address] = memory[start : start + size]
        return 0, address

    def cuMemFree(self, address: int) -> tuple[int]:
        self.free += self._memory.pop(address).nbytes
        return (0,)

    cuMemHostAlloc = lambda self, size, flags: self.cuMemAlloc(size)  # noqa: E731
    cuMemFreeHost = cuMemFree

    def cuMemcpyHtoDAsync(self, to: int, source: int, size: int, stream: int) -> tuple[int]:
        ctypes.memmove(self.array(to, size, np.uint8).ctypes.data, source, size)
        return (0,)

    def cuMemcpyDtoHAsync(self, to: int, source: int, size: int, stream: int) -> tuple[int]:
        ctypes.memmove(to, self.array(source, size, np.uint8).ctypes.data, size)
        return (0,)

    # launches

    def cuModuleLoadData(self, image: bytes) -> tuple[int, int]:
        return 0, int(image)

    def cuModuleGetFunction(self, module: int, name: bytes) -> tuple[int, int]:
        assert self._kernels[module][0].name == name.decode()
        return 0, module

    def cuFuncGetAttribute(self, attribute: int, function: int) -> tuple[int, int]:
        self._loaded.add(function)
        return 0, 32

    def cuLaunchKernel(self, function: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, stream: int,
                       parameters: int, extra: int) -> tuple[int]:  # fmt: skip
        assert (gy, gz, by, bz, shared, extra) == (1, 1, 1, 1, 0, 0)
        launch = (function, gx, bx, self._arguments(function, parameters))
        if stream in self._recording:
            assert function in self._loaded, "before CUDA 12.3 no kernel is loaded while a stream is recorded"
            self._recording[stream].append(launch)
        else:
            self._run(*launch)
        return (0,)

    def _arguments(self, function: int, parameters: int) -> list[Any]:
        kernel, dtype = self._kernels[function]
        at = 0

        def slot(form: str) -> Any:
            nonlocal at
            address = ctypes.c_void_p.from_address(parameters + SLOT * at).value
            at += 1
            return struct.unpack("<" + form, ctypes.string_at(address, struct.calcsize(form)))[0]

        arguments: list[Any] = []
        for kind, element in kernel._kinds:
            element = element or REALS[dtype]
            if kind == "array":
                info, parent, size, item, address, length, stride = (slot("q") for _ in range(SLOTS_OF_ARRAY))
                numbers = np.dtype(str(element))
                assert (info, parent, item, length, stride) == (0, 0, numbers.itemsize, size, item)
                arguments.append(self.array(address, size, numbers))
            else:
                arguments.append(slot(SCALARS[element].removesuffix("4x")))
        return arguments

    def _run(self, function: int, blocks: int, threads: int, arguments: list[Any]) -> None:
        kernel, dtype = self._kernels[function]
        assert threads == kernel.threads
        if function not in self._machines:
            self._machines[function] = Machine(kernel.ptx(self._attributes[1:], dtype))
        self._machines[function].launch(blocks, threads, *arguments)

    # streams, graphs, events

    def cuStreamCreate(self, flags: int) -> tuple[int, int]:
        return 0, self.handle()

    def cuStreamSynchronize(self, stream: int) -> tuple[int]:
        return (0,)

    def cuStreamWaitEvent(self, stream: int, event: int, flags: int) -> tuple[int]:
        self.streams.append((self._events[event], stream))
        return (0,)

    def cuStreamBeginCapture(self, stream: int, mode: int) -> tuple[int]:
        self._recording[stream] = []
        return (0,)

    def cuStreamEndCapture(self, stream: int) -> tuple[int, Any]:
        return 0, self._recording.pop(stream)

    def cuGraphInstantiate(self, graph: Any, flags: int) -> tuple[int, Any]:
        return 0, graph

    def cuGraphDestroy(self, graph: Any) -> tuple[int]:
        return (0,)

    cuGraphExecDestroy = cuGraphDestroy

    def cuGraphLaunch(self, executable: Any, stream: int) -> tuple[int]:
        for launch in executable:
            self._run(*launch)
        return (0,)

    def cuEventCreate(self, flags: int) -> tuple[int, int]:
        return 0, self.handle()

    def cuEventRecord(self, event: int, stream: int) -> tuple[int]:
        self._events[event] = stream
        return (0,)

    def cuEventSynchronize(self, event: int) -> tuple[int]:
        assert event in self._events
        return (0,)

    def cuEventElapsedTime(self, begun: int, ended: int) -> tuple[int, float]:
        assert begun <= ended
        return 0, float(ended - begun)

    def cuEventDestroy(self, event: int) -> tuple[int]:
        del self._events[event]
        return (0,)
