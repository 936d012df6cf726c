"""The tables that the interpreter and the roofline give: memory traffic, bytes of ResNet-50's layers, and bounds on time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import cases
from cases import ConvCase

from cnnlite_kernels.cuda import conv2d_taps, tile
from cnnlite_kernels.cuda.catalogue import CATALOGUE
from cnnlite_kernels.cuda.kernel import Kernel
from tools.cuda_static import traffic
from tools.cuda_static.roofline import PEAK_FLOPS, launch_seconds, work_of
from tools.cuda_static.tables import Measured, Row
from tools.cuda_static.traffic import Cost

BATCH = 32
LAYERS = (*cases.DOCUMENTED, *(case.with_batch(BATCH) for case in cases.RESNET50))
H100 = (9, 0)

TRAFFIC_HEADS = (
    "kernel",
    "run on",
    "loads: sectors / fewest",
    "stores: sectors / fewest",
    "bank conflicts: hot loop",
    "elsewhere",
)
BYTES_HEADS = ("layer", "tile", "bytes moved by the tile", "fewest", "ratio")
ROOFLINE_HEADS = (
    "layer",
    "GFLOP",
    "MB",
    *(f"{p}: {what}" for p in PEAK_FLOPS for what in ("bound, us", "ours, us")),
)


def names() -> dict[Kernel, str]:
    """The catalogue's name of a kernel; those of two dtypes are one kernel, and the first is of float32."""
    found: dict[Kernel, str] = {}
    for entry in CATALOGUE:
        found.setdefault(entry.make(), entry.name)
    return found


def traffic_rows() -> Iterator[Row]:
    """A row for each kernel that the samples launch, the first time that they do."""
    named, seen = names(), set()
    runs = [(label, emit, "float32") for label, emit in traffic.samples()]
    runs += [
        (label, emit, precision)
        for precision in ("tf32", "bfloat16")
        for label, emit in traffic.tensor_samples()
    ]
    for label, emit, precision in runs:
        for cost in traffic.costs_of(emit, precision):
            if cost.kernel not in seen:
                seen.add(cost.kernel)
                inside, outside = cost.conflicts
                yield (
                    named[cost.kernel],
                    label,
                    f"{cost.loads.ratio:.2f}",
                    f"{cost.stores.ratio:.2f}",
                    str(inside),
                    str(outside),
                )


def bytes_rows() -> Iterator[Row]:
    """A row for each convolution of ResNet-50 that the wide path takes: the first tile's bytes over what it needs once."""
    tiles = {str(one): one for one in (*tile.TILES, *conv2d_taps.TILES)}
    named = names()
    for case in LAYERS:
        if not isinstance(case, ConvCase) or case.cin % 8:
            continue
        cost = traffic.costs_of(partial(traffic.emit_forward, case))[0]
        size = named[cost.kernel].split()[1]
        rows, columns = tiles[size].rows, tiles[size].columns
        fewest = traffic.needed_by_first_tile(case, rows, columns, cost.blocks)
        yield case.name, size, str(cost.moved), str(fewest), f"{cost.moved / fewest:.2f}"


def roofline_rows(measured: Mapping[str, Measured]) -> Iterator[Row]:
    """A row for each layer: the bound of its work, and of the launches that it becomes."""
    named = names()
    for case in LAYERS:
        work = work_of(case)
        cells = [case.name, f"{work.flops / 1e9:.2f}", f"{work.bytes / 1e6:.1f}"]
        for precision in PEAK_FLOPS:
            costs = traffic.costs_of(partial(traffic.emit_forward, case), precision)
            ours = sum(_seconds(cost, precision, measured[named[cost.kernel]]) for cost in costs)
            cells += [f"{work.seconds(precision) * 1e6:.1f}", f"{ours * 1e6:.1f}"]
        yield tuple(cells)


def _seconds(cost: Cost, precision: str, measured: Measured) -> float:
    loop = measured[H100].loop
    moved = min(cost.arrays, cost.moved * cost.blocks)
    return launch_seconds(cost.blocks, cost.fma, cost.mma, moved, precision, loop.share if loop else 1.0)
