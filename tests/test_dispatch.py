"""Which device an op runs on, what is said where it is not there, and that without a GPU, or with a broken one, nothing is lost."""

from __future__ import annotations

import _ctypes
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runtime_programs

import cnnlite_kernels as kernels
from cnnlite_kernels import dispatch
from cnnlite_kernels.cuda import driver

X = np.ones((2, 8, 8, 4), np.float32)
W = np.ones((3, 3, 4, 6), np.float32)
A = np.ones((3, 4), np.float32)
B = np.ones((4, 5), np.float32)


class Remote:
    """An array in a GPU's memory."""

    __cuda_array_interface__ = None


@pytest.fixture
def without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if driver.missing() is None:
        pytest.skip("there is a GPU")


@pytest.fixture(autouse=True)
def asked_anew():
    """Whether there is a GPU is asked again."""
    dispatch._state.cache_clear()
    yield
    dispatch._state.cache_clear()


@pytest.mark.parametrize("device", [None, "auto", "cpu"])
def test_devices_that_are_the_cpu(device: str | None) -> None:
    assert kernels.matmul(A, B, device=device).shape == (3, 5)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CPU", 0, "cpu:0", "cuda\n", True, b"cuda"])
def test_unknown_device(device: object) -> None:
    with pytest.raises(
        ValueError, match=r'^matmul: expected device None, "auto", "cpu", "cuda" or "cuda:N", got '
    ):
        kernels.matmul(A, B, device=device)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_without_numba_cuda_says_how_to_install_it(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        RuntimeError,
        match=rf'^relu: expected a GPU for device "{device}", but .* is not installed; .*pip install "cnnlite\[cuda\]"',
    ):
        kernels.relu(A, device=device)
    with pytest.raises(
        RuntimeError, match=r"^relu: expected a GPU for an operand on one, but numba-cuda is not"
    ):
        kernels.relu(Remote())
    assert dispatch.why_not() is not None
    assert kernels.relu(A, device="auto").shape == A.shape


def test_cuda_says_what_is_missing(without_a_gpu: None) -> None:
    for call in (
        lambda: kernels.conv2d(X, W, device="cuda"),
        lambda: kernels.to_device(X, "cuda:1"),
        lambda: dispatch.gpu("Sequential", "cuda"),
    ):
        with pytest.raises(
            RuntimeError, match=r'^\w+: expected a GPU for device "cuda.*", but .*; or pass device="cpu"\.$'
        ):
            call()


def test_an_operand_in_a_gpus_memory_chooses_the_gpu(without_a_gpu: None) -> None:
    with pytest.raises(RuntimeError, match=r"^max_pool2d: expected a GPU"):
        kernels.max_pool2d(Remote(), 2)
    with pytest.raises(RuntimeError, match=r"^conv2d: expected a GPU"):
        kernels.conv2d(X, W, Remote(), device="auto")
    with pytest.raises(ValueError, match=r'^relu: expected operands in the host.s memory for device "cpu"'):
        kernels.relu(Remote(), device="cpu")


@pytest.mark.parametrize("device", ["cpu", "cuda:x", "cudas", None, 0])
def test_to_device_takes_gpus_only(device: object) -> None:
    with pytest.raises(ValueError, match=r'^to_device: expected device "cuda" or "cuda:N", got '):
        kernels.to_device(X, device)  # type: ignore[arg-type]


def test_every_op_has_a_cpu_function() -> None:
    for op in dispatch.TABLE:
        assert callable(dispatch.find(op, "cpu"))


def test_only_auto_asks_for_a_gpu_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def missing() -> str:
        asked.append(1)
        return "this is a test"

    monkeypatch.setattr(dispatch, "missing", missing)
    kernels.relu(A)
    kernels.relu(A, device="cpu")
    assert asked == []
    kernels.relu(A, device="auto")
    kernels.matmul(A, B, device="auto")
    assert dispatch.why_not() == "this is a test"
    assert asked == [1]


def test_auto_takes_the_cpu_where_the_gpu_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError("something quite unexpected")

    monkeypatch.setattr(dispatch, "missing", lambda: None)
    monkeypatch.setattr(dispatch, "gpu", fail)
    assert kernels.relu(A, device="auto").shape == A.shape
    assert dispatch.why_not() == "something quite unexpected"


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A driver with a GPU that seems fit, for "auto" to find."""
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed", exc_type=ImportError)
    from stand_in_driver import Driver

    from cnnlite_kernels.cuda import gpu

    stand_in = Driver()
    device = gpu.Gpu(0, stand_in)
    monkeypatch.setattr(gpu, "binary", stand_in.binary)
    monkeypatch.setattr(gpu, "current", lambda number=0: device)
    monkeypatch.setattr(dispatch, "missing", lambda: None)
    return stand_in


def test_auto_tries_the_gpu_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_driver = stand_in(monkeypatch)
    for _ in range(3):
        assert dispatch.why_not() is None
    assert stand_in_driver.calls.count("cuLaunchKernel") == 1


@pytest.mark.parametrize("broken", ["cuModuleLoadData", "cuLaunchKernel"])
def test_auto_takes_the_cpu_where_no_kernel_runs(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    stand_in_driver = stand_in(monkeypatch)
    monkeypatch.setattr(stand_in_driver, broken, lambda *_: (209, None), raising=False)
    assert kernels.relu(A, device="auto").shape == A.shape
    assert "failed with 209" in str(dispatch.why_not())


def test_auto_takes_the_cpu_where_the_gpu_computes_nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_driver = stand_in(monkeypatch)
    monkeypatch.setattr(stand_in_driver, "cuLaunchKernel", lambda *_: (0,), raising=False)
    assert dispatch.why_not() == "cuda:0 computes wrong numbers"


def test_a_fork_asks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "missing", lambda: "one")
    assert dispatch.why_not() == "one"
    monkeypatch.setattr(dispatch, "missing", lambda: "two")
    assert dispatch.why_not() == "one"
    monkeypatch.setattr(dispatch.os, "getpid", lambda: -1)
    assert dispatch.why_not() == "two"


# processes of their own

USE_THE_CPU = """
import json, sys
import numpy as np
import cnnlite.models, cnnlite.layers, cnnlite_kernels as kernels
a = np.ones((3, 3), np.float32)
sums = [float(kernels.matmul(a, a, device=device).sum()) for device in (None, "cpu", "auto")]
model = cnnlite.models.Sequential([cnnlite.layers.Input((3,)), cnnlite.layers.Dense(2)])
model.predict(a)
said = ""
try:
    kernels.relu(a, device="cuda")
except RuntimeError as problem:
    said = str(problem)
print(json.dumps({"sums": sums, "said": said, "modules": sorted(sys.modules)}))
"""


def use_the_cpu(code: str = "", **environment: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", code + USE_THE_CPU],
        env=runtime_programs.environment_with(**environment),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["sums"] == [27, 27, 27]
    return found


def library(folder: Path, kind: str) -> None:
    """A file in the place of the driver."""
    file = folder / driver.DRIVER
    if kind == "garbage":
        file.write_bytes(b"\x7fELF but no more than that")
    elif kind == "empty":
        file.write_bytes(b"")
    else:
        shutil.copy(_ctypes.__file__, file)


@pytest.mark.skipif(sys.platform == "win32", reason="looks for the driver in LD_LIBRARY_PATH")
@pytest.mark.parametrize("kind", ["garbage", "empty", "another library"])
def test_a_broken_driver_does_not_break_the_cpu(kind: str, tmp_path: Path, without_a_gpu: None) -> None:
    library(tmp_path, kind)
    found = use_the_cpu(LD_LIBRARY_PATH=str(tmp_path))
    assert 'relu: expected a GPU for device "cuda"' in found["said"]


INIT_FAILS = """
import ctypes
class Broken:
    def cuInit(self, flags): return 999
class CDLL(ctypes.CDLL):
    def __new__(cls, name, *rest, **more):
        return Broken() if name == "libcuda.so.1" else super().__new__(cls)
ctypes.CDLL = CDLL
"""


def test_a_driver_that_does_not_start_does_not_break_the_cpu() -> None:
    found = use_the_cpu(INIT_FAILS)
    if importlib.util.find_spec("numba_cuda"):
        assert "the NVIDIA driver does not start (CUDA error 999); nvidia-smi says more" in found["said"]


NOT_INSTALLED = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "numba_cuda" else find(name, *rest)
"""


def test_the_cpu_never_imports_anything_of_cuda() -> None:
    found = use_the_cpu(NOT_INSTALLED)
    ours = {
        "cnnlite_kernels.cuda",
        *(f"cnnlite_kernels.cuda.{name}" for name in ("array", "dlpack", "driver", "precision")),
    }
    imported = {name for name in found["modules"] if name.startswith("cnnlite_kernels.cuda")}
    assert imported <= ours
    foreign = [
        name
        for name in found["modules"]
        if name.startswith(("numba_cuda", "cuda.", "numba.cuda.cudadrv", "torch", "cupy"))
    ]
    assert foreign == []
