"""Fetching a published file: whole and with the right digest, or not at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import queue
import threading
import zlib
from pathlib import Path
from typing import IO, Any

from ..files import atomic_write

__all__ = ["content_sha256", "fetch", "offline"]

OPEN_SECONDS = 6.0
READ_SECONDS = 10.0
CHUNK = 1 << 20


def offline() -> bool:
    """Whether CNNLITE_OFFLINE forbids the network: any value but an empty one and 0."""
    return os.environ.get("CNNLITE_OFFLINE", "") not in ("", "0")


def content_sha256(file: IO[bytes], gunzip: bool) -> str:
    """The hexadecimal SHA-256 of a binary file from its start, of its decompressed bytes if `gunzip`.

    Raises:
        ValueError: `gunzip` and the file is not whole gzip data.

    Example:
        >>> import io
        >>> content_sha256(io.BytesIO(gzip.compress(b"")), gunzip=True)[:8]
        'e3b0c442'
    """
    digest = hashlib.sha256()
    file.seek(0)
    try:
        source: Any = gzip.GzipFile(fileobj=file) if gunzip else file
        while chunk := source.read(CHUNK):
            digest.update(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"not a whole gzip file ({error})") from error
    return digest.hexdigest()


def fetch(url: str, path: Path, sha256: str, gunzip: bool) -> None:
    """Download `url` to `path`, which appears only when all of it has come and its digest is right.

    Args:
        url: http or https.
        path: where to put it; the folder must exist.
        sha256: the digest of the file, or of what it decompresses to if `gunzip`.
        gunzip: see `sha256`.

    Raises:
        OSError: no network, no answer in time, an HTTP error, another digest, or no room on the disk. An
            older file at `path` stays as it is.
    """
    from http.client import HTTPException  # late, as in `_open`

    try:
        with _open(url) as response, atomic_write(path) as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
            length = response.headers.get("Content-Length")
            if length is not None and file.tell() != int(length):
                raise OSError(f"expected {length} bytes, got {file.tell()}")
            got = content_sha256(file, gunzip)
            if got != sha256:
                raise OSError(f"expected SHA-256 {sha256}, got {got}")
    except (OSError, HTTPException, ValueError) as error:
        raise OSError(f"{url}: {getattr(error, 'reason', error)}") from error


def _open(url: str) -> Any:
    """Open `url`, or raise TimeoutError after OPEN_SECONDS.

    A thread of its own, because looking up a name has no time limit and a host of several addresses is
    allowed the limit for each.
    """
    import urllib.error
    import urllib.request  # late: importing it takes 30 ms, and few programs download

    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    given_up = threading.Event()

    def attempt() -> None:
        try:
            answer: Any = urllib.request.urlopen(url, timeout=READ_SECONDS)
            if given_up.is_set():
                answer.close()
        except urllib.error.HTTPError as error:
            error.close()
            answer = error
        except Exception as error:
            answer = error
        answers.put(answer)

    threading.Thread(target=attempt, name="cnnlite-download", daemon=True).start()
    try:
        answer = answers.get(timeout=OPEN_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer in {OPEN_SECONDS:g} s") from None
    finally:
        given_up.set()
    if isinstance(answer, Exception):
        raise answer
    return answer
