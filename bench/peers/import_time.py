"""Seconds that importing a package takes in this new process: `python -m peers.import_time PACKAGE`."""

from __future__ import annotations

import importlib
import sys
import time

if __name__ == "__main__":
    start = time.perf_counter()
    importlib.import_module(sys.argv[1])
    print(time.perf_counter() - start)
