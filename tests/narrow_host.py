"""What test_narrow_vectors.py runs beside the tests it chose: whether this process compiles for the vectors it was told to."""

from __future__ import annotations

import os

from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.sweep import sweep


def test_this_process_compiles_for_it() -> None:
    vector_bytes = int(os.environ["CNNLITE_TEST_VECTOR_BYTES"])
    assert host().vector_bytes == vector_bytes
    assert host().bfloat16 is None
    code = sweep.compiled(4, 2, host().lanes(4), 4, 1, 0, 1)._library.get_asm_str()
    assert "zmm" not in code
    assert ("ymm" in code) == (vector_bytes == 32)
    assert ("fmadd" in code) == (vector_bytes == 32)
