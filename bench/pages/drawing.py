"""matplotlib, where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

DOTS = 110


def pyplot() -> Any:
    """matplotlib.pyplot that draws into files.

    Raises:
        RuntimeError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as problem:
        raise RuntimeError(
            'plots: expected matplotlib, got none; pip install matplotlib, or "cnnlite[bench]", or ask for no plots.'
        ) from problem
    matplotlib.use("Agg")
    from matplotlib import pyplot as found

    return found


def save(figure: Any, path: Path) -> Path:
    """Writes a figure and lets it go."""
    figure.savefig(path, dpi=DOTS)
    pyplot().close(figure)
    return path


def number(value: float) -> str:
    """As one reads it.

    >>> number(20000.0), number(0.5)
    ('20,000', '0.5')
    """
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def plain(axis: Any, words: Callable[[float], str] = number) -> None:
    """Marks of a logarithmic axis at 1, 2 and 5 (powers of ten alone where it is long), in words and not as powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 2000 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: words(value)))
    axis.set_minor_formatter(NullFormatter())
