"""The sweep of amx_tile.py over all rows and columns of a product; not yet run on a processor that has AMX (see the tests)."""

from __future__ import annotations

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.amx_tile import (
    BUFFER_ROW,
    ROW_BYTES,
    STEP,
    TILE_ROWS,
    amx_finish,
    amx_tile,
    configure_tiles,
    release_tiles,
)  # fmt: skip
from cnnlite_kernels.cpu.bfloat16_sweep import SWEEP
from cnnlite_kernels.cpu.bfloat16_tile import LANES
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import INT64, POINTER, address, array_at, clear_bytes, copy_bytes
from cnnlite_kernels.cpu.tile import ACCUMULATE

AMX_SWEEP = np.dtype(
    [(name, POINTER) for name in ("buffer", "panel", "zero")]
    + [(name, np.int64) for name in ("a_stride", "direct")]
    + SWEEP.descr
)
PANEL_STEP = TILE_ROWS * ROW_BYTES  # bytes of a step of a panel


@kernel(AMX_SWEEP)
def amx_sweep(rows, nv, item, tail, pool, emulated):
    """C (+)= sum of A * B over taps and k, as bfloat16_sweep, `rows` <= 32 rows a tile.

    The first `direct` of the row blocks lie a_stride numbers apart, and their taps are whole steps of 32 numbers: tiles are loaded from
    where they lie. The rows of others are first copied side by side, all taps one after the other, into `panel`, which holds `chunk`
    row blocks; zeros fill up the last step. `buffer`: 4 KB for the sums of a tile; `zero`: an int64 that is 0.
    """
    columns = nv * LANES
    last_flags = ~ACCUMULATE

    def body(bases, d):
        d = carray(d, 1)[0]
        a, b, c = address(bases, d.a), address(bases, d.b), address(bases, d.c)
        index, bias = address(bases, d.index), address(bases, d.bias)
        taps_a, buffer = address(bases, d.taps_a), address(bases, d.buffer)
        rows_a = array_at(address(bases, d.rows_a), d.row_blocks * rows, INT64)
        rows_c = array_at(address(bases, d.rows_c), d.row_blocks * (rows // pool), INT64)
        tap_pairs = (d.k_len + 1) // 2
        steps = (d.taps * tap_pairs * 2 + STEP - 1) // STEP
        panel_bytes = steps * PANEL_STEP
        panels = address(bases, d.panel)
        b_tap_block = d.taps * tap_pairs * columns * 4
        zero = address(bases, d.zero)
        configure_tiles(emulated)
        for group in range(d.groups):
            a_group = a + group * d.a_group * 2
            for first in range(0, d.row_blocks, d.chunk):
                stop = min(first + d.chunk, d.row_blocks)
                for block in range(d.tap_blocks):
                    taps = array_at(taps_a + block * d.taps * 8, d.taps, INT64)
                    flags = ACCUMULATE if block > 0 else d.flags & ACCUMULATE
                    if block == d.tap_blocks - 1:
                        flags |= d.flags & last_flags
                    for row in range(max(first, d.direct), stop):
                        panel = panels + (row - first) * panel_bytes
                        if steps > 0:
                            clear_bytes(panel + (steps - 1) * PANEL_STEP, PANEL_STEP)
                        for i in range(rows):
                            place = 0  # bytes of this row that are there
                            for t in range(d.taps):
                                x = a_group + (rows_a[row * rows + i] + taps[t]) * 2
                                left = d.k_len * 2
                                while left > 0:
                                    size = min(left, ROW_BYTES - place % ROW_BYTES)
                                    to = (
                                        panel
                                        + place // ROW_BYTES * PANEL_STEP
                                        + i * ROW_BYTES
                                        + place % ROW_BYTES
                                    )
                                    if size == ROW_BYTES:
                                        copy_bytes(
                                            to, x, ROW_BYTES
                                        )  # a size known when compiling: one load, one store
                                    else:
                                        copy_bytes(to, x, size)
                                    place, x, left = place + size, x + size, left - size
                                if d.k_len % 2:
                                    to = (
                                        panel
                                        + place // ROW_BYTES * PANEL_STEP
                                        + i * ROW_BYTES
                                        + place % ROW_BYTES
                                    )
                                    clear_bytes(to, 2)
                                    place += 2
                    for col in range(d.col_blocks):
                        b_here = b + col * d.b_block + block * b_tap_block
                        for row in range(first, stop):
                            if row < d.direct:
                                amx_tile(
                                    a_group + rows_a[row * rows] * 2, d.a_stride * 2, ROW_BYTES, d.taps, d.k_len // STEP,
                                    taps.ctypes.data, b_here, buffer, nv, emulated,
                                )  # fmt: skip
                            else:
                                amx_tile(
                                    panels + (row - first) * panel_bytes, ROW_BYTES, PANEL_STEP, 1, steps,
                                    zero, b_here, buffer, nv, emulated,
                                )  # fmt: skip
                            for g in range(row * (rows // pool), (row + 1) * (rows // pool)):
                                if g > 0 and rows_c[g] == rows_c[g - 1]:
                                    break  # the last row again, to fill up the tables
                                amx_finish(
                                    buffer + g % (rows // pool) * pool * BUFFER_ROW, c + (group * d.c_group + col * columns) * item,
                                    rows_c[g], index + group * d.c_group + col * columns, bias + col * columns * 4,
                                    d.tail_lanes, flags, nv, item, tail, pool,
                                )  # fmt: skip
        release_tiles(emulated)

    return body
