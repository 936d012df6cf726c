"""Small made-up runs for the tests of bench/: files such as pytest-benchmark, compare_peers.py and scaling.py write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roofline.limits import Limits
from roofline.rows import Row, row_of
from roofline.work import Work

LIMITS = Limits(1, 100e9, ((1 << 20, 50e9), (16 << 20, 10e9)))
MACHINE = {"processor": "made up, 1 threads", "versions": "none"}


def row(
    case: str = "a", op: str = "conv2d", seconds: float = 1e-3, spread: float = 0.01, reference: float = 1e-3
) -> Row:
    """50 million operations: half of the peak when it takes a millisecond."""
    return row_of(op, case, Work(50e6, 1e6, "GFLOP/s"), LIMITS, seconds, spread, [reference] * 4)


def write_kernels(path: Path, rows: Sequence[Row]) -> Path:
    benchmarks = []
    for each in rows:
        stats = {"median": each.seconds, "data": [each.seconds]}
        benchmarks.append({"name": each.name, "stats": stats, "extra_info": each.extra_info()})
    path.write_text(json.dumps({"benchmarks": benchmarks, "limits": [LIMITS.as_json()], "machine": MACHINE}))
    return path


def _figure(peer: str, *values: float) -> dict[str, Any]:
    return {"peer": peer, "values": list(values), "note": "", "missing": "" if values else "absent"}


def write_peers(path: Path) -> Path:
    """A sweep over two batch sizes with and without a bar, start-up times, a row of another kind, and a layer."""
    layer = {
        "layer": "resnet50_conv2_3x3",
        "which": "forward",
        "flops": 1e6,
        "ours": _figure("cnnlite", 1e-5),
        "torch": _figure("torch", 2e-5),
        "peak": _figure("fma", 1e-11),
    }
    in_bfloat16 = {name: layer[name] for name in ("layer", "which", "flops", "ours", "torch")}
    in_bfloat16["float32"] = _figure("cnnlite", 4e-5)
    common = {"others": [], "against": ["torch", "tf"], "ratio": 2.0, "bar": "1x", "verdict": "met"}
    rows = [
        {"name": "train32", "title": "training, `fit`", "ours": "2,000 images/s", **common, "unit": "images/s",
         "sweep": "training", "size": 32,
         "raw": {"cnnlite": _figure("cnnlite", 5e-4, 6e-4), "torch": _figure("torch", 1e-3), "tf": _figure("tf")}},
        {"name": "train8", "title": "training at 8", "ours": "1,000 images/s", **common, "bar": "", "unit": "images/s",
         "sweep": "training", "size": 8,
         "raw": {"cnnlite": _figure("cnnlite", 1e-3), "torch": _figure("torch", 2e-3)}},
        {"name": "import", "title": "import", "ours": "0.10 s", **common, "unit": "s",
         "raw": {"cnnlite": _figure("cnnlite", 0.1), "torch": _figure("torch", 0.7, 0.9)}},
        {"name": "threads", "title": "two threads", "ours": "1.9", **common, "raw": {"one": _figure("cnnlite", 0.1)}},
        {"name": "conv", "title": "conv2d", "ours": "100 GFLOP/s", **common, "raw": {"layers": [layer]}},
        {"name": "bfloat16_layers", "title": "conv2d of bfloat16", "ours": "100 GFLOP/s", **common,
         "raw": {"layers": [in_bfloat16]}},
    ]  # fmt: skip
    path.write_text(
        json.dumps({"machine": {"processor": "made up"}, "versions": {"PyTorch": "0"}, "rows": rows})
    )
    return path
