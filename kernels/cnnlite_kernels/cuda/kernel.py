"""What a CUDA kernel is here: a Python function, the types of its arguments, and the shape of its blocks.

A kernel is written for flat, contiguous arrays and is compiled when it is first used, by numba-cuda, to PTX (`Kernel.ptx`): the very
text that a GPU gets (binary.py) is what the tests interpret and what the tables in bench/ are made from. Compiling needs no GPU.
"""

from __future__ import annotations

import ctypes
import functools
import re
import struct
import typing
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import numpy as np
from numba import cuda, types

# The types of a kernel's arguments, as annotations. `Reals` and `Real` follow the dtype that the kernel works in.
Reals = Annotated[Any, "array", None]
Real = Annotated[Any, "scalar", None]
Floats = Annotated[Any, "array", types.float32]
Doubles = Annotated[Any, "array", types.float64]
Halves = Annotated[Any, "array", types.uint16]  # bfloat16, as its bits
Ints = Annotated[Any, "array", types.int32]
Longs = Annotated[Any, "array", types.int64]
Bytes = Annotated[Any, "array", types.uint8]
U32 = Annotated[Any, "scalar", types.uint32]
U64 = Annotated[Any, "scalar", types.uint64]
I32 = Annotated[Any, "scalar", types.int32]
F32 = Annotated[Any, "scalar", types.float32]
F64 = Annotated[Any, "scalar", types.float64]
I64 = Annotated[Any, "scalar", types.int64]

REALS = {np.dtype(np.float32): types.float32, np.dtype(np.float64): types.float64}
Capability = tuple[int, int]

# How an argument lies in a kernel's parameters, 8 bytes for each: an array is (memory info, parent, size, bytes of an element,
# address, length, stride in bytes), of which compiled code reads the address and the length; see numba.cuda.dispatcher._prepare_args.
ARRAY = "2Q2qQ2q"
SCALARS = {
    types.uint32: "I4x",
    types.uint64: "Q",
    types.int32: "i4x",
    types.int64: "q",
    types.float32: "f4x",
    types.float64: "d",
}
SLOT = 8  # bytes of a parameter


class Kernel:
    """A kernel of one-dimensional blocks.

    Args:
        body: the function; each argument is annotated with one of the types above.
        threads: of a block.
        blocks: that must fit a multiprocessor at once: the compiler limits the registers to that.
    """

    def __init__(self, body: Callable[..., None], threads: int, blocks: int) -> None:
        self.body, self.threads, self.blocks = body, threads, blocks
        self.name = body.__name__
        hints = typing.get_type_hints(body, include_extras=True)
        self._kinds = [
            typing.get_args(hints[name])[1:]
            for name in body.__code__.co_varnames[: body.__code__.co_argcount]
        ]

    def signature(self, dtype: np.dtype) -> Any:
        """Numba's signature for the dtype that `Reals` stand for."""
        arguments = []
        for kind, element in self._kinds:
            element = element or REALS[dtype]
            arguments.append(types.Array(element, 1, "C") if kind == "array" else element)
        return types.void(*arguments)

    def dtype(self, args: tuple[Any, ...]) -> np.dtype:
        """The dtype of the first of `args` that stands for `Reals`; float32 where none does."""
        for (kind, element), arg in zip(self._kinds, args, strict=True):
            if kind == "array" and element is None:
                return np.dtype(arg.dtype)
        return np.dtype(np.float32)

    def ptx(self, capability: Capability, dtype: Any = np.float32) -> str:
        """The PTX of this kernel for a compute capability, (8, 0) for sm_80. Needs no GPU and no driver."""
        return self._compiled(capability, np.dtype(dtype))

    @functools.cache  # noqa: B019 - kernels live as long as the process
    def _compiled(self, capability: Capability, dtype: np.dtype) -> str:
        text, _ = cuda.compile(
            self.body,
            self.signature(dtype),
            cc=capability,
            device=False,
            abi="numba",
            launch_bounds=(self.threads, self.blocks),
        )
        return text

    def entry(self, ptx: str) -> str:
        """The name under which the kernel stands in its PTX."""
        found = re.search(r"\.entry\s+([\w$]+)", ptx)
        assert found is not None
        return found[1]

    @functools.cache  # noqa: B019
    def _parameters(self, dtype: np.dtype) -> struct.Struct:
        elements = [(kind, element or REALS[dtype]) for kind, element in self._kinds]
        return struct.Struct("<" + "".join(ARRAY if kind == "array" else SCALARS[e] for kind, e in elements))

    def pack(self, args: tuple[Any, ...]) -> bytes:
        """The parameters of a launch, SLOT bytes each: arrays by `address`, `size` and `dtype` (see gpu.Vector), scalars as they are.

        Raises:
            ValueError: a number that its type cannot hold: the arrays are too large for this kernel.
        """
        dtype = self.dtype(args)
        values: list[Any] = []
        for (kind, element), arg in zip(self._kinds, args, strict=True):
            if kind == "array":
                item = arg.dtype.itemsize
                values += (0, 0, arg.size, item, arg.address, arg.size, item)
            elif (element or REALS[dtype]) is types.float32:
                # Beyond float32 it is infinite, as on the CPU: struct would refuse it.
                values.append(ctypes.c_float(arg).value)
            else:
                values.append(arg)
        try:
            return self._parameters(dtype).pack(*values)
        except struct.error as problem:
            sizes = [
                arg.size if kind == "array" else arg for (kind, _), arg in zip(self._kinds, args, strict=True)
            ]
            raise ValueError(
                f"{self.name}: expected numbers that its parameters hold ({problem}), got {sizes}; work on fewer at a time."
            ) from None

    def identity(self, dtype: np.dtype) -> str | None:
        """Names this variant among all kernels of these sources; None where it depends on more than can be named."""
        body = self.body
        cells = [cell.cell_contents for cell in body.__closure__ or ()]
        ours = body.__module__.partition(".")[0] == __name__.partition(".")[0]
        if not ours or not all(isinstance(value, int | float | str | None) for value in cells):
            return None
        where = (body.__module__, body.__qualname__, body.__code__.co_firstlineno)
        return repr((where, cells, self.threads, self.blocks, dtype.name))

    def __repr__(self) -> str:
        return f"<Kernel {self.name}>"


def kernel(threads: int, blocks: int = 1) -> Callable[[Callable[..., None]], Kernel]:
    """Decorates a kernel's body: see Kernel."""
    return lambda body: Kernel(body, threads, blocks)


class Launch(NamedTuple):
    """One launch: arrays are flat ones of the device, scalars are Python's."""

    kernel: Kernel
    blocks: int
    args: tuple[Any, ...]
