"""The compiled loops that run a plan: kernels from a table, parts shared out among threads, nothing in
Python.

A job is a row of segments. Every thread of the team takes parts of the first segment until none is left,
waits until all of them are done (a layer may need the whole batch, and so does the optimizer), and goes on
to the next segment. Which thread computes a part changes nothing in its numbers.

Memory of a job may be changed or freed when `lead` returns. A follower counts itself in (`inside`) before it
looks whether the job is open, the leader closes the job before it looks who is inside; the counters are
sequentially consistent, so either the follower sees a closed job and leaves without reading it, or the leader
sees the follower and waits.
"""

from __future__ import annotations

import numpy as np
from numba import carray
from numba.extending import register_jitable

from cnnlite_kernels.cpu.atomics import atomic_add, atomic_load, atomic_store, call_kernel
from cnnlite_kernels.cpu.jit import kernel
from cnnlite_kernels.cpu.memory import BASES, INT64, Base, array_at
from cnnlite_kernels.cpu.waiting import clock, offer_processor, pause

# Columns of a segment, a row of int64.
PARTS = 0  # address of COUNT rows, one for each part
COUNT = 1
TAKEN = 2  # parts begun, and parts finished, in this run
DONE = 3
SEGMENT_COLUMNS = 4
# Columns of a part: address of KERNELS pairs (kernel, descriptor), then its table of base addresses, to which the job's are added.
ENTRIES = 0
KERNELS = 1
PART_BASES = 2
PART_COLUMNS = PART_BASES + BASES

FIELDS = (
    "open",  # 1 while a job may be joined
    "inside",  # threads that may be looking at the job; it is not touched before they are gone
    "segments",  # address and number of the job's segments
    "count",
    "addresses",  # of the job's own table of base addresses
    "patience",  # nanoseconds that a follower looks for the next job before it goes to sleep
    "here",  # address of this record
)
TEAM = np.dtype([(name, np.int64) for name in FIELDS])
OPEN, INSIDE, SEGMENTS, SEGMENT_COUNT, ADDRESSES, PATIENCE, HERE = range(len(FIELDS))
WORK = int(Base.WORK)
# Looks at a counter before the processor is offered to others, 10 to 40 ns each with their pause.
SPINS = 500


@register_jitable
def wait_until(where, wanted):
    """Until the counter at an address is what is wanted."""
    spins = 0
    while atomic_load(where) != wanted:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            offer_processor()


@register_jitable
def take_parts(bases, team):
    """This thread's share of a job: parts of one segment after the other. bases: this thread's table."""
    work = bases[WORK]
    addresses = array_at(team.addresses, BASES, INT64)
    for s in range(team.count):
        where = team.segments + s * SEGMENT_COLUMNS * 8
        segment = array_at(where, SEGMENT_COLUMNS, INT64)
        number = atomic_add(where + TAKEN * 8, 1)
        while number < segment[COUNT]:
            part = array_at(segment[PARTS] + number * PART_COLUMNS * 8, PART_COLUMNS, INT64)
            for i in range(BASES):
                bases[i] = part[PART_BASES + i] + addresses[i]
            if bases[WORK] == 0:
                bases[WORK] = work
            entries = array_at(part[ENTRIES], 2 * part[KERNELS], INT64)
            for e in range(part[KERNELS]):
                call_kernel(entries[2 * e], bases.ctypes.data, entries[2 * e + 1])
            atomic_add(where + DONE * 8, 1)
            number = atomic_add(where + TAKEN * 8, 1)
        wait_until(where + DONE * 8, segment[COUNT])
    bases[WORK] = work


@kernel(TEAM)
def lead():
    """Runs a job to its end, with whoever joins. bases: this thread's table, with its workspace."""

    def body(bases, d):
        team = carray(d, 1)[0]
        most = 0
        for s in range(team.count):
            where = team.segments + s * SEGMENT_COLUMNS * 8
            atomic_store(where + TAKEN * 8, 0)
            atomic_store(where + DONE * 8, 0)
            most = max(most, array_at(where, SEGMENT_COLUMNS, INT64)[COUNT])
        if most > 1:
            atomic_store(team.here + OPEN * 8, 1)
        take_parts(carray(bases, BASES), team)
        atomic_store(team.here + OPEN * 8, 0)
        wait_until(team.here + INSIDE * 8, 0)

    return body


@kernel(TEAM)
def follow():
    """Joins jobs as they open, until none has for `patience`. bases: this thread's table."""

    def body(bases, d):
        team = carray(d, 1)[0]
        since = clock()
        spins = 0
        while spins < SPINS or clock() - since < team.patience:
            if atomic_load(team.here + OPEN * 8) == 1:
                # The leader may have closed the job between these two lines.
                atomic_add(team.here + INSIDE * 8, 1)
                if atomic_load(team.here + OPEN * 8) == 1:
                    take_parts(carray(bases, BASES), team)
                    since = clock()
                    spins = 0
                atomic_add(team.here + INSIDE * 8, -1)
            elif spins < SPINS:
                spins += 1
                pause()
            else:
                offer_processor()

    return body
