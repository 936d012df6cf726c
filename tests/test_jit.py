"""Compiling on demand: when, under which options, and that two kernels are never taken for each other."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import runtime_programs
from numba import carray
from runtime_kernels import NUMBER, OUT, again, answer, gather, scatter, variant

from cnnlite_kernels.cpu import disk, jit
from cnnlite_kernels.cpu.host import Host, host
from cnnlite_kernels.cpu.memory import BASES, INT64, Base, array_at


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNLITE_CACHE_DIR", str(tmp_path))
    disk.folder.cache_clear()
    yield
    disk.folder.cache_clear()


@pytest.fixture
def compiled(monkeypatch):
    """The names of the kernels that had to be compiled, as they are."""
    names: list[str] = []
    monkeypatch.setattr(jit, "compile_started", [names.append])
    return names


def test_nothing_is_compiled_before_it_is_needed(compiled):
    one = again(variant)
    assert compiled == []
    assert one.address(3) == one.address(3)
    assert compiled == ["runtime_kernels.variant-3"]


def test_each_tuple_of_integers_is_its_own_code(compiled):
    one = again(variant)
    assert [answer(one, value) for value in (1, 2, -1)] == [1001, 1002, 999]
    assert one.address(1) != one.address(2)
    assert len(compiled) == 3


def test_everybody_who_asked_is_told(monkeypatch):
    first: list[str] = []
    second: list[str] = []
    monkeypatch.setattr(jit, "compile_started", [first.append, second.append])
    answer(again(variant), 3)
    assert first == second == ["runtime_kernels.variant-3"]


def test_a_listener_that_fails_leaves_things_usable(monkeypatch):
    def stop(name):
        raise KeyboardInterrupt

    one = again(variant)
    monkeypatch.setattr(jit, "compile_started", [stop])
    with pytest.raises(KeyboardInterrupt):
        answer(one, 3)
    monkeypatch.setattr(jit, "compile_started", [])
    assert answer(one, 3) == 1003


def _twin(step):
    """Kernels of one name, from one line, with other code."""

    @jit.kernel(NUMBER)
    def twin(value):
        def body(bases, d):
            bases = carray(bases, BASES)
            array_at(bases[OUT], 1, INT64)[0] = carray(d, 1)[0].number + value + step

        return body

    return twin


def test_kernels_of_one_name_are_told_apart():
    hundred, thousand = _twin(100), _twin(1000)
    assert hundred.name == thousand.name
    assert answer(hundred, 3) == 1103
    assert answer(thousand, 3) == 2003
    assert answer(again(hundred), 3) == 1103


def test_kernels_of_one_name_are_told_apart_by_module_place_and_descriptor(monkeypatch):
    seen = {jit._identity(again(variant), integers) for integers in ((3,), (4,), (3, 4))}
    other = again(variant)
    other.descriptor = np.dtype([("number", np.int32)])
    seen.add(jit._identity(other, (3,)))
    for module, name, line in (
        ("elsewhere", "factory", 1),
        ("elsewhere", "factory", 2),
        ("elsewhere", "twin", 1),
    ):
        other.factory = _Elsewhere(__file__, module, name, line)
        seen.add(jit._identity(other, (3,)))
    assert len(seen) == 7
    assert None not in seen


def test_the_file_of_a_kernel_from_elsewhere_counts(monkeypatch, tmp_path):
    source = tmp_path / "kernel.py"
    one = again(variant)
    seen = set()
    for text in ("one version", "another version"):
        source.write_text(text)
        monkeypatch.setattr(one, "factory", _Elsewhere(source))
        seen.add(jit._identity(one, (3,)))
    assert len(seen) == 2
    assert None not in seen


class _Elsewhere:
    """As much of a factory as its identity looks at, from any file."""

    def __init__(self, source, module="elsewhere", name="factory", line=1):
        self.__module__, self.co_filename, self.co_firstlineno = module, source, line
        self.__code__ = self
        self.__qualname__ = name


def test_a_kernel_without_a_file_is_not_kept(compiled, monkeypatch, tmp_path):
    monkeypatch.setattr(jit, "_identity", lambda wanted, integers: None)
    assert answer(again(variant), 3) == answer(again(variant), 3) == 1003
    assert len(compiled) == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_kernel_written_at_a_prompt_has_no_identity(monkeypatch):
    one = again(variant)
    monkeypatch.setattr(one, "factory", _Elsewhere("<stdin>"))
    assert jit._identity(one, (3,)) is None


def test_no_option_assumes_that_there_is_no_nan():
    words = set((scatter.compiled().inspect_llvm() + gather.compiled().inspect_llvm()).split())
    assert "contract" in words
    assert not words & {"nnan", "ninf", "nsz", "arcp", "afn", "fast", "reassoc"}


def test_division_does_not_raise():
    assert jit.OPTIONS["error_model"] == "numpy"


def test_the_code_has_the_plans_signature():
    out, bases, descriptor = np.zeros(1, np.int64), np.zeros(BASES, np.int64), np.zeros(1, NUMBER)
    bases[Base.OUT] = out.ctypes.data
    call = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_int64), ctypes.c_void_p)(again(variant).address(7))
    call(bases.ctypes.data_as(ctypes.POINTER(ctypes.c_int64)), descriptor.ctypes.data)
    assert out[0] == 7


def test_host_is_one_of_the_known_kinds():
    assert host() in (
        Host(64, 32),
        Host(64, 32, "avx512"),
        Host(64, 32, "amx"),
        Host(32, 16),
        Host(16, 16),
        Host(16, 32),
    )
    assert host().lanes(4) == 2 * host().lanes(8) == host().vector_bytes // 4


def test_importing_the_packages_imports_no_compiler():
    modules = runtime_programs.run("imports", "cnnlite", "cnnlite_kernels")["modules"]
    assert "cnnlite_kernels" in modules
    assert not [name for name in modules if name.partition(".")[0] in ("numba", "llvmlite", "numba_cuda")]


def test_importing_the_kernels_compiles_nothing_and_no_cuda():
    found = runtime_programs.run("cpu_imports")
    assert found["compiled"] == []
    assert "cnnlite_kernels.cpu.conv2d" in found["modules"]
    # Numba itself knows a stub of numba.cuda; the driver's modules are what costs.
    assert not [name for name in found["modules"] if name.startswith(("numba_cuda", "numba.cuda.cudadrv"))]
