"""How a batch is cut into parts. The rule looks at the batch alone, so that no number of threads changes a bit of the result."""

from __future__ import annotations

import math
from itertools import pairwise

IMAGES = 8  # of a part: enough for full tiles, few enough that its activations stay in L2
AT_ONCE = 12  # images that go through the network together, at most
MOST_SUMS = 16  # buffers of gradients: their sum is read once a step


def cut(n: int, most: int | None = None) -> list[tuple[int, int]]:
    """(first, stop) of each part of a batch of n, equal to within one image. A power of two, so that 2, 4 or 8 threads have the
    same number each.

    >>> cut(20), len(cut(37)), len(cut(128)), cut(3), cut(0)
    ([(0, 10), (10, 20)], 4, 16, [(0, 3)], [])
    """
    if n == 0:
        return []
    parts = 1 << max(0, round(math.log2(n / IMAGES)))
    if parts == 1 and n >= IMAGES // 2:
        parts = 2
    return even(n, min(parts, most or parts))


def chunks(n: int) -> list[tuple[int, int]]:
    """(first, stop) of the images of a part of n that go through the network together.

    >>> chunks(10), chunks(16)
    ([(0, 10)], [(0, 8), (8, 16)])
    """
    return even(n, -(-n // AT_ONCE))


def even(n: int, parts: int) -> list[tuple[int, int]]:
    """(first, stop) of `parts` pieces of n, equal to within one."""
    size, more = divmod(n, parts)
    bounds = [0]
    for part in range(parts):
        bounds.append(bounds[-1] + size + (part < more))
    return list(pairwise(bounds))
