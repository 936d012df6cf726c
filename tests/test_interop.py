"""Arrays of other libraries, in and out: DLPack and the array protocol on the CPU, DLPack and __cuda_array_interface__ on a GPU."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import runtime_programs
from hypothesis import given, settings
from hypothesis import strategies as st

import cnnlite_kernels as kernels
from cnnlite_kernels import DeviceArray, checks
from cnnlite_kernels.cuda import dlpack
from cnnlite_kernels.cuda.array import on_gpu
from cnnlite_kernels.cuda.driver import missing

X = np.arange(24, dtype=np.float32).reshape(1, 4, 3, 2) - 10


class OnlyDLPack:
    """A tensor that speaks nothing but DLPack, as JAX's or TensorFlow's might."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


class OnlyArray:
    """A tensor that speaks only the array protocol, as PyTorch's on the CPU."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.array


class ArrayInterface:
    """A tensor with __array_interface__ alone."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.array.__array_interface__


@pytest.mark.parametrize("wrap", [OnlyDLPack, OnlyArray, ArrayInterface])
def test_tensors_on_the_cpu_come_in_without_a_copy(wrap: type) -> None:
    operand = checks.operand("relu", "x", wrap(X))
    assert np.shares_memory(operand, X)
    np.testing.assert_array_equal(kernels.relu(wrap(X)), np.maximum(X, 0))
    y = kernels.conv2d(wrap(X), wrap(np.ones((2, 2, 2, 3), np.float32)), wrap(np.zeros(3, np.float32)))
    assert y.shape == (1, 3, 2, 3)
    transposed = wrap(np.ascontiguousarray(X.T).T)
    np.testing.assert_array_equal(kernels.relu(transposed), np.maximum(X, 0))


def test_a_read_only_memmap_is_read_where_it_is(tmp_path) -> None:
    X.tofile(tmp_path / "x.bin")
    x = np.memmap(tmp_path / "x.bin", np.float32, "r", shape=X.shape)
    assert np.shares_memory(checks.operand("relu", "x", x), x)
    assert type(kernels.relu(x)) is np.ndarray
    np.testing.assert_array_equal(kernels.relu(x), np.maximum(X, 0))
    with pytest.raises(ValueError, match=r"^relu: expected out to be writeable"):
        kernels.relu(X, out=x)


@pytest.mark.parametrize("wrap", [OnlyDLPack, OnlyArray])
def test_dtypes_of_tensors_are_checked(wrap: type) -> None:
    with pytest.raises(TypeError, match=r"^relu: expected x of dtype float32 or float64, got int32"):
        kernels.relu(wrap(X.astype(np.int32)))


def test_labels_and_indices_come_in_too() -> None:
    losses = kernels.softmax_cross_entropy(np.zeros((2, 3), np.float32), OnlyDLPack(np.array([0, 2])))
    np.testing.assert_allclose(losses, np.log(3), rtol=1e-6)
    y, indices = kernels.max_pool2d(X, 2, return_indices=True)
    np.testing.assert_array_equal(
        kernels.max_pool2d_grad(y, X, 2, indices=OnlyDLPack(indices)), kernels.max_pool2d_grad(y, X, 2)
    )


def test_what_lies_on_a_gpu_says_so() -> None:
    class Tensor:
        def __init__(self, kind: int) -> None:
            self.kind = kind

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.kind, 0

    assert on_gpu(Tensor(dlpack.CUDA))
    assert on_gpu(Tensor(dlpack.CUDA_MANAGED))
    assert on_gpu(SimpleNamespace(__cuda_array_interface__={}))
    assert not any(map(on_gpu, (Tensor(dlpack.CPU), X, None, [1.0], 3)))
    with pytest.raises(RuntimeError, match=r'^relu: expected a GPU for .*, but .*; or pass device="cpu"'):
        kernels.relu(Tensor(dlpack.CUDA))


# DLPack out, tried on the host's memory


class Exported:
    """Memory of ours on the CPU, given out by our capsule."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **_: Any) -> Any:
        array = self.array
        return dlpack.capsule(array.ctypes.data, array.shape, array.dtype, self.__dlpack_device__(), array)

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CPU, 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8, np.complex64, bool])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3, 4)])
def test_capsules_are_what_consumers_expect(shape: tuple[int, ...], dtype: type) -> None:
    array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    got = np.from_dlpack(Exported(array))
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)
    assert got.size == 0 or np.shares_memory(got, array)
    assert got.flags.c_contiguous


def test_a_capsule_keeps_its_memory_until_the_consumer_is_done() -> None:
    class Kept(np.ndarray): ...

    def count() -> int:
        gc.collect()
        return len(dlpack._alive)

    before = count()
    array = np.ones(10, np.float32).view(Kept)
    alive = weakref.ref(array)
    consumed = np.from_dlpack(Exported(array))
    unconsumed = Exported(array).__dlpack__()
    assert count() == before + 2
    del array
    assert (consumed == 1).all()
    del consumed
    assert count() == before + 1
    assert alive() is not None
    del unconsumed
    assert count() == before
    assert alive() is None


def test_dtypes_that_dlpack_has_not() -> None:
    for dtype in ("S4", "M8[s]", np.dtype(np.float32).newbyteorder()):
        with pytest.raises(BufferError, match=r"^DLPack has no dtype .*; convert the array first"):
            Exported(np.zeros(3, dtype)).__dlpack__()


AT_THE_END = """
import sys
import numpy as np
from test_interop import Exported, X
class Late: ...
sys.kept = Late(), np.from_dlpack(Exported(X)), Exported(X).__dlpack__()  # outlive our modules
"""


def test_capsules_end_with_python() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_END],
        env=runtime_programs.environment_with(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


# on a GPU, with a stand-in for it: memory is the host's


class Device:
    """A GPU whose memory is the host's."""

    number, stream = 3, 77

    def __init__(self) -> None:
        self.ordered: list[tuple[int, int]] = []

    def __repr__(self) -> str:
        return "cuda:3"

    def order(self, first: int, then: int) -> None:
        self.ordered.append((first, then))

    def synchronize(self) -> None: ...

    def download(self, flat: Any, to: np.ndarray) -> None:
        ctypes.memmove(to.ctypes.data, flat.address, to.nbytes)


def device_array(array: np.ndarray, **options: Any) -> DeviceArray:
    flat = SimpleNamespace(
        owner=SimpleNamespace(shared=False, array=array), address=array.ctypes.data, size=array.size, dtype=array.dtype
    )  # fmt: skip
    return DeviceArray(Device(), flat, array.shape, **options)


def test_the_cuda_array_interface_names_memory_and_stream() -> None:
    array = device_array(X)
    assert array.__cuda_array_interface__ == {
        "version": 3,
        "shape": X.shape,
        "typestr": "<f4",
        "data": (X.ctypes.data, False),
        "strides": None,
        "stream": 77,
    }
    assert array.flat.owner.shared  # its memory is not ours alone any more
    empty = device_array(X[:0])
    assert empty.__cuda_array_interface__["data"] == (0, False)
    assert device_array(X, writeable=False).__cuda_array_interface__["data"][1]


@pytest.mark.parametrize(("stream", "order"), [(None, [(77, 1)]), (2, [(77, 2)]), (-1, [])])
def test_the_consumers_stream_waits_for_ours(stream: int | None, order: list) -> None:
    array = device_array(X)
    assert array.__dlpack_device__() == (dlpack.CUDA, 3)
    assert "dltensor" in repr(array.__dlpack__(stream=stream))
    assert array.device.ordered == order
    assert array.flat.owner.shared


def test_what_cannot_be_exported() -> None:
    with pytest.raises(BufferError, match=r"call copy_to_host\(\) for a copy"):
        device_array(X).__dlpack__(dl_device=(dlpack.CPU, 0))
    with pytest.raises(BufferError, match=r"a read-only array cannot be exported"):
        device_array(X, writeable=False).__dlpack__()
    with pytest.raises(
        TypeError, match=r"^an array on cuda:3 is not copied to the host unasked; call copy_to_host"
    ):
        np.asarray(device_array(X))


def test_copies_to_the_host() -> None:
    array = device_array(X)
    np.testing.assert_array_equal(array.copy_to_host(), X)
    out = np.empty_like(X)
    assert array.copy_to_host(out) is out
    np.testing.assert_array_equal(out, X)
    read_only = np.empty_like(X)
    read_only.flags.writeable = False
    for wrong in (
        np.empty(24, np.float32),
        np.empty(X.shape),
        np.asfortranarray(np.empty_like(X)),
        read_only,
    ):
        with pytest.raises(
            ValueError, match=r"^copy_to_host: expected out writeable and C-contiguous of shape"
        ):
            array.copy_to_host(wrong)


def test_shapes() -> None:
    array = device_array(X)
    assert (array.ndim, array.size, array.itemsize, array.nbytes, len(array)) == (4, 24, 4, 96, 1)
    assert array.reshape(2, -1).shape == (2, 12)
    assert array.reshape((24,)).shape == (24,)
    assert repr(array) == "DeviceArray(shape=(1, 4, 3, 2), dtype=float32, device=cuda:3)"
    for wrong in ((5, -1), (23,), (-1, -1), (-24,)):
        with pytest.raises(ValueError, match=r"^reshape: expected a shape of 24 elements"):
            array.reshape(*wrong)
    with pytest.raises(TypeError, match=r"^len\(\) of an array without axes"):
        len(device_array(np.float32([1])).reshape(()))


def view_of(array: np.ndarray, readonly: bool = False) -> SimpleNamespace:
    """What cuda.core's StridedMemoryView tells of an array."""
    return SimpleNamespace(
        ptr=array.ctypes.data,
        shape=array.shape,
        strides=tuple(stride // array.itemsize for stride in array.strides),
        readonly=readonly,
        array=array,
    )


class TestLayouts:
    """Arrays with gaps are copied once, on the device."""

    @pytest.fixture(autouse=True)
    def needs_the_compiler(self) -> None:
        pytest.importorskip("numba_cuda", reason="numba-cuda is not installed", exc_type=ImportError)

    def test_contiguous_arrays_are_not_copied(self) -> None:
        from cnnlite_kernels.cuda.array import of_view

        for array in (
            X,
            X[:0],
            X[0, 1],
            np.ones((1, 4), np.float32)[::-1],
            np.ones((2, 2), np.float32)[:, :0],
            np.array(3, np.float32),
        ):
            got = of_view("relu", "x", Device(), view_of(array), array.dtype, None)
            assert got.flat.address == array.ctypes.data
            assert got.shape == array.shape
            assert got.writeable

    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def test_gaps_and_turned_axes_equal_numpy(self, data: st.DataObject) -> None:
        from interpreted import Interpreted

        from cnnlite_kernels.cuda.ops.contiguous import contiguous

        axes = data.draw(st.integers(1, 6))
        whole = tuple(data.draw(st.integers(1, 4)) for _ in range(axes))
        dtype = data.draw(st.sampled_from([np.float32, np.float64, np.int32, np.int64]))
        memory = np.arange(np.prod(whole)).astype(dtype)
        array = memory.reshape(whole)
        array = array[tuple(slice(None, None, data.draw(st.sampled_from([1, 2, -1, -2]))) for _ in whole)]
        array = array.transpose(data.draw(st.permutations(range(axes))))
        if data.draw(st.booleans()):
            array = np.broadcast_to(array, (2, *array.shape))
        start = (array.ctypes.data - memory.ctypes.data) // memory.itemsize
        strides = tuple(stride // memory.itemsize for stride in array.strides)
        got = contiguous(TestLayouts.device(Interpreted), memory, start, array.shape, strides)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, array.ravel())

    @staticmethod
    def device(kind: type, kept: list = []) -> Any:  # noqa: B006 - one interpreter, with the kernels it has parsed
        if not kept:
            kept.append(kind())
        return kept[0]

    def test_halves_are_not_copied(self) -> None:
        from cnnlite_kernels.cuda.array import of_view

        halves = np.ones((4, 4), np.float16)
        assert of_view("relu", "x", Device(), view_of(halves), halves.dtype, None).dtype == np.float16
        with pytest.raises(
            TypeError,
            match=r"^relu: expected x C-contiguous, or of a dtype of 4 or 8 bytes, got float16 in another layout; copy it first",
        ):
            of_view("relu", "x", Device(), view_of(halves.T[1:]), halves.dtype, None)

    def test_long_copies_are_cut(self) -> None:
        """Past 2^31 elements: the launches are looked at, not run."""
        from cnnlite_kernels.cuda.memory import Vector
        from cnnlite_kernels.cuda.ops.contiguous import _add
        from cnnlite_kernels.cuda.plan import Plan

        plan = Plan(Device())  # type: ignore[arg-type]
        x, y = (Vector(None, 0, 2**34, np.dtype(np.float32)) for _ in range(2))
        _add(plan, x, y, 0, (5, 2**30), (2**31, 2))
        starts = [launch.args[2] for launch in plan.launches]
        counts = [launch.args[3] for launch in plan.launches]
        assert starts == [0, 2**32, 2**33]
        assert counts == [2**31, 2**31, 2**30]
        assert [launch.args[1].address for launch in plan.launches] == [0, 2**33, 2**34]

    def test_views_with_gaps_come_in_by_their_addresses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from stand_in_driver import Driver

        from cnnlite_kernels.cuda import gpu
        from cnnlite_kernels.cuda.array import of_view

        driver = Driver()
        monkeypatch.setattr(gpu, "binary", driver.binary)
        device = gpu.Gpu(0, driver)
        there = device.empty(24, np.float32)
        device.upload(X.ravel(), there)
        memory = driver.array(there.address, 24, np.float32).reshape(X.shape)
        for array in (memory.T, memory[:, ::-1, ::2], memory[..., ::-1]):
            got = of_view("relu", "x", device, view_of(array), array.dtype, 9)
            assert not got.writeable
            np.testing.assert_array_equal(got.copy_to_host(), array)
            assert driver.streams.pop() == (device.stream, 9)  # the producer's stream waits for the copy

    def test_the_producers_stream_waits_for_the_op(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from stand_in_driver import Driver

        from cnnlite_kernels.cuda import gpu
        from cnnlite_kernels.cuda.array import of_view

        driver = Driver()
        monkeypatch.setattr(gpu, "binary", driver.binary)
        device = gpu.Gpu(0, driver)
        there = device.empty(24, np.float32)
        device.upload(X.ravel(), there)
        memory = driver.array(there.address, 24, np.float32).reshape(X.shape)
        y = kernels.relu(of_view("relu", "x", device, view_of(memory), memory.dtype, 9))
        assert driver.streams == [(device.stream, 9)]
        np.testing.assert_array_equal(y.copy_to_host(), np.maximum(X, 0))

    def test_an_array_begins_where_its_elements_can(self) -> None:
        from cnnlite_kernels.cuda.array import of_view

        view = view_of(X)
        view.ptr += 2
        with pytest.raises(
            ValueError,
            match=r"^relu: expected x to begin at a multiple of 4 bytes, got address 0x.*; copy it first",
        ):
            of_view("relu", "x", Device(), view, X.dtype, None)


class Tensor:
    """A tensor of another library on a GPU, whose memory is the stand-in's."""

    device = "cuda:0"

    def __init__(self, memory: np.ndarray, problem: str | None = None) -> None:
        self.memory, self.problem = memory, problem

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, 0


class Differentiable(Tensor):
    """As PyTorch's with requires_grad."""

    @property
    def __cuda_array_interface__(self) -> Any:
        raise RuntimeError("it requires grad")


class Streaming(Tensor):
    """As CuPy's, which name their stream."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"stream": 9, "data": (self.memory.ctypes.data, False)}


class TestAdopted:
    """Tensors on a GPU come in by cuda.core, here a stand-in too: which streams wait for which."""

    @pytest.fixture
    def driver(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        pytest.importorskip("numba_cuda", reason="numba-cuda is not installed", exc_type=ImportError)
        from stand_in_driver import Driver

        from cnnlite_kernels.cuda import gpu

        driver = Driver()
        monkeypatch.setattr(gpu, "binary", driver.binary)
        self.device = gpu.Gpu(0, driver)
        monkeypatch.setattr(gpu, "current", lambda number=0: self.device)

        class View:
            @staticmethod
            def from_any_interface(value: Tensor, stream_ptr: int) -> Any:
                assert driver.contexts  # it makes an event
                assert stream_ptr == self.device.stream
                if value.problem:
                    raise BufferError(value.problem)
                return SimpleNamespace(**vars(view_of(value.memory)), dtype=value.memory.dtype)

        monkeypatch.setattr("cuda.core.utils.StridedMemoryView", View)
        return driver

    def memory(self, driver: Any) -> np.ndarray:
        there = self.device.empty(24, np.float32)
        self.device.upload(X.ravel(), there)
        self.kept = there
        return driver.array(there.address, 24, np.float32).reshape(X.shape)

    def test_the_stream_that_a_library_names_waits(self, driver: Any) -> None:
        y = kernels.relu(Streaming(self.memory(driver)))
        assert driver.streams == [(self.device.stream, 9)]
        np.testing.assert_array_equal(y.copy_to_host(), np.maximum(X, 0))

    @pytest.mark.parametrize("turned", [False, True])
    def test_where_no_stream_is_known_the_host_waits(self, driver: Any, turned: bool) -> None:
        memory = self.memory(driver)
        driver.calls.clear()
        y = kernels.relu(Tensor(memory.T if turned else memory))
        assert "cuStreamSynchronize" in driver.calls
        assert driver.streams == []
        np.testing.assert_array_equal(y.copy_to_host(), np.maximum(memory.T if turned else memory, 0))

    @pytest.mark.parametrize("stream", [0, 11])
    def test_pytorch_is_asked_for_its_stream(
        self, driver: Any, stream: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        def current_stream(device: str) -> Any:
            asked.append(device)
            return SimpleNamespace(cuda_stream=stream)

        torch = SimpleNamespace(Tensor=Tensor, cuda=SimpleNamespace(current_stream=current_stream))
        monkeypatch.setitem(sys.modules, "torch", torch)
        memory = self.memory(driver)
        driver.calls.clear()
        kernels.relu(Tensor(memory))
        assert asked == ["cuda:0"]
        # the default stream is in order with ours by itself
        assert driver.streams == ([(self.device.stream, stream)] if stream else [])
        assert "cuStreamSynchronize" not in driver.calls

    def test_tensors_with_gradients_are_refused(self, driver: Any) -> None:
        tensor = Differentiable(self.memory(driver), "tensors that require gradient, use detach()")
        assert on_gpu(tensor)
        with pytest.raises(
            TypeError,
            match=r"^relu: expected x as an array of numbers, got Differentiable \(tensors that require gradient, use detach",
        ):
            kernels.relu(tensor)

    def test_only_numbers_go_to_a_gpu(self, driver: Any) -> None:
        for wrong in (np.array([None]), np.array(["a"]), np.zeros(2, "M8[s]")):
            with pytest.raises(
                TypeError,
                match=r"^to_device: expected an array of numbers, got dtype .*; convert it with astype",
            ):
                kernels.to_device(wrong)


def test_tensors_on_the_cpu_that_are_not_given_away_are_refused() -> None:
    class Refusing:
        def __array__(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("call detach() first")

    with pytest.raises(
        TypeError,
        match=r"^relu: expected x as an array of numbers, got Refusing \(call detach\(\) first\)\.$",
    ):
        kernels.relu(Refusing())


@pytest.mark.skipif(missing() is None, reason="there is a GPU here")
def test_an_array_that_says_it_is_on_a_gpu_needs_one() -> None:
    told = {"shape": (3,), "typestr": "<f4", "data": (4096, False), "version": 3}
    with pytest.raises(
        RuntimeError, match=r"relu: expected a GPU for .*, but (no NVIDIA driver|numba-cuda|the NVIDIA)"
    ):
        kernels.relu(SimpleNamespace(__cuda_array_interface__=told))
