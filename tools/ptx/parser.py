"""PTX text to a Kernel: parameters, registers and their types, arrays in memory, instructions, labels.

The language: https://docs.nvidia.com/cuda/parallel-thread-execution. Only what numba-cuda emits for kernels without calls.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import prod

import numpy as np

from tools.ptx.errors import PtxError

# The NumPy dtype that holds a value of each PTX type. bf16 and its pairs are bits; tf32 is bits of a float32.
DTYPES = {
    name: np.dtype(code)
    for name, code in {
        "pred": "?",
        **{
            "u8": "u1",
            "s8": "i1",
            "b8": "u1",
            "u16": "u2",
            "s16": "i2",
            "b16": "u2",
            "u32": "u4",
            "s32": "i4",
            "b32": "u4",
        },
        **{"u64": "u8", "s64": "i8", "b64": "u8", "f16": "f2", "f32": "f4", "f64": "f8"},
        **{"bf16": "u2", "tf32": "u4", "bf16x2": "u4", "f16x2": "u4"},
    }.items()
}

COMMENTS = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
ARRAY = re.compile(
    r"(\.extern\s+)?(?:\.(?:visible|weak|common)\s+)*\.(shared|local|global|const)\s+(?:\.align\s+(\d+)\s+)?"
    r"\.(\w+)\s+([\w$]+)\s*((?:\[\d*\])*)\s*(?:=\s*\{([^}]*)\})?\s*;"
)
ENTRY = re.compile(r"\.entry\s+([\w$]+)\s*\(([^)]*)\)")
PARAMETER = re.compile(r"\.param\s+\.(\w+)\s+(?:\.ptr(?:\s+\.\w+(?:\s+\d+)?)*\s+)?([\w$]+)")
REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+([^;]*);")
LABEL = re.compile(r"([$\w]+):(?!:)\s*")
STATEMENT = re.compile(r"(?:@(!?)([%\w]+)\s+)?([a-z][\w.:]*)\s*(.*)", re.DOTALL)
# Hints to ptxas and debug information: they change no value.
SKIPPED = re.compile(r"^\s*\.(?:loc|file|pragma)\b[^;\n]*;?[^\S\n]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Instruction:
    """`@%p1 add.sat.f32 %f1, %f2, 1.0`: add, ("sat",), ("f32",), ("%f1", "%f2", "1.0"), predicate "%p1"."""

    number: int
    name: str
    modifiers: tuple[str, ...]
    types: tuple[str, ...]
    operands: tuple[str, ...]
    predicate: str | None = None
    negated: bool = False

    def __str__(self) -> str:
        guard = f"@{'!' if self.negated else ''}{self.predicate} " if self.predicate else ""
        return f"{guard}{self.opcode} {', '.join(self.operands)}".rstrip()

    @property
    def opcode(self) -> str:
        """Its name with modifiers and types, those last."""
        return ".".join((self.name, *self.modifiers, *self.types))

    def has(self, modifier: str) -> bool:
        return modifier in self.modifiers


@dataclass(frozen=True, slots=True)
class Array:
    """An array in memory: `size` is None where the launch says how large it is."""

    name: str
    space: str
    alignment: int
    size: int | None
    content: bytes = b""


@dataclass(slots=True)
class Kernel:
    """One entry of a PTX module."""

    name: str
    parameters: dict[str, str] = field(default_factory=dict)
    registers: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    @property
    def constants(self) -> list[Array]:
        """Arrays of the module in global memory, with their content: the machine puts them before the arguments."""
        return [
            array for array in self.arrays.values() if array.space in ("global", "const") and array.content
        ]

    def __str__(self) -> str:
        """Its name in Python, where Numba made one of that: lengths and names, _ZN8__main__4gemmB2v7..."""
        name, rest = self.name, self.name.removeprefix("_ZN")
        while rest != self.name and (length := re.match(r"\d+", rest)):
            name, rest = rest[length.end() :][: int(length[0])], rest[length.end() + int(length[0]) :]
        return re.sub(r"_[0-9a-f]{2}", "_", name) if name != self.name else name


def parse(text: str, entry: str | None = None) -> Kernel:
    """The kernel `entry` of a module, or its only one.

    Raises:
        PtxError: there is no such entry, or several and no name; or a statement that is no PTX known here.
    """
    text = COMMENTS.sub("", text)
    found = {match[1]: match for match in ENTRY.finditer(text)}
    if not found or (entry is None and len(found) > 1) or (entry is not None and entry not in found):
        raise PtxError(f"expected {entry or 'one entry'} in the module, found {sorted(found) or 'none'}")
    head = found[entry] if entry else next(iter(found.values()))
    opening = text.index("{", head.end())
    body = text[opening + 1 : _closing_brace(text, opening)]
    outside = ENTRY.split(text)[0]
    kernel = Kernel(head[1])
    for declared in head[2].split(","):
        if declared.strip():
            parameter = PARAMETER.fullmatch(declared.strip())
            if parameter is None:
                raise PtxError(f"{kernel}: parameter `{declared.strip()}` is not of a scalar type")
            kernel.parameters[parameter[2]] = parameter[1]
    for match in (*ARRAY.finditer(outside), *ARRAY.finditer(body)):
        kernel.arrays[match[5]] = _array(match)
    body = SKIPPED.sub("", ARRAY.sub("", body))
    for match in REGISTERS.finditer(body):
        _declare(kernel, match[1], match[2])
    _read_statements(kernel, REGISTERS.sub("", body))
    return kernel


def split_operands(text: str) -> tuple[str, ...]:
    """Splits at commas outside braces and brackets.

    >>> split_operands("{%f1, %f2}, [%rd1+4], 7")
    ('{%f1, %f2}', '[%rd1+4]', '7')
    """
    return tuple(part.strip() for part in re.split(r",(?![^{[]*[}\]])", text) if part.strip())


def vector(operand: str) -> tuple[str, ...]:
    """The registers of `{a, b}`, or the one operand."""
    return split_operands(operand[1:-1]) if operand.startswith("{") else (operand,)


def _closing_brace(text: str, opening: int) -> int:
    depth = 0
    for brace in re.finditer(r"[{}]", text[opening:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return opening + brace.start()
    raise PtxError("a brace is not closed")


def _array(match: re.Match[str]) -> Array:
    extern, space, alignment, element, name, sizes, values = match.groups()
    dtype = DTYPES[element]
    counts = re.findall(r"\[(\d*)\]", sizes or "")
    size = None if extern or "" in counts else dtype.itemsize * prod(map(int, counts))
    numbers = [int(value, 0) % 256**dtype.itemsize for value in (values or "").split(",") if value.strip()]
    content = np.array(numbers, f"u{dtype.itemsize}").tobytes()
    return Array(name, space, int(alignment or dtype.itemsize), size, content)


def _declare(kernel: Kernel, kind: str, names: str) -> None:
    if kind not in DTYPES:
        raise PtxError(f"{kernel}: registers of type .{kind} are not known here")
    for declared in names.split(","):
        name, _, count = declared.strip().rstrip(">").partition("<")
        for each in [f"{name}{i}" for i in range(int(count))] if count else [name]:
            # Inline assembly declares in scopes of its own; one name is one register here.
            if kernel.registers.setdefault(each, kind) != kind:
                raise PtxError(
                    f"{kernel}: register {each} is declared twice, .{kernel.registers[each]} and .{kind}"
                )


def _read_statements(kernel: Kernel, body: str) -> None:
    for statement in body.split(";"):
        rest = _labels(kernel, statement)
        if not rest:
            continue
        match = STATEMENT.fullmatch(rest)
        if match is None:
            raise PtxError(f"{kernel}: `{rest}` is not known here")
        negated, predicate, opcode, operands = match.groups()
        name, *parts = opcode.replace("::", ":").split(".")
        types = [part for part in parts if part in DTYPES]
        modifiers = [part for part in parts if part not in DTYPES]
        kernel.instructions.append(
            Instruction(
                len(kernel.instructions),
                name,
                tuple(modifiers),
                tuple(types),
                split_operands(operands),
                predicate,
                bool(negated),
            )
        )


def _labels(kernel: Kernel, statement: str) -> str:
    """Notes the labels and drops the scope braces before a statement; returns the statement on one line."""
    rest = " ".join(statement.split())
    while rest:
        label = LABEL.match(rest)
        if label:
            kernel.labels[label[1]] = len(kernel.instructions)
            rest = rest[label.end() :]
        elif rest[0] in "{}":
            rest = rest[1:].lstrip()
        else:
            return rest
    return ""
