"""What the processor that kernels are compiled for offers: the width of its vectors and how many registers it has."""

from __future__ import annotations

import ctypes
import functools
import re
from typing import NamedTuple

import llvmlite.binding as llvm
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 158, 0x1023, 18  # a system call of x86-64 Linux


class Host(NamedTuple):
    """`vector_bytes` of one vector register, the number of such `registers`, and what multiplies bfloat16: "amx", "avx512" or None."""

    vector_bytes: int
    registers: int
    bfloat16: str | None = None

    def lanes(self, item: int) -> int:
        """Numbers of `item` bytes in one vector."""
        return self.vector_bytes // item


@functools.cache
def host() -> Host:
    """Asks Numba's own target, which obeys NUMBA_CPU_NAME and NUMBA_CPU_FEATURES, by compiling one addition of 16 floats
    for it, and their rounding to bfloat16, and looking which registers and instructions the assembly uses."""
    with global_compiler_lock:  # a fork waits for this lock, so the child does not find LLVM's own one taken
        codegen = cpu_target.target_context.codegen()
        module = llvm.parse_assembly(
            "define void @f(ptr %p) {\n"
            "  %x = load <16 x float>, ptr %p\n  %y = fadd <16 x float> %x, %x\n"
            "  store <16 x float> %y, ptr %p\n  ret void\n}\n"
            "define void @g(ptr %p) {\n"
            "  %x = load <16 x float>, ptr %p\n  %y = fptrunc <16 x float> %x to <16 x bfloat>\n"
            "  store <16 x bfloat> %y, ptr %p\n  ret void\n}\n"
        )
        module.triple = llvm.get_process_triple()
        assembly = codegen._tm.emit_assembly(module)
    if re.search(r"\bzmm\d", assembly):
        if "vcvtneps2bf16" not in assembly:
            return Host(64, 32)
        return Host(64, 32, "amx" if _amx(codegen._tm_features) else "avx512")
    if re.search(r"\bymm\d", assembly):
        return Host(32, 16)
    return Host(16, 16 if "xmm" in assembly else 32)


def _amx(features: str) -> bool:
    """Whether the target has AMX's bfloat16, and Linux lets this process use it: it wants to be asked, once, for room to save tiles."""
    if not {"+amx-tile", "+amx-bf16"} <= set(features.split(",")):
        return False
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    return syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0
