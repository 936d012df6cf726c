"""The folder of the kernel cache: where it is, what names it, who may write there, and what is cleared away.

Loading a kernel runs what its file says, so files and folder must be the user's own (or root's), closed to
others. Whatever is wrong with the folder, the answer is to go without it, not an error.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from pathlib import Path

import llvmlite
import numba

PACKAGE = Path(__file__).resolve().parent.parent
KEPT = 8  # folders of other versions of the kernels, some 10 MB each
DAY = 24 * 3600.0  # seconds
# What Numba takes from the environment that changes the code it generates, beside the target.
SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")


def _stamp(source: Path) -> tuple[int, int]:
    status = source.stat()
    return status.st_mtime_ns, status.st_size


def _hash(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()


def _read_sources() -> dict[Path, tuple[tuple[int, int], str]]:
    """Stamp and hash of every kernel source; empty where they cannot be read, as in a frozen program."""
    try:
        return {source: (_stamp(source), _hash(source)) for source in sorted(PACKAGE.rglob("*.py"))}
    except OSError:
        return {}


# Read when imported, not when first needed: what is compiled later is what was imported, not what was edited
# since.
_SOURCES = _read_sources()


def sources_changed() -> bool:
    """Whether a kernel source was edited after this process began: it may have imported either version."""
    try:
        return any(_stamp(source) != stamp for source, (stamp, _) in _SOURCES.items())
    except OSError:
        return True


@functools.cache
def digest(options: str) -> str:
    """Names everything compiled code depends on: the kernel sources, the versions and the options."""
    settings = [(name, str(getattr(numba.config, name, None))) for name in SETTINGS]
    versions = (sys.version_info[:2], numba.__version__, llvmlite.__version__)
    sources = [(str(source.relative_to(PACKAGE)), content) for source, (_, content) in _SOURCES.items()]
    return hashlib.sha256(repr((versions, options, settings, sources)).encode()).hexdigest()[:24]


@functools.cache
def folder(options: str) -> Path | None:
    """The cache folder, private to the user (0700), or None when there is no place that is safe to use.

    `CNNLITE_CACHE_DIR` names another one; the value "none" turns the cache off. A folder filled beforehand
    may be read-only.
    """
    asked = os.environ.get("CNNLITE_CACHE_DIR")
    if asked == "none":
        return None
    try:
        if not _SOURCES:
            raise OSError(f"the kernel sources in {PACKAGE} cannot be read")
        root = Path(asked).expanduser() if asked else _user_cache()
        path = root.absolute() / "kernels" / digest(options)
        if not path.exists():
            _remove_unused(path.parent)
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        _close(path)
    except (OSError, RuntimeError) as problem:  # RuntimeError: no home directory at all
        log(f"off, because its folder cannot be used ({problem})")
        return None
    try:
        os.utime(path)  # used now: not to be removed soon
    except OSError as problem:
        log(f"{path} is read-only ({problem})")
    return path


def _user_cache() -> Path:
    asked = Path(os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME") or "")
    if asked.is_absolute() and sys.platform != "darwin":
        return asked / "cnnlite"
    home = Path.home()
    owner = home.stat().st_uid  # where there is no such folder this raises: it is not for us to make
    if hasattr(os, "geteuid") and os.geteuid() == 0 != owner:
        raise PermissionError(f"root would leave files in {home}, which belongs to another user")
    usual = {"win32": "AppData/Local", "darwin": "Library/Caches"}
    return home / usual.get(sys.platform, ".cache") / "cnnlite"


def _trusted(status: os.stat_result) -> bool:
    """Whether nobody but the user and root can have written this."""
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid in (0, os.geteuid()) and not stat.S_IMODE(status.st_mode) & 0o022


def _close(path: Path) -> None:
    """Makes sure that a folder is the user's, or root's, and closes the user's own to others."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(f"{path} is not a folder")
    if hasattr(os, "geteuid") and status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & 0o077:
        path.chmod(0o700)
        status = path.lstat()
    if not _trusted(status):
        raise PermissionError(f"{path} belongs to another user, or others can write to it")


def read_trusted(file: Path) -> bytes:
    """The content of a file that nobody but the user and root can have written.

    Raises:
        OSError: there is no such file, it is a link, or somebody else may have written it.
    """
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as opened:
        if not _trusted(os.fstat(handle)):
            raise PermissionError(f"{file} belongs to another user, or others can write to it")
        return opened.read()


def write_atomically(file: Path, content: bytes) -> None:
    """Writes a file so that every reader sees all of it or none, and a failure leaves nothing behind."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


def _remove_unused(kernels: Path) -> None:
    """Removes the folders of other versions that were not used for a day, but for the KEPT used last.

    A process that still runs such a version loses nothing but time: what it has not loaded yet it compiles.
    """
    try:
        used = [
            (found.stat().st_mtime, found)
            for found in kernels.iterdir()
            if re.fullmatch("[0-9a-f]{24}", found.name) and not found.is_symlink()
        ]
    except OSError:
        return
    for when, old in sorted(used, reverse=True)[KEPT:]:
        if time.time() - when > DAY:
            shutil.rmtree(old, ignore_errors=True)


def log(message: str) -> None:
    """Says what the cache does, to whoever set CNNLITE_CACHE_LOG."""
    if os.environ.get("CNNLITE_CACHE_LOG"):
        print(f"cnnlite kernel cache: {message}", file=sys.stderr)
