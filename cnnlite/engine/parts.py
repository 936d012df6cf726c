"""How a batch is cut into parts. The rule looks at the batch alone, so that no number of threads changes a bit of the result."""

from __future__ import annotations

IMAGES = 8  # of a part: enough for full tiles, few enough that its activations stay in L2
FEWEST = 4  # in small batches
MOST_SUMS = 16  # buffers of gradients: their sum is read once a step


def cut(n: int, most: int | None = None) -> list[tuple[int, int]]:
    """(first, stop) of each part of a batch of n, equal to within one image.

    >>> cut(20), len(cut(128)), cut(3), cut(0)
    ([(0, 7), (7, 14), (14, 20)], 16, [(0, 3)], [])
    """
    if n == 0:
        return []
    parts = max(1, n // IMAGES if n >= 2 * IMAGES else n // FEWEST)
    if n >= 2 * IMAGES:
        parts = -(-n // IMAGES)
    if most is not None:
        parts = min(parts, most)
    size, more = divmod(n, parts)
    bounds = [0]
    for part in range(parts):
        bounds.append(bounds[-1] + size + (part < more))
    return list(zip(bounds, bounds[1:], strict=False))
