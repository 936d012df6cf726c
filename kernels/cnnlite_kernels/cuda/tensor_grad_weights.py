"""The weights' gradient of a convolution on tensor cores: a product over pixels of two packed images."""

from __future__ import annotations

import functools

from numba import cuda, float32, int32, uint32, uint64

from cnnlite_kernels.cuda.epilogue import NONE, write4
from cnnlite_kernels.cuda.intrinsics import zeros
from cnnlite_kernels.cuda.kernel import U32, U64, Floats, Kernel
from cnnlite_kernels.cuda.tensor_intrinsics import (
    BF16,
    CHUNK,
    CROSS,
    ROW,
    address_of,
    commit_copies,
    copy_chunk,
    get_sums,
    multiply,
    put_sums,
    wait_copies,
)
from cnnlite_kernels.cuda.tensor_tile import (
    SUMS_PITCH,
    SUMS_ROWS,
    WARP,
    Tile,
    Words,
    lane_cross_bf16,
    lane_cross_tf32,
    place,
    walk,
)

u = uint32


@functools.cache
def grad_weights(precision: int, tile: Tile) -> Kernel:
    """The kernel of a tile: see its body."""
    ROWS, COLUMNS, THREADS = tile.rows, tile.columns, tile.threads
    WARP_ROWS, WARP_COLUMNS, ACROSS = tile.warp_rows, tile.warp_columns, tile.columns // tile.warp_columns
    TILE_ROWS, TILE_COLUMNS = tile.warp_rows // 16, tile.warp_columns // 8
    SUMS = 4 * TILE_ROWS * TILE_COLUMNS
    STAGES, STAGE, PENDING, WORDS = tile.stages, tile.stage, tile.stages - 2, tile.words
    SIZE = 8 if precision == BF16 else 4  # numbers of a chunk
    TERMS = ROW * SIZE // CHUNK  # pixels of a step
    PER = tile.threads // TERMS  # threads that copy a pixel, each one chunk, and one PER chunks further on
    A_PITCH, B_PITCH = tile.rows // SIZE * CHUNK, tile.columns // SIZE * CHUNK  # bytes of a pixel
    B_TWO = int(tile.columns // SIZE > PER)
    # Eight lanes store 128 contiguous bytes; where a pixel has as little, an odd one's lanes begin with its other half.
    FLIP = PER if A_PITCH == 8 * CHUNK else 0
    # Chunk q of pixel k lies at q ^ (k % SWIZZLE * SWIZZLE_BY): a fragment's numbers, of 8 pixels in bf16 and of 4 in tf32, lie on
    # all 32 banks.
    SWIZZLE, SWIZZLE_BY = (8, 1) if precision == BF16 else (4, 2)

    def body(
        a: Words, b: Words, c: Floats, m: U32, n: U32, pixels: U32, width: U32, height: U32, a_x: U32, a_y: U32, a_image: U32,
        tap_chunks: U32, taps_across: U32, tap_x: U32, tap_y: U32, b_chunks: U32, channels: U32, part: U32, c_part: U64, flags: U32,
    ) -> None:  # fmt: skip
        """c[tap, channel, j] = sum over pixels of x[pixel + tap, channel] grad_y[pixel, j].

        Rows of C are taps and channels, those of a packed pixel, padding included, of which only the real ones are written.

        Args:
            a: packed x, the chunk of a pixel of y, a tap and q at
                image * a_image + y * a_y + x * a_x + tap_row * tap_y + tap_column * tap_x + q, pixel being
                (image * height + y) * width + x and row being ((tap_row * taps_across + tap_column) * tap_chunks + q) * SIZE + ...
            b: packed grad_y, (pixels, b_chunks).
            c: parts of (taps, channels, n), part p from p * c_part on the sum over `part` pixels, a multiple of TERMS.
            flags: WIDE or 0, for write4.
        """
        shared = cuda.shared.array(WORDS, uint32, alignment=128)
        base = address_of(shared)
        t, block = u(cuda.threadIdx.x), u(cuda.blockIdx.x)
        across, down = u((n + u(COLUMNS - 1)) // u(COLUMNS)), u((m + u(ROWS - 1)) // u(ROWS))
        row0, column0 = u(u(block // across) % down * u(ROWS)), u(block % across * u(COLUMNS))
        p = u(u(block // across) // down)
        first = u(p * part)
        end = u(first + min(part, u(pixels - first)))
        steps = u((end - first + u(TERMS - 1)) // u(TERMS))

        # A thread copies two chunks of a pixel of A, and one or two of B. What is right of the last chunk is that one again; beyond
        # the part's last pixel are zeros.
        line = u(t // u(PER))
        q = u(t % u(PER) ^ line % u(2) * u(FLIP))
        place_0 = u((q ^ (line % u(SWIZZLE) * u(SWIZZLE_BY))) * u(CHUNK))
        place_1 = u(place_0 ^ u(PER * CHUNK))
        line_a, line_b = u(base + line * u(A_PITCH)), u(base + line * u(B_PITCH))
        right = u(m // u(SIZE) - u(1))
        _, _, a_0 = place(u(min(row0 // u(SIZE) + q, right)), tap_chunks, taps_across, u(1), tap_x, tap_y)
        second = u(min(row0 // u(SIZE) + (q ^ u(PER)), right))
        _, _, a_1 = place(second, tap_chunks, taps_across, u(1), tap_x, tap_y)
        k = u(first + line)
        b_0 = u(k * b_chunks + min(column0 // u(SIZE) + q, b_chunks - u(1)))
        b_1 = u(k * b_chunks + min(column0 // u(SIZE) + (q ^ u(PER)), b_chunks - u(1)))
        i, j, by = place(k, width, height, a_x, a_y, a_image)
        a_0, a_1, left = u(a_0 + by), u(a_1 + by), int32(end - k)
        on = place(u(TERMS), width, height, a_x, a_y, a_image)
        carry, carry_row = u(a_y - width * a_x), u(a_image - height * a_y)
        b_on = u(u(TERMS) * b_chunks)

        lane, warp = u(t % u(WARP)), u(t // u(WARP))
        warp_row, warp_column = u(warp // u(ACROSS) * u(WARP_ROWS)), u(warp % u(ACROSS) * u(WARP_COLUMNS))
        if precision == BF16:
            from_a = u(base + lane_cross_bf16(warp_row, lane, u(A_PITCH), u(1)))
            from_b = u(base + u(ROWS * ROW) + lane_cross_bf16(warp_column, lane, u(B_PITCH), u(2)))
        else:
            from_a = u(base + lane_cross_tf32(warp_row, lane, u(A_PITCH)))
            from_b = u(base + u(ROWS * ROW) + lane_cross_tf32(warp_column, lane, u(B_PITCH)))
        sums = zeros(SUMS)
        ahead, now = u(0), u(0)
        for _ in range(u(STAGES - 1)):
            size = u(CHUNK) if left > int32(0) else u(0)
            copy_chunk(u(line_a + place_0 + ahead), a, a_0, size)
            copy_chunk(u(line_a + place_1 + ahead), a, a_1, size)
            copy_chunk(u(line_b + place_0 + ahead + u(ROWS * ROW)), b, b_0, size)
            if B_TWO:
                copy_chunk(u(line_b + place_1 + ahead + u(ROWS * ROW)), b, b_1, size)
            commit_copies()
            i, j, by = walk(i, j, u(0), width, height, on, carry, carry_row)
            a_0, a_1, b_0, b_1 = u(a_0 + by), u(a_1 + by), u(b_0 + b_on), u(b_1 + b_on)
            left = int32(left - int32(TERMS))
            ahead = u(ahead + u(STAGE)) if ahead < u(STAGE * (STAGES - 1)) else u(0)
        while steps > u(0):
            wait_copies(PENDING)
            cuda.syncthreads()
            size = u(CHUNK) if left > int32(0) else u(0)
            copy_chunk(u(line_a + place_0 + ahead), a, a_0, size)
            copy_chunk(u(line_a + place_1 + ahead), a, a_1, size)
            copy_chunk(u(line_b + place_0 + ahead + u(ROWS * ROW)), b, b_0, size)
            if B_TWO:
                copy_chunk(u(line_b + place_1 + ahead + u(ROWS * ROW)), b, b_1, size)
            commit_copies()
            i, j, by = walk(i, j, u(0), width, height, on, carry, carry_row)
            a_0, a_1, b_0, b_1 = u(a_0 + by), u(a_1 + by), u(b_0 + b_on), u(b_1 + b_on)
            left = int32(left - int32(TERMS))
            ahead = u(ahead + u(STAGE)) if ahead < u(STAGE * (STAGES - 1)) else u(0)
            sums = multiply(
                sums, u(from_a + now), u(from_b + now), precision, CROSS, TILE_ROWS, TILE_COLUMNS, A_PITCH, B_PITCH
            )  # fmt: skip
            now = u(now + u(STAGE)) if now < u(STAGE * (STAGES - 1)) else u(0)
            steps = u(steps - u(1))
        wait_copies(0)

        mine = u(base + warp * u(SUMS_ROWS * SUMS_PITCH))
        put = u(mine + lane // u(4) * u(SUMS_PITCH) + lane % u(4) * u(8))
        get = u(mine + lane // u(8) * u(SUMS_PITCH) + lane % u(8) * u(16))
        row, column = u(row0 + warp_row + lane // u(8)), u(column0 + warp_column + lane % u(8) * u(4))
        padded, whole = u(tap_chunks * u(SIZE)), uint64(channels) * n
        i, j, at = place(row, padded, u(1), uint64(n), whole, whole)
        at += uint64(p) * c_part
        four_on = place(u(4), padded, u(1), uint64(n), whole, whole)
        one, zero = float32(1), float32(0)
        carry_tap = whole - uint64(padded) * n
        for pair in range(u(TILE_ROWS // 2)):
            cuda.syncthreads()
            put_sums(sums, put, pair, TILE_COLUMNS, SUMS_PITCH)
            cuda.syncthreads()
            for line in range(u(SUMS_ROWS // 4)):
                if row < m and i < channels and column < n:
                    four = get_sums(u(get + line * u(4 * SUMS_PITCH)))
                    columns = u(n - column)
                    write4(c, at + column, four, columns, c, uint64(0), one, zero, u(NONE), flags)
                i, j, at = walk(i, j, at, padded, u(1), four_on, carry_tap, uint64(0))
                row = u(row + u(4))

    body.__name__ = f"tensor_grad_weights_{'bf16' if precision == BF16 else 'tf32'}_{tile}"
    return Kernel(body, THREADS, tile.blocks)
