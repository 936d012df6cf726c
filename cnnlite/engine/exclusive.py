"""A lock that a fork does not leave locked for ever: the child has its own."""

from __future__ import annotations

import os
import threading
from typing import Any


class Exclusive:
    """`with exclusive:` as with `threading.RLock`, but not held in a child by a thread that stayed in the parent."""

    def __init__(self) -> None:
        self._lock, self._process = threading.RLock(), os.getpid()

    def __enter__(self) -> None:
        if self._process != os.getpid():
            self._lock, self._process = threading.RLock(), os.getpid()
        self._lock.acquire()

    def __exit__(self, *problem: Any) -> None:
        self._lock.release()
