"""A GPU as a device that plans run on: memory, copies, launches, graphs and events, over NVIDIA's driver.

Everything runs on one stream, in the order it was asked for; any thread may ask. Nothing here waits for the GPU but `synchronize`,
`Event.wait` and copies from and to ordinary memory: the driver promises for those neither that the memory was read nor that it was
written when it returns. Who waits keeps nobody from asking for more.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cnnlite_kernels.cuda.binary import binary
from cnnlite_kernels.cuda.driver import FORKED, GpuError, call, gpu_names
from cnnlite_kernels.cuda.kernel import SLOT, Kernel, Launch
from cnnlite_kernels.cuda.memory import Pool, Vector

OLDEST = (7, 5)  # compute capability of the oldest GPUs that CUDA 13 knows


class Ready(NamedTuple):
    """A launch with its kernel loaded and its parameters in place."""

    function: Any
    blocks: int
    threads: int
    values: Any
    pointers: Any  # to each parameter in `values`


class Gpu:
    """A GPU (see plan.Device).

    Args:
        number: as CUDA counts, which is as nvidia-smi does where CUDA_DEVICE_ORDER is PCI_BUS_ID.
        driver: the functions of cuda.bindings.driver.

    Attributes:
        name, number, multiprocessors, capability: of the GPU.
        stream: the handle of the stream that everything runs on.
    """

    def __init__(self, number: int, driver: Any) -> None:
        self.number, self.process, self._driver = number, os.getpid(), driver
        call(driver.cuInit, 0)
        device = call(driver.cuDeviceGet, number)
        self.name = call(driver.cuDeviceGetName, 100, device).split(b"\0")[0].decode()
        ask = driver.CUdevice_attribute
        self.multiprocessors, major, minor = (
            call(driver.cuDeviceGetAttribute, attribute, device)
            for attribute in (
                ask.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
                ask.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                ask.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        self.capability: tuple[int, int] = (major, minor)
        if self.capability < OLDEST:
            raise GpuError(
                f"{self.name} has compute capability {major}.{minor}, and the kernels need {OLDEST[0]}.{OLDEST[1]} or newer"
            )
        # For launches: those of a plan stay together, and there is one stream to record on.
        self._lock = threading.RLock()
        self._garbage: deque[tuple[str, Any]] = deque()
        self._pinned: dict[int, int] = {}  # bytes of each piece of page-locked memory, by its address
        self._context = call(driver.cuDevicePrimaryCtxRetain, device)
        with self.active():
            # An ordinary stream waits for the default stream and it waits for ours, so that libraries that know of no other
            # order see our results, and we see theirs.
            self._stream = call(driver.cuStreamCreate, driver.CUstream_flags.CU_STREAM_DEFAULT)
            # A graph is recorded on a stream of its own: another thread may meanwhile use the default stream.
            self._recorder = call(driver.cuStreamCreate, driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
        self.stream = int(self._stream)
        self._pool = Pool(self._allocate, self._free)
        self._functions: dict[tuple[Kernel, np.dtype], Any] = {}

    def __repr__(self) -> str:
        return f"cuda:{self.number}"

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """This GPU is the calling thread's, which may use others at other times."""
        call(self._driver.cuCtxPushCurrent, self._context)
        try:
            self._sweep()
            yield
        finally:
            call(self._driver.cuCtxPopCurrent)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """`active`, and no other thread launches meanwhile."""
        with self._lock, self.active():
            yield

    # Finalizers run at any moment in any thread, also in one that holds locks of others: they wait for nothing and nobody.

    def _discard(self, function: str, handle: Any) -> None:
        """Has the next who uses this GPU call that function of the driver with the handle of what nobody uses any more."""
        if os.getpid() == self.process:
            self._garbage.append((function, handle))

    def _sweep(self) -> None:
        """Calls what was put off; another thread that launches does so next time, for none may wait while one records."""
        if not self._garbage or not self._lock.acquire(blocking=False):
            return
        try:
            while self._garbage:
                function, handle = self._garbage.popleft()
                if function == "cuMemFree":
                    # Streams of other libraries may use it, and nothing promises that the driver waits for them by itself.
                    call(self._driver.cuCtxSynchronize)
                elif function == "cuMemFreeHost":
                    # A copy to or from it may be under way, after an interrupt.
                    call(self._driver.cuStreamSynchronize, self._stream)
                    self._pinned.pop(handle, None)
                call(getattr(self._driver, function), handle)
        finally:
            self._lock.release()

    # memory

    def empty(self, count: int, dtype: Any) -> Vector:
        """A flat array of any content, at a multiple of 256 bytes.

        Raises:
            MemoryError: the GPU's memory is full.
        """
        dtype = np.dtype(dtype)
        block = self._pool.take(count * dtype.itemsize)
        return Vector(block, block.address, count, dtype)

    def host(self, count: int, dtype: Any) -> np.ndarray:
        """An array in page-locked memory: copies to and from it run beside the program, so that it must wait before it looks."""
        dtype = np.dtype(dtype)
        size = max(1, count * dtype.itemsize)
        with self.active():
            address = int(call(self._driver.cuMemHostAlloc, size, 0))
        self._pinned[address] = size
        memory = (ctypes.c_char * size).from_address(address)
        weakref.finalize(memory, self._discard, "cuMemFreeHost", address).atexit = False
        return np.frombuffer(memory, dtype, count)

    def _allocate(self, size: int) -> int:
        with self._alone():  # so that what the pool has just given back is free
            return int(call(self._driver.cuMemAlloc, size))

    def _free(self, address: int) -> None:
        self._discard("cuMemFree", address)

    def upload(self, host: np.ndarray, to: Vector) -> None:
        """Copies a contiguous array to the GPU. One in ordinary memory may be changed at once, one of `host` when the copy is done."""
        if host.nbytes:
            source = host.__array_interface__["data"][0]
            with self.active():
                call(self._driver.cuMemcpyHtoDAsync, to.address, source, host.nbytes, self._stream)
                if not self._is_pinned(source):
                    call(self._driver.cuStreamSynchronize, self._stream)

    def download(self, array: Vector, to: np.ndarray) -> None:
        """Copies to a contiguous array of the same size: waits for it, unless that is in memory of `host`."""
        if to.nbytes:
            target = to.__array_interface__["data"][0]
            with self.active():
                call(self._driver.cuMemcpyDtoHAsync, target, array.address, to.nbytes, self._stream)
                if not self._is_pinned(target):
                    call(self._driver.cuStreamSynchronize, self._stream)

    def _is_pinned(self, address: int) -> bool:
        return any(first <= address < first + size for first, size in list(self._pinned.items()))

    # launches

    def run(self, launches: list[Launch]) -> None:
        """Runs launches one after the other; returns before they have ended."""
        with self._alone():
            for launch in launches:
                self._launch(self._ready(launch), self._stream)

    def graph(self, launches: list[Launch]) -> Callable[[], None]:
        """The launches as one: a function that runs them all, at the driver's cost of about one.

        Their arrays stay alive as long as the function does.
        """
        driver = self._driver
        with self._alone():
            recorded = self._record_launches([self._ready(launch) for launch in launches])
            try:
                executable = call(driver.cuGraphInstantiate, recorded, 0)
            finally:
                call(driver.cuGraphDestroy, recorded)
        return Graph(self, executable, launches)

    def _record_launches(self, ready: list[Ready]) -> Any:
        """The driver's graph of them."""
        driver = self._driver
        call(
            driver.cuStreamBeginCapture,
            self._recorder,
            driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED,
        )
        try:
            for one in ready:
                self._launch(one, self._recorder)
        except BaseException:
            # Whatever was wrong is what the caller must hear, not that the recording is no good.
            code, recorded = driver.cuStreamEndCapture(self._recorder)
            if not int(code):
                driver.cuGraphDestroy(recorded)
            raise
        return call(driver.cuStreamEndCapture, self._recorder)

    def replay(self, executable: Any) -> None:
        """Runs a graph that `graph` made."""
        with self._alone():
            call(self._driver.cuGraphLaunch, executable, self._stream)

    def forget(self, executable: Any) -> None:
        """Frees a graph that `graph` made; the driver waits until it has run."""
        self._discard("cuGraphExecDestroy", executable)

    def _ready(self, launch: Launch) -> Ready:
        kernel, blocks, args = launch
        dtype = kernel.dtype(args)
        function = self._functions.get((kernel, dtype))
        if function is None:
            function = self._functions[kernel, dtype] = self._load(kernel, dtype)
        packed = kernel.pack(args)
        values = ctypes.create_string_buffer(packed, len(packed))
        first = ctypes.addressof(values)
        count = len(packed) // SLOT
        pointers = (ctypes.c_void_p * count)(*range(first, first + len(packed), SLOT))
        return Ready(function, blocks, kernel.threads, values, pointers)

    def _load(self, kernel: Kernel, dtype: np.dtype) -> Any:
        image, entry = binary(kernel, dtype, self.capability)
        module = call(self._driver.cuModuleLoadData, image)
        function = call(self._driver.cuModuleGetFunction, module, entry.encode())
        # The driver loads a kernel when it is first needed, and before CUDA 12.3 cannot while a stream is recorded: it is needed now.
        call(
            self._driver.cuFuncGetAttribute,
            self._driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_NUM_REGS,
            function,
        )
        return function

    def _launch(self, ready: Ready, stream: Any) -> None:
        call(
            self._driver.cuLaunchKernel, ready.function, ready.blocks, 1, 1, ready.threads, 1, 1, 0, stream,
            ctypes.addressof(ready.pointers), 0,
        )  # fmt: skip

    # time

    def synchronize(self) -> None:
        """Waits for all that was asked for."""
        with self.active():
            call(self._driver.cuStreamSynchronize, self._stream)

    def event(self) -> Event:
        """Now, as the GPU will reach it: after all that was asked for so far."""
        return Event(self, self._record(self._stream))

    def order(self, first: int, then: int) -> None:
        """What is asked of the stream `then` from here on runs after what was asked of the stream `first`: handles of any library's."""
        if first != then:
            with self.active():
                event = self._record(first)
                call(self._driver.cuStreamWaitEvent, then, event, 0)
                call(self._driver.cuEventDestroy, event)

    def _record(self, stream: Any) -> Any:
        with self.active():
            event = call(self._driver.cuEventCreate, self._driver.CUevent_flags.CU_EVENT_DEFAULT)
            call(self._driver.cuEventRecord, event, stream)
        return event

    def wait(self, event: Any) -> None:
        """Waits until the GPU has reached the driver's event."""
        with self.active():
            call(self._driver.cuEventSynchronize, event)

    def milliseconds(self, begun: Any, ended: Any) -> float:
        """From one event of the driver's to another, both reached."""
        with self.active():
            return float(call(self._driver.cuEventElapsedTime, begun, ended))

    def free_event(self, event: Any) -> None:
        """Frees an event of the driver's."""
        self._discard("cuEventDestroy", event)


class Graph:
    """Launches that the driver keeps as one: `graph()` runs them."""

    def __init__(self, gpu: Gpu, executable: Any, launches: list[Launch]) -> None:
        self._gpu, self._executable, self._launches = gpu, executable, list(launches)
        weakref.finalize(self, gpu.forget, executable).atexit = False

    def __call__(self) -> None:
        self._gpu.replay(self._executable)


class Event:
    """A moment in a GPU's work."""

    def __init__(self, gpu: Gpu, event: Any) -> None:
        self._gpu, self._event = gpu, event
        weakref.finalize(self, gpu.free_event, event).atexit = False

    def wait(self) -> None:
        """Returns when the GPU has come this far."""
        self._gpu.wait(self._event)

    def seconds_since(self, begun: Event) -> float:
        """As the GPU's clock counts; waits for both."""
        self.wait()
        return self._gpu.milliseconds(begun._event, self._event) / 1000


_gpus: dict[int, Gpu] = {}
_lock = threading.Lock()


def current(number: int = 0) -> Gpu:
    """The GPU of that number, made ready when first asked for.

    Raises:
        GpuError: it is not there or cannot be used; the message says which piece is missing.
    """
    found = _gpus.get(number)
    if any(other.process != os.getpid() for other in list(_gpus.values())):
        raise GpuError(FORKED)
    if found is None:
        with _lock:
            found = _gpus.get(number)
            if found is None:
                found = _gpus[number] = _start(number)
    return found


def _start(number: int) -> Gpu:
    names = gpu_names()
    if number >= len(names):
        raise GpuError(f"there are {len(names)} GPUs here, numbered from 0; pass one of those")
    try:
        from cuda.bindings import __version__, driver
    except ImportError as problem:
        raise GpuError(
            f'cuda-bindings cannot be imported ({problem}); pip install "cnnlite[cuda]"'
        ) from problem
    try:
        check_version(call(driver.cuDriverGetVersion), __version__)
        return Gpu(number, driver)
    except GpuError:
        raise
    except RuntimeError as problem:
        raise GpuError(f"it cannot be started ({problem}); nvidia-smi says more") from problem


def check_version(driver: int, packages: str) -> None:
    """Raises a GpuError where the driver (12040 for CUDA 12.4) is older than the packages: it cannot load what they compile."""
    theirs, ours = driver // 1000, int(packages.partition(".")[0])
    if theirs < ours:
        older = ', or pip install "cnnlite[cuda12]"' if theirs == 12 else ""
        raise GpuError(
            f"the NVIDIA driver here is for CUDA {theirs}.{driver % 1000 // 10} and the packages are for CUDA {ours}; "
            f"install a newer driver{older}"
        )
