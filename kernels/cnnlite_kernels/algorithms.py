"""The algorithms of a convolution by name, and the tiles of outputs that Winograd's are made of."""

from __future__ import annotations

DIRECT = "direct"
TILES: dict[str, tuple[int, ...]] = {DIRECT: (), "winograd": (4, 2), "winograd2x2": (2,)}
"""Rows and columns of outputs that a tile may have."""
TAPS = 3  # of a window, along each axis


def dispatched(op: str, algorithm: str) -> str:
    """The name under which dispatch.py knows an op by an algorithm."""
    return op if algorithm == DIRECT else f"{op}_winograd"


def multiplications(tile: int, n: int, h: int, w: int) -> int:
    """For each pair of an input and an output channel, to make n images of h x w outputs in tiles."""
    return n * -(-h // tile) * -(-w // tile) * (tile + TAPS - 1) ** 2


def tile_of(algorithm: str, h: int, w: int) -> int:
    """Rows and columns of outputs in a tile, those with the fewest multiplications for images of h x w; 0 for the direct algorithm.

    >>> tile_of("winograd", 56, 56), tile_of("winograd", 2, 2), tile_of("direct", 2, 2)
    (4, 2, 0)
    """
    return min(sorted(TILES[algorithm]), key=lambda tile: multiplications(tile, 1, h, w), default=0)
