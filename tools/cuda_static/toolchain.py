"""ptxas and nvdisasm: PTX in, the machine code and what it needs of a multiprocessor out."""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

PACKAGES = {"ptxas": "nvidia-cuda-nvcc", "nvdisasm": "nvidia-cuda-nvdisasm"}

_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_SHARED = re.compile(r"(\d+) bytes smem")
_TIME = re.compile(r"Compile time = ([\d.]+) ms")
_REFUSED = re.compile(r"Unsupported \.version ([\d.]+); current version is '([\d.]+)'")
_LARGE_SHARED = re.compile(r"uses too much shared data \((0x[0-9a-f]+) bytes, (0x[0-9a-f]+) max\)")


class Assembled(NamedTuple):
    """A kernel as ptxas made it for one architecture.

    Attributes:
        sass: what nvdisasm prints of it.
        registers: of a thread.
        shared: bytes of shared memory of a block that the kernel's text asks for.
        stack: bytes of local memory of a thread's frame; any is a fault here.
        spilled: bytes of instructions that store registers to local memory or load them again.
        seconds: that ptxas took.
    """

    sass: str
    registers: int
    shared: int
    stack: int
    spilled: int
    seconds: float


@functools.cache
def find(tool: str) -> str:
    """Where ptxas or nvdisasm is: in its wheel, or in an installed toolkit.

    Raises:
        RuntimeError: it is nowhere.
    """
    from cuda.pathfinder import find_nvidia_binary_utility

    try:
        path = find_nvidia_binary_utility(tool)
    except Exception as error:  # a name that this version does not know, and what it does not export
        raise RuntimeError(f"cuda_static: expected {tool} to be known to cuda-pathfinder: {error}") from error
    if path is None:
        package = PACKAGES[tool]
        raise RuntimeError(f"cuda_static: expected {tool}, got none; pip install {package}.")
    return path


def architecture(capability: tuple[int, int]) -> str:
    """The name that ptxas gives a compute capability.

    >>> architecture((12, 0))
    'sm_120'
    """
    return f"sm_{capability[0]}{capability[1]}"


def assemble(ptx: str, capability: tuple[int, int], disassemble: bool = True) -> Assembled:
    """Assembles one kernel, and disassembles it again (`sass` is empty where not asked for).

    Raises:
        ValueError: the PTX is wrong, or asks for more than the architecture has.
        RuntimeError: a tool is missing, or older than the PTX.
    """
    arch = architecture(capability)
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx, "utf-8")
        command = [find("ptxas"), "-v", f"-arch={arch}", str(source), "-o", str(binary)]
        done = subprocess.run(command, capture_output=True, text=True)
        said = done.stdout + done.stderr
        if done.returncode:
            raise _refusal(said, arch)
        sass = ""
        if disassemble:
            command = [find("nvdisasm"), "-c", str(binary)]
            sass = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Assembled(sass, *_needs(said))


def _refusal(said: str, arch: str) -> Exception:
    """What ptxas's complaint is raised as."""
    old = _REFUSED.search(said)
    if old is not None:
        return RuntimeError(
            f"cuda_static: expected ptxas to read PTX {old[1]}, which nvvm writes, got a ptxas for PTX {old[2]}; "
            f"install {PACKAGES['ptxas']} of the same version as nvidia-nvvm."
        )
    large = _LARGE_SHARED.search(said)
    if large is not None:
        return ValueError(
            f"cuda_static: expected at most {int(large[2], 16)} bytes of shared memory for {arch}, "
            f"got {int(large[1], 16)}; use smaller tiles or fewer buffers."
        )
    lines = [line for line in said.splitlines() if "error" in line or "fatal" in line]
    return ValueError(f"cuda_static: expected PTX that assembles for {arch}, ptxas says: {' '.join(lines)}")


def _needs(said: str) -> tuple[int, int, int, int, float]:
    """Registers, bytes of shared memory, of stack and of spills, and seconds, from what `ptxas -v` prints of one kernel."""
    registers = re.findall(r"Used (\d+) registers", said)
    frames = _STACK.findall(said)
    if len(registers) != 1 or not frames:
        raise ValueError(
            f"cuda_static: expected one kernel in what ptxas prints, got {len(registers)}: {said}"
        )
    shared = _SHARED.search(said)
    stack = sum(int(frame) for frame, _, _ in frames)
    spilled = sum(int(stores) + int(loads) for _, stores, loads in frames)
    milliseconds = _TIME.search(said)
    seconds = float(milliseconds[1]) / 1000 if milliseconds else 0.0
    return int(registers[0]), int(shared[1]) if shared else 0, stack, spilled, seconds
