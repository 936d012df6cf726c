"""Reads what nvdisasm prints: instructions, the loops among them, and what a loop is made of.

A loop is a natural one of the control flow graph, so a block that the assembler moved out of line, behind the exit, belongs
to the loop that it comes back to, and to no larger one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

_LABEL = re.compile(r"^(\.L\w+):")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z][A-Z0-9_.]*)\s*([^;]*);")
_TARGETS = re.compile(r"BRANCH_TARGETS ([\w.,]+)")  # that nvdisasm knows of a jump through a table
_INDIRECT = {"BRX", "BRXU", "JMX", "JMXU"}

GLOBAL_LOADS, SHARED_LOADS, COPIES = ("LDG", "LD"), ("LDS", "LDSM"), ("LDGSTS",)
GLOBAL_STORES, SHARED_STORES = ("STG", "ST"), ("STS",)
MEMORY = (*GLOBAL_LOADS, *SHARED_LOADS, *COPIES, *GLOBAL_STORES, *SHARED_STORES, "LDL", "STL")


class Instruction(NamedTuple):
    """One instruction: `@P0 LDG.E.128 R8, ...` has the guard "@P0", the opcode "LDG.E.128" and the operands after it."""

    guard: str
    opcode: str
    operands: str

    @property
    def base(self) -> str:
        return self.opcode.split(".", 1)[0]

    @property
    def bits(self) -> int:
        """What a thread moves with this access of memory.

        >>> Instruction("", "LDSM.16.M88.4", "").bits, Instruction("", "LDG.E.U8", "").bits
        (128, 8)
        """
        parts = self.opcode.split(".")[1:]
        if self.base == "LDSM":
            return 32 * int(parts[-1]) if parts[-1].isdigit() else 32
        widths = (re.fullmatch(r"[US]?(8|16|64|128|256)", part) for part in parts)
        return next((int(width[1]) for width in widths if width), 32)


class Code(NamedTuple):
    """A kernel's instructions in order, and where its labels stand: before the instruction of that number."""

    instructions: list[Instruction]
    labels: dict[str, int]


class Loop(NamedTuple):
    """A loop: the numbers of its instructions."""

    head: int
    members: frozenset[int]

    def instructions(self, code: Code) -> list[Instruction]:
        return [code.instructions[i] for i in sorted(self.members)]


def parse(sass: str) -> Code:
    """The instructions and labels of one kernel.

    Raises:
        ValueError: there is none, or a line that looks like an instruction is not understood.
    """
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in sass.splitlines():
        label = _LABEL.match(line)
        if label is not None:
            labels[label[1]] = len(instructions)
            continue
        found = _INSTRUCTION.match(line)
        if found is not None:
            guard, opcode, operands = found[1] or "", found[2], found[3].strip()
            never = guard == "@!PT"  # the assembler fills slots so; what it would do is not done
            instructions.append(Instruction("", "NOP", "") if never else Instruction(guard, opcode, operands))
        elif re.match(r"^\s+/\*[0-9a-f]{4,}\*/", line):
            raise ValueError(f"sass: expected an instruction, got {line.strip()!r}.")
    if not instructions:
        raise ValueError(
            "sass: expected a kernel's instructions, got none; does nvdisasm print this architecture?"
        )
    return Code(instructions, labels)


def successors(code: Code) -> list[list[int]]:
    """For each instruction the numbers of those that may run next."""
    result: list[list[int]] = []
    last = len(code.instructions) - 1
    for number, instruction in enumerate(code.instructions):
        behind = [number + 1] if number < last else []
        jump = _jump(code, instruction)
        if jump is not None:
            targets, always = jump
            result.append(targets if always else [*targets, *behind])
        elif instruction.base in ("EXIT", "RET") and not instruction.guard:
            result.append([])
        else:
            result.append(behind)
    return result


def _jump(code: Code, instruction: Instruction) -> tuple[list[int], bool] | None:
    """Where an instruction jumps to, and whether it always does; None where it is no jump."""
    base, operands = instruction.base, instruction.operands
    if base in _INDIRECT:
        known = _TARGETS.search(operands)
        if known is None:
            raise ValueError(
                f"sass: expected a jump whose targets are known, got {instruction.opcode} {operands}."
            )
        return [_place(code, label, instruction) for label in known[1].split(",")], not instruction.guard
    if base == "BRA":
        *conditions, where = re.split(r"[ ,]+", operands.replace("`", ""))
        always = not (instruction.guard or conditions or "." in instruction.opcode)
        return [_place(code, where.strip("()"), instruction)], always
    return None


def _place(code: Code, label: str, instruction: Instruction) -> int:
    if label not in code.labels:
        raise ValueError(
            f"sass: expected a jump to a label, got {instruction.opcode} {instruction.operands}."
        )
    return code.labels[label]


def loops(code: Code) -> list[Loop]:
    """The natural loops, those of one head as one: the blocks from which a jump back to the head is reached."""
    after = successors(code)
    order = _post_order(after)
    before: list[list[int]] = [[] for _ in after]
    for number in order:
        for next_one in after[number]:
            before[next_one].append(number)
    dominator = _dominators(order, before)
    rank = {number: position for position, number in enumerate(order)}
    members: dict[int, set[int]] = {}
    for number in order:
        for head in after[number]:
            if rank[head] >= rank[number] and _dominates(dominator, head, number):
                members.setdefault(head, {head}).update(_reaching(number, head, before))
    return [Loop(head, frozenset(found)) for head, found in sorted(members.items()) if len(found) > 1]


def hot_loop(code: Code, kind: str) -> Loop | None:
    """The innermost loop with the most arithmetic of a kind, "FFMA" or "HMMA"; None where no loop has any."""

    def amount(loop: Loop) -> int:
        return sum(code.instructions[i].base == kind for i in loop.members)

    working = [loop for loop in loops(code) if amount(loop)]
    innermost = [loop for loop in working if not any(other.members < loop.members for other in working)]
    return max(innermost, key=amount, default=None)


def histogram(instructions: Iterable[Instruction]) -> Counter[str]:
    """How often each opcode is there: whole for accesses of memory, whose width is in it, up to the first dot else."""
    return Counter(one.opcode if one.base in MEMORY else one.base for one in instructions)


def share(instructions: list[Instruction], kind: str) -> float:
    """The part of instructions that is arithmetic of a kind."""
    return sum(one.base == kind for one in instructions) / len(instructions)


def wide_share(instructions: list[Instruction], bases: tuple[str, ...]) -> float | None:
    """The part of the accesses of these kinds that move 128 bits or more a thread; None where there are none."""
    accesses = [one for one in instructions if one.base in bases]
    return sum(one.bits >= 128 for one in accesses) / len(accesses) if accesses else None


def _post_order(after: list[list[int]]) -> list[int]:
    """The numbers that can be reached from the first instruction, each behind those that it leads to first."""
    order, seen, stack = [], {0}, [(0, iter(after[0]))]
    while stack:
        number, rest = stack[-1]
        for next_one in rest:
            if next_one not in seen:
                seen.add(next_one)
                stack.append((next_one, iter(after[next_one])))
                break
        else:
            order.append(number)
            stack.pop()
    return order


def _dominators(order: list[int], before: list[list[int]]) -> dict[int, int]:
    """Each instruction's nearest one that every path to it passes.

    Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm (2001).
    """
    rank = {number: position for position, number in enumerate(order)}
    dominator = {0: 0}

    def common(a: int, b: int) -> int:
        while a != b:
            while rank[a] < rank[b]:
                a = dominator[a]
            while rank[b] < rank[a]:
                b = dominator[b]
        return a

    changed = True
    while changed:
        changed = False
        for number in reversed(order[:-1]):
            known = [one for one in before[number] if one in dominator]
            best = known[0]
            for one in known[1:]:
                best = common(best, one)
            if dominator.get(number) != best:
                dominator[number] = best
                changed = True
    return dominator


def _dominates(dominator: dict[int, int], head: int, number: int) -> bool:
    while number != head and number != dominator[number]:
        number = dominator[number]
    return number == head


def _reaching(number: int, head: int, before: list[list[int]]) -> set[int]:
    """What leads to an instruction without passing the head."""
    found, stack = {head, number}, [number]
    while stack:
        for one in before[stack.pop()]:
            if one not in found:
                found.add(one)
                stack.append(one)
    return found
