"""matplotlib, where it is installed."""

from __future__ import annotations

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


def plain(axis: Any) -> None:
    """Numbers of a logarithmic axis as 20,000 or 0.5, not as powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
