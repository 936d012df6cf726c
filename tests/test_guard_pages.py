"""Intrinsics have no bounds checks: every op runs with its operands against pages that fault when touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bfloat16_host import needs_bfloat16

PROGRAM = Path(__file__).parent / "guarded.py"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="guard pages need mprotect")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments], env=env, capture_output=True, text=True, timeout=500
    )


def test_no_op_touches_memory_outside_its_operands() -> None:
    done = run()
    assert done.returncode == 0, done.stderr


@needs_bfloat16
def test_nor_would_amx() -> None:
    done = run("amx")
    assert done.returncode == 0, done.stderr


def test_reading_one_number_outside_is_caught() -> None:
    done = run("outside")
    assert done.stdout.split() == ["64.0"]
    assert done.returncode in (-signal.SIGSEGV, -signal.SIGBUS)
