"""Where data sets may lie on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_folder", "named_folder"]


def named_folder() -> Path | None:
    """The folder that CNNLITE_DATA names, or None when it is unset or empty.

    Raises:
        NotADirectoryError: it names something that is not a folder.
    """
    name = os.environ.get("CNNLITE_DATA", "")
    if not name:
        return None
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise NotADirectoryError(
            f"CNNLITE_DATA: expected a folder, got {name!r}, which is none. Create it or unset the variable."
        )
    return folder


def cache_folder() -> Path | None:
    """The folder for downloads, which need not exist yet; None for a user who has no home.

    `$XDG_CACHE_HOME/cnnlite/datasets` where that variable is set, else the platform's: ~/.cache,
    ~/Library/Caches or %LOCALAPPDATA%.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):  # the XDG specification: relative paths are to be ignored
        try:
            root = str(_platform_cache())
        except RuntimeError:
            return None
    return Path(root) / "cnnlite" / "datasets"


def _platform_cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local)
    return Path.home() / ".cache"
