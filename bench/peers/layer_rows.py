"""The rows about single convolutions: the distinct layers of ResNet-50 and VGG-16, three passes each."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from statistics import median
from typing import Any

from cases import RESNET50, VGG16, ConvCase

from peers.driver import Figure, Setup, Worker, WorkerError, compare, start
from peers.results import MET, MISSED, Result

PASSES = ("forward", "grad_input", "grad_weights")
SECONDS, ROUNDS = 0.1, 4
MEAN_BAR, LEAST_BAR, PEAK_BAR = 1.1, 0.95, 0.85


@dataclass(frozen=True)
class LayerResult:
    """One pass of one layer; `flops` counts taps on real pixels only."""

    layer: str
    which: str
    flops: float
    ours: Figure
    torch: Figure
    peak: Figure

    def rate(self, figure: Figure) -> float | None:
        """GFLOP/s."""
        return None if figure.missing else self.flops / figure.value / 1e9

    @property
    def ratio(self) -> float | None:
        """How many times as fast as PyTorch."""
        return None if self.ours.missing or self.torch.missing else self.torch.value / self.ours.value

    def share(self, peak: float | None) -> float | None:
        """Share of the core's peak, in operations a second."""
        return None if self.ours.missing or peak is None else self.flops / self.ours.value / peak


def peak_rate(layers: Sequence[LayerResult]) -> float | None:
    """The core's peak, in operations a second: the median of what was measured beside all the layers."""
    known = [layer.peak.value for layer in layers if not layer.peak.missing]
    return 1 / median(known) if known else None


def request_for(case: ConvCase, which: str) -> dict[str, Any]:
    """What a worker is asked for: plain geometry."""
    return {
        "kind": "conv",
        "pass": which,
        "x_shape": case.x_shape,
        "w_shape": case.w_shape,
        "y_shape": case.y_shape,
        "strides": case.strides,
        "pads": case.window.pads(case.h, case.w),
        "dilation": case.dilation,
        "groups": case.groups,
    }


def fastest_way(workers: Sequence[Worker], request: Mapping[str, Any]) -> str:
    """How PyTorch does it quickest, "" where it does not: where its weights are packed before, so are ours."""
    for worker in workers:
        if worker.peer.name == "torch":
            with contextlib.suppress(WorkerError):
                return str(worker.ask({**request, "do": "prepare"})["note"])
    return ""


def measure_layers(setup: Setup, cases: Sequence[ConvCase] | None = None) -> list[LayerResult]:
    """Time all layers, on one thread; --quick takes one layer in five."""
    chosen = (*RESNET50, *VGG16) if cases is None else tuple(cases)
    if setup.quick:
        chosen = chosen[::5]
    short = replace(setup, seconds=SECONDS, rounds=min(setup.rounds, ROUNDS))
    workers, missing = start(["cnnlite", "torch", "fma"], setup, threads=1)
    found = []
    try:
        for case in chosen:
            for which in PASSES:
                request = request_for(case, which)
                request["way"] = fastest_way(workers, request)
                figures = {**missing, **compare(workers, request, short)}
                found.append(
                    LayerResult(
                        case.name, which, case.flops, figures["cnnlite"], figures["torch"], figures["fma"]
                    )
                )
    finally:
        for worker in workers:
            worker.close()
    return found


def summed_up(layers: Sequence[LayerResult]) -> list[Result]:
    """The two rows of the main table."""
    raw = {
        "layers": [
            vars(layer) | {name: vars(vars(layer)[name]) for name in ("ours", "torch", "peak")}
            for layer in layers
        ]
    }
    theirs = _rates([layer.rate(layer.torch) for layer in layers])
    conv = Result(
        "conv",
        "conv2d, three passes, ResNet-50 and VGG-16 layers, 1 thread",
        _rates([layer.rate(layer.ours) for layer in layers]),
        [f"PyTorch channels_last (oneDNN) {theirs}"],
        bar=f"mean {MEAN_BAR:g}x, least {LEAST_BAR:g}x",
        raw=raw,
    )
    share = Result("peak", "share of the core's FMA peak, best conv layer", "", bar=f"{PEAK_BAR:g}")
    ratios = [(layer.ratio, layer) for layer in layers if layer.ratio is not None]
    if ratios and len(ratios) == len(layers):
        conv.ratio = exp(sum(log(ratio) for ratio, _ in ratios) / len(ratios))
        least, at = min(ratios, key=lambda pair: pair[0])
        conv.verdict = MET if conv.ratio >= MEAN_BAR and least >= LEAST_BAR else MISSED
        conv.verdict += f"; least {least:.2f}x ({at.layer}, {at.which})"
    else:
        reasons = {layer.ours.missing or layer.torch.missing for layer in layers} - {""}
        conv.verdict = f"not measured: {'; '.join(sorted(reasons))}"
    peak = peak_rate(layers)
    shares = [(found, layer) for layer in layers if (found := layer.share(peak)) is not None]
    if shares and peak is not None:
        share.ratio, at = max(shares, key=lambda pair: pair[0])
        share.ours = f"{at.rate(at.ours):.0f} GFLOP/s ({at.layer}, {at.which})"
        share.others = [f"register-only loop {peak / 1e9:.0f} GFLOP/s"]
        share.verdict = MET if share.ratio >= PEAK_BAR else MISSED
    else:
        share.ours, share.verdict = "absent", "not measured"
    return [conv, share]


def _rates(rates: Sequence[float | None]) -> str:
    known = [rate for rate in rates if rate is not None]
    return f"{min(known):.0f} to {max(known):.0f} GFLOP/s" if known else "absent"
