"""What fit, evaluate and predict print while they run.

Our own few lines rather than tqdm: the same program then prints the same whatever else is installed, Keras's
words and numbers stay (``1875/1875 - 6s - 3ms/step``), and a log file gets one clean line an epoch, where
tqdm would write carriage returns into it. Nothing is drawn by a thread; a step costs one look at the clock.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Mapping
from typing import TextIO, TypeAlias

Logs: TypeAlias = "Mapping[str, float] | Callable[[], Mapping[str, float]]"

BAR_WIDTH, SHORTEST_BAR = 30, 6
TERMINAL_INTERVAL = 0.1  # seconds between two drawings: ten a second look smooth
NOTEBOOK_INTERVAL = 0.5  # each drawing is a message to the browser
NOTEBOOK_WIDTH = 100
GREEN, DIM, PLAIN = "\x1b[32m", "\x1b[2m", "\x1b[0m"


class Progress:
    """The progress of one call of fit, evaluate or predict.

    ``verbose=1`` rewrites one line in a terminal or notebook, and writes one line an epoch, without control
    characters, to anything else. ``verbose=2`` writes Keras's line an epoch; 0 writes nothing. A rewritten
    line never wraps: it is fitted to the terminal's width. Where the encoding has no bar characters, it is
    ASCII.

    Args:
        verbose: 0, 1 or 2.
        total_steps: steps an epoch, or None if unknown.
        images_per_step: for images/s where ``update`` is not told how many are done; 0 if unknown.
        stream: where to write; ``sys.stdout`` as it is now if None.
        clock: seconds from any start, as ``time.perf_counter``.

    Raises:
        ValueError: another verbose.

    >>> seconds = iter([0.0, 0.0, 1.0, 5.0, 6.0])
    >>> with Progress(2, total_steps=2, clock=lambda: next(seconds)) as progress:
    ...     progress.epoch_begin(0, epochs=5)
    ...     progress.update(1, 32, {"loss": 0.9})
    ...     progress.update(2, 64, {"loss": 0.5})
    ...     progress.epoch_end({"accuracy": 0.75, "loss": 0.5})
    Epoch 1/5
    2/2 - 6s - 4s/step - accuracy: 0.7500 - loss: 0.5000
    """

    def __init__(
        self,
        verbose: int,
        total_steps: int | None,
        images_per_step: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if verbose not in (0, 1, 2):
            raise ValueError(
                f"Progress: expected verbose of 0, 1 or 2, got {verbose!r}. "
                "Use 0 for silence, 1 for a progress bar, 2 for a line an epoch."
            )
        self._stream = sys.stdout if stream is None else stream
        self.verbose = 0 if self._stream is None else int(verbose)
        self.total_steps = total_steps
        self._images_per_step = images_per_step
        self._clock = clock
        notebook = type(self._stream).__module__.startswith("ipykernel")
        self._live = self.verbose == 1 and (notebook or _rewrites_lines(self._stream))
        self._interval = NOTEBOOK_INTERVAL if notebook else TERMINAL_INTERVAL
        self._fixed_width = NOTEBOOK_WIDTH if notebook else None
        self._encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._characters = ("━", "─", "…") if _encodes("━─…", self._encoding) else ("=", ".", "~")
        has_colours = os.name != "nt" or "WT_SESSION" in os.environ
        self._coloured = self._live and has_colours and not os.environ.get("NO_COLOR")
        self._drawn = 0  # characters of the line that is being rewritten
        self._heading = ""
        self._step = self._images = 0
        self._start = self._last = self._next_draw = 0.0
        self._first: tuple[float, int, int] | None = None
        self._restart()

    def epoch_begin(self, epoch: int, epochs: int) -> None:
        """Start the clock of an epoch, counted from 0, and head it "Epoch 1/5"."""
        if not self.verbose:
            return
        self.close()
        self._restart()
        self._heading = f"Epoch {epoch + 1}/{epochs}"
        if self._live or self.verbose == 2:
            self._write(self._heading + "\n")
            self._heading = ""

    def update(self, step: int, images_done: int | None, logs: Logs) -> None:
        """Say that ``step`` steps and ``images_done`` images of this epoch are done.

        ``logs`` holds the values to show, or is a function that returns them and is called only when
        something is drawn: a loop need not ask its kernels for the loss after every step.
        """
        if not self.verbose:
            return
        now = self._clock()
        self._step = step
        self._images = step * self._images_per_step if images_done is None else images_done
        self._last = now
        if self._first is None:
            self._first = (now, step, self._images)
        if now >= self._next_draw:
            self._next_draw = now + self._interval
            left = self._time_left()
            self._draw(left or duration(now - self._start), logs() if callable(logs) else logs)

    def epoch_end(self, logs: Mapping[str, float]) -> None:
        """Finish the epoch's line with its final values, those of the validation included."""
        if not self.verbose:
            return
        elapsed = duration(self._clock() - self._start)
        if self._live:
            self._draw(elapsed, logs, final=True)
            self.close()
            return
        parts = [self._heading, self._count(final=True), elapsed, self._pace()]
        if self.verbose == 1:
            parts.append(self._speed())
        self._write(" - ".join([part for part in parts if part] + _values(logs)) + "\n")

    def message(self, text: str) -> None:
        """Write ``text`` on a line of its own; a bar that was being drawn goes on below it."""
        if self._drawn:
            self._write("\r" + " " * self._drawn + "\r")
            self._drawn = 0
        if self._stream is not None:
            self._write(text + "\n")

    def close(self) -> None:
        """End a line that is being rewritten, so that what follows starts on its own. May be called again."""
        if self._drawn:
            self._drawn = 0
            self._write("\n")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _restart(self) -> None:
        self._start = self._last = self._clock() if self.verbose else 0.0
        self._next_draw = self._start if self._live else float("inf")
        self._step = self._images = 0
        self._first = None

    def _rate(self, total: int, at_first: int) -> float:
        """Steps or images a second. The first step, which may hold compilation, counts only if alone."""
        if self._first is not None and self._step > self._first[1]:
            seconds = self._last - self._first[0]
            return (total - at_first) / max(seconds, 1e-9)
        return total / max(self._last - self._start, 1e-9)

    def _steps_per_second(self) -> float:
        return self._rate(self._step, self._first[1] if self._first else 0)

    def _pace(self) -> str:
        rate = self._steps_per_second()
        if rate == 0:
            return ""
        seconds = 1 / rate
        scale, unit = (1, "s") if seconds >= 1 else (1e3, "ms") if seconds >= 1e-3 else (1e6, "us")
        return f"{seconds * scale:.0f}{unit}/step"

    def _speed(self) -> str:
        if not self._images:
            return self._pace()
        return f"{self._rate(self._images, self._first[2] if self._first else 0):,.0f} images/s"

    def _time_left(self) -> str:
        rate = self._steps_per_second()
        if self.total_steps is None or rate == 0:
            return ""
        return f"{duration(math.ceil(max(0, self.total_steps - self._step) / rate)):>3} left"

    def _count(self, final: bool) -> str:
        total = self.total_steps
        if total is None:
            return f"{self._step}/{self._step if final else '?'}"
        return f"{self._step:{len(str(total))}d}/{total}"

    def _draw(self, seconds: str, logs: Mapping[str, float], final: bool = False) -> None:
        count = self._count(final)
        values = _values(logs)
        width = self._width()
        head = [seconds, self._speed()]
        room = width - text_width(_join(count, "", head + values))
        if final and room < 0:
            # finished lines are not rewritten: the values may take lines of their own
            self._show(count, head, width - text_width(_join(count, "", head)), width)
            self._write("".join(f"\n    {row}" for row in _wrap(values, width - 4)))
        elif room < 0:
            self._show(count, [seconds, *values], 0, width)
        else:
            self._show(count, head + values, room, width)

    def _show(self, count: str, parts: list[str], room: int, width: int) -> None:
        """Rewrite the line, with a bar as wide as ``room`` allows."""
        full, rest, cut = self._characters
        bar_width = min(BAR_WIDTH, room - 1) if self.total_steps and room > SHORTEST_BAR else 0
        filled = bar_width * min(self._step, self.total_steps) // self.total_steps if self.total_steps else 0
        done, todo = full * filled, rest * (bar_width - filled)
        line = _cut(_join(count, done + todo, parts), width, cut)
        drawn = text_width(line)
        padding = " " * (min(self._drawn, width) - drawn)
        if self._coloured and bar_width:
            line = line.replace(done + todo, f"{GREEN}{done}{PLAIN}{DIM}{todo}{PLAIN}", 1)
        self._drawn = drawn
        self._write("\r" + line + padding)

    def _width(self) -> int:
        """Characters that fit on a line; in the last column some terminals wrap already."""
        if self._fixed_width is not None:
            return self._fixed_width
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (AttributeError, OSError, ValueError):
            columns = shutil.get_terminal_size().columns
        return max(1, (columns or 80) - 1)

    def _write(self, text: str) -> None:
        self._stream.write(text.encode(self._encoding, "replace").decode(self._encoding))
        self._stream.flush()


def duration(seconds: float) -> str:
    """Return seconds as "6s", "1:05" or "1:02:03".

    >>> duration(6.2), duration(65), duration(3723)
    ('6s', '1:05', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest}s"


def text_width(text: str) -> int:
    """Return the columns that ``text`` takes in a terminal; letters of some scripts take two.

    >>> text_width("loss"), text_width("損失")
    (4, 4)
    """
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def _values(logs: Mapping[str, float]) -> list[str]:
    return [f"{name}: {_number(float(value))}" for name, value in logs.items()]


def _number(value: float) -> str:
    return f"{value:.4f}" if value == 0 or 1e-3 < abs(value) < 1e6 or value != value else f"{value:.4e}"


def _join(count: str, bar: str, parts: list[str]) -> str:
    return " - ".join([" ".join(word for word in (count, bar, parts[0]) if word), *filter(None, parts[1:])])


def _cut(line: str, width: int, mark: str) -> str:
    if text_width(line) <= width:
        return line
    while line and text_width(line) >= width:
        line = line[:-1]
    return line + mark


def _wrap(values: list[str], width: int) -> list[str]:
    rows: list[str] = []
    for value in values:
        if rows and text_width(f"{rows[-1]} - {value}") <= width:
            rows[-1] += f" - {value}"
        else:
            rows.append(value)
    return rows


def _encodes(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _rewrites_lines(stream: TextIO) -> bool:
    """Say whether a carriage return goes back to the start of the line there."""
    if os.environ.get("PYCHARM_HOSTED"):
        return True
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False
