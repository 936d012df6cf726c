"""Every kernel of the catalogue compiles for every architecture, and to the types that it is written in."""

from __future__ import annotations

import inspect
import pkgutil
import re
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

import cnnlite_kernels.cuda
from cnnlite_kernels.cuda.catalogue import CATALOGUE, Entry
from cnnlite_kernels.cuda.kernel import Capability, Kernel
from tools.cuda_static.toolchain import architecture

entries = pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)


@entries
def test_a_kernel_compiles(entry: Entry) -> None:
    """For its first architecture and for 10.0: all from 7.5 to 9.0 get the same PTX, and 10.0 and 12.0 do."""
    look_at(entry, entry.capabilities[0])
    look_at(entry, (10, 0))


@pytest.mark.slow
@entries
def test_a_kernel_compiles_for_every_architecture(entry: Entry) -> None:
    for capability in entry.capabilities:
        look_at(entry, capability)


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
