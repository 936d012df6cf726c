"""The state of some blocks while they run: registers as arrays over all threads, and where operands find theirs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tools.ptx import tracking
from tools.ptx.counters import WARP, Counters
from tools.ptx.errors import PtxError
from tools.ptx.memory import LOCAL, NOTHING, SHARED, GlobalMemory, Region, empty_stamps, window_base
from tools.ptx.parser import DTYPES, Instruction, Kernel

Shape3 = tuple[int, int, int]
Where = bool | np.ndarray
"""Which threads take part: True for all that matter, or one bool a thread."""
Step = Callable[[Where], None]
"""One instruction, bound to the registers of a frame."""

ADDRESS = re.compile(r"\[\s*([%\w$.]+)\s*(?:\+\s*(-?\w+))?\s*\]")
DECIMAL = re.compile(r"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)U?")


class Frame:
    """Blocks of one shape that run together, each padded to whole warps; threads are numbered block after block.

    A frame serves many launches: `begin` gives it blocks to run. Steps that are bound to it read and write its arrays.
    """

    def __init__(
        self, kernel: Kernel, block: Shape3, grid: Shape3, blocks: int, dynamic: int, cell: int
    ) -> None:
        self.kernel, self.block, self.grid, self.blocks = kernel, block, grid, blocks
        in_block = block[0] * block[1] * block[2]
        self.block_threads = -(-in_block // WARP) * WARP
        self.count = blocks * self.block_threads
        lane = np.tile(np.arange(self.block_threads), blocks)
        self._lane = lane
        self.live = lane < in_block
        self.block_index = np.repeat(np.arange(blocks), self.block_threads)
        self.registers: dict[str, np.ndarray] = {}
        self._constants: dict[tuple[str, str], np.ndarray] = {}
        self._place_arrays(dynamic)
        self.cell = cell
        self._copies = any(ins.name == "cp" for ins in kernel.instructions)
        self._special = self._special_registers(lane)
        # Set by begin():
        self.parameters: dict[str, np.generic] = {}
        self.memory = GlobalMemory(check=False)
        self.counters: Counters | None = None
        self.check = False
        # Set by the machine before each step: who executes it, and who has not left.
        self.active: np.ndarray = self.live
        self.alive: np.ndarray = self.live

    def _place_arrays(self, dynamic: int) -> None:
        """Offsets of shared and local arrays; the dynamic one comes last, as a launch appends it."""
        self.offsets: dict[str, int] = {}
        ends = {"shared": 0, "local": 0}
        for number, array in enumerate(self.kernel.constants):
            self.offsets[array.name] = window_base(number)
        placed = [a for a in self.kernel.arrays.values() if a.space in ends]
        for array in sorted(placed, key=lambda a: a.size is None):
            end = ends[array.space]
            start = -(-end // array.alignment) * array.alignment
            self.offsets[array.name] = start + (SHARED if array.space == "shared" else LOCAL)
            ends[array.space] = max(end, start + (dynamic if array.size is None else array.size))
        self.shared_size, self.local_size = ends["shared"], ends["local"]
        self._dynamic = dynamic

    def _special_registers(self, lane: np.ndarray) -> dict[str, np.ndarray]:
        x, y, _ = self.block
        found = {"tid.x": lane % x, "tid.y": lane // x % y, "tid.z": lane // (x * y), "laneid": lane % WARP}
        found |= {"warpid": lane // WARP}
        fixed = dict(zip(("ntid.x", "ntid.y", "ntid.z"), self.block, strict=True))
        fixed |= dict(zip(("nctaid.x", "nctaid.y", "nctaid.z"), self.grid, strict=True))
        fixed |= {"dynamic_smem_size": self._dynamic, "ctaid.x": 0, "ctaid.y": 0, "ctaid.z": 0}
        found |= {name: np.full(self.count, value) for name, value in fixed.items()}
        return {f"%{name}": value.astype(np.uint32) for name, value in found.items()}

    def begin(
        self,
        blocks: np.ndarray,
        parameters: dict[str, np.generic],
        memory: GlobalMemory,
        counters: Counters | None,
        check: bool,
    ) -> None:
        """Fresh shared memory for these blocks of the grid, by their linear numbers."""
        self.parameters, self.memory, self.counters, self.check = parameters, memory, counters, check
        number = blocks[self.block_index]
        gx, gy, _ = self.grid
        for name, value in (("x", number % gx), ("y", number // gx % gy), ("z", number // (gx * gy))):
            self._special[f"%ctaid.{name}"][:] = value
        self.thread = (number << tracking.BLOCK) + self._lane + 1
        self.time = np.zeros(self.count, np.int64)
        self.shared, self.shared_start = self._per_owner(
            "shared memory", SHARED, self.shared_size, self.block_index
        )
        self.local, self.local_start = self._per_owner(
            "local memory", LOCAL, self.local_size, np.arange(self.count)
        )
        cells = self.shared.data.size >> self.cell
        self.in_flight = np.zeros(cells if self._copies else 0, np.bool_)
        if check:
            self.shared.stamps = empty_stamps(cells)
            self.shared.written = np.zeros(cells, np.bool_)
        self.copies: list = []
        self.copy_group = np.zeros(self.count, np.int64)

    def end(self) -> None:
        """Lets go of the launch's memory: frames are kept, and there may be many."""
        self.memory = GlobalMemory(check=False)
        del self.shared, self.local

    def _per_owner(self, name: str, base: int, size: int, owner: np.ndarray) -> tuple[Region, np.ndarray]:
        """A region of `size` bytes for each owner, and where each thread's begins in it."""
        padded = -(-size // 16) * 16
        data = np.full((int(owner[-1]) + 1) * padded, 0xFF, np.uint8)
        return Region(name, base, 0, size, data, self.cell, empty_stamps(0), NOTHING), owner * padded

    # Operands. All are arrays of one item a thread, bound once; a register of the same size is seen through a view.

    def register(self, name: str) -> np.ndarray:
        found = self.registers.get(name)
        if found is None:
            if name not in self.kernel.registers:
                raise PtxError(f"`{name}` is no register, number or array known here")
            found = self.registers[name] = np.zeros(self.count, DTYPES[self.kernel.registers[name]])
        return found

    def source(self, operand: str, kind: str) -> np.ndarray:
        """An operand as of type `kind`; of a wider register the low bits."""
        dtype = DTYPES[kind]
        if operand in self._special:
            return self._as(self._special[operand], dtype, operand)
        if operand in self.kernel.registers:
            return self._as(self.register(operand), dtype, operand)
        key = (operand, dtype.str)
        if key not in self._constants:
            self._constants[key] = np.full(self.count, self.constant(operand, dtype), dtype)
        return self._constants[key]

    def sources(self, operands: Sequence[str], kind: str) -> list[np.ndarray]:
        return [self.source(operand, kind) for operand in operands]

    @staticmethod
    def _as(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
        own, wanted = values.dtype.itemsize, dtype.itemsize
        if values.dtype == dtype or (own == wanted and dtype.kind != "b" and values.dtype.kind != "b"):
            return values.view(dtype)
        if own < wanted or "b" in (values.dtype.kind, dtype.kind):
            raise PtxError(f"{name} of {8 * own} bits is used as one of {8 * wanted}")
        return values.view(f"u{wanted}")[:: own // wanted].view(dtype)

    def constant(self, operand: str, dtype: np.dtype) -> Any:
        """A number, or the address of an array."""
        name, _, offset = operand.partition("+")
        if name in self.offsets:
            return dtype.type(self.offsets[name] + int(offset or 0))
        if operand[:2] in ("0f", "0F", "0d", "0D"):
            size = 4 if operand[1] in "fF" else 8
            bits = np.array(int(operand[2:], 16), f"u{size}")
            if dtype.kind != "f":  # mov.b32 %r1, 0f3F800000
                if dtype.itemsize != size:
                    raise PtxError(f"{operand} is used as an integer of {8 * dtype.itemsize} bits")
                return bits.view(dtype)[()]
            return bits.view(f"f{size}").astype(dtype)[()]
        if operand == "WARP_SZ":
            return dtype.type(WARP)
        number = DECIMAL if dtype.kind == "f" else NUMBER
        if not number.fullmatch(operand):
            raise PtxError(f"`{operand}` is no register, number or array known here")
        if dtype.kind == "f":
            return dtype.type(float(operand))
        value = int(operand.rstrip("U"), 0)
        if dtype.kind == "b":
            return np.bool_(value)
        return np.array(value % 2 ** (8 * dtype.itemsize), f"u{dtype.itemsize}").view(dtype)[()]

    def destination(self, operand: str, kind: str) -> np.ndarray:
        """The register to write, as of type `kind`. A wider register of integers is seen as a whole, with kind's sign."""
        dtype = DTYPES[kind]
        if operand == "_":
            return np.zeros(self.count, dtype)
        found = self.register(operand)
        if found.dtype.itemsize > dtype.itemsize and dtype.kind in "iu":
            return found.view(f"{dtype.kind}{found.dtype.itemsize}")
        if found.dtype.itemsize != dtype.itemsize:
            raise PtxError(
                f"{operand} of {8 * found.dtype.itemsize} bits takes a result of {8 * dtype.itemsize}"
            )
        return self._as(found, dtype, operand)

    def address(self, operand: str) -> Callable[[], np.ndarray]:
        """A function that gives the address of `[register + offset]` for every thread, int64."""
        match = ADDRESS.fullmatch(operand)
        if match is None:
            raise PtxError(f"`{operand}` is no address known here")
        name, offset = match[1], int(match[2] or "0", 0)
        if name in self.kernel.registers and self.register(name).dtype.itemsize == 4:
            narrow = self.register(name).view(np.uint32)
            return lambda: narrow.astype(np.int64) + offset
        wide = self.source(name, "u64").view(np.int64)
        return (lambda: wide + offset) if offset else (lambda: wide)

    # Errors say which instruction, which thread and what it touched.

    def fail(self, ins: Instruction, what: str, thread: int | None = None) -> PtxError:
        if thread is None:
            return PtxError(f"{self.kernel}: {what}, at `{ins}`")
        tid = tuple(int(self._special[f"%tid.{axis}"][thread]) for axis in "xyz")
        block = tuple(int(self._special[f"%ctaid.{axis}"][thread]) for axis in "xyz")
        return PtxError(f"{self.kernel}: {what}, by thread {tid} of block {block} at `{ins}`")

    def warps(self, values: np.ndarray) -> np.ndarray:
        """One row a warp."""
        return values.reshape(-1, WARP)

    def barrier(self, blocks: np.ndarray) -> None:
        """Notes that these blocks, one bool each, passed a barrier."""
        passed = blocks[self.block_index]
        self.time[passed] = ((self.time[passed] >> tracking.EPOCH) + 1) << tracking.EPOCH
