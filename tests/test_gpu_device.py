"""gpu.Gpu over a stand-in for the driver: what it asks of the driver. That a GPU does it is for tests/test_gpu.py."""

from __future__ import annotations

import gc
import re
import struct
import threading

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed", exc_type=ImportError)

from numba import cuda, uint32
from stand_in_driver import Driver

import cnnlite_kernels as kernels
from cnnlite import layers, models
from cnnlite_kernels.cpu import disk, jit
from cnnlite_kernels.cuda import binary, gpu, memory
from cnnlite_kernels.cuda.activations import add_fill, add_forward
from cnnlite_kernels.cuda.driver import GpuError, call
from cnnlite_kernels.cuda.gpu import Gpu
from cnnlite_kernels.cuda.kernel import (
    ARRAY,
    F32,
    F64,
    I32,
    I64,
    SLOT,
    U32,
    U64,
    Floats,
    Kernel,
    Real,
    Reals,
    kernel,
)
from cnnlite_kernels.cuda.memory import Vector
from cnnlite_kernels.cuda.ops.contiguous import copy_strided
from cnnlite_kernels.cuda.ops.job import Job
from cnnlite_kernels.cuda.plan import Plan


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver()
    monkeypatch.setattr(gpu, "binary", driver.binary)
    return driver


@pytest.fixture
def device(driver: Driver) -> Gpu:
    return Gpu(0, driver)


def host_of(device: Gpu, vector: Vector) -> np.ndarray:
    host = np.empty(vector.size, vector.dtype)
    device.download(vector, host)
    return host


@kernel(threads=32)
def every_kind(x: Reals, y: Floats, n: U32, wide: U64, i: I32, long: I64, f: F32, d: F64, r: Real):
    """y[t] = the sum of everything, x[t] included."""
    t = uint32(cuda.threadIdx.x)
    if t < n:
        y[t] = x[t] + wide + i + long + f + d + r


def test_it_says_what_it_is(driver: Driver, device: Gpu) -> None:
    assert (device.name, device.multiprocessors, device.capability) == ("Stand-in", 108, (8, 0))
    assert repr(device) == "cuda:0"
    assert driver.contexts == []


def test_copies_come_back(device: Gpu) -> None:
    for dtype in (np.float32, np.float64, np.int32):
        numbers = np.arange(1000).astype(dtype)
        vector = device.empty(1000, dtype)
        assert vector.address % 256 == 0
        device.upload(numbers, vector)
        np.testing.assert_array_equal(host_of(device, vector), numbers)
        np.testing.assert_array_equal(host_of(device, vector[10:20][2:4]), numbers[12:14])
    device.upload(np.empty(0), device.empty(0, float))


def test_page_locked_memory_is_an_array_and_goes_with_it(driver: Driver, device: Gpu) -> None:
    before = driver.free
    host = device.host(10, np.float64)
    host[:] = 3
    view = host[5:]
    del host
    gc.collect()
    assert driver.free < before
    assert view.sum() == 15
    del view
    gc.collect()
    device.empty(1, np.float32)
    assert driver.free == before - memory.LEAST
    freed = driver.calls.index("cuMemFreeHost")
    assert driver.calls[freed - 1] == "cuStreamSynchronize"  # a copy may have been under way


def test_only_copies_of_page_locked_memory_are_not_waited_for(driver: Driver, device: Gpu) -> None:
    there, ordinary, host = (
        device.empty(10, np.float32),
        np.zeros(10, np.float32),
        device.host(20, np.float32),
    )
    for array, waits in ((ordinary, 1), (host[10:], 0), (host[:10], 0)):
        for copy in (lambda a: device.upload(a, there), lambda a: device.download(there, a)):
            driver.calls.clear()
            copy(array)
            assert driver.calls.count("cuStreamSynchronize") == waits


def test_finalizers_wait_for_nobody(driver: Driver, device: Gpu) -> None:
    """They run in any thread, also where others hold locks that whoever launches wants."""
    given_away, event = device.empty(1000, np.float32), device.event()
    given_away.owner.shared = True
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with device._alone():
            held.set()
            done.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(60)
    del given_away, event
    gc.collect()
    assert "cuMemFree" not in driver.calls
    done.set()
    other.join()
    device.synchronize()
    assert driver.calls.count("cuMemFree") == driver.calls.count("cuEventDestroy") == 1


def test_whoever_waits_keeps_nobody_from_launching(
    monkeypatch: pytest.MonkeyPatch, driver: Driver, device: Gpu
) -> None:
    waiting, done = threading.Event(), threading.Event()

    def wait(event: int) -> tuple[int]:
        waiting.set()
        assert done.wait(60)
        return (0,)

    monkeypatch.setattr(driver, "cuEventSynchronize", wait, raising=False)
    other = threading.Thread(target=device.event().wait)
    other.start()
    assert waiting.wait(60)
    plan, vector = Plan(device), device.empty(10, np.float32)
    add_fill(plan, vector, 10, 3)
    plan.run()
    assert (host_of(device, vector) == 3).all()
    done.set()
    other.join()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_arrive(device: Gpu, dtype: type) -> None:
    x, y = device.empty(40, dtype), device.empty(40, np.float32)
    device.upload(np.arange(40, dtype=dtype), x)
    plan = Plan(device)
    plan.add(every_kind, 1, x[8:], y, 20, 2**33, -1, -(2**33), 0.5, 0.25, 2)
    plan.run()
    np.testing.assert_array_equal(host_of(device, y)[:20], np.arange(8, 28) + 1.75)


@pytest.mark.parametrize("which", [every_kind, copy_strided])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_lie_as_the_compiled_kernel_says(which: Kernel, dtype: type) -> None:
    ptx = which.ptx((8, 0), dtype)
    head = ptx[ptx.index(".entry") : ptx.index(")", ptx.index(".entry"))]
    sizes = [int(bits) // 8 for bits in re.findall(r"\.param \.[a-z](\d+)", head)]
    form = which._parameters(np.dtype(dtype)).format.lstrip("<").replace(ARRAY, "QQqqQqq")
    assert sizes == [struct.calcsize("<" + c) for c in re.sub("4x", "", form)]
    assert struct.calcsize("<" + form) == SLOT * len(sizes)
    assert which.entry(ptx) in head


def test_memory_is_used_again(driver: Driver, device: Gpu) -> None:
    first = device.empty(1000, np.float32).address
    asked = driver.calls.count("cuMemAlloc")
    assert device.empty(990, np.float32).address == first
    assert driver.calls.count("cuMemAlloc") == asked
    held = device.empty(1000, np.float32)
    assert device.empty(1000, np.float32).address != held.address


def test_shared_memory_goes_back_to_the_driver(driver: Driver, device: Gpu) -> None:
    vector = device.empty(1000, np.float32)
    vector.owner.shared = True
    view = vector[:10]
    del vector
    assert "cuMemFree" not in driver.calls
    del view
    device.synchronize()
    freed = driver.calls.index("cuMemFree")
    assert driver.calls[freed - 1] == "cuCtxSynchronize"


def test_full_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(memory=5000)
    device = Gpu(0, driver)
    kept = [device.empty(512, np.uint8) for _ in range(6)]
    del kept[2:]
    assert device.empty(4000 - 1024, np.uint8).size == 2976  # what is not in use was given back first
    with pytest.raises(MemoryError, match=r"^the GPU's memory is full; use a smaller batch, or free arrays"):
        device.empty(5000, np.uint8)
    assert driver.contexts == []


def test_a_graph_runs_again_with_new_contents(driver: Driver, device: Gpu) -> None:
    x, y = device.empty(100, np.float32), device.empty(100, np.float32)
    plan = Plan(device)
    add_forward(plan, "relu", x, y, 100, 1)
    add_fill(plan, y[:10], 10, 7)
    run = plan.graph()
    assert np.isnan(host_of(device, y)).all()  # nothing ran yet
    for sign in (1, -1):
        device.upload(np.full(100, sign, np.float32), x)
        run()
        expected = np.full(100, max(sign, 0), np.float32)
        expected[:10] = 7
        np.testing.assert_array_equal(host_of(device, y), expected)
    device.synchronize()
    del run, plan
    gc.collect()
    device.synchronize()
    assert "cuGraphExecDestroy" in driver.calls
    assert driver.contexts == []


def test_a_model_trains_through_graphs_and_asks_for_no_more_memory(
    monkeypatch: pytest.MonkeyPatch, driver: Driver, device: Gpu
) -> None:
    monkeypatch.setattr(gpu, "current", lambda number=0: device)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 10)).astype(np.float32), np.arange(8) % 3
    here, there = (
        models.Sequential(
            [layers.Input((10,)), layers.Dense(5, activation="relu"), layers.Dense(3, activation="softmax")],
            device=place,
        )
        for place in ("cpu", "cuda")
    )
    for model in (here, there):
        model.compile("adam", "sparse_categorical_crossentropy")
        model.predict(x)
    there.set_weights(here.get_weights())
    asked = []
    for _ in range(3):
        np.testing.assert_allclose(there.train_on_batch(x, y), here.train_on_batch(x, y), rtol=1e-5)
        asked.append((driver.calls.count("cuMemAlloc"), driver.calls.count("cuGraphInstantiate")))
    assert asked[0] == asked[1] == asked[2]
    assert driver.calls.count("cuGraphLaunch") > 3
    for ours, theirs in zip(here.get_weights(), there.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-6)


def test_a_failed_recording_ends(monkeypatch: pytest.MonkeyPatch, driver: Driver, device: Gpu) -> None:
    plan = Plan(device)
    add_fill(plan, device.empty(10, np.float32), 10, 0)
    monkeypatch.setattr(driver, "cuLaunchKernel", lambda *_: (700,), raising=False)
    with pytest.raises(RuntimeError, match=r"failed with 700"):
        plan.graph()
    assert not driver._recording
    assert driver.contexts == []


def test_a_failed_recording_says_what_failed_first(
    monkeypatch: pytest.MonkeyPatch, driver: Driver, device: Gpu
) -> None:
    plan = Plan(device)
    add_fill(plan, device.empty(10, np.float32), 10, 0)
    invalidated = 901
    monkeypatch.setattr(driver, "cuLaunchKernel", lambda *_: (1,), raising=False)
    monkeypatch.setattr(driver, "cuStreamEndCapture", lambda _: (invalidated, None), raising=False)
    with pytest.raises(RuntimeError, match=r"failed with 1\."):
        plan.graph()
    monkeypatch.undo()
    monkeypatch.setattr(gpu, "binary", driver.binary)
    monkeypatch.setattr(driver, "cuGraphInstantiate", lambda *_: (2, None), raising=False)
    with pytest.raises(MemoryError):
        plan.graph()
    assert "cuGraphDestroy" in driver.calls
    assert driver.contexts == []


def test_events_and_the_order_of_streams(driver: Driver, device: Gpu) -> None:
    begun = device.event()
    ended = device.event()
    assert ended.seconds_since(begun) > 0
    ended.wait()
    device.order(device.stream, 7)
    device.order(7, 7)
    assert driver.streams == [(device.stream, 7)]
    del begun, ended
    gc.collect()
    device.synchronize()
    assert not driver._events


def test_operands_that_begin_anywhere_take_the_narrow_loads(device: Gpu) -> None:
    """Other libraries' arrays may begin at any multiple of 4 bytes; ours begin at multiples of 256."""
    numbers = np.arange(-20, 21, dtype=np.float32)
    whole = kernels.DeviceArray.copy_of(device, numbers)
    shifted = kernels.DeviceArray(device, whole.flat[1:37], (6, 6))
    assert Job("relu", None, whole).aligned
    assert not Job("relu", None, whole, shifted).aligned
    expected = numbers[1:37].reshape(6, 6)
    np.testing.assert_array_equal(kernels.relu(shifted).copy_to_host(), np.maximum(expected, 0))
    np.testing.assert_array_equal(kernels.matmul(shifted, expected).copy_to_host(), expected @ expected)


def test_threads_take_turns(device: Gpu) -> None:
    vectors = [device.empty(64, np.float32) for _ in range(4)]

    def work(number: int) -> None:
        plan = Plan(device)
        add_fill(plan, vectors[number], 64, number)
        plan.run()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, vector in enumerate(vectors):
        assert (host_of(device, vector) == number).all()


def test_old_gpus_are_refused() -> None:
    with pytest.raises(
        GpuError, match=r"^Stand-in has compute capability 6\.1, and the kernels need 7\.5 or newer"
    ):
        Gpu(0, Driver(capability=(6, 1)))


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "gpu_names", lambda: ["A", "B"])
    with pytest.raises(GpuError, match=r"^there are 2 GPUs here, numbered from 0; pass one of those"):
        gpu.current(2)


def test_a_driver_older_than_the_packages_is_refused() -> None:
    gpu.check_version(13000, "13.5.1")
    gpu.check_version(13000, "12.9.0")
    with pytest.raises(
        GpuError,
        match=r"^the NVIDIA driver here is for CUDA 12\.4 and the packages are for CUDA 13; install a newer driver, "
        r'or pip install "cnnlite\[cuda12\]"$',
    ):
        gpu.check_version(12040, "13.0.0")
    with pytest.raises(GpuError, match=r"CUDA 11\.8 .* install a newer driver$"):
        gpu.check_version(11080, "12.9.0")


def test_a_fork_cannot_use_what_its_parent_used(monkeypatch: pytest.MonkeyPatch, device: Gpu) -> None:
    monkeypatch.setattr(gpu, "_gpus", {0: device})
    assert gpu.current() is device
    device.process += 1
    for number in (0, 1):
        with pytest.raises(
            GpuError, match=r"^this process was forked from one that used a GPU; start it with"
        ):
            gpu.current(number)


def test_a_driver_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "gpu_names", lambda: ["A"])
    with pytest.raises(GpuError, match=r"^it cannot be started \(.*\); nvidia-smi says more"):
        gpu.current(0)  # cuda.bindings finds no driver here


def test_errors_of_the_driver_are_raised_by_name() -> None:
    def cuSomething() -> tuple[int]:
        return (700,)

    def cuInAFork() -> tuple[int]:
        return (3,)

    with pytest.raises(GpuError, match=r"^this process was forked from one that used a GPU"):
        call(cuInAFork)
    with pytest.raises(RuntimeError, match=r"^CUDA: cuSomething failed with 700\.$"):
        call(cuSomething)


def test_a_flat_array_has_no_steps() -> None:
    with pytest.raises(
        ValueError, match=r"^expected a slice of neighbours of a GPU's flat array, got step 2"
    ):
        Vector(None, 0, 10, np.dtype(np.float32))[::2]


def test_blocks_come_in_few_sizes() -> None:
    sizes = {memory.rounded(size) for size in range(1, 1 << 16)}
    assert len(sizes) < 8 * 9
    for size in range(1, 1 << 16, 37):
        assert size <= memory.rounded(size) <= max(memory.LEAST, size * 9 // 8 + 64)


def test_the_real_bindings_take_our_arguments() -> None:
    """cuda.bindings converts its arguments before it looks for a driver: here it fails for want of one, not for the arguments."""
    from cuda.bindings import driver

    if _has_driver():
        pytest.skip("there is a driver: tests/test_gpu.py runs the real thing")
    host = np.zeros(4, np.float32)
    event, stream = driver.CUevent(1), driver.CUstream(1)
    for function, *arguments in (
        (driver.cuInit, 0),
        (driver.cuDriverGetVersion,),
        (driver.cuDeviceGet, 0),
        (driver.cuDeviceGetName, 100, driver.CUdevice(0)),
        (driver.cuDeviceGetAttribute, driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, driver.CUdevice(0)),
        (driver.cuDevicePrimaryCtxRetain, driver.CUdevice(0)),
        (driver.cuCtxPushCurrent, driver.CUcontext(1)),
        (driver.cuCtxPopCurrent,),
        (driver.cuCtxSynchronize,),
        (driver.cuStreamCreate, driver.CUstream_flags.CU_STREAM_DEFAULT),
        (driver.cuMemAlloc, 512),
        (driver.cuMemFree, 4096),
        (driver.cuMemHostAlloc, 512, 0),
        (driver.cuMemFreeHost, 4096),
        (driver.cuMemcpyHtoDAsync, 4096, host.__array_interface__["data"][0], 16, stream),
        (driver.cuMemcpyDtoHAsync, host.__array_interface__["data"][0], 4096, 16, stream),
        (driver.cuModuleLoadData, b"\x7fELF"),
        (driver.cuModuleGetFunction, driver.CUmodule(1), b"name"),
        (driver.cuFuncGetAttribute, driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_NUM_REGS, driver.CUfunction(1)),
        (driver.cuLaunchKernel, driver.CUfunction(1), 1, 1, 1, 32, 1, 1, 0, stream, 4096, 0),
        (driver.cuStreamBeginCapture, stream, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED),
        (driver.cuStreamEndCapture, stream),
        (driver.cuGraphInstantiate, driver.CUgraph(1), 0),
        (driver.cuGraphDestroy, driver.CUgraph(1)),
        (driver.cuGraphLaunch, driver.CUgraphExec(1), stream),
        (driver.cuGraphExecDestroy, driver.CUgraphExec(1)),
        (driver.cuStreamSynchronize, stream),
        (driver.cuStreamWaitEvent, 7, event, 0),
        (driver.cuEventCreate, driver.CUevent_flags.CU_EVENT_DEFAULT),
        (driver.cuEventRecord, event, 7),
        (driver.cuEventSynchronize, event),
        (driver.cuEventElapsedTime, event, event),
        (driver.cuEventDestroy, event),
        (driver.cuPointerGetAttribute, driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, 4096),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=r"(?i)cuda|driver|library"):
            call(function, *arguments)


def _has_driver() -> bool:
    from cnnlite_kernels.cuda.driver import gpu_names

    try:
        return bool(gpu_names())
    except GpuError:
        return False


# machine code on disk


@pytest.fixture
def cache(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CNNLITE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(disk, "sources_changed", lambda: False)
    disk.folder.cache_clear()
    yield tmp_path
    disk.folder.cache_clear()


def kept(cache) -> list:
    return sorted(cache.rglob("cuda.*.bin"))


def test_machine_code_is_assembled_without_a_gpu_and_kept(cache, monkeypatch: pytest.MonkeyPatch) -> None:
    first = binary.binary(copy_strided, np.dtype(np.float32), (8, 0))
    assert first.image.startswith(b"\x7fELF")
    assert first.entry.encode() in first.image
    assert len(kept(cache)) == 1
    other = binary.binary(copy_strided, np.dtype(np.float64), (9, 0))
    assert other.image != first.image
    assert len(kept(cache)) == 2
    with monkeypatch.context() as patch:
        patch.setattr(Kernel, "ptx", None)  # whoever compiles now fails
        assert binary.binary(copy_strided, np.dtype(np.float32), (8, 0)) == first


@pytest.mark.parametrize(
    "problem", [ImportError("libNVVM is not available"), RuntimeError("libNVVM is not available")]
)
def test_a_missing_compiler_is_named(cache, monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def ptx(self: Kernel, *_: object) -> str:
        raise problem

    monkeypatch.setattr(Kernel, "ptx", ptx)
    with pytest.raises(
        GpuError,
        match=r"^kernel copy_strided cannot be compiled for the GPU \(libNVVM is not available\); "
        r'pip install "cnnlite\[cuda\]" \(CUDA 12: "cnnlite\[cuda12\]"\)$',
    ):
        binary.binary(copy_strided, np.dtype(np.float32), (8, 0))


def test_whoever_waits_is_told_what_compiles(cache, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(jit, "compile_started", [names.append])
    for _ in range(2):
        binary.binary(copy_strided, np.dtype(np.float32), (8, 0))
    assert names == ["cuda.copy_strided"]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 1000])
def test_a_damaged_file_is_compiled_again(cache, content: bytes) -> None:
    first = binary.binary(copy_strided, np.dtype(np.float32), (8, 0))
    (file,) = kept(cache)
    whole = file.read_bytes()
    file.write_bytes(content or whole[:-1])
    assert binary.binary(copy_strided, np.dtype(np.float32), (8, 0)) == first
    assert file.read_bytes() == whole


def test_a_file_under_another_kernels_name_is_not_loaded(cache) -> None:
    first, other = (
        binary.binary(copy_strided, np.dtype(dtype), (8, 0)) for dtype in (np.float32, np.float64)
    )
    one, two = kept(cache)
    swapped = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(swapped)
    assert binary.binary(copy_strided, np.dtype(np.float32), (8, 0)) == first
    assert binary.binary(copy_strided, np.dtype(np.float64), (8, 0)) == other


def test_kernels_that_cannot_be_named_are_not_kept(cache) -> None:
    assert every_kind.identity(np.dtype(np.float32)) is None  # its source is not of the package
    binary.binary(every_kind, np.dtype(np.float32), (8, 0))
    assert kept(cache) == []


def test_nothing_is_kept_of_sources_that_were_edited(cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "sources_changed", lambda: True)
    binary.binary(copy_strided, np.dtype(np.float32), (8, 0))
    assert kept(cache) == []


def test_variants_have_names_of_their_own() -> None:
    from cnnlite_kernels.cuda.activations import forward

    names = {forward(code, wide).identity(np.dtype(np.float32)) for code in (1, 2) for wide in (1, 4)}
    assert len(names) == 4
    assert None not in names


def test_a_gpu_that_nvjitlink_does_not_know_gets_ptx() -> None:
    text = "not even PTX"
    assert binary.assemble(text, (9, 9)) == text.encode() + b"\0"
    assert binary.assemble(text, (8, 0)) == text.encode() + b"\0"
