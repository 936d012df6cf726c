"""Every kernel of the catalogue compiles for every architecture, and to the types that it is written in."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections import Counter
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

import cnnlite_kernels.cuda
from cnnlite_kernels.cuda.catalogue import CATALOGUE, Entry
from cnnlite_kernels.cuda.kernel import Capability, Kernel
from tools.cuda_static.measure import DIALECTS
from tools.cuda_static.toolchain import architecture

entries = pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)


@entries
def test_a_kernel_compiles(entry: Entry) -> None:
    """For 8.0 and for 10.0: all from 7.5 to 9.0 get the same instructions, and 10.0 and 12.0 do, as the test below shows."""
    for capability in DIALECTS:
        look_at(entry, capability)


@pytest.mark.exhaustive
@entries
def test_a_kernel_compiles_for_every_architecture(entry: Entry) -> None:
    for capability in entry.capabilities:
        look_at(entry, capability)


FAMILIES = list({entry.family: entry for entry in reversed(CATALOGUE)}.values())


TELLING = ("ld", "st", "bar", "cp", "mma", "ldmatrix", "shfl", "fma")  # and whatever works on floats


@pytest.mark.parametrize("entry", FAMILIES, ids=lambda entry: entry.name)
def test_architectures_of_a_dialect_get_the_same_instructions(entry: Entry) -> None:
    """So that one of each dialect need be compiled: the first kernel of every family, for all that it is for.

    How nvvm writes addresses changes from run to run, whatever the architecture; the rest does not.
    """
    kernel, told = entry.make(), {}
    for capability in entry.capabilities:
        ptx = kernel.ptx(capability, np.dtype(entry.dtype))
        opcodes = re.findall(r"^\s*(?:@!?%p\d+\s+)?([a-z]\w*(?:\.\w+)*)\s[^;]*;", ptx, re.MULTILINE)
        found = Counter(
            opcode
            for opcode in opcodes
            if opcode.split(".")[0] in TELLING or re.search(r"\.f(16|32|64)", opcode)
        )
        assert found == told.setdefault(capability >= (10, 0), found)


def look_at(entry: Entry, capability: Capability) -> None:
    """The PTX is for the architecture, and has neither calls nor doubles that nobody meant."""
    kernel = entry.make()
    ptx = kernel.ptx(capability, np.dtype(entry.dtype))
    assert f".target {architecture(capability)}" in ptx
    assert f".maxntid {kernel.threads}" in ptx
    assert not re.search(r"^\s*\.extern \.func", ptx, re.MULTILINE), "it calls what only a library has"
    doubles = {line for line in re.findall(r"^\s*(?:@!?%p\d+\s+)?(\w+\.\S*f64\S*)", ptx, re.MULTILINE)}
    if entry.dtype == np.float32 and not entry.budget.doubles:
        assert not doubles, "a double costs 32 or 64 times a float"


def test_names_are_unique() -> None:
    names = [entry.name for entry in CATALOGUE]
    assert len(set(names)) == len(names)


def modules() -> list[ModuleType]:
    root = cnnlite_kernels.cuda
    found = pkgutil.walk_packages(root.__path__, root.__name__ + ".")
    return [import_module(one.name) for one in found]


def test_the_catalogue_has_every_kernel() -> None:
    """Kernels of a module, and at least one of each factory: a cached function that is annotated to give a Kernel."""
    code = {entry.make().body.__code__ for entry in CATALOGUE}
    missing = []
    for module in modules():
        for name, value in vars(module).items():
            if isinstance(value, Kernel):
                there = value.body.__code__ in code
            elif _is_factory(module, value):
                there = not code.isdisjoint(value.__wrapped__.__code__.co_consts)
            else:
                continue
            if not there:
                missing.append(f"{module.__name__}.{name}")
    assert not missing


def _is_factory(module: ModuleType, value: Any) -> bool:
    function = getattr(value, "__wrapped__", None)
    if not inspect.isfunction(function) or function.__module__ != module.__name__:
        return False
    return function.__annotations__.get("return") in ("Kernel", Kernel)
