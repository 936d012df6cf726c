"""Write the values of every epoch to a file."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any, TextIO

from cnnlite.callbacks.base import Callback, Logs


class CSVLogger(Callback):
    """Writes a row an epoch as it comes, so that the file is whole whenever the program ends.

    The columns are "epoch", which counts from 0, and the names of the first epoch's values, sorted. A value
    that a later epoch lacks is "NA"; one that only a later epoch has is left out.

    Args:
        filename: where to. Missing folders are made.
        separator: one character between values.
        append: go on with the file, in its own columns if it has any, instead of writing it anew.

    Raises:
        ValueError: a separator that is not one character.

    >>> CSVLogger("log.tsv", separator="\\t").append
    False
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        super().__init__()
        if len(separator) != 1:
            raise ValueError(
                f"CSVLogger: expected separator to be one character, got {separator!r}. Use ','."
            )
        self.filename = os.fspath(filename)
        self.separator = separator
        self.append = append
        self.columns: list[str] = []
        self._file: TextIO | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        self._close()
        path = Path(self.filename)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.columns = []
        cut_off = False
        if self.append and path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self.columns = next(csv.reader(file, delimiter=self.separator), [])
                cut_off = bool(self.columns) and not file.read().endswith("\n")
        self._file = path.open("a" if self.append else "w", newline="", encoding="utf-8")
        if cut_off:
            # a program that was killed within a row: what follows must not become part of it
            self._file.write("\r\n")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self._file is None:
            return
        values: dict[str, Any] = {**(logs or {}), "epoch": epoch}
        writer = csv.writer(self._file, delimiter=self.separator)
        if not self.columns:
            self.columns = ["epoch", *sorted(logs or {})]
            writer.writerow(self.columns)
        writer.writerow([values.get(name, "NA") for name in self.columns])
        self._file.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
