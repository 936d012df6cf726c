"""A row of the tables: what each peer reached, how they compare, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from peers.driver import PEERS, Figure

MET, MISSED = "met", "missed"
# The units in which more is better; of the others less is: us, s, MB.
RATES = ("images/s", "GFLOP/s")
UNITS = (*RATES, "us", "s", "MB")


@dataclass
class Result:
    """Texts for the reader; `raw` has the figures by peer, of which less is better: seconds an item, seconds, bytes.

    `unit` is one of UNITS, "" for a row that compares nothing; GFLOP/s comes with `flops` an item. A row of a `sweep` is
    at one `size` of it. `against` are the labels of the figures that count for the ratio.
    """

    name: str
    title: str
    ours: str = ""
    others: list[str] = field(default_factory=list)
    ratio: float | None = None
    bar: str = ""
    verdict: str = ""
    raw: dict[str, Any] = field(default_factory=dict)
    unit: str = ""
    flops: float = 0.0
    sweep: str = ""
    size: int = 0
    against: list[str] = field(default_factory=list)

    @property
    def headline(self) -> bool:
        """Whether it has a bar or tells what one has to install and wait for; the others show how figures grow."""
        return bool(self.bar) or self.unit in ("s", "MB")

    @property
    def figures(self) -> dict[str, Figure]:
        """Of each peer that was asked; none for a row of another kind."""
        if not self.unit:
            return {}
        return {name: Figure(**found) for name, found in self.raw.items()}

    @property
    def measured(self) -> dict[str, Figure]:
        """Of each peer that has one."""
        return {name: each for name, each in self.figures.items() if each.values and not each.missing}

    @property
    def best_other(self) -> Figure | None:
        """The best of those that the ratio is about."""
        found = [each for name, each in self.measured.items() if name in self.against]
        return min(found, key=lambda figure: figure.value) if found else None


def amount(figure: Figure, unit: str, flops: float = 0.0) -> float:
    """The median in a unit.

    >>> amount(Figure("a", [0.5e-3]), "images/s"), amount(Figure("a", [0.5]), "GFLOP/s", 1e9)
    (2000.0, 2.0)
    >>> round(amount(Figure("fma", [1e-9]), "GFLOP/s", 1e9), 6)  # timed an operation, not an item
    1.0
    """
    if unit == "GFLOP/s":
        return (1.0 if figure.peer == "fma" else flops) / figure.value / 1e9
    if unit == "images/s":
        return 1 / figure.value
    return figure.value * {"us": 1e6, "s": 1.0, "MB": 1e-6}[unit]


def shown(value: float, unit: str) -> str:
    """An amount as a reader likes it.

    >>> shown(10000.0, "images/s"), shown(30.44, "us"), shown(4.26, "GFLOP/s"), shown(0.5, "s")
    ('10,000 images/s', '30.4 us', '4.3 GFLOP/s', '0.50 s')
    """
    if unit == "s":
        return f"{value:.2f} s"
    if unit == "us" or value < 10:
        return f"{value:,.1f} {unit}"
    return f"{value:,.0f} {unit}"


def described(figure: Figure, unit: str, flops: float = 0.0) -> str:
    """A peer's figure with its variant and spread, or why there is none."""
    if figure.missing:
        return figure.missing
    spread = f"±{figure.spread:.0%}" if len(figure.values) > 1 else ""
    about = ", ".join(filter(None, [spread, figure.note]))
    return shown(amount(figure, unit, flops), unit) + (f" ({about})" if about else "")


def judged(
    result: Result,
    figures: Mapping[str, Figure],
    against: Sequence[str],
    bar: float | None = None,
    most: float | None = None,
) -> Result:
    """The result with its figures, the ratio to the best of `against`, and the verdict.

    The verdict compares the ratio with `bar`, or our own figure with `most`, or else says who is better.
    """
    ours = figures["cnnlite"]
    result.raw = {name: vars(figure) for name, figure in figures.items()}
    result.against = list(against)
    result.ours = described(ours, result.unit, result.flops)
    rest = sorted((figure for name, figure in figures.items() if name != "cnnlite"), key=_order)
    result.others = [
        f"{PEERS[figure.peer].title} {described(figure, result.unit, result.flops)}" for figure in rest
    ]
    best = [figures[name].value for name in against if not figures[name].missing]
    if most is not None:
        result.bar = f"under {shown(most * (1e-6 if result.unit == 'MB' else 1), result.unit)}"
    elif bar is not None:
        result.bar = f"{bar:g}x"
    if ours.missing or (most is None and not best):
        result.verdict = "not measured" if ours.missing else "nothing to compare with"
        return result
    result.ratio = min(best) / ours.value if best else None
    if most is not None:
        result.verdict = MET if ours.value < most else MISSED
        return result
    assert result.ratio is not None
    if bar is None:
        result.verdict = "ahead" if result.ratio >= 1 else "behind"
    else:
        result.verdict = MET if result.ratio >= bar else MISSED
    absent = [PEERS[figures[name].peer].title for name in against if figures[name].missing == "absent"]
    if absent:
        result.verdict += f" (without {', '.join(absent)})"
    return result


def _order(figure: Figure) -> float:
    return float("inf") if figure.missing or figure.peer == "fma" else figure.value
