"""Which warp runs next: results must not depend on it, and here it can be drawn."""

from __future__ import annotations

import numpy as np

from tools.ptx.counters import WARP

CHANGES = (
    1 / 8
)  # of the turns: between them one warp runs ahead as far as it can, past others that have not begun


class Turns:
    """One warp at a time, from one jump or barrier to the next, in an order that changes now and then.

    Args:
        threads: of a frame, whole warps.
        seed: of the order; the same gives the same turns.

    >>> turns, running = Turns(64, seed=0), np.ones(64, np.bool_)
    >>> {int(turns.next(running).sum()) for _ in range(9)}
    {32}
    """

    def __init__(self, threads: int, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._rank = self._random.permutation(threads // WARP)

    def next(self, running: np.ndarray) -> np.ndarray:
        """Those of the running threads (one bool a thread, some of them true) whose turn it is."""
        if self._random.random() < CHANGES:
            self._rank = self._random.permutation(self._rank)
        warps = running.reshape(-1, WARP)
        first = np.where(warps.any(axis=1), self._rank, -1).argmax()
        turn = np.zeros_like(warps)
        turn[first] = warps[first]
        return turn.reshape(-1)
