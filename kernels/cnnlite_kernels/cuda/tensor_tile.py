"""Block tiles of the tensor-core kernels: their sizes, how their slices lie in shared memory, and how threads walk over operands.

A block has `rows` x `columns` of C, a warp `warp_rows` x `warp_columns` of that in registers. The sum runs in steps of 64 bytes, 32
terms in bf16 and 16 in tf32. `stages` slices of A and of B are in shared memory: while one is multiplied the others are on their way
from memory, by cp.async. A kernel's loop reads

    for each of the first stages - 1 steps: copy, commit_copies
    while steps are left:
        wait_copies(stages - 2); syncthreads      # this step's slices are there, and nobody reads the one before it any more
        copy the slices stages - 1 steps ahead; commit_copies
        sums = multiply(...)

Operands have been packed (convert.py): rounded, in chunks of 16 bytes, with zeros where channels or pixels are padding. So the loop
has no conversion and no test for padding, and an address is the row's chunk plus the chunk of the step, both uint32: operands of up to
2^31 chunks (tensor_cores.MOST_NUMBERS).
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from numba import cuda, types, uint32

from cnnlite_kernels.cuda.grid import WARP
from cnnlite_kernels.cuda.tensor_intrinsics import CHUNK, ROW

u = uint32
Words = Annotated[Any, "array", types.uint32]  # packed operands
QUARTERS = ROW // CHUNK  # chunks of a step
SUMS_PITCH = 160  # bytes: 32 results and 8 to spare, so that the lanes of half a warp store pairs to 32 banks
SUMS_ROWS = 32  # of results that a warp has in shared memory at a time
SHARED = 48 * 1024  # bytes that a block may have without asking


class Tile(NamedTuple):
    """A block's and a warp's share of C.

    Args:
        blocks: that a multiprocessor shall hold at once; limits the registers to 65536 / (blocks * threads).
    """

    name: str
    rows: int
    columns: int
    warp_rows: int
    warp_columns: int
    blocks: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"

    @property
    def threads(self) -> int:
        """Of a block."""
        return WARP * (self.rows // self.warp_rows) * (self.columns // self.warp_columns)

    @property
    def stage(self) -> int:
        """Bytes of a slice of A and one of B."""
        return (self.rows + self.columns) * ROW

    @property
    def stages(self) -> int:
        return min(4, SHARED // self.stage)

    @property
    def words(self) -> int:
        """Shared memory: the stages, and when all is summed the results on their way out."""
        return max(self.stages * self.stage, self.threads // WARP * SUMS_ROWS * SUMS_PITCH) // 4


LARGE = Tile("large", 128, 128, 64, 32, 2)
TALL = Tile("tall", 128, 64, 32, 32, 2)
SMALL = Tile("small", 64, 64, 32, 32, 4)
TILES = (LARGE, TALL, SMALL)

# Multiply-adds of a clock that a tile reaches, over those of LARGE: what a warp loads from shared memory for each of its products, as
# (warp_rows + warp_columns) / (warp_rows * warp_columns), is 3 / 64 for LARGE and 4 / 64 for the others.
EFFICIENCY = {LARGE: 1.0, TALL: 0.8, SMALL: 0.75}


def choose(m: int, n: int, multiprocessors: int) -> Tile:
    """The tile with the least (rounds of blocks) * (results of a tile) / efficiency.

    Rounds are ceil(blocks / multiprocessors): how often the busiest multiprocessor computes a tile.

    >>> [str(choose(m, n, 128)) for m, n in ((4096, 4096), (32768, 64), (196, 256))]
    ['128x128', '128x64', '64x64']
    """

    def cost(tile: Tile) -> float:
        blocks = -(-m // tile.rows) * -(-n // tile.columns)
        return -(-blocks // multiprocessors) * tile.rows * tile.columns / EFFICIENCY[tile]

    return min(TILES, key=cost)


def split(blocks: int, steps: int, slots: int) -> tuple[int, int]:
    """(parts, steps of a part): the sum is split where blocks are too few for the `slots` that a device holds at once.

    A part has 8 steps or more, so that adding parts up costs less than what they save.

    >>> split(4, 200, 216), split(300, 200, 216), split(4, 10, 216)
    ((25, 8), (1, 200), (1, 10))
    """
    parts = max(1, min(slots // blocks, steps // 8))
    part = max(1, -(-steps // parts))
    return max(1, -(-steps // part)), part


@cuda.jit(device=True, inline="always")
def place(number, low, middle, by_low, by_middle, by_high):
    """Where the number lies that counts through `high` times `middle` times `low` things.

    Returns:
        (low digit, middle digit, offset = high digit * by_high + middle digit * by_middle + low digit * by_low)
    """
    rest = u(number // low)
    high = u(rest // middle)
    i, j = u(number - rest * low), u(rest - high * middle)
    return i, j, high * by_high + j * by_middle + i * by_low


@cuda.jit(device=True, inline="always")
def walk(i, j, offset, low, middle, step, carry_low, carry_middle):
    """The place `step` (a place itself) further on: additions and carries, no divisions.

    Args:
        carry_low: what a carry from the low digit adds to the offset, by_middle - low * by_low; carry_middle alike.
    """
    i, j, offset = u(i + step[0]), u(j + step[1]), offset + step[2]
    if i >= low:
        i, j, offset = u(i - low), u(j + u(1)), offset + carry_low
    if j >= middle:
        j, offset = u(j - middle), offset + carry_middle
    return i, j, offset


@cuda.jit(device=True, inline="always")
def lane_long(first, lane, per_row):
    """Byte from which a lane of `multiply` (LONG) loads, in a slice: rows of four chunks, chunk q of row r at q ^ (r // 2 % 4).

    So eight rows' chunks q lie on all 32 banks. Lanes 8i to 8i + 7 have the rows of matrix i of ldmatrix: for A (per_row 1) two
    matrices of rows stand below each other and two more beside them; for B (per_row 2) two stand side by side.

    Args:
        first: row of the slice at which the warp's share begins, a multiple of 16.
    """
    matrix, row = u(lane // u(8)), u(lane % u(8))
    if per_row == u(1):
        down, right = u(matrix % u(2)), u(matrix // u(2))
    else:
        down, right = u(matrix // u(2)), u(matrix % u(2))
    return u((first + u(8) * down + row) * u(ROW) + u(right ^ (row // u(2))) * u(CHUNK))


@cuda.jit(device=True, inline="always")
def lane_cross_bf16(first, lane, pitch, per_row):
    """As lane_long for CROSS: chunk q of term k of the sum lies at q ^ (k % 8). Terms below each other, A's rows side by side.

    Args:
        first: column of the slice at which the warp's share begins, a multiple of 32. pitch: bytes of a term.
    """
    matrix, term = u(lane // u(8)), u(lane % u(8))
    if per_row == u(1):
        down, right = u(matrix // u(2)), u(matrix % u(2))
    else:
        down, right = u(matrix % u(2)), u(matrix // u(2))
    return u((u(8) * down + term) * pitch + u((first // u(8) + right) ^ term) * u(CHUNK))


@cuda.jit(device=True, inline="always")
def lane_cross_tf32(first, lane, pitch):
    """As lane_cross_bf16, word by word: lane l loads number l // 4 of term l % 4, and chunk q lies at q ^ (2 * (k % 4))."""
    term, number = u(lane % u(4)), u(lane // u(4))
    return u(term * pitch + ((first + number) * u(4) ^ u(term * u(32))))
