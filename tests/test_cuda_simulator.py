"""Rung 0: kernels that are plain Python, run as Python by numba-cuda's simulator, one of its threads for each of theirs.

It has no types, shuffles or intrinsics: what it says of a kernel, the interpreter of PTX (test_cuda_ladder.py) says too, and more. But
it needs none of our own tools, so what both agree on is not a mistake of theirs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

import runtime_programs
from cuda_samples import SAMPLES

PROGRAM = Path(__file__).with_name("simulated") / "run_samples.py"
SIMPLE = [sample.name for sample in SAMPLES if sample.simple]


def simulate(*arguments: str) -> dict[str, str | None]:
    """An error, or None, for each sample that the program ran."""
    ended = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        env=runtime_programs.environment_with(NUMBA_ENABLE_CUDASIM="1"),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def errors() -> dict[str, str | None]:
    """Of all samples, in one process: starting one takes longer than most of them."""
    return simulate()


@pytest.mark.parametrize("name", SIMPLE)
def test_python_computes_the_reference(name: str, errors: dict[str, str | None]) -> None:
    assert errors[name] is None


def test_wrong_kernels_are_found() -> None:
    found = simulate("broken")
    assert "out of bounds" in str(found["neighbours"])
    assert "Mismatched elements" in str(found["off_by_one"]) or "nan location" in str(found["off_by_one"])
