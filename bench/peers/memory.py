"""The most memory this process has had."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any


def peak() -> int:
    """Bytes. Linux counts this peak anew for each program; getrusage would include what the parent had."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024


def peak_above(*arrays: Any) -> float:
    """Bytes above those of the given NumPy arrays."""
    return float(peak() - sum(array.nbytes for array in arrays))
