"""What work costs on the CPU and on a GPU, copies included: the model by which "auto" picks, and its only table of constants.

    seconds = max(operations / operations a second, bytes / bytes a second) + what a call costs anyway

A GPU adds the copies of NumPy arrays there and back. The constants are guesses for a usual machine until `python -m cnnlite tune` has
measured this one.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any, NamedTuple

from cnnlite_kernels.algorithms import multiplications
from cnnlite_kernels.cpu.allowance import allowed_cpus

FILE = "costs.json"
Shape = tuple[int, ...]


class Costs(NamedTuple):
    """Operations (a multiplication and an addition are two) and bytes a second, seconds of a call, in float32."""

    cpu_operations: float
    cpu_bytes: float
    cpu_call: float
    gpu_operations: float
    gpu_bytes: float
    gpu_call: float
    upload_bytes: float
    download_bytes: float
    copy: float
    """Seconds of a copy of nothing."""


def defaults() -> Costs:
    """The table: a core with AVX2 at 60% of its peak, an entry-level GPU, PCIe 3 from ordinary memory, and Python around a launch."""
    return Costs(
        cpu_operations=50e9 * allowed_cpus(),
        cpu_bytes=10e9,
        cpu_call=10e-6,
        gpu_operations=5e12,
        gpu_bytes=200e9,
        gpu_call=50e-6,
        upload_bytes=5e9,
        download_bytes=5e9,
        copy=15e-6,
    )


class Work(NamedTuple):
    """Operations, and elements read and written, of an op in one dtype (bytes of an element)."""

    operations: int
    read: int
    written: int
    item: int = 4


class Estimate(NamedTuple):
    """Seconds."""

    cpu: float
    gpu: float
    upload: float
    download: float

    @property
    def gpu_pays(self) -> bool:
        return self.gpu + self.upload + self.download < self.cpu


def estimate(work: Work, costs: Costs) -> Estimate:
    """What the work would take on either device, the operands being NumPy arrays.

    >>> matmul = Work(2 * 1000**3, 2 * 1000**2, 1000**2)
    >>> estimate(matmul, defaults()._replace(cpu_operations=1e11)).gpu_pays
    True
    """
    size = (work.read + work.written) * work.item
    wide = (
        work.item / 4
    )  # float64 takes twice as long on the CPU; GPUs without float64 units take longer still
    return Estimate(
        costs.cpu_call + max(work.operations * wide / costs.cpu_operations, size / costs.cpu_bytes),
        costs.gpu_call + max(work.operations * wide / costs.gpu_operations, size / costs.gpu_bytes),
        costs.copy + work.read * work.item / costs.upload_bytes,
        costs.copy + work.written * work.item / costs.download_bytes,
    )


def convolution(y_shape: Shape, w_shape: Shape, read: int, written: int, item: int) -> Work:
    """Of a convolution and of both its gradients."""
    return Work(2 * math.prod(y_shape) * math.prod(w_shape[:3]), read, written, item)


def winograd(tile: int, y_shape: Shape, w_shape: Shape, read: int, written: int, item: int) -> Work:
    """Of a convolution in tiles of outputs (of its gradient: y is x): the products alone, for the transforms are few beside them."""
    n, h, w, _ = y_shape
    operations = 2 * multiplications(tile, n, h, w) * w_shape[2] * w_shape[3]
    return Work(operations, read, written, item)


def product(m: int, n: int, k: int, item: int) -> Work:
    return Work(2 * m * n * k, m * k + k * n, m * n, item)


def elementwise(size: int, read: int, written: int, item: int, operations: int = 4) -> Work:
    """Of an op with some `operations` for each of `size` elements."""
    return Work(operations * size, read, written, item)


# Ops that pass over arrays: operations for each number of the largest, and which of its function's arguments are results.
PASSES = {
    "batch_normalization": (4, slice(5, 6)),
    "batch_normalization_train": (8, slice(3, 8)),
    "batch_normalization_grad": (12, slice(5, 8)),
    "cropping2d": (1, slice(1, 2)),
    "prelu": (2, slice(2, 3)),
    "prelu_grad": (5, slice(3, 5)),
    "up_sampling2d": (8, slice(1, 2)),
    "up_sampling2d_grad": (8, slice(1, 2)),
    "zero_padding2d": (1, slice(1, 2)),
}


def work(op: str, args: tuple[Any, ...]) -> Work:
    """The work of a dispatched op, from the arguments that its function gets: arrays, or anything with shape, size and itemsize."""
    first = args[0]
    if op.startswith("conv2d"):
        x, w, b, y = (*args[:2], None, args[2]) if op != "conv2d" else args[:4]
        read = x.size + w.size + (0 if b is None else b.size)
        # the output's shape and the weights', whichever of the three arrays are these
        y_shape = {"conv2d": y, "conv2d_grad_input": x, "conv2d_grad_weights": w}[op].shape
        w_shape = {"conv2d": w, "conv2d_grad_input": w, "conv2d_grad_weights": y}[op].shape
        return convolution(y_shape, w_shape, read, y.size, first.itemsize)
    if op == "matmul":
        (m, n), k = args[2].shape, args[3]
        return product(m, n, k, first.itemsize)
    if "_pool2d" in op:
        window = args[-1]
        arrays = [array for array in args[:-1] if array is not None]
        taps = math.prod(window.kernel)
        written = arrays[-1].size if op.endswith("grad") else sum(array.size for array in arrays[1:])
        read = sum(array.size for array in arrays) - written
        small = min(array.size for array in arrays)
        return elementwise(small, read, written, first.itemsize, taps)
    if op == "softmax_cross_entropy":
        logits, labels, losses, grad = args
        written = losses.size + (0 if grad is None else grad.size)
        return elementwise(logits.size, logits.size + labels.size, written, first.itemsize, 20)
    if op in PASSES:
        operations, results = PASSES[op]
        sizes = [getattr(arg, "size", 0) for arg in args]
        written = sum(sizes[results])
        return elementwise(max(sizes), sum(sizes) - written, written, first.itemsize, operations)
    _, *arrays, _ = args  # an activation: its kind, the operands, the result, its slope
    return elementwise(
        arrays[-1].size, sum(array.size for array in arrays[:-1]), arrays[-1].size, arrays[0].itemsize
    )


def path() -> Path | None:
    """Where measured constants are kept: beside the cache of kernels, None where there is no folder for it."""
    from cnnlite_kernels.cpu import jit

    folder = jit.folder()
    return folder.parent.parent / FILE if folder else None


@functools.cache
def current() -> tuple[Costs, str]:
    """The constants that are in use, and where they come from in words. Read once a process, or again after cache_clear()."""
    import json

    from cnnlite_kernels.cpu import disk

    file = path()
    try:
        if file is None:
            raise FileNotFoundError
        stored = json.loads(disk.read_trusted(file))
        if stored["cpus"] != allowed_cpus():
            return defaults(), f"guesses: {file} was measured with {stored['cpus']} CPUs"
        measured = Costs(**{name: float(value) for name, value in stored["costs"].items()})
        if not all(0 < value < math.inf for value in measured):
            raise ValueError("a constant that is not positive")
        return measured, f"measured on {stored['gpu']}"
    except FileNotFoundError:
        return defaults(), "guesses: python -m cnnlite tune measures them"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        return (
            defaults(),
            f"guesses: {file} cannot be used ({problem}); python -m cnnlite tune writes it anew",
        )


def store(measured: Costs, gpu: str) -> Path:
    """Keeps measured constants for this process and later ones; returns where.

    Raises:
        OSError: there is no folder for them, or it cannot be written.
    """
    import json

    from cnnlite_kernels.cpu import disk

    file = path()
    if file is None:
        raise FileNotFoundError("there is no cache folder to keep them in; CNNLITE_CACHE_LOG=1 says why")
    content = {"gpu": gpu, "cpus": allowed_cpus(), "costs": measured._asdict()}
    disk.write_atomically(file, json.dumps(content, indent=2).encode())
    current.cache_clear()
    return file
