"""How a product is cut into sweeps: which tile, which blocks, and the tables of rows and taps (tile.py has the formula)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.memory import NOWHERE, Pointer
from cnnlite_kernels.cpu.pack import pack
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.sweep import sweep
from cnnlite_kernels.cpu.tile import ACCUMULATE

# Vectors of columns in a tile: with 14 rows, 28 accumulators, 2 of B and 1 of A fill 32 registers.
VECTORS = 2
# Rows that a tile may have, by the number of vector registers.
ROWS = {32: (14, 12, 10, 9, 8, 4, 1), 16: (6, 4, 2, 1)}
B_CYCLES = 6  # to bring two vectors of B from L2, seen with 64-byte vectors
TILE_CYCLES = 15  # of a tile besides its sums
CACHE = 1 << 18  # bytes of B, and of A, that one pass keeps in L2


Offsets = Sequence[int] | np.ndarray


class Columns(NamedTuple):
    """A run of `blocks` equal blocks of columns: from column `start`, each `vectors` vectors wide, the last vector of the last
    (and only) block filled up to `tail` lanes if that is not 0."""

    start: int
    blocks: int
    vectors: int
    tail: int

    def within(self, columns: tuple[int, int] | None, lanes: int) -> Columns:
        """Those of the blocks that begin at one of the columns (first, stop)."""
        if columns is None:
            return self
        width = self.vectors * lanes
        first, last = (min(max(-(-(edge - self.start) // width), 0), self.blocks) for edge in columns)
        return self._replace(start=self.start + first * width, blocks=last - first)


def column_runs(columns: int, item: int, vectors: int = VECTORS, threes: bool = False) -> list[Columns]:
    """Cuts columns into blocks of `vectors`, of two vectors, then what is left: at most three runs.

    threes: an odd vector at the end makes the last block three vectors wide, because one alone keeps half of the FMAs waiting.
    Not where the columns are cut again elsewhere, into pieces of whole blocks.
    """
    lanes = host().lanes(item)
    runs, start = [], 0
    left = -(-columns // lanes)
    if threes and left % 2 and left >= 3:
        if left > 3:
            runs.append(Columns(0, (left - 3) // 2, VECTORS, 0))
        return [*runs, Columns((left - 3) * lanes, 1, 3, columns % lanes)]
    for each in sorted({vectors, VECTORS}, reverse=True):
        blocks = (columns - start) // (each * lanes)
        if blocks:
            runs.append(Columns(start, blocks, each, 0))
            start += blocks * each * lanes
    if start < columns:
        runs.append(Columns(start, 1, -(-(columns - start) // lanes), (columns - start) % lanes))
    return runs


def vectors_for(mr: int) -> int:
    """Vectors of columns that a tile of few rows may have where B is not packed: more sums at once, longer pieces of B's rows."""
    return max(VECTORS, {1: host().registers // 4, 4: host().registers // 8}.get(mr, 0))


def padded_columns(columns: int, item: int) -> int:
    """Columns of packed B: filled up to whole vectors."""
    lanes = host().lanes(item)
    return -(-columns // lanes) * lanes


def block_width(item: int) -> int:
    """Columns of a whole block, the unit in which the columns of a product are shared out."""
    return VECTORS * host().lanes(item)


def tile_rows(rows: int, depth: int = 256, pool: int = 1, vectors: int = VECTORS) -> int:
    """The rows of a tile, `vectors` wide, that do `rows` rows (in groups of `pool`) in the least time; `depth` numbers are summed
    for each."""
    registers = host().registers
    # all sums, a row of B and a number of A have to fit
    choices = [
        mr for mr in ROWS[registers] if mr % pool == 0 and mr * max(vectors, VECTORS) + vectors < registers
    ]
    if not choices:  # a pooling window as tall as no usual tile
        choices = [pool]

    def cycles(mr: int) -> float:
        # a step of k: two FMAs or two loads a cycle, and B's vectors have to come from L2; setup and writing on top
        step = max(mr * vectors / 2, (mr + vectors) / 2, B_CYCLES * vectors / VECTORS)
        return -(-rows // mr) * (step * depth + TILE_CYCLES)

    return min(choices, key=lambda mr: (cycles(mr), -(-rows // mr) * mr, -mr))


def most_poolable() -> int:
    """The most outputs in a pooling window that a tile can hold."""
    return max(ROWS[host().registers])


def add_pack(
    plan: Plan, x: Pointer, y: Pointer, taps: Sequence[int], k_len: int, k_step: int, columns: int, column_step: int,
    scale: float = 1, within: tuple[int, int] | None = None, threes: bool = False, packed_rows: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Emits the packing of B at x to y, which takes len(taps) * k_len * padded_columns(columns) numbers.

    packed_rows: (first, all) where these are only some of the rows that are packed together.

    within=(first, stop), multiples of `block_width`, packs only the blocks that begin there; threes: see column_runs.
    """
    lanes = host().lanes(plan.item)
    first_row, depth = packed_rows or (0, len(taps) * k_len)
    table = plan.table(taps)
    for run in column_runs(columns, plan.item, threes=threes):
        run = run.within(within, lanes)
        width = run.vectors * lanes
        start, stop = run.start, min(run.start + run.blocks * width, columns)
        if start < stop:
            plan.add(
                pack, plan.item, lanes, run.vectors,
                x=x, y=y + (start * depth + first_row * width) * plan.item,
                taps=table, count=len(taps), k_len=k_len, depth=depth, k_step=k_step,
                column_step=column_step, start=start, columns=stop, scale=scale,
            )  # fmt: skip


class Rows(NamedTuple):
    """Rows of a product: offsets in A, and of the C they make (one for each group of `pool` rows).

    `groups` repeats them, `a_group` further in A and `c_group` further in C: the images of a batch. With `b_group` each has its own B.
    """

    a: np.ndarray
    c: np.ndarray
    groups: int = 1
    a_group: int = 0
    c_group: int = 0
    pool: int = 1
    b_group: int = 0


def add_product(
    plan: Plan, a: Pointer, b: Pointer, c: Pointer, rows: Rows, columns: int, taps_a: Offsets, k_len: int, *,
    taps_b: Offsets | None = None, a_step: int = 1, b_step: int = 0,
    bias: Pointer = NOWHERE, index: Pointer = NOWHERE, flags: int = 0, packed_rows: tuple[int, int] | None = None,
    threes: bool = False, within: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Emits C (+)= A * B.

    B is packed (add_pack, taps and k in the same order) unless taps_b is given: then it is read where it lies, k b_step apart.
    packed_rows: (first, all) where B is only some of the rows that were packed together; threes: as B was packed, see column_runs.
    within=(first, stop), multiples of `block_width`: only the blocks of columns that begin there.
    """
    item, lanes = plan.item, host().lanes(plan.item)
    if len(rows.a) == 0 or columns == 0 or rows.groups == 0:
        return
    packed = taps_b is None
    pool = rows.pool
    taps = len(taps_a)
    usual = tile_rows(len(rows.a), max(1, taps * k_len), pool)
    # one tap reads k_len rows of a block of B, which serve all rows of A. Packed, A is cut into chunks of its own; else one tap reads
    # as many pixels of A, of each what the rows need, and they serve all blocks of B
    tap_bytes = k_len * (VECTORS * lanes + (0 if packed else min(a_step, len(rows.a)))) * item
    room = CACHE if packed else 2 * CACHE
    at_once = taps if pool > 1 else min(taps, max(1, room // max(1, tap_bytes)))
    at_once = -(-taps // -(-taps // at_once)) if taps else 0  # as even as can be
    table_taps = plan.table(taps_a)
    first_row, depth = packed_rows or (0, taps * k_len)
    for run in column_runs(columns, item, VECTORS if packed else vectors_for(usual), threes):
        run = run.within(within, lanes)
        if not run.blocks:
            continue
        mr = tile_rows(len(rows.a), max(1, taps * k_len), pool, run.vectors) if threes else usual
        blocks = -(-len(rows.a) // mr)
        table_a, table_c = row_tables(plan, rows, mr, blocks)
        columns_here = run.vectors * lanes
        table_b = plan.table((np.arange(taps) * k_len + first_row) * columns_here if packed else taps_b)
        start = run.start * (depth if packed else 1)
        common: dict[str, Any] = dict(
            a=a, b=b + start * item, c=c + run.start * item, index=index + run.start, bias=bias + run.start * item,
            rows_a=table_a, rows_c=table_c, groups=rows.groups, a_group=rows.a_group, b_group=rows.b_group,
            c_group=rows.c_group, row_blocks=blocks,
            chunk=max(1, CACHE // max(1, mr * at_once * k_len * item)) if packed else blocks,
            col_blocks=run.blocks, b_block=depth * columns_here if packed else columns_here,
            k_len=k_len, a_step=a_step, b_step=b_step, tail_lanes=run.tail,
        )  # fmt: skip
        for first, count, each, more in tap_blocks(taps, at_once, flags):
            plan.add(
                sweep, mr, run.vectors, lanes, item, int(packed), int(run.tail > 0), pool,
                taps_a=table_taps + first * 8, taps_b=table_b + first * 8, tap_blocks=count, taps=each, flags=more, **common,
            )  # fmt: skip


def row_tables(plan: Plan, rows: Rows, mr: int, blocks: int) -> tuple[Pointer, Pointer]:
    """Tables of the rows of A and of C for whole tiles. The last tile is filled up with its last row again, which is computed
    twice and written with the same numbers."""
    groups = np.minimum(np.arange(blocks * (mr // rows.pool)), len(rows.c) - 1)
    return plan.table(rows.a.reshape(-1, rows.pool)[groups].reshape(-1)), plan.table(rows.c[groups])


def tap_blocks(taps: int, at_once: int, flags: int) -> list[tuple[int, int, int, int]]:
    """(first tap, blocks, taps in each, flags) of the one or two sweeps that together take all taps."""
    if not taps or taps % at_once == 0:
        return [(0, taps // at_once if taps else 1, at_once, flags)]
    whole = taps // at_once
    return [(0, whole, at_once, flags & ACCUMULATE), (whole * at_once, 1, taps % at_once, flags | ACCUMULATE)]
