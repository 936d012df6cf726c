"""Packing: operands of tensor cores from float32, rounded, in chunks of 16 bytes that are contiguous along the sum.

A chunk is 8 bf16 or 4 tf32 numbers. A pixel's channels are padded with zeros to 32 bytes, an mma's share of the sum and a sector of
memory, and images may get a border of zeros: the products' loops then test for nothing. An operand is read once here and many times
there, so that rounding here rather than in their loops is cheap, and it is the one place where numbers lose bits.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from numba import cuda, float32, uint32, uint64

from cnnlite_kernels.cuda.grid import THREADS
from cnnlite_kernels.cuda.intrinsics import load4
from cnnlite_kernels.cuda.kernel import U32, U64, Floats, Kernel
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.tensor_cores import ELEMENTS
from cnnlite_kernels.cuda.tensor_intrinsics import BF16, TF32, bf16_pair, store_words, tf32
from cnnlite_kernels.cuda.tensor_tile import Words
from cnnlite_kernels.precision import TF32 as TF32_NAME

u = uint32
ACROSS = 16  # columns of a block of pack_columns, and chunks
WRAP = 2**64 - 1


def kind_of(precision: str) -> int:
    """TF32 or BF16 of tensor_intrinsics."""
    return TF32 if precision == TF32_NAME else BF16


def chunks_of(channels: int, precision: str) -> int:
    """Chunks of a pixel: an even number.

    >>> chunks_of(3, "bfloat16"), chunks_of(17, "bfloat16"), chunks_of(17, "tf32")
    (2, 4, 6)
    """
    return 2 * -(-channels // (2 * ELEMENTS[precision]))


class Rows(NamedTuple):
    """Pixels to pack: (images, height, width, channels) of `source`, and where its chunks go: (images, high, wide, chunks).

    Args:
        by_image, by_y, by_x: numbers between neighbours in `source`; may be negative.
        high, wide: with the border; source's pixel (0, 0) is at (top, left).
        begin: where that pixel begins in `source`.
    """

    images: int
    height: int
    width: int
    channels: int
    by_image: int
    by_y: int
    by_x: int
    high: int
    wide: int
    top: int = 0
    left: int = 0
    begin: int = 0

    @property
    def bound(self) -> int:
        """At least as many numbers as this has once packed."""
        return self.images * self.high * self.wide * (self.channels + 16)

    def chunks(self, precision: str) -> int:
        """How many chunks this is."""
        return self.images * self.high * self.wide * chunks_of(self.channels, precision)


@functools.cache
def pack_rows(precision: int, wide: bool) -> Kernel:
    """The kernel for a precision.

    Args:
        wide: pixels of source begin at multiples of 16 bytes, and channels are a multiple of 4.
    """

    def body(
        source: Floats, out: Words, count: U32, fours: U32, across: U32, down: U32, channels: U32, height: U32, width: U32,
        top: U32, left: U32, begin: U64, by_image: U64, by_y: U64, by_x: U64,
    ) -> None:  # fmt: skip
        """Four channels of a pixel a thread: out[image, y, x, 4q : 4q + 4] = source[image, y - top, x - left, 4q : 4q + 4], rounded.

        Args:
            source: float32, pixel (0, 0) at `begin`, a pixel's channels contiguous, pixels `by_...` apart.
            out: (images, down, across, 4 * fours). Outside source, and behind its channels, out is 0.
            count: numbers of out, in fours. height, width: of source.
        """
        e = u(u(cuda.blockIdx.x) * u(THREADS) + u(cuda.threadIdx.x))
        if e >= count:
            return
        pixel = u(e // fours)
        first = u((e - pixel * fours) * u(4))
        line = u(pixel // across)
        image = u(line // down)
        x, y = u(pixel - line * across - left), u(line - image * down - top)
        zero = float32(0)
        s0 = s1 = s2 = s3 = zero
        if x < width and y < height and first < channels:
            at = begin + image * by_image + y * by_y + x * by_x + first
            if wide:
                s0, s1, s2, s3 = load4(source, at)
            else:
                s0 = source[at]
                s1 = source[at + uint64(1)] if first + u(1) < channels else zero
                s2 = source[at + uint64(2)] if first + u(2) < channels else zero
                s3 = source[at + uint64(3)] if first + u(3) < channels else zero
        if precision == BF16:
            store_words(out, e, (bf16_pair(s0, s1), bf16_pair(s2, s3)))
        else:
            store_words(out, e, (tf32(s0), tf32(s1), tf32(s2), tf32(s3)))

    body.__name__ = f"pack_rows_{'bf16' if precision == BF16 else 'tf32'}{'' if wide else '_guarded'}"
    return Kernel(body, THREADS, 4)


@functools.cache
def pack_columns(precision: int) -> Kernel:
    """The kernel for a precision."""
    SIZE = 8 if precision == BF16 else 4

    def body(source: Floats, out: Words, columns: U32, total: U32, chunks: U32, channels: U32) -> None:
        """A chunk of a column a thread: out[j, tap, q] = source[tap, SIZE * q : SIZE * (q + 1), j], rounded: a transpose.

        A warp has two chunks of sixteen columns: it reads and writes whole sectors of 32 bytes.

        Args:
            source: (taps, channels, columns). out: (columns, total), total being taps * chunks. Behind the channels out is 0.
        """
        t, block = u(cuda.threadIdx.x), u(cuda.blockIdx.x)
        across = u((columns + u(ACROSS - 1)) // u(ACROSS))
        column = u(block % across * u(ACROSS) + t % u(ACROSS))
        chunk = u(block // across * u(ACROSS) + t // u(ACROSS))
        if column >= columns or chunk >= total:
            return
        tap = u(chunk // chunks)
        first = u((chunk - tap * chunks) * u(SIZE))
        by = uint64(columns)
        at = (uint64(tap) * channels + first) * by + column
        left = u(channels - first) if first < channels else u(0)
        zero = float32(0)
        s0 = source[at] if left > u(0) else zero
        s1 = source[at + by] if left > u(1) else zero
        s2 = source[at + uint64(2) * by] if left > u(2) else zero
        s3 = source[at + uint64(3) * by] if left > u(3) else zero
        s4 = s5 = s6 = s7 = zero
        if SIZE == 8:
            s4 = source[at + uint64(4) * by] if left > u(4) else zero
            s5 = source[at + uint64(5) * by] if left > u(5) else zero
            s6 = source[at + uint64(6) * by] if left > u(6) else zero
            s7 = source[at + uint64(7) * by] if left > u(7) else zero
            words = bf16_pair(s0, s1), bf16_pair(s2, s3), bf16_pair(s4, s5), bf16_pair(s6, s7)
        else:
            words = tf32(s0), tf32(s1), tf32(s2), tf32(s3)
        store_words(out, u(column * total + chunk), words)

    body.__name__ = f"pack_columns_{'bf16' if precision == BF16 else 'tf32'}"
    return Kernel(body, THREADS, 4)


def add_pack_rows(plan: Plan, source: Any, out: Any, rows: Rows, precision: str, aligned: bool) -> None:
    """Emits the packing of pixels of `source` (flat, float32) into `out` (uint32, see Rows)."""
    steps = (rows.begin, rows.by_image, rows.by_y, rows.by_x)
    wide = aligned and not rows.channels % 4 and not any(step % 4 for step in steps)
    fours = chunks_of(rows.channels, precision) * ELEMENTS[precision] // 4
    count = rows.images * rows.high * rows.wide * fours
    plan.add(
        pack_rows(kind_of(precision), wide), -(-count // THREADS), source, out, count, fours, rows.wide, rows.high,
        rows.channels, rows.height, rows.width, rows.top, rows.left, *(step & WRAP for step in steps),
    )  # fmt: skip


def add_pack_columns(
    plan: Plan, source: Any, out: Any, taps: int, channels: int, columns: int, precision: str
) -> None:
    """Emits the packing of source (taps, channels, columns), flat, float32, into out (columns, taps, chunks of 16 bytes), uint32."""
    chunks = chunks_of(channels, precision)
    total = taps * chunks
    blocks = -(-columns // ACROSS) * -(-total // ACROSS)
    plan.add(pack_columns(kind_of(precision)), blocks, source, out, columns, total, chunks, channels)
