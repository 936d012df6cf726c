"""Data sets saved as one .npz file with the arrays x_train, y_train, x_test, y_test."""

from __future__ import annotations

import os
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .split import NAMES

__all__ = ["read"]


def read(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read those of the four arrays that the file has. Pickled objects are refused, never run.

    Raises:
        ValueError: not a .npz file, a damaged one, or one with pickled objects.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in NAMES if name in archive}
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, TypeError) as error:
            raise ValueError(
                f"{os.fspath(path)}: expected a whole .npz file of plain arrays, got one that cannot be read "
                f"({error}). Save or download it again."
            ) from error
