"""What the rows of single ops ask for: kernels that pass over images, and transposed convolution, on one thread."""

from __future__ import annotations

from typing import Any

Shape = tuple[int, int, int, int]
SHAPE: Shape = (32, 28, 28, 64)
OPS = {
    "batch_norm": "batch normalization in training",
    "average_pool": "average pooling, 2 x 2",
    "min_pool": "min pooling, 2 x 2",
    "nearest": "enlarging twice, nearest",
    "bilinear": "enlarging twice, bilinear",
    "leaky_relu": "leaky_relu",
    "prelu": "prelu, a slope for each channel",
    "transpose": "conv2d_transpose, 4 x 4, strides 2, to half the channels",
}
PASSES = {"forward": "forward", "grad": "all gradients"}


def y_shape(op: str, shape: Shape) -> Shape:
    """The shape of what an op makes of x (n, h, w, c).

    >>> y_shape("transpose", (1, 4, 6, 8)), y_shape("min_pool", (1, 4, 6, 8)), y_shape("prelu", (1, 4, 6, 8))
    ((1, 8, 12, 4), (1, 2, 3, 8), (1, 4, 6, 8))
    """
    n, h, w, c = shape
    if op.endswith("pool"):
        return n, h // 2, w // 2, c
    if op in ("nearest", "bilinear", "transpose"):
        return n, 2 * h, 2 * w, c // 2 if op == "transpose" else c
    return shape


def requests() -> dict[str, tuple[str, dict[str, Any]]]:
    """Title and request of each row, by its name."""
    by = " x ".join(map(str, SHAPE))
    return {
        f"{op}_{which}": (
            f"{title}, {PASSES[which]}, {by}, 1 thread",
            {"kind": "op", "op": op, "pass": which, "shape": SHAPE, "y_shape": y_shape(op, SHAPE)},
        )
        for op, title in OPS.items()
        for which in PASSES
    }
