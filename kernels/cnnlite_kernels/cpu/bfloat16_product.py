"""How a product of bfloat16 is cut into sweeps: product.py's tables and tiles with B in pairs of k (bfloat16_tile.py)."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.cpu.bfloat16_pack import pack_pairs
from cnnlite_kernels.cpu.bfloat16_sweep import bfloat16_sweep
from cnnlite_kernels.cpu.bfloat16_tile import LANES, PAIR_BYTES
from cnnlite_kernels.cpu.memory import NOWHERE, Pointer
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.cpu.product import (
    VECTORS,
    Columns,
    Offsets,
    Rows,
    column_runs,
    row_tables,
    tap_blocks,
    tile_rows,
)

WIDTH = VECTORS * LANES  # columns of a whole block, the unit in which the columns of a product are shared out
CACHE = 1 << 19  # bytes of B, and half as many of A, that one pass keeps in L2


def runs_of(columns: int) -> list[Columns]:
    """The blocks of columns of every product here."""
    return column_runs(columns, PAIR_BYTES, threes=True)


def pairs_of(taps: int, k_len: int) -> int:
    """Pairs of k in so many taps, each filled up to whole pairs."""
    return taps * (-(-k_len // 2))


def packed_bytes(taps: int, k_len: int, columns: int) -> int:
    """Bytes that `add_pack` fills."""
    return pairs_of(taps, k_len) * PAIR_BYTES * -(-columns // LANES) * LANES


def add_pack(
    plan: Plan, x: Pointer, y: Pointer, taps: Offsets, k_len: int, k_step: int, columns: int, column_step: int, *,
    item: int = 4, scale: float = 1, within: tuple[int, int] | None = None, part: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Emits the packing of B, numbers x of `item` bytes, rounded, at y: product.py's `add_pack` in pairs.

    within=(first, stop), multiples of WIDTH: only the blocks of columns that begin there. part=(first, all): the taps are only some of
    all that are packed together, from that one on.
    """
    first, every = part or (0, len(taps))
    depth = pairs_of(every, k_len)
    table = plan.table(taps)
    for run in runs_of(columns):
        run = run.within(within, LANES)
        start, stop = run.start, min(run.start + run.blocks * run.vectors * LANES, columns)
        if start < stop:
            plan.add(
                pack_pairs, run.vectors, item,
                x=x, y=y + start * depth * PAIR_BYTES, taps=table, count=len(taps), k_len=k_len, depth=depth,
                first=pairs_of(first, k_len), k_step=k_step, column_step=column_step, start=start, columns=stop, scale=scale,
            )  # fmt: skip


def add_product(
    plan: Plan, a: Pointer, b: Pointer, c: Pointer, rows: Rows, columns: int, taps: Offsets, k_len: int, *,
    item: int = 4, bias: Pointer = NOWHERE, index: Pointer = NOWHERE, flags: int = 0, within: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Emits C (+)= A * B, with A of bfloat16, B as `add_pack` left it, and C of float32 (item 4) or bfloat16 (2; never added to).

    Rows and taps are offsets in numbers of A and C; bias and flags as in tile.py; within as in `add_pack`.
    """
    if len(rows.a) == 0 or columns == 0 or rows.groups == 0:
        return
    pool, taps_here = rows.pool, len(taps)
    pairs = pairs_of(1, k_len)
    tap_bytes = max(1, pairs * WIDTH * PAIR_BYTES)
    at_once = taps_here if pool > 1 or item == 2 else min(taps_here, max(1, CACHE // tap_bytes))
    at_once = -(-taps_here // -(-taps_here // at_once)) if taps_here else 0  # as even as can be
    table = plan.table(taps)
    for run in runs_of(columns):
        run = run.within(within, LANES)
        if not run.blocks:
            continue
        mr = tile_rows(len(rows.a), max(1, pairs * taps_here), pool, run.vectors)
        blocks = -(-len(rows.a) // mr)
        table_a, table_c = row_tables(plan, rows, mr, blocks)
        width = run.vectors * LANES
        common: dict[str, Any] = dict(
            a=a, b=b + run.start * pairs * taps_here * PAIR_BYTES, c=c + run.start * item, index=index + run.start,
            bias=bias + run.start * 4, rows_a=table_a, rows_c=table_c, groups=rows.groups, a_group=rows.a_group,
            c_group=rows.c_group, row_blocks=blocks, chunk=max(1, CACHE // max(1, 4 * mr * at_once * pairs * 2)),
            col_blocks=run.blocks, b_block=pairs * taps_here * width * PAIR_BYTES, k_len=k_len, tail_lanes=run.tail,
        )  # fmt: skip
        for first, count, each, more in tap_blocks(taps_here, at_once, flags):
            common["b"] = common["b"] if first == 0 else common["b"] + first * pairs * width * PAIR_BYTES
            plan.add(
                bfloat16_sweep, mr, run.vectors, item, int(run.tail > 0), pool,
                taps_a=table + first * 8, tap_blocks=count, taps=each, flags=more, **common,
            )  # fmt: skip
