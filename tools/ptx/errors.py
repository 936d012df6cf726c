"""What the interpreter raises."""

from __future__ import annotations


class PtxError(RuntimeError):
    """The kernel does what no kernel may do, or what this interpreter does not know."""
