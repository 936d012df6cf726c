"""All instructions that are known here: importing this registers them."""

from __future__ import annotations

from tools.ptx import arithmetic, bits, convert, matrix, transfer, warp
from tools.ptx.registry import bind_instruction

FAMILIES = (arithmetic, bits, convert, matrix, transfer, warp)

__all__ = ["FAMILIES", "bind_instruction"]
