"""Random numbers by counter on the GPU: the numbers of random.py, from the same rounds."""

from __future__ import annotations

from numba import uint32, uint64

from cnnlite_kernels.cuda.grid import inlined
from cnnlite_kernels.random import M0, M1, ROUNDS, W0, W1


@inlined
def philox(counter, key):
    """Four uint32 for a counter below 2^64 (uint64) and a key of 64 bits (uint64): Philox 4x32-10, see random.py."""
    c0, c1, c2, c3 = uint32(counter), uint32(counter >> uint64(32)), uint32(0), uint32(0)
    k0, k1 = uint32(key), uint32(key >> uint64(32))
    for _ in range(ROUNDS):
        first, second = uint64(c0) * uint64(M0), uint64(c2) * uint64(M1)
        c0, c1 = uint32(uint32(second >> uint64(32)) ^ c1 ^ k0), uint32(second)
        c2, c3 = uint32(uint32(first >> uint64(32)) ^ c3 ^ k1), uint32(first)
        k0, k1 = uint32(k0 + uint32(W0)), uint32(k1 + uint32(W1))
    return c0, c1, c2, c3
