"""How a product of bfloat16 is cut into sweeps: product.py's tables and tiles with B in pairs of k (bfloat16_tile.py)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnlite_kernels.cpu.amx_sweep import PANEL_STEP, amx_sweep
from cnnlite_kernels.cpu.amx_tile import BUFFER_ROW, STEP, TILE_ROWS
from cnnlite_kernels.cpu.bfloat16_pack import pack_pairs
from cnnlite_kernels.cpu.bfloat16_sweep import bfloat16_sweep
from cnnlite_kernels.cpu.bfloat16_tile import LANES, PAIR_BYTES
from cnnlite_kernels.cpu.host import host
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
STEP_PAIRS = STEP // 2
CACHE = 1 << 19  # bytes of B, and half as many of A, that one pass keeps in L2


def with_amx() -> bool:
    """Whether products are AMX's."""
    return host().bfloat16 == "amx"


def runs_of(columns: int) -> list[Columns]:
    """The blocks of columns of every product here."""
    return column_runs(columns, PAIR_BYTES, threes=not with_amx())


def pairs_of(taps: int, k_len: int) -> int:
    """Pairs of k in so many taps, each filled up to whole pairs."""
    return taps * (-(-k_len // 2))


def depth_of(taps: int, k_len: int) -> int:
    """Pairs in a block of packed B: those of all taps, for AMX filled up to whole steps."""
    pairs = pairs_of(taps, k_len)
    return -(-pairs // STEP_PAIRS) * STEP_PAIRS if with_amx() else pairs


def packed_bytes(taps: int, k_len: int, columns: int) -> int:
    """Bytes that `add_pack` fills."""
    return depth_of(taps, k_len) * PAIR_BYTES * -(-columns // LANES) * LANES


def add_pack(
    plan: Plan, x: Pointer, y: Pointer, taps: Offsets, k_len: int, k_step: int, columns: int, column_step: int, *,
    item: int = 4, scale: float = 1, within: tuple[int, int] | None = None, part: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Emits the packing of B, numbers x of `item` bytes, rounded, at y: product.py's `add_pack` in pairs.

    within=(first, stop), multiples of WIDTH: only the blocks of columns that begin there. part=(first, all): the taps are only some of
    all that are packed together, from that one on.
    """
    first, every = part or (0, len(taps))
    depth = depth_of(every, k_len)
    fill = depth - pairs_of(every, k_len) if first + len(taps) == every else 0
    table = plan.table(taps)
    for run in runs_of(columns):
        run = run.within(within, LANES)
        start, stop = run.start, min(run.start + run.blocks * run.vectors * LANES, columns)
        if start < stop:
            plan.add(
                pack_pairs, run.vectors, item,
                x=x, y=y + start * depth * PAIR_BYTES, taps=table, count=len(taps), k_len=k_len, depth=depth, fill=fill,
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
    pool, count = rows.pool, len(taps)
    pairs, depth = pairs_of(1, k_len), depth_of(count, k_len)
    at_once = _taps_at_once(count, pairs) if pool == 1 and item == 4 else count
    table = plan.table(taps)
    mark = plan.mark()
    for run in runs_of(columns):
        run = run.within(within, LANES)
        if not run.blocks:
            continue
        width = run.vectors * LANES
        mr = (
            TILE_ROWS // pool * pool
            if with_amx()
            else tile_rows(len(rows.a), max(1, pairs * count), pool, run.vectors)
        )
        blocks = -(-len(rows.a) // mr)
        table_a, table_c = row_tables(plan, rows, mr, blocks)
        panel_bytes = max(1, 4 * mr * at_once * pairs)
        common: dict[str, Any] = dict(
            a=a, c=c + run.start * item, index=index + run.start,
            bias=bias + run.start * 4, rows_a=table_a, rows_c=table_c, groups=rows.groups, a_group=rows.a_group,
            c_group=rows.c_group, row_blocks=blocks, chunk=min(blocks, max(1, CACHE // 2 // panel_bytes)),
            col_blocks=run.blocks, b_block=depth * width * PAIR_BYTES, k_len=k_len, tail_lanes=run.tail,
        )  # fmt: skip
        if with_amx():
            steps = depth_of(at_once, k_len) // STEP_PAIRS
            common |= dict(
                buffer=plan.scratch(TILE_ROWS * BUFFER_ROW), panel=plan.scratch(common["chunk"] * steps * PANEL_STEP),
                zero=plan.table([0]), **_direct(rows, mr, k_len),
            )  # fmt: skip
        for first, number, each, more in tap_blocks(count, at_once, flags):
            b_here = b + (run.start * depth + first * pairs * width) * PAIR_BYTES
            here = dict(
                b=b_here, taps_a=table + first * 8, tap_blocks=number, taps=each, flags=more, **common
            )
            tail = int(run.tail > 0)
            if with_amx():
                plan.add(amx_sweep, mr, run.vectors, item, tail, pool, int(host().bfloat16 != "amx"), **here)
            else:
                plan.add(bfloat16_sweep, mr, run.vectors, item, tail, pool, **here)
        plan.free(mark)


def _taps_at_once(taps: int, pairs: int) -> int:
    """Taps of B that a pass keeps in L2, as even as can be; for AMX whole steps."""
    most = max(1, CACHE // max(1, pairs * WIDTH * PAIR_BYTES))
    if taps <= most:
        return taps
    at_once = -(-taps // -(-taps // most))
    if with_amx():
        whole = STEP_PAIRS // math.gcd(STEP_PAIRS, pairs)
        at_once = -(-at_once // whole) * whole
    return min(taps, at_once)


def _direct(rows: Rows, mr: int, k_len: int) -> dict[str, int]:
    """Which row blocks AMX loads from where they lie (see amx_sweep.py)."""
    strides = np.unique(np.diff(rows.a))
    if mr < TILE_ROWS or k_len % (2 * STEP_PAIRS) or len(strides) != 1:
        return {"a_stride": 0, "direct": 0}
    return {"a_stride": int(strides[0]), "direct": len(rows.a) // mr}
