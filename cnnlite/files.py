"""Files that are either wholly written or not there at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_write"]


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write `path` through a temporary file in the same folder, put in place only when all of it is on disk.

    The temporary is synced and renamed over `path` when the block ends. When the block raises, or anything
    before the rename fails (a full disk, Ctrl-C), it is removed and an older file at `path` stays whole.
    A symbolic link is followed; the permissions of an older file are kept.

    Args:
        path: the file to write. Its folder must exist.

    Yields:
        A binary file object, open for writing and reading, seekable. The block must not close it.

    Raises:
        OSError: the folder is missing or not writable, the disk is full, or `path` is a folder.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     target = pathlib.Path(folder, "weights.bin")
        ...     with atomic_write(target) as file:
        ...         _ = file.write(b"all of it")
        ...     target.read_bytes()
        b'all of it'
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"{os.fspath(path)}: expected its folder {target.parent} to exist; make it first."
        )
    temporary = target.parent / f".cnnlite-{secrets.token_hex(8)}.tmp"
    # With 0o666 the umask decides, as for any new file; tempfile's 0o600 would hide the result from others.
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(temporary, flags, 0o666), "w+b")
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can sync a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
