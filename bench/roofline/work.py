"""What a kernel has to do: operations and bytes, counted from the shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from cases import ConvCase, MatmulCase, PoolCase

Unit = Literal["GFLOP/s", "GB/s"]
ITEM = 4  # bytes of a float32

# For each parameter: operations of the formula in the optimizer's docstring, a square root or a division counted as one; and numbers
# read and written: the weight both ways, its gradient, each slot both ways.
OPTIMIZER_WORK = {"sgd": (2, 3), "momentum": (4, 5), "rmsprop": (7, 5), "adam": (10, 7)}


@dataclass(frozen=True, slots=True)
class Work:
    """What a call does at least.

    Attributes:
        operations: additions, multiplications, comparisons; a multiply-add is two.
        moved: bytes of its operands and its result, each once.
        unit: in which its speed is told.
    """

    operations: float
    moved: float
    unit: Unit

    @property
    def intensity(self) -> float:
        """Operations a byte: where it stands under the roofline."""
        return self.operations / self.moved

    def rate(self, seconds: float) -> float:
        """Its speed in its unit.

        >>> Work(2e9, 4e9, "GFLOP/s").rate(0.5), Work(2e9, 4e9, "GB/s").rate(0.5)
        (4.0, 8.0)
        """
        return (self.operations if self.unit == "GFLOP/s" else self.moved) / seconds / 1e9


def _bytes(*shapes: Sequence[int]) -> float:
    return float(ITEM * sum(prod(shape) for shape in shapes))


def of_conv(case: ConvCase) -> Work:
    """Of the forward pass, and of either gradient: each reads two of x, w and y and writes the third."""
    return Work(case.flops, _bytes(case.x_shape, case.w_shape, case.y_shape), "GFLOP/s")


def of_matmul(case: MatmulCase) -> Work:
    return Work(case.flops, _bytes(case.a_shape, case.b_shape, case.y_shape), "GFLOP/s")


def of_max_pool(case: PoolCase) -> Work:
    """A comparison less than a window has pixels, for each output."""
    comparisons = prod(case.y_shape) * (prod(case.pool_size) - 1)
    return Work(comparisons, _bytes(case.x_shape, case.y_shape), "GB/s")


def of_max_pool_grad(case: PoolCase) -> Work:
    """Reads the winners (int32, as large as y) and grad_y, adds each to its pixel, writes grad_x."""
    return Work(prod(case.y_shape), _bytes(case.x_shape, case.y_shape, case.y_shape), "GB/s")


def of_cross_entropy(n: int, classes: int) -> Work:
    """With the gradient. For each logit: the maximum, the subtraction, exp, the sum, the scaling; exp counted as one."""
    return Work(5.0 * n * classes, _bytes((n, classes), (n, classes), (n,), (n,)), "GB/s")


def of_pass(*shapes: Sequence[int]) -> Work:
    """Of a kernel that memory alone limits: all that it reads and writes, once."""
    return Work(float(max(prod(shape) for shape in shapes)), _bytes(*shapes), "GB/s")


def of_optimizer(name: str, parameters: int) -> Work:
    operations, numbers = OPTIMIZER_WORK[name]
    return Work(float(operations * parameters), float(ITEM * numbers * parameters), "GB/s")
