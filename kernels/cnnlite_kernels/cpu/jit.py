"""How kernels are compiled and kept on disk: every jit option, the cache and its folder are decided here, nowhere else.

A kernel is written as a factory: a function of a few integers (tile rows, vectors, bytes of a number) that returns the
body. `Kernel.address(*integers)` compiles the body when it is first needed and returns the address of machine code with
the plan's one C signature, `void (int64 *bases, descriptor *d)`. Importing this file compiles nothing.

Numba's own disk cache is not used: two processes that compile variants of one function at once can be handed each
other's code, it ignores other files and options, and a damaged file raises. Here a digest of every kernel source, of the
versions and of the options names the folder, a hash of the kernel and its integers names the file, a checksum stands at the
head of the file, writes are atomic, and whatever fails to load is compiled again.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import llvmlite
import numba
import numpy as np
from numba import types
from numba.core import caching, compiler, serialize
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

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
        return self.compiled(*integers).address


def kernel(descriptor: np.dtype) -> Callable[[Callable], Kernel]:
    """Decorator that makes a `Kernel` of a factory: `@kernel(DESCRIPTOR) def scale(item): def body(bases, d): ...`."""
    return lambda factory: Kernel(factory, descriptor)


def _load_or_compile(wanted: Kernel, integers: tuple[int, ...]) -> CFunc:
    body = wanted.factory(*integers)
    signature = types.void(
        types.CPointer(types.int64), types.CPointer(numba.from_dtype(wanted.descriptor))
    )
    function = CFunc(body, (signature.args, signature.return_type), locals={}, options=dict(OPTIONS))
    function._cache = DiskCache(f"{wanted.name}-{'-'.join(map(str, integers))}")
    function.compile()
    return function


class DiskCache(caching._Cache):
    """One file per compiled kernel in the folder of this exact set of sources, versions and options."""

    cache_path = property(lambda self: str(folder()))

    def __init__(self, name: str) -> None:
        self.name = name
        self._started = 0.0

    def _file(self) -> Path | None:
        where = folder()
        target = repr(cpu_target.target_context.codegen().magic_tuple())
        return where and where / f"{self.name}-{hashlib.sha256(target.encode()).hexdigest()[:16]}.bin"

    def load_overload(self, sig, target_context):
        target_context.refresh()
        file = self._file()
        try:
            content = file.read_bytes() if file else b""
            checksum, payload = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
            if payload and hashlib.sha256(payload).digest() == checksum:
                return compiler.CompileResult._rebuild(target_context, *pickle.loads(payload))
        except Exception as problem:  # whatever is wrong with the file, compiling again mends it
            _log(f"{self.name} could not be loaded ({problem!r}) and is compiled again")
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
            _write_atomically(file, hashlib.sha256(payload).digest() + payload)
        except Exception as problem:  # a full disk must not stop a network from training
            _log(f"{self.name} could not be saved ({problem!r})")

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...


def _write_atomically(file: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


def _log(message: str) -> None:
    if os.environ.get("CNNLITE_CACHE_LOG"):
        print(f"cnnlite kernel cache: {message}", file=sys.stderr)


@functools.cache
def digest() -> str:
    """Names everything compiled code depends on: the kernel sources, the versions and the options."""
    text = hashlib.sha256()
    text.update(repr((sys.version_info[:2], numba.__version__, llvmlite.__version__, OPTIONS)).encode())
    root = Path(__file__).resolve().parent.parent
    for source in sorted(root.rglob("*.py")):
        text.update(str(source.relative_to(root)).encode() + b"\0" + source.read_bytes())
    return text.hexdigest()[:24]


@functools.cache
def folder() -> Path | None:
    """The cache folder, private to the user (0700), or None when there is no place that can be written safely.

    `CNNLITE_CACHE_DIR` names another one; the value "none" turns the cache off.
    """
    asked = os.environ.get("CNNLITE_CACHE_DIR")
    if asked == "none":
        return None
    try:
        root = Path(asked) if asked else _user_cache()
        path = root / "kernels" / digest()
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if hasattr(os, "getuid"):
            status = path.stat()
            if status.st_uid != os.getuid():
                raise PermissionError(f"{path} belongs to another user")
            if stat.S_IMODE(status.st_mode) & 0o077:
                path.chmod(0o700)
        with tempfile.TemporaryFile(dir=path):
            return path
    except (OSError, RuntimeError) as problem:  # RuntimeError: no home directory at all
        _log(f"off, because its folder cannot be used ({problem})")
        return None


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "cnnlite"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "cnnlite"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cnnlite"
