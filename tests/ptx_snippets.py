"""Kernels of a few lines of PTX, for the interpreter's tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from tools.ptx.machine import Machine

REGISTERS = """
    .reg .pred %p<10>; .reg .b16 %h<10>; .reg .b32 %r<40>; .reg .b64 %rd<40>; .reg .f32 %f<40>; .reg .f64 %fd<10>;
"""


def module(body: str, parameters: str = "", arrays: str = "") -> str:
    """A kernel `k` of these parameters, `.param` and all, with registers of every type."""
    return f".version 8.0\n.target sm_80\n.address_size 64\n{arrays}\n.visible .entry k({parameters})\n{{{REGISTERS}{body}\n}}"


def evaluate(body: str, result: str, **inputs: np.ndarray) -> np.ndarray:
    """What register %y of type `result` holds after `body`, one thread for each item of the inputs, in registers of their names.

    >>> evaluate("add.s32 %y, %a, %b;", "u32", a=np.arange(3, dtype=np.uint32), b=np.arange(3, dtype=np.uint32))
    array([0, 2, 4], dtype=uint32)
    """
    arrays = list(inputs.values())
    lines = ["mov.u32 %tid_, %tid.x;"]
    registers = [".reg .b32 %tid_; .reg .b64 %at_, %of_;"]
    for i, (name, array) in enumerate(inputs.items()):
        kind = type_of(array.dtype)
        register = {"u8": "u16", "f16": "b16"}.get(kind, kind)
        registers.append(f".reg .{register} %{name};")
        lines.append(_address(i, array.dtype.itemsize))
        lines.append(f"ld.global.{'b16' if kind == 'f16' else kind} %{name}, [%at_];")
    y = np.zeros(len(arrays[0]), {"f": "f"}.get(result[0], "u") + str(int(result[1:]) // 8))
    registers.append(f".reg .{result} %y;")
    lines += [body, _address(len(arrays), y.dtype.itemsize), f"st.global.{result} [%at_], %y; ret;"]
    parameters = ", ".join(f".param .u64 p{i}" for i in range(len(arrays) + 1))
    text = module("\n".join((*registers, *lines)), parameters)
    Machine(text).launch(1, len(y), *arrays, y, pointers=True)
    return y


def run(body: str, block: int, *args: Any, arrays: str = "", blocks: int = 1, **options: Any) -> Any:
    """Launches `body` with the address of argument i in %rdi and the thread's number in its block in %r0."""
    parameters = ", ".join(f".param .u64 p{i}" for i in range(len(args)))
    loads = "\n".join(f"ld.param.u64 %rd{i}, [p{i}];" for i in range(len(args)))
    text = module(f"{loads}\nmov.u32 %r0, %tid.x;\n{body}\nret;", parameters, arrays)
    check = options.pop("check", True)
    return Machine(text, check=check).launch(blocks, block, *args, pointers=True, **options)


def type_of(dtype: np.dtype) -> str:
    return f"{'f' if dtype.kind == 'f' else 's' if dtype.kind == 'i' else 'u'}{8 * dtype.itemsize}"


def _address(parameter: int, size: int) -> str:
    return f"ld.param.u64 %at_, [p{parameter}]; mul.wide.u32 %of_, %tid_, {size}; add.s64 %at_, %at_, %of_;"
