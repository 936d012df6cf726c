"""Bytes of the packages in this interpreter's environment: `python -m peers.installed_size`.

Without what every environment begins with, and without the bytecode that using it has left there.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

BEGINNING = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth", "wheel")


def counts(name: str) -> bool:
    """Whether something at the top of site-packages was installed on purpose.

    >>> counts("numpy"), counts("pip-23.2.1.dist-info"), counts("__pycache__")
    (True, False, False)
    """
    return name.partition("-")[0] not in BEGINNING and name not in BEGINNING and name != "__pycache__"


def installed_bytes(folder: Path) -> int:
    """Of a folder of packages.

    A file with several names counts once.
    """
    found = {}
    for top in folder.iterdir():
        if counts(top.name):
            for path in top.rglob("*") if top.is_dir() else [top]:
                if path.is_file() and "__pycache__" not in path.parts:
                    at = path.stat()
                    found[at.st_dev, at.st_ino] = at.st_size
    return sum(found.values())


if __name__ == "__main__":
    folders = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    print(sum(installed_bytes(Path(folder)) for folder in folders))
