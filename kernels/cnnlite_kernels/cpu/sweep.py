"""A sweep runs the tile over all rows and columns of a product: the one kernel behind matmul, conv2d and its gradients."""

from __future__ import annotations

import numpy as np
from numba import carray

from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import POINTER, address
from cnnlite_kernels.cpu.tile import ACCUMULATE, tile

SWEEP = np.dtype(
    [(name, POINTER) for name in ("a", "b", "c", "index", "bias", "rows_a", "rows_c", "taps_a", "taps_b")]
    + [
        (name, np.int64)
        for name in (
            "groups",  # repetitions of everything below, each a_group further in A and c_group in C (images, say)
            "a_group",
            "b_group",
            "c_group",
            "row_blocks",  # tiles along the rows, MR rows each: the tables hold row_blocks * MR offsets
            "chunk",  # tiles along the rows that are finished for all columns before the next are begun (they fit in L2)
            "col_blocks",  # tiles along the columns, NV * LANES columns each
            "b_block",  # from one block of columns to the next in B
            "tap_blocks",  # the sum is cut into blocks of taps (of B, which fits in L2), added up in C
            "taps",  # taps in one block
            "k_len",
            "a_step",
            "b_step",
            "tail_lanes",  # columns in the last vector of the last block, if TAIL
            "flags",  # of tile.py
        )
    ]
)


@kernel(SWEEP)
def sweep(mr, nv, lanes, item, packed, tail, pool):
    """C (+)= sum of A * B over taps and k, tile by tile; see tile.py for the sum and the flags."""
    columns = nv * lanes
    last_flags = ~ACCUMULATE

    def body(bases, d):
        d = carray(d, 1)[0]
        a, b, c = address(bases, d.a), address(bases, d.b), address(bases, d.c)
        index, bias = address(bases, d.index), address(bases, d.bias)
        rows_a, rows_c = address(bases, d.rows_a), address(bases, d.rows_c)
        taps_a, taps_b = address(bases, d.taps_a), address(bases, d.taps_b)
        for group in range(d.groups):
            for first in range(0, d.row_blocks, d.chunk):
                for col in range(d.col_blocks):
                    for block in range(d.tap_blocks):
                        flags = ACCUMULATE if block > 0 else d.flags & ACCUMULATE
                        if block == d.tap_blocks - 1:
                            flags |= d.flags & last_flags
                        for row in range(first, min(first + d.chunk, d.row_blocks)):
                            tile(
                                a + group * d.a_group * item,
                                rows_a + row * mr * 8,
                                taps_a + block * d.taps * 8,
                                b + (group * d.b_group + col * d.b_block) * item,
                                taps_b + block * d.taps * 8,
                                c + (group * d.c_group + col * columns) * item,
                                rows_c + row * (mr // pool) * 8,
                                index + group * d.c_group + col * columns,
                                bias + col * columns * item,
                                d.taps, d.k_len, d.a_step, d.b_step, d.tail_lanes, flags,
                                mr, nv, lanes, item, packed, tail, pool,
                            )  # fmt: skip

    return body
