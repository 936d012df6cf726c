"""The row about convolutions of bfloat16: wide layers of ResNet-50 and VGG-16, three passes, beside PyTorch's and our float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log

from cases import RESNET50, VGG16, ConvCase

from peers.driver import Figure, Setup, compare, start
from peers.layer_rows import PASSES, request_for
from peers.results import MET, MISSED, Result
from peers.table import markdown

SECONDS = 0.1
LEAST_CHANNELS = 64  # of x: others are no wide layers
BAR = 0.9


@dataclass(frozen=True)
class Bfloat16Result:
    """One pass of one layer: operands of bfloat16 (`ours`, `torch`), and our float32."""

    layer: str
    which: str
    flops: float
    ours: Figure
    torch: Figure
    float32: Figure

    def rate(self, figure: Figure) -> str:
        """GFLOP/s, or why there is none."""
        return figure.missing or f"{self.flops / figure.value / 1e9:.0f}"

    def ratio(self, other: Figure) -> float | None:
        """How many times as fast as another."""
        return None if self.ours.missing or other.missing else other.value / self.ours.value


def measure_layers(setup: Setup, cases: Sequence[ConvCase] | None = None) -> list[Bfloat16Result]:
    """Time all wide layers, on one thread; --quick takes one in five."""
    wide = [case for case in (*RESNET50, *VGG16) if case.cin >= LEAST_CHANNELS]
    chosen = (wide[::5] if setup.quick else wide) if cases is None else cases
    short = replace(setup, seconds=SECONDS)
    workers, missing = start(["cnnlite", "torch"], setup, threads=1)
    found = []
    try:
        for case in chosen:
            for which in PASSES:
                request = request_for(case, which)
                figures = {**missing, **compare(workers, {**request, "kind": "conv_bfloat16"}, short)}
                plain = {**missing, **compare(workers[:1], request, short)}["cnnlite"]
                found.append(
                    Bfloat16Result(case.name, which, case.flops, figures["cnnlite"], figures["torch"], plain)
                )
    finally:
        for worker in workers:
            worker.close()
    return found


def summed_up(layers: Sequence[Bfloat16Result]) -> Result:
    """The row of the main table."""
    result = Result(
        "bfloat16_layers",
        "conv2d of bfloat16 as in a network, three passes, wide ResNet-50 and VGG-16 layers, 1 thread",
        bar=f"least {BAR:g}x",
        raw={
            "layers": [
                vars(layer) | {name: vars(vars(layer)[name]) for name in ("ours", "torch", "float32")}
                for layer in layers
            ]
        },
    )
    ratios = [(ratio, layer) for layer in layers if (ratio := layer.ratio(layer.torch)) is not None]
    gains = [ratio for layer in layers if (ratio := layer.ratio(layer.float32)) is not None]
    if not ratios or len(ratios) < len(layers):
        reasons = {layer.ours.missing or layer.torch.missing for layer in layers} - {""}
        result.verdict = f"not measured: {'; '.join(sorted(reasons))}"
        return result
    result.ratio = _mean([ratio for ratio, _ in ratios])
    least, at = min(ratios, key=lambda pair: pair[0])
    rates = sorted(float(layer.rate(layer.ours)) for layer in layers)
    theirs = sorted(float(layer.rate(layer.torch)) for layer in layers)
    result.ours = f"{rates[0]:.0f} to {rates[-1]:.0f} GFLOP/s, {_mean(gains):.2f}x our float32"
    result.others = [f"PyTorch channels_last bfloat16 (oneDNN) {theirs[0]:.0f} to {theirs[-1]:.0f} GFLOP/s"]
    result.verdict = f"{MET if least >= BAR else MISSED}; least {least:.2f}x ({at.layer}, {at.which})"
    return result


def table(layers: Sequence[Bfloat16Result]) -> str:
    """One line a layer and pass, in GFLOP/s."""

    def shown(ratio: float | None) -> str:
        return "" if ratio is None else f"{ratio:.2f}"

    header = ["layer", "pass", "cnnlite", "PyTorch", "PyTorch's way", "ratio", "cnnlite float32", "gain"]
    rows = [
        [
            layer.layer,
            layer.which,
            layer.rate(layer.ours),
            layer.rate(layer.torch),
            layer.torch.note,
            shown(layer.ratio(layer.torch)),
            layer.rate(layer.float32),
            shown(layer.ratio(layer.float32)),
        ]
        for layer in layers
    ]
    return markdown(header, rows)


def _mean(ratios: Sequence[float]) -> float:
    """Geometric."""
    return exp(sum(map(log, ratios)) / len(ratios))
