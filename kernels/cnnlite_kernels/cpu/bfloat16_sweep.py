"""The sweep of bfloat16_tile.py over all rows and columns of a product."""

from __future__ import annotations

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.bfloat16_tile import LANES, PAIR_BYTES, bfloat16_tile
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import POINTER, address
from cnnlite_kernels.cpu.tile import ACCUMULATE

SWEEP = np.dtype(
    [(name, POINTER) for name in ("a", "b", "c", "index", "bias", "rows_a", "rows_c", "taps_a")]
    + [
        (name, np.int64)
        for name in (
            "groups",  # as in sweep.py, from here on
            "a_group",
            "c_group",
            "row_blocks",
            "chunk",
            "col_blocks",
            "b_block",  # bytes from one block of columns to the next in B
            "tap_blocks",
            "taps",
            "k_len",
            "tail_lanes",
            "flags",
        )
    ]
)


@kernel(SWEEP)
def bfloat16_sweep(mr, nv, item, tail, pool):
    """C (+)= sum of A * B over taps and k, tile by tile; see bfloat16_tile.py for the sum, `item` and the flags."""
    columns = nv * LANES
    last_flags = ~ACCUMULATE

    def body(bases, d):
        d = carray(d, 1)[0]
        a, b, c = address(bases, d.a), address(bases, d.b), address(bases, d.c)
        index, bias = address(bases, d.index), address(bases, d.bias)
        rows_a, rows_c, taps_a = address(bases, d.rows_a), address(bases, d.rows_c), address(bases, d.taps_a)
        b_tap_block = d.taps * ((d.k_len + 1) // 2) * columns * PAIR_BYTES
        for group in range(d.groups):
            for first in range(0, d.row_blocks, d.chunk):
                for col in range(d.col_blocks):
                    for block in range(d.tap_blocks):
                        flags = ACCUMULATE if block > 0 else d.flags & ACCUMULATE
                        if block == d.tap_blocks - 1:
                            flags |= d.flags & last_flags
                        for row in range(first, min(first + d.chunk, d.row_blocks)):
                            bfloat16_tile(
                                a + group * d.a_group * 2,
                                rows_a + row * mr * 8,
                                taps_a + block * d.taps * 8,
                                b + col * d.b_block + block * b_tap_block,
                                c + (group * d.c_group + col * columns) * item,
                                rows_c + row * (mr // pool) * 8,
                                index + group * d.c_group + col * columns,
                                bias + col * columns * 4,
                                d.taps, d.k_len, d.tail_lanes, flags,
                                mr, nv, item, tail, pool,
                            )  # fmt: skip

    return body
