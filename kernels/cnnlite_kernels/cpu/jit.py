"""How kernels are compiled and kept on disk: every jit option is decided here, nowhere else.

A kernel is written as a factory: a function of a few integers (tile rows, vectors, bytes of a number) that
returns the body. `Kernel.address(*integers)` compiles the body when it is first needed and returns the
address of machine code with the plan's one C signature, `void (int64 *bases, descriptor *d)`. Importing this
file compiles nothing.

Numba's own disk cache is not used: two processes that compile variants of one function at once can be handed
each other's code, it ignores other files and options, and a damaged file raises. Here a digest of every
kernel source, of the versions and of the options names the folder (disk.py), a hash of the kernel and its
integers names the file, a checksum stands at the head of the file, writes are atomic, and whatever fails to
load is compiled again.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
from numba import types
from numba.core import caching, compiler, serialize
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from cnnlite_kernels.cpu import disk

# `contract` lets a * b + c become one FMA. Nothing here may assume that there is no NaN or infinity.
OPTIONS = {"error_model": "numpy", "fastmath": {"contract"}}
CHECKSUM_BYTES = hashlib.sha256().digest_size

# A fork while another thread compiles would leave the child with a lock that nobody releases.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )

compile_started: list[Callable[[str], None]] = []
"""Functions told the name of each kernel that has to be compiled because no cache holds it."""
compile_seconds: dict[str, float] = {}
"""What this process compiled, and how long each took: empty when the cache held everything."""


class Kernel:
    """A kernel compiled on demand, once for each tuple of integers it is asked for.

    Args:
        factory: function of integers that returns the body, a function of (bases, d).
        descriptor: structured dtype of the record `d` points to.
    """

    def __init__(self, factory: Callable, descriptor: np.dtype) -> None:
        self.factory = factory
        self.descriptor = descriptor
        self.name = f"{factory.__module__.rpartition('.')[2]}.{factory.__name__}"
        self._compiled: dict[tuple[int, ...], CFunc] = {}
        self._lock = threading.RLock()

    def compiled(self, *integers: int) -> CFunc:
        """The compiled body for these integers (`.address`, `.inspect_llvm()`)."""
        found = self._compiled.get(integers)
        if found is None:
            with global_compiler_lock, self._lock:
                found = self._compiled.get(integers)
                if found is None:
                    found = _load_or_compile(self, integers)
                    self._compiled[integers] = found
        return found

    def address(self, *integers: int) -> int:
        """Where the compiled body begins."""
        return self.compiled(*integers).address  # type: ignore[return-value]


def kernel(descriptor: np.dtype) -> Callable[[Callable], Kernel]:
    """Decorator that makes a `Kernel` of a factory.

    `@kernel(DESCRIPTOR) def scale(item): def body(bases, d): ...; return body`
    """
    return lambda factory: Kernel(factory, descriptor)


def _load_or_compile(wanted: Kernel, integers: tuple[int, ...]) -> CFunc:
    body = wanted.factory(*integers)
    signature = types.void(types.CPointer(types.int64), types.CPointer(numba.from_dtype(wanted.descriptor)))
    function = CFunc(body, (signature.args, signature.return_type), locals={}, options=dict(OPTIONS))
    name = "-".join([wanted.name, *map(str, integers)])
    function._cache = DiskCache(name, _identity(wanted, integers))  # type: ignore[attr-defined]
    function.compile()
    return function


def _identity(wanted: Kernel, integers: tuple[int, ...]) -> bytes | None:
    """All that a kernel depends on beside what `disk.digest` covers; None where it cannot be told."""
    factory = wanted.factory
    if "<locals>" in factory.__qualname__:  # it may hold values that nothing here can name
        return None
    own_source = b""
    if factory.__module__.partition(".")[0] != __name__.partition(".")[0]:
        try:
            own_source = hashlib.sha256(Path(factory.__code__.co_filename).read_bytes()).digest()
        except OSError:  # written at a prompt or in a notebook
            return None
    target = cpu_target.target_context.codegen().magic_tuple()
    named = (factory.__module__, factory.__qualname__, factory.__code__.co_firstlineno)
    return repr((named, integers, str(wanted.descriptor), target, own_source)).encode()


class DiskCache(caching._Cache):
    """One file per compiled kernel in the folder of this exact set of sources, versions and options."""

    cache_path = property(lambda self: str(folder()))

    def __init__(self, name: str, identity: bytes | None) -> None:
        self.name = name
        self._identity = identity
        self._started = 0.0

    def _file(self) -> Path | None:
        where = folder()
        if where is None or self._identity is None or disk.sources_changed():
            return None
        return where / f"{self.name}-{hashlib.sha256(self._identity).hexdigest()[:16]}.bin"

    def _checksum(self, payload: bytes) -> bytes:
        """Of the identity too: a file under a wrong name is not loaded."""
        return hashlib.sha256((self._identity or b"") + payload).digest()

    def load_overload(self, sig, target_context):
        target_context.refresh()
        file = self._file()
        try:
            content = disk.read_trusted(file) if file else b""
            checksum, payload = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
            if payload and self._checksum(payload) == checksum:
                return compiler.CompileResult._rebuild(target_context, *pickle.loads(payload))
            if file:
                disk.log(f"{file.name} is damaged and is compiled again")
        except FileNotFoundError:
            pass
        except Exception as problem:  # whatever is wrong with the file, compiling again mends it
            disk.log(f"{self.name} could not be loaded ({problem!r}) and is compiled again")
        self._started = time.perf_counter()
        for tell in tuple(compile_started):
            tell(self.name)
        return None

    def save_overload(self, sig, data) -> None:
        compile_seconds[self.name] = time.perf_counter() - self._started
        file = self._file()
        if file is None or data.library.has_dynamic_globals:
            return
        try:
            payload = serialize.dumps(data._reduce())
            disk.write_atomically(file, self._checksum(payload) + payload)
        except Exception as problem:  # a full disk must not stop a network from training
            disk.log(f"{self.name} could not be saved ({problem!r})")

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...


def folder() -> Path | None:
    """The cache folder, or None where there is none that is safe to use (see `disk.folder`)."""
    return disk.folder(repr(sorted(OPTIONS.items())))
