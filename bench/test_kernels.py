"""Every kernel on the shapes that the tests know: `pytest bench`.

An answer is checked before it is timed. Each row is timed on one thread and on all, and tells GFLOP/s or GB/s and the share of what the
machine can do. pytest-benchmark's options work as always: `pytest bench -k matmul --benchmark-save now`, `--benchmark-compare`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cases import (
    DOCUMENTED,
    LARGE_CONVS,
    LARGE_POOLS,
    RESNET50,
    SQUARE,
    VGG16,
    ConvCase,
    MatmulCase,
    PoolCase,
)
from roofline import calls, passes, steps
from roofline.calls import Call

Timed = Callable[[str, str, Call], None]

MATMULS = [*(case for case in DOCUMENTED if isinstance(case, MatmulCase)), *SQUARE]
CONVS = [*(case for case in DOCUMENTED if isinstance(case, ConvCase)), *RESNET50, *VGG16, *LARGE_CONVS]
POOLS = [*(case for case in DOCUMENTED if isinstance(case, PoolCase)), *LARGE_POOLS]
WINOGRAD = [
    case
    for case in (*RESNET50, *VGG16)
    if case.kernel == (3, 3) and case.strides == (1, 1) and case.cin == case.cout
]
LOGITS = [(32, 10), (256, 10), (32, 1000), (256, 1000)]


@pytest.mark.parametrize("case", MATMULS, ids=str)
def test_matmul(case: MatmulCase, timed: Timed) -> None:
    timed("matmul", str(case), calls.matmul(case))


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_conv2d(case: ConvCase, timed: Timed) -> None:
    timed("conv2d", str(case), calls.conv2d(case, "forward"))


@pytest.mark.parametrize("algorithm", ["winograd2x2", "winograd"])
@pytest.mark.parametrize("case", WINOGRAD, ids=str)
def test_conv2d_winograd(case: ConvCase, algorithm: str, timed: Timed) -> None:
    """Counted as the direct algorithm's operations, so that the rows compare: more than the whole limit is no mistake."""
    timed(f"conv2d {algorithm}", str(case), calls.conv2d(case, "forward", algorithm))


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_conv2d_grad_input(case: ConvCase, timed: Timed) -> None:
    timed("conv2d_grad_input", str(case), calls.conv2d(case, "grad_input"))


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_conv2d_grad_weights(case: ConvCase, timed: Timed) -> None:
    timed("conv2d_grad_weights", str(case), calls.conv2d(case, "grad_weights"))


@pytest.mark.parametrize("case", POOLS, ids=str)
def test_max_pool2d(case: PoolCase, timed: Timed) -> None:
    timed("max_pool2d", str(case), calls.max_pool2d(case))


@pytest.mark.parametrize("case", POOLS, ids=str)
def test_max_pool2d_grad(case: PoolCase, timed: Timed) -> None:
    timed("max_pool2d_grad", str(case), calls.max_pool2d_grad(case))


@pytest.mark.parametrize("shape", passes.SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("op", passes.PASSES)
def test_pass(op: str, shape: passes.Shape, timed: Timed) -> None:
    timed(op, "x".join(map(str, shape)), passes.of(op, shape))


@pytest.mark.parametrize(("n", "classes"), LOGITS)
def test_softmax_cross_entropy(n: int, classes: int, timed: Timed) -> None:
    timed("softmax_cross_entropy", f"{n}x{classes}", calls.softmax_cross_entropy(n, classes))


@pytest.mark.parametrize("width", steps.WIDTHS)
@pytest.mark.parametrize("name", steps.OPTIMIZERS)
def test_optimizer_step(name: str, width: int, timed: Timed) -> None:
    timed(f"{name} step", f"{width}x{width}", steps.optimizer_step(name, width))
