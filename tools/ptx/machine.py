"""Runs launches of one kernel, all threads of some blocks at a time (execution.py). What memory accesses are checked for:
memory.py and tracking.py; what they cost: counters.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tools.ptx.counters import Counters
from tools.ptx.errors import PtxError
from tools.ptx.execution import Block, Execution, ends_block
from tools.ptx.frame import Frame, Shape3
from tools.ptx.instructions import bind_instruction
from tools.ptx.memory import Buffer, GlobalMemory, Sparse, cell_of
from tools.ptx.parser import DTYPES, Kernel, parse
from tools.ptx.transfer import space_of

THREADS = (
    4096  # that run at once: more spread Python's cost over more of them, fewer stay in the processor's cache
)
FRAMES = 2  # kept: one for most of the grid, one for its last blocks


class Machine:
    """Interprets one kernel.

    Args:
        ptx: the text of a module.
        entry: the kernel's name, where the module has several.
        check: look for races and uninitialised memory. Bounds and alignment are always checked.
        order: draws which warps run before which, by this seed; None runs all together. Results must not depend on it.

    >>> doubled = '''
    ... .visible .entry doubled(.param .u64 x) {
    ...   .reg .b32 %r<3>; .reg .b64 %rd<4>;
    ...   ld.param.u64 %rd1, [x]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4; add.s64 %rd3, %rd1, %rd2;
    ...   ld.global.u32 %r2, [%rd3]; shl.b32 %r2, %r2, 1; st.global.u32 [%rd3], %r2; ret;
    ... }'''
    >>> x = np.array([1, 2, 3], np.uint32)
    >>> _ = Machine(doubled).launch(1, 3, x, pointers=True)
    >>> x
    array([2, 4, 6], dtype=uint32)
    """

    def __init__(
        self, ptx: str, entry: str | None = None, *, check: bool = True, order: int | None = None
    ) -> None:
        self.kernel = parse(ptx, entry)
        self.check, self.order = check, order
        self._programs: dict[Any, tuple[Frame, dict[int, Block]]] = {}
        self._cell = _shared_cell(self.kernel)
        self._leaders = _leaders(self.kernel)

    def launch(
        self,
        grid: int | Sequence[int],
        block: int | Sequence[int],
        *args: Any,
        shared: int = 0,
        blocks: Sequence[int] | None = None,
        count: bool = False,
        pointers: bool = False,
        threads: int = THREADS,
    ) -> Counters | None:
        """Runs the kernel on arguments: arrays are changed in place.

        Args:
            args: arrays (NumPy's, `Buffer`, `Sparse`) and numbers. An array becomes the parameters of numba's ABI: meminfo,
                parent, number of items, size of one, address, shape, strides.
            shared: bytes of dynamic shared memory.
            blocks: linear numbers of the only blocks to run, x fastest; all by default.
            count: return what the launch cost.
            pointers: an array is one parameter, its address.
            threads: about how many run at once.

        Raises:
            ValueError: the arguments do not fit the kernel's parameters, or the launch is empty.
            PtxError: what the kernel did wrong, or an instruction that is not known here.
        """
        grid3, block3 = _three(grid), _three(block)
        in_block = block3[0] * block3[1] * block3[2]
        if min(*grid3, *block3) < 1 or in_block > 1024:
            raise ValueError(
                f"{self.kernel}: expected 1 to 1024 threads a block and a block, got {block3}, {grid3}"
            )
        memory = GlobalMemory(self.check)
        for constant in self.kernel.constants:
            memory.constant(constant.name, constant.content)
        parameters = self._parameters(memory, args, pointers)
        chosen = (
            np.arange(int(np.prod(grid3, dtype=np.int64))) if blocks is None else np.asarray(blocks, np.int64)
        )
        counters = Counters() if count else None
        at_once = max(1, threads // in_block)
        chunks = np.array_split(chosen, -(-len(chosen) // at_once)) if len(chosen) else []
        with np.errstate(all="ignore"):
            for chunk in chunks:
                frame, program = self._program(grid3, block3, len(chunk), shared, memory)
                frame.begin(chunk, parameters, memory, counters, self.check)
                Execution(frame, program, self.order).run()
                frame.end()
        memory.write_back()
        return counters

    def _parameters(
        self, memory: GlobalMemory, args: tuple[Any, ...], pointers: bool
    ) -> dict[str, np.generic]:
        values: list[Any] = []
        for number, arg in enumerate(args):
            if not isinstance(arg, (np.ndarray, Buffer, Sparse)):
                values.append(arg)
                continue
            argument = Buffer(arg, f"argument {number}") if isinstance(arg, np.ndarray) else arg
            address = memory.add(argument).address
            if pointers:
                values.append(address)
            elif isinstance(argument, Sparse):
                size = argument.dtype.itemsize
                values += [0, 0, argument.length, size, address, argument.length, size]
            else:
                array = argument.array
                values += [0, 0, array.size, array.itemsize, address, *array.shape, *array.strides]
        kernel = self.kernel
        if len(values) != len(kernel.parameters):
            raise ValueError(
                f"{kernel}: expected {len(kernel.parameters)} parameters, got {len(values)} from {len(args)} arguments"
            )
        found = {}
        for (name, kind), value in zip(kernel.parameters.items(), values, strict=True):
            found[name] = _scalar(value, DTYPES[kind], str(kernel), name)
        return found

    def _program(
        self, grid: Shape3, block: Shape3, blocks: int, shared: int, memory: GlobalMemory
    ) -> tuple[Frame, dict[int, Block]]:
        """A frame for so many blocks, and its steps; made once for launches of one shape."""
        key = (grid, block, blocks, shared)
        if key not in self._programs:
            while len(self._programs) >= FRAMES:
                del self._programs[next(iter(self._programs))]
            frame = Frame(self.kernel, block, grid, blocks, shared, self._cell)
            self._programs[key] = frame, self._bind(frame)
        return self._programs[key]

    def _bind(self, frame: Frame) -> dict[int, Block]:
        program: dict[int, Block] = {}
        for ins in self.kernel.instructions:
            if ins.number in self._leaders:
                current = program[ins.number] = Block(ins.number)
            current.next = ins.number + 1
            current.opcodes[ins.opcode] += ins.predicate is None or ends_block(ins)
            if ends_block(ins):
                current.end = ins
                continue
            guard = frame.register(ins.predicate) if ins.predicate else None
            current.fma += ins.name == "fma" and guard is None
            current.steps.append((ins, bind_instruction(frame, ins), guard))
        return program


def _leaders(kernel: Kernel) -> set[int]:
    """Instructions that a thread can jump to, or that follow one which may jump, wait or leave. Also checks those."""
    leaders = {0, *kernel.labels.values()}
    for ins in kernel.instructions:
        if not ends_block(ins):
            continue
        leaders.add(ins.number + 1)
        if ins.name == "bra" and (set(ins.modifiers) - {"uni"} or ins.operands[0] not in kernel.labels):
            raise PtxError(f"{kernel}: `{ins}` is no branch known here")
        if ins.name in ("bar", "barrier") and (
            set(ins.modifiers) - {"sync", "cta", "aligned"} or ins.operands != ("0",)
        ):
            raise PtxError(
                f"{kernel}: `{ins}` is no barrier known here: expected barrier 0 of the whole block"
            )
    return leaders


def _shared_cell(kernel: Kernel) -> int:
    """log2 of the bytes of shared memory that are watched together: the fewest that the kernel may touch there, at most 4."""
    sizes = [4]
    for ins in kernel.instructions:
        if ins.name in ("ld", "st", "atom") and space_of(ins) in ("shared", "local", None):
            sizes.append(DTYPES[ins.types[-1]].itemsize)
    return cell_of(min(sizes))


def _three(shape: int | Sequence[int]) -> Shape3:
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    x, y, z = (*sizes, 1, 1)[:3]
    return int(x), int(y), int(z)


def _scalar(value: Any, dtype: np.dtype, kernel: str, name: str) -> Any:
    """A number as a parameter of its type: what does not fit is an error; negative integers are their bits."""
    if dtype.kind == "f":
        return dtype.type(value)
    bits = 8 * dtype.itemsize
    if int(value) != value or not -(2 ** (bits - 1)) <= value < 2**bits:
        raise ValueError(f"{kernel}: {value} is no integer of {bits} bits, for parameter {name}")
    return np.array(int(value) % 2**bits, f"u{dtype.itemsize}").view(dtype)[()]
