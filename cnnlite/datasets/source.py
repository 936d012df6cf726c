"""A published data set, and the search for it: named folder, cache, system folder, download."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from . import cifar_binary, idx, npz
from .download import content_sha256, fetch, offline
from .locate import cache_folder, named_folder
from .split import NAMES, Split, as_split

__all__ = ["Source", "find_or_fetch", "read_cifar_files", "read_idx_files", "say"]

Digests: TypeAlias = Mapping[str, str]
ReadFiles: TypeAlias = Callable[[Path, "Digests | None"], dict[str, NDArray[Any]]]

IDX_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@dataclass(frozen=True)
class Source:
    """What is known of a published data set.

    Attributes:
        name: the module's name, and the stem of an .npz file.
        counts: training and test images of the whole set.
        image_shape, label_shape: of one image and one label.
        digests: SHA-256 by file name; of the decompressed content where `gunzip`, else of the file.
        gunzip: see `digests`.
        read_files: reads the files named in `digests` from a folder, checking digests where given.
        mirrors: addresses that the file names are appended to, tried in order.
        megabytes: what a download comes to.
        parts: names of other .npz files that hold a part of the set.
        system_folders: where a system's packages put the files.
        advice: what to do when nothing is found.
    """

    name: str
    counts: tuple[int, int]
    image_shape: tuple[int, ...]
    label_shape: tuple[int, ...]
    digests: Digests
    gunzip: bool
    read_files: ReadFiles
    mirrors: tuple[str, ...]
    megabytes: int
    advice: str
    parts: tuple[str, ...] = ()
    system_folders: tuple[Path, ...] = ()
    classes: int = 10


def say(text: str) -> None:
    """One line on stderr."""
    print(f"cnnlite: {text}", file=sys.stderr, flush=True)


def read_idx_files(folder: Path, digests: Digests | None) -> dict[str, NDArray[Any]]:
    """The four arrays from the four idx .gz files of MNIST and its relatives."""
    return {
        array: idx.read_gz(folder / name, digests[name] if digests else None)
        for array, name in zip(NAMES, IDX_NAMES, strict=True)
    }


def read_cifar_files(folder: Path, digests: Digests | None) -> dict[str, NDArray[Any]]:
    """The four arrays from CIFAR-10's binary archive."""
    name = "cifar-10-binary.tar.gz"
    return {**cifar_binary.read_tar_gz(folder / name, digests[name] if digests else None)}


def find_or_fetch(source: Source) -> Split:
    """Return the data set from the first place that has it, saying on stderr which.

    A damaged file in the folder that CNNLITE_DATA names, or in a system's, is an error. One in the cache is
    reported and replaced by a new download.

    Raises:
        FileNotFoundError: it is nowhere and could not be downloaded; the message says where was looked, why
            the download failed and what to do.
        ValueError, TypeError: a file was found and is damaged or holds something else.
        OSError: CNNLITE_DATA names no folder, or a file cannot be opened.
    """
    named, cache = named_folder(), cache_folder()
    looked = [f"{named} (CNNLITE_DATA)"] if named else []
    if named and (split := _search(source, named)):
        return split

    if cache:
        looked.append(str(cache))
        try:
            split = _search(source, cache, own=True)
        except (ValueError, TypeError, OSError) as error:
            say(f"{source.name}: {error}")
        else:
            if split:
                return split

    for folder in source.system_folders:
        looked.append(str(folder))
        if _is_complete(source, folder):
            return _split(source, source.read_files(folder, None), folder)

    try:
        folder = _download(source, cache)
    except OSError as error:
        raise FileNotFoundError(
            f"{source.name}: expected it in {' or '.join(looked) or 'a folder'}, got nothing usable. "
            f"Download: {error}. {source.advice}"
        ) from error
    return _split(source, source.read_files(folder, source.digests), folder)


def _search(source: Source, folder: Path, own: bool = False) -> Split | None:
    """The data set from `folder`, if it is there. `own`: the published files in it must be unchanged."""
    whole = folder / f"{source.name}.npz"
    if whole.is_file():
        return _split(source, npz.read(whole), whole)
    stems = (source.name, source.name.replace("_", "-"))
    for inner in (*(folder / stem for stem in dict.fromkeys(stems)), folder):
        if _is_complete(source, inner) and (inner != folder or _is_this_set(source, folder)):
            return _split(source, source.read_files(inner, source.digests if own else None), inner)
    for name in source.parts:
        if (part := folder / name).is_file():
            return _split(source, npz.read(part), part)
    return None


def _split(source: Source, arrays: Mapping[str, NDArray[Any]], where: Path) -> Split:
    """Check the arrays, and say what they are and where they were."""
    split = as_split(arrays, source.image_shape, source.label_shape, source.classes, where)
    counts = tuple(len(images) for images, _ in split)
    part = "" if counts == source.counts else f", a part of the {source.counts[0]:,} + {source.counts[1]:,}"
    say(f"{source.name}: {counts[0]:,} training and {counts[1]:,} test images{part}, from {where}")
    return split


def _is_complete(source: Source, folder: Path) -> bool:
    return all((folder / name).is_file() for name in source.digests)


def _is_this_set(source: Source, folder: Path) -> bool:
    """MNIST and its relatives share their file names: the smallest file tells whose a folder's are."""
    if not source.gunzip:
        return True
    smallest = min(source.digests, key=lambda name: (folder / name).stat().st_size)
    with open(folder / smallest, "rb") as file:
        try:
            return content_sha256(file, gunzip=True) == source.digests[smallest]
        except ValueError:
            return False


def _download(source: Source, cache: Path | None) -> Path:
    """Fetch what is missing or damaged into the cache; return the folder."""
    if offline():
        raise OSError("not tried, CNNLITE_OFFLINE is set")
    if cache is None:
        raise OSError("not tried, there is no cache folder; set XDG_CACHE_HOME to a writable one")
    folder = cache / source.name
    folder.mkdir(parents=True, exist_ok=True)
    say(f"{source.name}: downloading {source.megabytes} MB from {source.mirrors[0]} to {folder}")
    for name, sha256 in source.digests.items():
        if not _is_whole(folder / name, sha256, source.gunzip):
            _fetch_from_any(source, name, sha256, folder)
    return folder


def _is_whole(path: Path, sha256: str, gunzip: bool) -> bool:
    try:
        with open(path, "rb") as file:
            return content_sha256(file, gunzip) == sha256
    except (OSError, ValueError):
        return False


def _fetch_from_any(source: Source, name: str, sha256: str, folder: Path) -> None:
    failures = []
    for mirror in source.mirrors:
        try:
            return fetch(mirror + name, folder / name, sha256, source.gunzip)
        except OSError as error:
            failures.append(str(error))
    raise OSError("; ".join(failures))
