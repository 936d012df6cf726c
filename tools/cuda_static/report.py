"""bench/cuda_static.md: what it says, put together from the tables."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby

from cnnlite_kernels.cuda.catalogue import Entry
from tools.cuda_static import figures, tables
from tools.cuda_static.tables import Measured, Row, markdown

PACKAGES = ("numba", "numba-cuda", "nvidia-nvvm", "nvidia-cuda-nvcc", "nvidia-cuda-nvdisasm")

OPENING = """# The CUDA kernels, as machine code

Made by `python -m tools.cuda_static`; `--check` fails where a kernel breaks its budget, as CI does. No GPU was needed and none was
there: nothing on this page is a measured speed. **s** are seconds of one core to compile, on the machine that made the table.

- **registers, shared, stack, spills**: of a thread, of a block, from `ptxas -v`. Stack and spills must be 0.
- **blocks at once, threads**: the most blocks of the kernel that a multiprocessor can hold, and the part of its threads that they are.
- **hot loop**: the part of its instructions, as nvdisasm shows them, that is arithmetic: FFMA, or HMMA on tensor cores (one HMMA does
  the work of 32 FFMA in tf32, of 64 in bf16).
- **128-bit loads**: the part of the hot loop's loads, of global and of shared memory, that bring 128 bits to a thread.
- A span is over the architectures 7.5, 8.0, 8.6, 8.9, 9.0, 10.0 and 12.0; tensor cores are used from 8.0 on.
"""


def opening() -> Iterator[str]:
    yield from OPENING.splitlines()
    yield from ("", f"{versions()}.")


def machine_code(measured: Mapping[str, Measured], entries: Sequence[Entry]) -> Iterator[str]:
    """A table for each family, architectures together."""
    for family, members in _families(entries):
        yield from section(
            f"## {family}", tables.HEADS, [tables.summary(one, measured[one.name]) for one in members]
        )


def each_architecture(measured: Mapping[str, Measured], entries: Sequence[Entry]) -> Iterator[str]:
    """A table for each family, architectures apart where they differ."""
    for family, members in _families(entries):
        rows = [row for one in members for row in tables.details(one, measured[one.name])]
        yield from section(f"### {family}", tables.DETAIL_HEADS, rows, left=2)


TRAFFIC = """
The interpreter of tools/ptx ran the first block of each launch, of plans for 132 multiprocessors, and counted what each warp asked
for. A ratio of 1 is the fewest 32-byte sectors that hold the bytes asked for; a bank conflict is a turn of shared memory too many.
"""

BYTES = """
Bytes of the different sectors that the first tile of a convolution's forward pass asks for, float32, batch of 32, over what it needs
once: the pixels under its rows, in the channels that it sums, their weights and its outputs. Pixels that several taps look at are
asked for again and come from the L1 or L2 cache.
"""

ROOFLINE = """
**Bounds, not measurements.** Of an H100 SXM5, from NVIDIA's data sheet: 67 TFLOP/s in float32, 494.5 in tf32, 989.5 in bf16, each on
dense operands, and 3.35 TB/s. *bound*: the layer's operations at that peak, or its input, weights and output moved once, whichever
takes longer. *ours*: the same for the launches that the forward pass becomes, partial sums and packing for tensor cores included, with
the share of arithmetic in the hot loop (above, for 9.0), the padding of tiles, and the multiprocessor that has the most blocks. Neither
knows of latencies, of what a launch costs or of clocks; mma.sync does not reach the tensor cores' peak on an H100, which takes
wgmma. Backward passes do the same work. Batch of 32; the layers of ResNet-50 that differ. Layers that tensor cores do not take are in
float32 in every column.
"""


def memory(rows: Iterable[Row], layers: Iterable[Row]) -> Iterator[str]:
    """What the interpreter counted."""
    yield from ("", "## Memory traffic", *TRAFFIC.rstrip().splitlines())
    yield from ("", *markdown(figures.TRAFFIC_HEADS, rows, 2))
    yield from BYTES.rstrip().splitlines()
    yield from ("", *markdown(figures.BYTES_HEADS, layers, 2))


def roofline(rows: Iterable[Row]) -> Iterator[str]:
    """Least times of layers."""
    yield from ("", "## Roofline on an H100", *ROOFLINE.rstrip().splitlines())
    yield from ("", *markdown(figures.ROOFLINE_HEADS, rows))


def section(title: str, heads: Sequence[str], rows: Iterable[Row], left: int = 1) -> Iterator[str]:
    """A heading and a table under it."""
    yield from ("", title, "", *markdown(heads, rows, left))


def versions() -> str:
    """What made the figures, in a line.

    >>> versions().startswith("Python 3")
    True
    """
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _families(entries: Sequence[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    for family, members in groupby(entries, key=lambda entry: entry.family):
        yield family, list(members)
