"""The least time that a layer can take on an H100, of its arithmetic and of the bytes that it must move. A bound, never a measurement.

The peaks are those of the H100 SXM5 in NVIDIA's data sheet "NVIDIA H100 Tensor Core GPU": 67 TFLOP/s in float32, 989 TFLOP/s in tf32
and 1979 in bf16 with sparsity, half of that on dense operands, 3.35 TB/s from memory; 132 multiprocessors. The tensor cores' peak is
reached by wgmma only, so mma.sync, which our kernels use, stays further below it.
"""

from __future__ import annotations

from typing import NamedTuple

from cases import ConvCase, MatmulCase, PoolCase

BYTES_PER_SECOND = 3.35e12
MULTIPROCESSORS = 132
PEAK_FLOPS = {"float32": 67e12, "tf32": 989e12 / 2, "bfloat16": 1979e12 / 2}


class Work(NamedTuple):
    """What a layer's pass must do: floating-point operations, and bytes of float32 when every operand moves once.

    A convolution's gradients have the same sums: each reads two of x, w and y and writes the third.
    """

    flops: int
    bytes: int

    def seconds(self, precision: str) -> float:
        """The larger of the two times."""
        return max(self.flops / PEAK_FLOPS[precision], self.bytes / BYTES_PER_SECOND)

    def by_memory(self, precision: str) -> bool:
        """Whether it is the bytes that take longer."""
        return self.flops / PEAK_FLOPS[precision] < self.bytes / BYTES_PER_SECOND


def launch_seconds(blocks: int, fma: int, mma: int, moved: int, precision: str, share: float) -> float:
    """The least time of a launch: of the arithmetic of the multiprocessor that has the most blocks, or of the bytes.

    Args:
        fma, mma: multiply-adds of a block, outside and on tensor cores.
        moved: bytes of the whole launch.
        share: of multiply-adds in the hot loop; each of its instructions takes an FFMA's turn.

    >>> round(launch_seconds(132, 500_000_000, 0, 0, "float32", 1.0) * 1e3, 2)
    1.97
    """
    arithmetic = 2 * fma / (PEAK_FLOPS["float32"] * share) + 2 * mma / PEAK_FLOPS[precision]
    return max(-(-blocks // MULTIPROCESSORS) * MULTIPROCESSORS * arithmetic, moved / BYTES_PER_SECOND)


def work_of(case: ConvCase | PoolCase | MatmulCase) -> Work:
    """The work of one pass of a layer.

    >>> work_of(MatmulCase("dense", 32, 64, 576))
    Work(flops=2359296, bytes=229376)
    >>> work_of(MatmulCase("square", 4096, 4096, 4096)).by_memory("float32")
    False
    """
    if isinstance(case, MatmulCase):
        return Work(case.flops, 4 * (case.m * case.k + case.k * case.n + case.m * case.n))
    if isinstance(case, PoolCase):
        return Work(0, 4 * (_count(case.x_shape) + _count(case.y_shape)))
    return Work(
        case.flops, 4 * (_pixels_used(case) * case.n * case.cin + _count(case.w_shape) + _count(case.y_shape))
    )


def _pixels_used(case: ConvCase) -> int:
    """Pixels of an image that some tap looks at: fewer than all where strides are larger than the kernel."""
    window = case.window
    ((top, _), (left, _)), outputs = window.pads(case.h, case.w), window.output_size(case.h, case.w)
    used = []
    for axis, (size, before) in enumerate(((case.h, top), (case.w, left))):
        stride, dilation = window.strides[axis], window.dilation[axis]
        taps = {
            p * stride + i * dilation - before
            for p in range(outputs[axis])
            for i in range(window.kernel[axis])
        }
        used.append(len(taps & set(range(size))))
    return used[0] * used[1]


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
