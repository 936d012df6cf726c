"""Block tiles: how much of a product a block of threads computes, how its slices get into shared memory, and which tile to take.

A block has `rows` x `columns` of C, a thread its share of them in registers. The sum runs in steps of DEPTH: a slice of A and one of B
are fetched into registers, staged in shared memory as [k][row] and [k][column], and multiplied by `outer_products`. Two slices of
each are there at a time: while one is multiplied the next is on its way from memory. The parts, which matmul.py puts together:

    values = gather(a, a_at, A_LANES)                            # fetch
    stage(a_s, a_place, values, A_LANES, A_PIECE, A_INNER)       # stage, then wait for the other threads
    sums = outer_products(sums, a_s, row4, b_s, column4, ...)    # multiply
    write4(c, at, four_of(sums, group), ...)                     # write

The numbers in capitals are those of a Tile and of two Stagings, which a kernel closes over as plain ints: Numba takes the shape of
shared memory, and intrinsics take their literals, only as such.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

DEPTH = 8  # terms of the sum in shared memory a step: one 32-byte sector of a row that is contiguous along k


class Tile(NamedTuple):
    """A block's share of C, and a thread's: `thread_rows` x `thread_columns`, in groups of four by four.

    Args:
        rows, columns: of C in a block.
        thread_rows, thread_columns: of C in a thread, 4 or 8.
        blocks: that a multiprocessor shall hold at once; limits the registers to 65536 / (blocks * threads).
    """

    name: str
    rows: int
    columns: int
    thread_rows: int
    thread_columns: int
    blocks: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.rows // self.thread_rows * self.across

    @property
    def across(self) -> int:
        """Threads side by side: thread t has the four rows from t // across * 4 and the four columns from t % across * 4."""
        return self.columns // self.thread_columns

    @property
    def row_gap(self) -> int:
        """From a thread's first group of four rows to its second."""
        return self.rows * 4 // self.thread_rows

    @property
    def column_gap(self) -> int:
        return self.columns * 4 // self.thread_columns

    @property
    def groups(self) -> int:
        """Groups of four numbers, side by side in a row of C, in a thread: group g is in its row g // across_groups."""
        return self.thread_rows * self.across_groups

    @property
    def across_groups(self) -> int:
        return self.thread_columns // 4


class Staging(NamedTuple):
    """How a block's threads bring a slice of an operand, DEPTH x `extent`, into shared memory as [k][extent].

    In memory either k or the other index runs along contiguous numbers (`along_k`). A thread brings `pieces` of `lanes` contiguous
    numbers each; `per_row` threads stand along the contiguous index and the rest along the other, the lead: thread t's first piece
    is at lead t // per_row and inner t % per_row * lanes, its next piece `step` further on the lead.

    Where the slice lies, and no two lanes of a warp store to one bank:
        place in shared memory = lead * lead_place + inner * inner_place
    Along k that is a transpose; rows of extent + 4 put the eight k of four rows, or two times four k of sixteen rows, on 32 banks.
    """

    extent: int
    along_k: bool
    lanes: int
    threads: int

    @property
    def stride(self) -> int:
        """From a k to the next in shared memory."""
        return self.extent + (4 if self.along_k else 0)

    @property
    def size(self) -> int:
        """Numbers of a slice in shared memory."""
        return DEPTH * self.stride

    @property
    def pieces(self) -> int:
        return DEPTH * self.extent // (self.lanes * self.threads)

    @property
    def per_row(self) -> int:
        return (DEPTH if self.along_k else self.extent) // self.lanes

    @property
    def step(self) -> int:
        return self.threads // self.per_row

    @property
    def k_step(self) -> int:
        """From a piece's k to the next piece's."""
        return 0 if self.along_k else self.step

    @property
    def lead_place(self) -> int:
        return 1 if self.along_k else self.stride

    @property
    def inner_place(self) -> int:
        return self.stride if self.along_k else 1

    @property
    def piece_place(self) -> int:
        """From a piece to the next in shared memory: `stage`'s piece_step."""
        return self.step * self.lead_place


LARGE = Tile("large", 128, 128, 8, 8, 2)
TALL = Tile("tall", 128, 64, 8, 8, 3)
SMALL = Tile("small", 64, 64, 8, 8, 6)
TINY = Tile("tiny", 32, 32, 4, 4, 10)
FEW_ROWS = Tile("few_rows", 16, 128, 4, 4, 5)
FEW_COLUMNS = Tile("few_columns", 128, 16, 4, 4, 5)
TILES = (LARGE, TALL, SMALL, TINY, FEW_ROWS, FEW_COLUMNS)


def lanes_of(tile: Tile, extent: int, wide: bool) -> int:
    """Numbers that a thread brings at a time: four where memory allows and there are four for each thread."""
    return 4 if wide and DEPTH * extent >= 4 * tile.threads else 1


class Choice(NamedTuple):
    """A tile, and the parts that the sum over k is cut into; each has `terms` of it, a multiple of DEPTH, the last perhaps fewer."""

    tile: Tile
    parts: int
    terms: int


# What `cycles` assumes of a multiprocessor. Rough figures of compute capability 8.0 to 10.0; only their proportions matter.
LANES = 128  # multiply-adds a cycle
BYTES = 32  # a cycle from the L2 cache
WAIT = 700  # cycles from a load of global memory to its use, which a step cannot be shorter than
START = 1500  # cycles before the first step
WRITE = 100  # cycles for a group of four numbers after the last
LAUNCH = 4000  # cycles between two launches


def cycles(tile: Tile, m: int, n: int, k: int, parts: int, multiprocessors: int) -> float:
    """Cycles that C (m, n), a sum over k in `parts`, takes, for comparison with other tiles.

    With `together` blocks on a multiprocessor (as many as it holds, or as there are), in `rounds`:

        step = max(WAIT, together * DEPTH * rows * columns / (LANES * share), together * bytes of two slices / BYTES)
        cycles = rounds * (steps * step + START + WRITE * groups) + (LAUNCH + time to read the partial sums, with more than one part)

    share: of multiply-adds among what a thread does; a thread with 8 x 8 needs 4 loads for 64, one with 4 x 4 needs 2 for 16.
    """
    blocks = -(-m // tile.rows) * -(-n // tile.columns) * parts
    together = min(tile.blocks, -(-blocks // multiprocessors))
    rounds = -(-blocks // (multiprocessors * together))
    steps = -(-k // (parts * DEPTH))
    share = 0.9 if tile.thread_rows * tile.thread_columns == 64 else 0.6
    multiply = DEPTH * tile.rows * tile.columns / (LANES * share)
    fetch = 4 * DEPTH * (min(tile.rows, m) + min(tile.columns, n)) / BYTES
    step = max(WAIT, together * multiply, together * fetch)
    total = rounds * (steps * step + START + WRITE * tile.groups)
    if parts > 1:
        total += LAUNCH + 4 * m * n * (parts + 1) / (BYTES * multiprocessors)
    return total


def choose(m: int, n: int, k: int, multiprocessors: int, tiles: Iterable[Tile] = TILES) -> Choice:
    """The tile and the parts that take the fewest `cycles`.

    A sum is cut only as far as all blocks find room at once. The tiles of 16 rows or columns are for results that have no more.
    """
    best, least = None, 0.0
    for tile in tiles:
        if m > tile.rows == FEW_ROWS.rows or n > tile.columns == FEW_COLUMNS.columns:
            continue
        room = multiprocessors * tile.blocks // (-(-m // tile.rows) * -(-n // tile.columns))
        steps, parts = -(-k // DEPTH), 1
        while parts == 1 or parts <= min(room, steps):
            estimate = cycles(tile, m, n, k, parts, multiprocessors)
            if best is None or estimate < least:
                terms = max(-(-steps // parts), 1) * DEPTH
                best, least = Choice(tile, max(-(-k // terms), 1), terms), estimate
            parts *= 2
    assert best is not None
    return best
