"""Every example runs as a user would run it, with --quick: it asserts its own number, and leaves its picture."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ["classify", "edit", "explain", "gan", "style_transfer", "vae"]
NEEDED = ["matplotlib", "PIL", "skimage", "tqdm"]

missing = [package for package in NEEDED if find_spec(package) is None]


@pytest.mark.slow
@pytest.mark.skipif(bool(missing), reason=f"the examples extra is not installed: no {', '.join(missing)}")
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_reaches_its_number_and_draws_its_picture(name: str, tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py", "--quick", "--out", tmp_path],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    picture = (tmp_path / f"{name}.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(picture) > 5000  # not an empty frame
