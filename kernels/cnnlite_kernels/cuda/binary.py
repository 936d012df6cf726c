"""From a kernel to machine code for one GPU: PTX by numba-cuda, assembled by nvJitLink, kept on disk.

Numba's own cache is not used, for the reasons that cpu/jit.py gives. What is kept here is machine code and nothing that Python would
run: a digest of every kernel source and of the versions names the folder (cpu/disk.py), a hash of the kernel, its variant and the
GPU's capability names the file, a checksum stands at its head, and whatever fails to load is compiled again.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnlite_kernels.cpu import disk, jit
from cnnlite_kernels.cuda.driver import GpuError
from cnnlite_kernels.cuda.kernel import Capability, Kernel

CHECKSUM_BYTES = hashlib.sha256().digest_size
PACKAGES = ("numba-cuda", "cuda-bindings", "nvidia-nvvm", "nvidia-nvjitlink", "nvidia-nvjitlink-cu12")


class Binary(NamedTuple):
    """What the driver loads, a cubin or else PTX, and the name of the kernel in it."""

    image: bytes
    entry: str


def binary(kernel: Kernel, dtype: np.dtype, capability: Capability) -> Binary:
    """The kernel for a GPU of that compute capability: from the disk, or compiled and kept there.

    Raises:
        GpuError: it is not on the disk, and what compiles is not installed.
    """
    identity = kernel.identity(dtype)
    key = f"{identity} sm_{capability[0]}{capability[1]}".encode()
    file = _file(kernel.name, key) if identity else None
    found = _read(file, key) if file else None
    if found is None:
        for tell in tuple(jit.compile_started):
            tell(f"cuda.{kernel.name}")
        try:
            ptx = kernel.ptx(capability, dtype)
        except (ImportError, OSError, RuntimeError) as problem:
            raise GpuError(
                f"kernel {kernel.name} cannot be compiled for the GPU ({problem}); "
                'pip install "cnnlite[cuda]" (CUDA 12: "cnnlite[cuda12]")'
            ) from problem
        found = Binary(assemble(ptx, capability), kernel.entry(ptx))
        if file:
            _write(file, key, found)
    return found


def assemble(ptx: str, capability: Capability) -> bytes:
    """The cubin of a PTX. Where nvJitLink is missing or does not know the GPU it is the PTX itself, which the driver then assembles."""
    try:
        from cuda.bindings import nvjitlink
    except ImportError:
        return ptx.encode() + b"\0"
    text = ptx.encode()
    try:
        linker = nvjitlink.create(1, [f"-arch=sm_{capability[0]}{capability[1]}"])
    except (nvjitlink.nvJitLinkError, RuntimeError) as problem:
        disk.log(f"nvJitLink does not start ({problem}); the driver assembles instead")
        return text + b"\0"
    try:
        nvjitlink.add_data(linker, nvjitlink.InputType.PTX, text, len(text), "kernel")
        nvjitlink.complete(linker)
        image = bytearray(nvjitlink.get_linked_cubin_size(linker))
        nvjitlink.get_linked_cubin(linker, image)
        return bytes(image)
    except nvjitlink.nvJitLinkError as problem:
        disk.log(f"nvJitLink failed ({problem}); the driver assembles instead")
        return text + b"\0"
    finally:
        nvjitlink.destroy(linker)


@functools.cache
def _options() -> str:
    """All that machine code depends on beside the sources and what disk.digest names anyway."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"cuda {versions}"


def _file(name: str, key: bytes) -> Path | None:
    folder = disk.folder(_options())
    if folder is None or disk.sources_changed():
        return None
    return folder / f"cuda.{name}-{hashlib.sha256(key).hexdigest()[:16]}.bin"


def _checksum(key: bytes, payload: bytes) -> bytes:
    """Of the key too: a file under a wrong name is not loaded."""
    return hashlib.sha256(key + payload).digest()


def _read(file: Path, key: bytes) -> Binary | None:
    try:
        content = disk.read_trusted(file)
    except FileNotFoundError:
        return None
    except OSError as problem:
        disk.log(f"{file.name} could not be read ({problem!r}) and is compiled again")
        return None
    checksum, payload = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
    if not payload or _checksum(key, payload) != checksum:
        disk.log(f"{file.name} is damaged and is compiled again")
        return None
    entry, _, image = payload.partition(b"\n")
    return Binary(image, entry.decode())


def _write(file: Path, key: bytes, found: Binary) -> None:
    payload = found.entry.encode() + b"\n" + found.image
    try:
        disk.write_atomically(file, _checksum(key, payload) + payload)
    except OSError as problem:  # a full disk must not stop a network from training
        disk.log(f"{file.name} could not be saved ({problem!r})")
