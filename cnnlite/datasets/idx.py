"""The idx format of MNIST and its relatives: a short header and then plain bytes.

Bytes 0 and 1 are zero, byte 2 is the type (8 is uint8), byte 3 the number of axes; one big-endian uint32 for
each axis follows, then the elements in C order.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["parse", "read_gz"]

UINT8 = 8


def parse(content: bytes, where: object) -> NDArray[np.uint8]:
    """Return the uint8 array that idx bytes describe, read-only and without a copy.

    Args:
        content: the whole file, not compressed.
        where: the file it came from, for the messages.

    Raises:
        ValueError: another magic number, another element type, or a length that is not what the header says.

    Example:
        >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]), "labels")
        array([5, 0, 4], dtype=uint8)
    """
    if len(content) < 4 or content[0] or content[1] or content[2] != UINT8:
        raise ValueError(
            f"{where}: expected idx data of uint8, starting with bytes 0 0 8, got {tuple(content[:4])}. "
            "Is it another file under this name?"
        )
    ndim = content[3]
    start = 4 + 4 * ndim
    if len(content) < start:
        raise ValueError(
            f"{where}: expected an idx header of {start} bytes, got {len(content)}. Download it again."
        )
    shape = struct.unpack_from(f">{ndim}I", content, 4)
    if len(content) - start != math.prod(shape):
        raise ValueError(
            f"{where}: expected {math.prod(shape)} bytes of data for shape {shape}, "
            f"got {len(content) - start}. Download it again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_gz(path: str | os.PathLike[str], sha256: str | None = None) -> NDArray[np.uint8]:
    """Read a gzip-compressed idx file.

    Args:
        path: the file.
        sha256: the digest its decompressed bytes must have; None to take them as they are. It is of the
            decompressed bytes because distributors compress these files anew.

    Raises:
        ValueError: a damaged or truncated file, another format, or another digest.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        try:
            content = gzip.decompress(file.read())
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(
                f"{os.fspath(path)}: expected a whole gzip file, got a damaged or truncated one ({error}). "
                "Download it again."
            ) from error
    if sha256 is not None and (got := hashlib.sha256(content).hexdigest()) != sha256:
        raise ValueError(
            f"{os.fspath(path)}: expected SHA-256 {sha256} of its content, got {got}. "
            "Remove it and download it again."
        )
    return parse(content, os.fspath(path))
