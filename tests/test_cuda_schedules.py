"""Rung 6: results do not depend on which warps run first. The same bits from all together and from turns that are drawn.

The interpreter's rules for races (tools/ptx/tracking.py) hold for every order of warps; this looks at what those rules might miss.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

import cuda_products
import cuda_samples
from altered import Altered
from cuda_samples import run

from tools.ptx.errors import PtxError
from tools.ptx.schedule import Turns

BY_NAME = {sample.name: sample for sample in (*cuda_samples.SAMPLES, *cuda_products.SAMPLES)}
ORDERS = range(3)
NAMES = (
    "softmax of 10, float32",
    "softmax of 1030, float32",
    "cross-entropy of labels of 1030, gradient, float32",
    "squared error of 1030, gradient, float64",
    "bias gradient of 5 behind relu, float32",
    "limit of the norm, float32",
    "penalty",
    "adam, float32",
    "max pooling 3 x 3 with its gradient, float32",
    "matmul 32x32 nn",
    "matmul 64x64 nt scalar",
    "conv2d 32x32 wide",
    "conv2d 32x32 scalar",
    "conv2d, few channels, 64x32",
    "depthwise",
    "tensor matmul 64x64 nn tf32",
    "tensor matmul 64x64 nn bfloat16",
    "tensor conv2d gradient of weights 64x64 bfloat16",
)


@pytest.mark.parametrize("name", NAMES)
def test_any_order_of_warps_gives_the_same_bits(name: str) -> None:
    together = run(BY_NAME[name], Altered())
    for order in ORDERS:
        for one, other in zip(together, run(BY_NAME[name], Altered(order=order)), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("order", ORDERS)
def test_the_rules_hold_in_every_order(order: int) -> None:
    with pytest.raises(PtxError, match=r"race in shared memory|uninitialised shared memory"):
        run(BY_NAME["bias gradient of 5, float32"], Altered(without=0, order=order))


@pytest.mark.parametrize("name", ["bias gradient of 5, float32", "matmul 32x32 nn", "adam, float32"])
def test_without_a_barrier_some_order_shows_in_the_result(name: str) -> None:
    """With the rules switched off: the orders themselves tell a race."""
    wrong = 0
    for order in ORDERS:
        try:
            run(BY_NAME[name], Altered(without=0, order=order, check=False))
        except AssertionError:
            wrong += 1
    assert wrong


def test_turns_are_of_one_warp_and_repeat() -> None:
    running = np.arange(128) % 5 > 0
    running[64:96] = False
    first, second, other = Turns(128, 0), Turns(128, 0), Turns(128, 1)
    drawn = [(first.next(running), second.next(running), other.next(running)) for _ in range(200)]
    for turn, again, _ in drawn:
        np.testing.assert_array_equal(turn, again)
        (warp,) = np.unique(np.flatnonzero(turn) // 32)
        np.testing.assert_array_equal(turn[warp * 32 :][:32], running[warp * 32 :][:32])
    order = [int(turn.argmax()) // 32 for turn, _, _ in drawn]
    assert set(order) == {0, 1, 3}
    assert order != [int(turn.argmax()) // 32 for _, _, turn in drawn]
