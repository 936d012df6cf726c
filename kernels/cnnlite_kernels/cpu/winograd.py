"""Winograd's convolution F(m x m, 3 x 3): 3 x 3 windows at stride 1 with fewer multiplications (Lavin and Gray 2015, arXiv 1509.09308).

The image is cut into tiles of m x m outputs, each made from a patch d of (m + 2) x (m + 2) pixels. For one channel and kernel g

    y = A^T ((G g G^T) * (B^T d B)) A        with * the product number by number,

so that the sum over channels is a matrix product for each of the (m + 2)^2 numbers: s = v u, (tiles, cin) by (cin, cout) with
v = B^T d B and u = G g G^T. That is 16 multiplications instead of 36 for 4 outputs (m = 2), or 36 instead of 144 for 16 (m = 4).

The (m + 2)^2 matrices v lie `step` numbers apart, and so do u and s. Each function emits kernels into a plan; tiles are counted from
Base.PART on, the part's first one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cnnlite_kernels.algorithms import TAPS
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.memory import Pointer
from cnnlite_kernels.cpu.plan import LINE, Plan
from cnnlite_kernels.cpu.product import Rows, add_product, column_runs
from cnnlite_kernels.cpu.winograd_transforms import transform_input, transform_output, transform_weights


class Tiling(NamedTuple):
    """Tiles of m x m outputs that cover n images x (h, w, cin) and y (oh, ow, cout); x has `top` rows and `left` columns of padding
    before it. Both may be negative, and padding after it is what the outputs reach."""

    m: int
    n: int
    h: int
    w: int
    cin: int
    oh: int
    ow: int
    cout: int
    top: int
    left: int

    @property
    def down(self) -> int:
        """Tiles in a column of an image."""
        return -(-self.oh // self.m)

    @property
    def across(self) -> int:
        """Tiles in a row of an image."""
        return -(-self.ow // self.m)

    @property
    def tiles(self) -> int:
        """Tiles in all."""
        return self.n * self.down * self.across

    @property
    def products(self) -> int:
        """Matrix products: numbers in a patch."""
        return (self.m + TAPS - 1) ** 2

    @property
    def multiply_adds(self) -> int:
        """Of the products, without the transforms."""
        return self.tiles * self.products * self.cin * self.cout


class Matrices(NamedTuple):
    """Where the matrices v, u or s begin, numbers from one to the next, and (not of u, which is packed) from one row to the next."""

    start: Pointer
    step: int
    row: int = 0


def spaced(numbers: int, item: int) -> int:
    """Numbers from one matrix to the next: an odd count of cache lines, for a power of two would put all on few places in L1."""
    return (-(-numbers * item // LINE) | 1) * LINE // item


def covered(cout: int, item: int, columns: tuple[int, int]) -> tuple[int, int]:
    """(first, stop) of the columns whose blocks begin at `columns`; the last block may reach further."""
    lanes = host().lanes(item)
    runs = [run.within(columns, lanes) for run in column_runs(cout, item, threes=True)]
    ends = [(run.start, run.start + run.blocks * run.vectors * lanes) for run in runs if run.blocks]
    return (ends[0][0], min(ends[-1][1], cout)) if ends else (0, 0)


def add_input(plan: Plan, tiling: Tiling, x: Pointer, v: Matrices, first: int, count: int) -> None:
    """Emits v = B^T d B for the patches d of `count` tiles."""
    mark = plan.mark()
    plan.add(
        transform_input, plan.item, host().lanes(plan.item), tiling.m,
        x=x, y=v.start, patch=plan.scratch(tiling.products * tiling.cin * plan.item), h=tiling.h, w=tiling.w, pixel=tiling.cin,
        channels=tiling.cin, top=tiling.top, left=tiling.left, down=tiling.down, across=tiling.across, first=first, count=count,
        row=v.row, step=v.step,
    )  # fmt: skip
    plan.free(mark)


def add_weights(
    plan: Plan, tiling: Tiling, w: Pointer, u: Matrices, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    """Emits u = G g G^T for the kernels g of w (3, 3, cin, cout): the input channels `rows` (first, stop), packed without the others for
    `add_products`, and the blocks of cout that begin at `columns`, each where it lies in all of u."""
    lanes = host().lanes(plan.item)
    k_len = rows[1] - rows[0]
    tap = tiling.cin * tiling.cout
    for run in column_runs(tiling.cout, plan.item, threes=True):
        run = run.within(columns, lanes)
        if run.blocks:
            plan.add(
                transform_weights, plan.item, lanes, run.vectors, tiling.m,
                x=w + rows[0] * tiling.cout * plan.item, y=u.start + run.start * k_len * plan.item, row=TAPS * tap, tap=tap,
                k_step=tiling.cout, k_len=k_len, start=run.start,
                columns=min(run.start + run.blocks * run.vectors * lanes, tiling.cout), step=u.step,
            )  # fmt: skip


def add_products(
    plan: Plan, tiling: Tiling, v: Matrices, u: Matrices, s: Matrices, count: int, k_len: int, *,
    columns: tuple[int, int] | None = None, flags: int = 0,
) -> None:  # fmt: skip
    """Emits s (+)= v u, (count, k_len) by (k_len, cout), or only those of its blocks of columns; flags=ACCUMULATE adds to s."""
    tiles = np.arange(count)
    rows = Rows(tiles * v.row, tiles * s.row, tiling.products, a_group=v.step, b_group=u.step, c_group=s.step)
    add_product(
        plan, v.start, u.start, s.start, rows, tiling.cout, [0], k_len, threes=True, within=columns, flags=flags,
    )  # fmt: skip


def add_output(
    plan: Plan, tiling: Tiling, s: Matrices, bias: Pointer | None, y: Pointer, first: int, count: int, *,
    columns: tuple[int, int], relu: bool = False,
) -> None:  # fmt: skip
    """Emits y = A^T s A + bias, then relu, for some output channels, with which the rows of s begin."""
    start, stop = columns
    if bias is None:
        bias = plan.table(np.zeros(stop), np.float32 if plan.item == 4 else np.float64)
    mark = plan.mark()
    plan.add(
        transform_output, plan.item, host().lanes(plan.item), tiling.m,
        x=s.start, y=y + start * plan.item, bias=bias + start * plan.item,
        patch=plan.scratch(tiling.m**2 * (stop - start) * plan.item), h=tiling.oh, w=tiling.ow, pixel=tiling.cout,
        channels=stop - start, down=tiling.down, across=tiling.across, first=first, count=count, row=s.row, step=s.step,
        floor=0.0 if relu else -np.inf,
    )  # fmt: skip
    plan.free(mark)
