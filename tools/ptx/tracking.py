"""Loops over the threads of one memory instruction, compiled by Numba: where it goes, whether it may, and the bytes themselves.

Every loop takes `active`, one bool a thread. A thread's number in the launch is `block << 11 | thread of the block`, plus 1.

A *cell* is the smallest piece of memory that is watched, 1 << `cell` bytes. Its stamps are (writer, time of that write,
reader, time of that read). A writer or reader is the number of a thread, or `-1 - block` for several threads of a block, or
SEVERAL_BLOCKS, or 0 for none. Time is `barriers of the block << 20 | barriers of the warp` so far. Two accesses of different
threads are ordered if a barrier of their block, or of their warp, lies between them.
"""

from __future__ import annotations

from numba import njit

FINE, OUTSIDE, MISALIGNED, UNINITIALISED, RACE, IN_FLIGHT = range(6)
SEVERAL_BLOCKS = -(1 << 62)
WRITER, WRITTEN_AT, READER, READ_AT = range(4)
EPOCH = 20  # bits of a time below the count of the block's barriers
BLOCK = 11  # bits of a thread's number below its block's: a block has at most 1024 threads


@njit
def locate(address, active, base, low, high, item, alignment, offset):
    """offset[t] = address[t] - base; says (code, thread) if an access of `item` bytes leaves [low, high) or is no multiple."""
    for t in range(address.size):
        if active[t]:
            o = address[t] - base
            if o < low or o + item > high:
                return OUTSIDE, t
            if address[t] % alignment:
                return MISALIGNED, t
            offset[t] = o
    return FINE, -1


@njit
def extent(address, active):
    """The lowest and the highest address, and the first thread that takes part, or -1 if none does."""
    low = high = 0
    first = -1
    for t in range(address.size):
        if active[t]:
            if first < 0:
                low = high = address[t]
                first = t
            low, high = min(low, address[t]), max(high, address[t])
    return low, high, first


@njit
def _ordered(other, other_time, me, now):
    if other == me:
        return True
    if other == SEVERAL_BLOCKS:
        return False
    other_block = -1 - other if other < 0 else (other - 1) >> BLOCK
    if other_block != (me - 1) >> BLOCK:
        return False
    if other_time >> EPOCH != now >> EPOCH:
        return True
    return other > 0 and (other - 1) >> 5 == (me - 1) >> 5 and other_time != now


@njit
def _joined(other, other_time, me, now):
    """Who is noted as reader when `me` reads after `other`: those who are ordered before me need no noting any more."""
    if other == 0 or _ordered(other, other_time, me, now):
        return me
    block = (me - 1) >> BLOCK
    other_block = -1 - other if other < 0 else (other - 1) >> BLOCK
    return -1 - block if other_block == block else SEVERAL_BLOCKS


@njit
def check_load(offset, active, item, cell, stamps, written, in_flight, thread, time):
    """Reads of `item` bytes. written: one bool a cell, or empty if all is initialised; in_flight: the same for cp.async."""
    for t in range(offset.size):
        if active[t]:
            me, now = thread[t], time[t]
            for c in range(offset[t] >> cell, ((offset[t] + item - 1) >> cell) + 1):
                if in_flight.size and in_flight[c]:
                    return IN_FLIGHT, t
                if written.size and not written[c]:
                    return UNINITIALISED, t
                if stamps.size == 0:
                    continue
                if stamps[c, WRITER] and not _ordered(stamps[c, WRITER], stamps[c, WRITTEN_AT], me, now):
                    return RACE, t
                if stamps[c, READER] != me:
                    stamps[c, READER] = _joined(stamps[c, READER], stamps[c, READ_AT], me, now)
                stamps[c, READ_AT] = now
    return FINE, -1


@njit
def check_store(offset, active, item, cell, stamps, written, in_flight, thread, time):
    """Writes of `item` bytes; two threads of this very instruction that write one cell are a race too."""
    for t in range(offset.size):
        if active[t]:
            me, now = thread[t], time[t]
            for c in range(offset[t] >> cell, ((offset[t] + item - 1) >> cell) + 1):
                if in_flight.size and in_flight[c]:
                    return IN_FLIGHT, t
                if written.size:
                    written[c] = True
                if stamps.size == 0:
                    continue
                if stamps[c, WRITER] and not _ordered(stamps[c, WRITER], stamps[c, WRITTEN_AT], me, now):
                    return RACE, t
                if stamps[c, READER] and not _ordered(stamps[c, READER], stamps[c, READ_AT], me, now):
                    return RACE, t
                stamps[c, WRITER] = me
                stamps[c, WRITTEN_AT] = now
    return FINE, -1


@njit
def check_atomic(offset, active, item, cell, stamps, written, in_flight, thread, time):
    """Atomic updates do not race with each other (they are noted as of several threads), but with all else they do."""
    for t in range(offset.size):
        if active[t]:
            me, now = thread[t], time[t]
            block = (me - 1) >> BLOCK
            for c in range(offset[t] >> cell, ((offset[t] + item - 1) >> cell) + 1):
                if in_flight.size and in_flight[c]:
                    return IN_FLIGHT, t
                if written.size and not written[c]:
                    return UNINITIALISED, t
                if stamps.size == 0:
                    continue
                writer = stamps[c, WRITER]
                if writer > 0 and not _ordered(writer, stamps[c, WRITTEN_AT], me, now):
                    return RACE, t
                if stamps[c, READER] and not _ordered(stamps[c, READER], stamps[c, READ_AT], me, now):
                    return RACE, t
                if writer == me and stamps[c, WRITTEN_AT] == now:  # its plain store is what others race with
                    continue
                stamps[c, WRITER] = -1 - block if writer >= 0 or writer == -1 - block else SEVERAL_BLOCKS
                stamps[c, WRITTEN_AT] = now
    return FINE, -1


@njit
def gather(data, offset, active, out):
    """out[t] = the item of data at byte offset[t]. data and out have one unsigned dtype."""
    for t in range(offset.size):
        if active[t]:
            out[t] = data[offset[t] // data.itemsize]


@njit
def scatter(data, offset, active, values):
    """The item of data at byte offset[t] = values[t]."""
    for t in range(offset.size):
        if active[t]:
            data[offset[t] // data.itemsize] = values[t]


@njit
def copy_out(data, offset, active, count, out):
    """out[t] = count[t] bytes of data from offset[t]; the rest of the row stays."""
    for t in range(offset.size):
        if active[t]:
            for i in range(count[t]):
                out[t, i] = data[offset[t] + i]


@njit
def copy_in(data, offset, active, values):
    """The row values[t] to the bytes of data from offset[t]."""
    for t in range(offset.size):
        if active[t]:
            for i in range(values.shape[1]):
                data[offset[t] + i] = values[t, i]


@njit
def mark(offset, active, item, cell, marks, value):
    """marks of the cells of each access = value."""
    for t in range(offset.size):
        if active[t]:
            for c in range(offset[t] >> cell, ((offset[t] + item - 1) >> cell) + 1):
                marks[c] = value
