"""What a run ran on, and on how many threads."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import cnnlite
from cnnlite.devices import processor_name

PACKAGES = ("numba", "llvmlite", "numpy")


def facts() -> dict[str, str]:
    """Processor, system and versions."""
    return {
        "processor": f"{processor_name()}, {cnnlite.get_num_threads()} threads",
        "system": f"{platform.system()} {platform.release()}, Python {sys.version.split()[0]}",
        "load": f"{os.getloadavg()[0]:.2f} over the last minute" if hasattr(os, "getloadavg") else "",
        "versions": ", ".join([f"cnnlite {cnnlite.__version__}", *map(_version, PACKAGES)]),
    }


def thread_counts(text: str, available: int) -> list[int]:
    """A list such as "1,all" as numbers, each once, in order.

    Raises:
        ValueError: neither a positive number nor "all".

    >>> thread_counts("1,all", 4), thread_counts("1,all", 1), thread_counts("2", 4)
    ([1, 4], [1], [2])
    """
    found = []
    for word in text.split(","):
        count = available if word.strip() == "all" else int(word) if word.strip().isdecimal() else 0
        if count < 1:
            raise ValueError(f'bench-threads: expected positive numbers or "all", as in 1,all; got {text!r}.')
        if count not in found:
            found.append(count)
    return found


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"
