"""Random numbers by counter: Philox 4x32-10, so that the number at a place depends on the key and the place alone.

The same numbers on every device, for any number of threads. Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as
1, 2, 3 (SC 2011).
"""

from __future__ import annotations

import numpy as np

M0, M1 = 0xD2511F53, 0xCD9E8D57  # the paper's multipliers
W0, W1 = 0x9E3779B9, 0xBB67AE85  # golden ratio and sqrt(3) - 1, added to the key each round
ROUNDS = 10
MASK = 0xFFFFFFFF


def philox(counter: int, key: int) -> tuple[int, int, int, int]:
    """Four uint32 for a counter of 128 bits and a key of 64 bits, in plain integers: what the kernels compute.

    >>> [hex(word) for word in philox(0, 0)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c = [(counter >> shift) & MASK for shift in (0, 32, 64, 96)]
    k0, k1 = key & MASK, (key >> 32) & MASK
    for _ in range(ROUNDS):
        first, second = M0 * c[0], M1 * c[2]
        c = [(second >> 32) ^ c[1] ^ k0, second & MASK, (first >> 32) ^ c[3] ^ k1, first & MASK]
        k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK
    return c[0], c[1], c[2], c[3]


def keep_threshold(rate: float) -> int:
    """A number is dropped when its uint32 is below this: with probability `rate`."""
    return min(round(rate * 2.0**32), MASK)


def uint32(key: int, count: int) -> np.ndarray:
    """The first `count` uint32 of a key, as NumPy: word i is number i % 4 of counter i // 4.

    >>> [hex(word) for word in uint32(0, 2)]
    ['0x6627e8d5', '0xe169c58d']
    """
    words = [word for counter in range(-(-count // 4)) for word in philox(counter, key)]
    return np.array(words[:count], np.uint32)
