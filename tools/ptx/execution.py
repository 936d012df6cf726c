"""Runs the threads of a frame from their first instruction to their last, together as far as their control flow allows.

Threads that are apart are brought together by always running those at the lowest instruction first: of all warps, or with an
`order` of the one whose turn it is (schedule.py). Barriers are of a whole block; a block whose threads do not all come to one is
an error.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from tools.ptx.errors import PtxError
from tools.ptx.frame import Frame, Step, Where
from tools.ptx.parser import Instruction
from tools.ptx.schedule import Turns


@dataclass(slots=True)
class Block:
    """Instructions from `start` on that are executed one after the other; `end` is the one that may jump, wait or leave."""

    start: int
    steps: list[tuple[Instruction, Step, np.ndarray | None]] = field(default_factory=list)
    end: Instruction | None = None
    next: int = 0
    fma: int = 0
    opcodes: Counter[str] = field(default_factory=Counter)


def ends_block(ins: Instruction) -> bool:
    if ins.name in ("bar", "barrier"):
        return "warp" not in ins.modifiers
    return ins.name in ("bra", "ret", "exit")


class Execution:
    """One run of a frame's blocks to their end; order: the seed of their warps' turns, or None for all together."""

    def __init__(self, frame: Frame, program: dict[int, Block], order: int | None = None) -> None:
        self.frame, self.program = frame, program
        self.alive = frame.live.copy()
        self.waiting = np.zeros(frame.count, np.bool_)
        self.barrier_at = np.zeros(frame.count, np.int64)
        self.pc = np.zeros(frame.count, np.int64)
        self.turns = None if order is None else Turns(frame.count, order)
        frame.alive = self.alive

    def run(self) -> None:
        while True:
            running = self.alive & ~self.waiting
            if not running.any():
                if not self.alive.any():
                    return
                raise self._deadlock()
            if self.turns is not None:
                running = self.turns.next(running)
            start = int(self.pc[running].min())
            active = running & (self.pc == start)
            together = np.count_nonzero(active) == np.count_nonzero(self.alive)
            self._run_from(start, active, together)

    def _run_from(self, start: int, active: np.ndarray, together: bool) -> None:
        """Runs threads on until they part, wait or leave, or may meet others."""
        while start in self.program:
            block = self.program[start]
            self._run_block(block, active, True if together else active)
            ins = block.end
            if ins is None:
                target, taken = block.next, active
            else:
                taken = active
                if ins.predicate is not None:
                    guard = self.frame.register(ins.predicate)
                    taken = active & (~guard if ins.negated else guard)
                if ins.name in ("bar", "barrier"):
                    self.pc[active] = block.next
                    return self._wait(ins, taken)
                if ins.name in ("ret", "exit"):
                    self.pc[active] = block.next
                    self.alive &= ~taken
                    return self._release()
                target = self.frame.kernel.labels[ins.operands[0]]
            number = np.count_nonzero(taken)
            if together and number in (0, np.count_nonzero(active)):
                start = target if number else block.next
                continue
            self.pc[active] = block.next
            self.pc[taken] = target
            return None
        if start >= len(self.frame.kernel.instructions):  # a body that ends without ret
            self.alive &= ~active
            return self._release()
        return None

    def _run_block(self, block: Block, active: np.ndarray, where: Where) -> None:
        frame = self.frame
        frame.active = active
        for ins, step, guard in block.steps:
            if guard is None:
                step(where)
                continue
            chosen = active & (~guard if ins.negated else guard)
            if chosen.any():
                frame.active = chosen
                step(chosen)
                frame.active = active
                self._count(chosen, int(ins.name == "fma"), Counter({ins.opcode: 1}))
        self._count(active, block.fma, block.opcodes)

    def _count(self, active: np.ndarray, fma: int, opcodes: Counter[str]) -> None:
        counters = self.frame.counters
        if counters is None:
            return
        counters.fma += fma * int(np.count_nonzero(active))
        warps = int(np.count_nonzero(self.frame.warps(active).any(axis=1)))
        for opcode, number in opcodes.items():
            counters.opcodes[opcode] += number * warps

    def _wait(self, ins: Instruction, active: np.ndarray) -> None:
        """Threads arrive at a barrier; blocks all of whose threads have arrived go on."""
        self.waiting |= active
        self.barrier_at[active] = ins.number
        self._release()

    def _release(self) -> None:
        frame = self.frame
        if not self.waiting.any():
            return
        by_block = (-1, frame.block_threads)
        live, waiting = frame.live.reshape(by_block), self.waiting.reshape(by_block)
        complete = (waiting == live).all(axis=1)
        if not complete.any():
            return
        at = self.barrier_at.reshape(by_block)[complete]
        if (at != at[:, :1])[live[complete]].any():
            number = int(at[0].min())
            raise frame.fail(
                frame.kernel.instructions[number], "threads of one block wait at different barriers"
            )
        self.waiting &= ~complete[frame.block_index]
        frame.barrier(complete)

    def _deadlock(self) -> PtxError:
        frame = self.frame
        thread = int(self.waiting.argmax())
        ins = frame.kernel.instructions[int(self.barrier_at[thread])]
        mine = frame.block_index == frame.block_index[thread]
        left = int(np.count_nonzero(frame.live & mine & ~self.waiting))
        return frame.fail(
            ins, f"deadlock: it waits at a barrier that {left} threads of its block left without", thread
        )
