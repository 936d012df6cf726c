"""Says that kernels are being compiled, once, so that nobody wonders why the first step takes seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cnnlite.progress import Progress


@contextlib.contextmanager
def tell_of_compiling(progress: Progress, verbose: int) -> Iterator[None]:
    """Within, the first kernel that no cache holds is announced, unless verbose is 0."""
    from cnnlite_kernels.cpu import jit

    told = False

    def tell(kernel: str) -> None:
        nonlocal told
        if not told and verbose:
            told = True
            where = jit.folder()
            kept = f"kept in {where}" if where else "not kept: no folder can be written"
            progress.message(f"Compiling kernels for this processor, some seconds the first time ({kept}).")

    jit.compile_started.append(tell)
    try:
        yield
    finally:
        jit.compile_started.remove(tell)
