"""CIFAR-10's binary version: a tar file of six batches, records of one label and 3 x 32 x 32 pixels."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_tar_gz"]

TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = ("test_batch.bin",)
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS


def read_tar_gz(path: str | os.PathLike[str], sha256: str | None = None) -> dict[str, NDArray[np.uint8]]:
    """Read the archive without unpacking it to disk.

    Args:
        path: cifar-10-binary.tar.gz.
        sha256: the digest the file must have; None to take it as it is.

    Returns:
        x_train (n, 32, 32, 3), y_train (n,), x_test and y_test alike, uint8.

    Raises:
        ValueError: a damaged or truncated archive, another digest, a missing batch, or one of odd length.
        OSError: the file cannot be opened.
    """
    where = os.fspath(path)
    with open(path, "rb") as file:
        if sha256 is not None:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
            if digest.hexdigest() != sha256:
                raise ValueError(
                    f"{where}: expected SHA-256 {sha256}, got {digest.hexdigest()}. "
                    "Remove it and download it again."
                )
            file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:gz") as archive:
                batches = _batches(archive)
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            raise ValueError(
                f"{where}: expected a whole .tar.gz archive, got a damaged or truncated one ({error}). "
                "Download it again."
            ) from error
    missing = [name for name in (*TRAIN, *TEST) if name not in batches]
    if missing:
        raise ValueError(f"{where}: expected CIFAR-10's binary version, got no {', '.join(missing)} in it.")
    x_train, y_train = _images_and_labels([batches[name] for name in TRAIN], where)
    x_test, y_test = _images_and_labels([batches[name] for name in TEST], where)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _batches(archive: tarfile.TarFile) -> dict[str, bytes]:
    """One pass in the archive's own order: going back in a gzip stream means decompressing it again."""
    batches = {}
    for member in archive:
        name = os.path.basename(member.name)
        if name in TRAIN + TEST and (content := archive.extractfile(member)) is not None:
            batches[name] = content.read()
    return batches


def _images_and_labels(batches: list[bytes], where: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    content = b"".join(batches)
    if any(len(batch) % RECORD for batch in batches):
        lengths = tuple(len(batch) for batch in batches)
        raise ValueError(
            f"{where}: expected batches of whole records of {RECORD} bytes, got lengths {lengths}."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].copy()
