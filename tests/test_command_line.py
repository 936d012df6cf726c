"""python -m cnnlite: what it prints, never how fast anything was."""

from __future__ import annotations

import ctypes
import importlib.util
import io
import subprocess
import sys

import pytest
import runtime_programs
from runtime_kernels import again, answer, variant

from cnnlite import __main__, devices, gpus, tune, warmup
from cnnlite_kernels import costs, dispatch
from cnnlite_kernels.cpu import disk, jit
from cnnlite_kernels.cuda import driver as nvidia


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNLITE_CACHE_DIR", str(tmp_path))
    disk.folder.cache_clear()
    yield tmp_path
    disk.folder.cache_clear()


@pytest.fixture
def two_steps(monkeypatch):
    """Two kernels in place of all that there are."""
    told: list[str] = []

    def steps(dtype):
        told.append(dtype)
        return [
            warmup.Step("first", lambda: answer(again(variant), 3)),
            warmup.Step("second", lambda: answer(again(variant), 4)),
        ]

    monkeypatch.setattr(warmup, "steps", steps)
    return told


def test_warmup_tells_what_it_compiles_and_where_it_is(empty_cache, two_steps, capsys):
    __main__.main(["warmup"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "first, float32"
    assert lines[1].split()[0] == "runtime_kernels.variant-3"
    assert lines[1].endswith(" s")
    assert lines[2] == "second, float32"
    assert lines[3].split()[0] == "runtime_kernels.variant-4"
    assert lines[4].startswith("2 kernels compiled, ")
    assert lines[5] == f"Cache: {jit.folder()}"
    assert two_steps == ["float32"]


def test_warmup_a_second_time_finds_everything(empty_cache, two_steps):
    assert warmup.warm_up(out=io.StringIO()) == 2
    out = io.StringIO()
    assert warmup.warm_up(out=out) == 0
    assert "Nothing had to be compiled, " in out.getvalue()


def test_warmup_for_float64_too(empty_cache, two_steps, capsys):
    __main__.main(["warmup", "--float64"])
    assert two_steps == ["float32", "float64"]
    assert "second, float64" in capsys.readouterr().out


def test_warmup_without_a_cache_says_so(empty_cache, two_steps, monkeypatch, capsys):
    monkeypatch.setenv("CNNLITE_CACHE_DIR", "none")
    __main__.main(["warmup"])
    assert "There is no cache, so they are lost: CNNLITE_CACHE_LOG=1 says why." in capsys.readouterr().out


def test_after_warmup_the_documented_network_compiles_nothing():
    out = io.StringIO()
    warmup.warm_up(out=out)
    assert all(step.name in out.getvalue() for step in warmup.steps("float32"))
    assert runtime_programs.run("documented_network") == {"compiled": []}


def test_devices_says_what_there_is():
    program = [sys.executable, "-m", "cnnlite", "devices"]
    environment = runtime_programs.environment_with()
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120, check=True)
    names = [line[:8].strip() for line in done.stdout.splitlines()]
    assert names[:7] == ["CPU", "cores", "vectors", "threads", "speed", "cache", "GPU"]
    assert "GFLOP/s in float32 on one thread" in done.stdout
    assert done.stderr == ""


def test_the_measured_speed_is_a_speed():
    assert 0.1 < devices.fma_peak() < 10_000


def test_the_processor_has_a_name():
    assert devices.processor_name()


class Driver:
    """NVIDIA's driver, with these devices, or this error when it starts."""

    def __init__(self, *names: bytes, error: int = 0):
        self._names, self._error = names, error

    def cuInit(self, flags):
        return self._error

    def cuDeviceGetCount(self, count):
        count._obj.value = len(self._names)
        return 0

    def cuDeviceGet(self, device, number):
        device._obj.value = number
        return 0

    def cuDeviceGetName(self, text, size, device):
        text.value = self._names[device.value]
        return 0 if text.value else 1

    def cuDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = {nvidia.MAJOR: 9, nvidia.MINOR: 0, nvidia.MULTIPROCESSORS: 132}[attribute]
        return 0

    def cuDeviceTotalMem_v2(self, memory, device):
        memory._obj.value = 80 << 30
        return device.value


def with_driver(monkeypatch, driver) -> None:
    def load(name):
        if driver is None:
            raise OSError(f"{name}: cannot open shared object file")
        return driver

    monkeypatch.setattr(ctypes, "CDLL", load)


@pytest.fixture(autouse=True)
def asked_anew():
    """Whether there is a GPU is asked again."""
    dispatch._state.cache_clear()
    yield
    dispatch._state.cache_clear()


def test_gpus_are_listed(monkeypatch):
    with_driver(monkeypatch, Driver(b"NVIDIA A", b""))
    monkeypatch.setattr(dispatch, "why_not", lambda: None)
    monkeypatch.setattr(costs, "current", lambda: (costs.defaults(), "measured on A"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert nvidia.gpu_names() == ["NVIDIA A", "device 1"]
    assert gpus.describe_gpus() == [
        "0: NVIDIA A, compute capability 9.0, 132 multiprocessors, 80 GiB",
        "1: device 1, compute capability 9.0, 132 multiprocessors, ? GiB",
        'device="auto" picks by constants that are measured on A',
    ]


def test_a_gpu_that_cannot_be_used_says_why(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with_driver(monkeypatch, Driver(b"NVIDIA A"))
    monkeypatch.setattr(dispatch, "why_not", lambda: "it is too old")
    assert gpus.describe_gpus()[1:] == ["cannot be used: it is too old"]


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        (None, "no NVIDIA driver here .* is not found.; install it"),
        (object(), "the NVIDIA driver here is damaged .* lacks its functions.; install it again"),
        (Driver(error=100), "the NVIDIA driver finds no device"),
        (Driver(), "the NVIDIA driver finds no device; in a container, start it with --gpus all"),
        (
            Driver(error=3),
            "this process was forked from one that used a GPU; start it with multiprocessing's spawn",
        ),
        (Driver(error=803), r"the NVIDIA driver does not start \(CUDA error 803\); nvidia-smi says more"),
    ],
)
def test_what_is_missing_is_named(monkeypatch, driver, message):
    with_driver(monkeypatch, driver)
    with pytest.raises(nvidia.GpuError, match=message):
        nvidia.gpu_names()
    assert gpus.describe_gpus()[0].startswith("none: ")


@pytest.mark.parametrize("there", [True, False])
def test_a_missing_package_is_named(monkeypatch, there):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if there else None)
    told = [line for line in gpus.describe_gpus() if 'pip install "cnnlite[cuda]"' in line]
    assert len(told) == (0 if there else 1)


def test_tune_without_a_gpu_says_what_is_missing(monkeypatch):
    with_driver(monkeypatch, None)
    with pytest.raises(SystemExit) as stopped:
        __main__.main(["tune"])
    assert str(stopped.value).startswith('nothing to tune: device="auto" always takes the CPU here, for ')
    assert "install" in str(stopped.value)


def test_tune_measures_and_keeps(empty_cache, monkeypatch):
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed", exc_type=ImportError)
    from interpreted import Interpreted

    device = Interpreted()
    device.name = "Interpreter"
    monkeypatch.setattr(dispatch, "why_not", lambda: None)
    monkeypatch.setattr(dispatch, "gpu", lambda name, wanted: device)
    small = tune.Sizes(cpu_side=16, gpu_side=16, long=1000, rounds=1, calls=1)
    monkeypatch.setattr(tune, "Sizes", lambda: small)
    costs.current.cache_clear()
    out = io.StringIO()
    measured = tune.tune(out)
    assert all(0 < value < float("inf") for value in measured)
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert [line[0] for line in lines[:-1]] == list(costs.Costs._fields)
    assert {line[-1] for line in lines[:-1]} == {"GFLOP/s", "GB/s", "us"}
    assert lines[-1] == ["Kept", "in", str(costs.path())]
    assert costs.current() == (measured, "measured on Interpreter")
    monkeypatch.setenv("CNNLITE_CACHE_DIR", "none")
    disk.folder.cache_clear()
    out = io.StringIO()
    tune.tune(out)
    assert "Not kept: there is no cache folder" in out.getvalue()
    costs.current.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "invalid choice: 'nonsense' (choose from"),
        ([], "the following arguments are required: COMMAND"),
        (["warmup", "--float16"], "unrecognized arguments: --float16"),
    ],
)
def test_what_is_not_understood_is_named(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        __main__.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "word"), [(["--help"], "warmup"), (["warmup", "--help"], "--float64")])
def test_help(capsys, arguments, word):
    with pytest.raises(SystemExit) as stopped:
        __main__.main(arguments)
    assert stopped.value.code == 0
    assert word in capsys.readouterr().out
