"""Which function binds which instruction, and which modifiers each knows."""

from __future__ import annotations

from collections.abc import Callable

from tools.ptx.errors import PtxError
from tools.ptx.frame import Frame, Step
from tools.ptx.parser import Instruction

Binder = Callable[[Frame, Instruction], Step]
_binders: dict[str, tuple[Binder, frozenset[str]]] = {}


def instruction(name: str, *modifiers: str) -> Callable[[Binder], Binder]:
    """Decorates the function that binds instruction `name`, which knows these modifiers and no others."""

    def register(binder: Binder) -> Binder:
        _binders[name] = (binder, frozenset(modifiers))
        return binder

    return register


def bind_instruction(frame: Frame, ins: Instruction) -> Step:
    """The step that executes an instruction on a frame.

    Raises:
        PtxError: the instruction, a modifier or an operand is not known here.
    """
    if ins.name == "call":
        raise PtxError(f"{frame.kernel}: `{ins}` calls a device function; it has to be inlined")
    if ins.name not in _binders:
        raise PtxError(f"{frame.kernel}: instruction {ins.name} is not known here, in `{ins}`")
    binder, known = _binders[ins.name]
    for modifier in ins.modifiers:
        if modifier not in known:
            raise PtxError(
                f"{frame.kernel}: modifier .{modifier} of {ins.name} is not known here, in `{ins}`"
            )
    try:
        return binder(frame, ins)
    except (PtxError, KeyError, ValueError, IndexError, TypeError) as problem:
        raise PtxError(f"{frame.kernel}: cannot bind `{ins}`: {problem}") from problem
