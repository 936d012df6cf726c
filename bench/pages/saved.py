"""Saved runs, as the report reads them from a folder: kernels.json, peers.json, scaling.json, any of them absent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from growth import tables as growth_tables
from growth.series import Series
from peers.bfloat16_rows import Bfloat16Result
from peers.driver import Figure
from peers.layer_rows import LayerResult
from peers.results import Result
from roofline import rows
from roofline.rows import Run

KERNELS, PEERS, SCALING = "kernels.json", "peers.json", "scaling.json"


@dataclass(frozen=True)
class Peers:
    """What compare_peers.py kept."""

    machine: dict[str, str]
    versions: dict[str, str]
    results: tuple[Result, ...]
    layers: tuple[LayerResult, ...]
    bfloat16_layers: tuple[Bfloat16Result, ...]


@dataclass(frozen=True)
class Scaling:
    """What scaling.py kept."""

    machine: dict[str, str]
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Saved:
    """Everything in a folder; None for what is not there."""

    kernels: Run | None
    peers: Peers | None
    scaling: Scaling | None


def load(folder: Path) -> Saved:
    """Reads a folder.

    Raises:
        ValueError: a folder with none of the three files, or a file of something else.
    """
    if not any((folder / name).exists() for name in (KERNELS, PEERS, SCALING)):
        raise ValueError(f"{folder}: expected {KERNELS}, {PEERS} or {SCALING} in it, got none of them.")
    kernels, peers, scaling = (folder / name for name in (KERNELS, PEERS, SCALING))
    return Saved(
        rows.load(kernels) if kernels.exists() else None,
        load_peers(peers) if peers.exists() else None,
        load_scaling(scaling) if scaling.exists() else None,
    )


def load_peers(path: Path) -> Peers:
    """What `python bench/compare_peers.py --json FILE` wrote.

    Raises:
        ValueError: another file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        results = tuple(Result(**each) for each in found["rows"])
        passes = {result.name: result.raw.get("layers", ()) for result in results}
        layers = tuple(LayerResult(**_with_figures(each)) for each in passes.get("conv", ()))
        bfloat16 = tuple(Bfloat16Result(**_with_figures(each)) for each in passes.get("bfloat16_layers", ()))
        return Peers(found["machine"], found["versions"], results, layers, bfloat16)
    except (ValueError, KeyError, TypeError) as problem:
        raise ValueError(
            f"{path}: expected a file of `python bench/compare_peers.py --json FILE`, got {type(problem).__name__}: {problem}."
        ) from problem


def load_scaling(path: Path) -> Scaling:
    """What `python bench/scaling.py --json FILE` wrote; ValueError for another file."""
    series, machine = growth_tables.load(path)
    return Scaling(machine, tuple(series))


def _with_figures(found: dict[str, Any]) -> dict[str, Any]:
    """The fields of a layer's result: what is an object in the file was a Figure."""
    return {name: Figure(**value) if isinstance(value, dict) else value for name, value in found.items()}
