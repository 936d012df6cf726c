"""Optimizer steps on the GPU, their PTX interpreted: against the CPU's kernels over several steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from interpreted import Interpreted
from op_operands import DTYPES, draw_normals

from cnnlite_kernels.cpu import optimizers as cpu
from cnnlite_kernels.cpu import plan as cpu_plan
from cnnlite_kernels.cpu.memory import pointer_to
from cnnlite_kernels.cuda import optimizers
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.settings import OPTIMIZER

DEVICE = Interpreted()
SETTINGS = {
    "rate": 0.01, "momentum": 0.9, "beta_1": 0.9, "beta_2": 0.999, "rho": 0.9, "epsilon": 1e-7, "weight_decay": 0.0,
}  # fmt: skip
# a kernel, what it is made for, its number of slots, and other settings
CASES: dict[str, tuple[str, tuple[int, ...], int, dict[str, float]]] = {
    "sgd": ("sgd", (0,), 0, {}),
    "sgd with decay": ("sgd", (0,), 0, {"weight_decay": 0.2}),
    "momentum": ("sgd", (1,), 1, {"weight_decay": 0.1}),
    "nesterov": ("sgd", (1,), 1, {"nesterov": 1.0}),
    "adam": ("adam", (), 2, {}),
    "adam with decay": ("adam", (), 2, {"weight_decay": 0.1, "epsilon": 1e-3, "beta_1": 0.5}),
    "rmsprop": ("rmsprop", (0, 0), 3, {}),
    "rmsprop with momentum": ("rmsprop", (1, 0), 3, {"weight_decay": 0.1}),
    "rmsprop centered": ("rmsprop", (0, 1), 3, {"epsilon": 1e-3}),
    "rmsprop with both": ("rmsprop", (1, 1), 3, {"epsilon": 1e-3}),
}


def settings_of(step: int, changed: dict[str, float]) -> np.ndarray:
    values = {**SETTINGS, "steps": step, **changed}
    return np.array([values.get(name, 0.0) for name in OPTIMIZER])


def on_cpu(case: str, p: np.ndarray, g: np.ndarray, slots: list[np.ndarray], settings: np.ndarray) -> None:
    name, integers, _, _ = CASES[case]
    plan = cpu_plan.Plan(p.itemsize)
    plan.add(
        getattr(cpu, name), p.itemsize, *integers, parameters=pointer_to(p), grads=pointer_to(g), count=p.size,
        settings=pointer_to(settings), **{f"slot_{i}": pointer_to(slot) for i, slot in enumerate(slots)},
    )  # fmt: skip
    cpu_plan.Job([[cpu_plan.Part(plan)]]).run()


def on_gpu(
    case: str, p: np.ndarray, g: np.ndarray, slots: list[np.ndarray], settings: np.ndarray, count: int
) -> None:
    name, integers, _, _ = CASES[case]
    plan = Plan(DEVICE)
    optimizers.add_step(plan, name, integers, p, g, settings, slots, count)
    plan.run()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 1000])
@pytest.mark.parametrize("case", CASES)
def test_steps_are_the_cpus(case: str, count: int, dtype: type) -> None:
    """Five steps, to a few roundings of each; what lies behind `count` stays as it is."""
    rng = np.random.default_rng(0)
    _, _, number, changed = CASES[case]
    p = draw_normals(rng, (count + 3,), dtype)
    slots = [np.zeros(count + 3, dtype) for _ in range(number)]
    expected, expected_slots = p[:count].copy(), [slot[:count].copy() for slot in slots]
    beyond = p[count:].copy()
    for step in range(1, 6):
        g, settings = draw_normals(rng, (count + 3,), dtype), settings_of(step, changed)
        on_gpu(case, p, g, slots, settings, count)
        on_cpu(case, expected, g[:count].copy(), expected_slots, settings)
    eps = np.finfo(dtype).eps
    # a rate over the smallest root that is divided by, sqrt(1 - beta_2) or sqrt(epsilon), times a step's roundings
    np.testing.assert_allclose(p[:count], expected, rtol=64 * eps, atol=64 * eps)
    for slot, wanted in zip(slots, expected_slots, strict=True):
        np.testing.assert_allclose(slot[:count], wanted, rtol=64 * eps, atol=64 * eps)
        np.testing.assert_array_equal(slot[count:], 0)
    np.testing.assert_array_equal(p[count:], beyond)


@pytest.mark.parametrize("step", [1, 2, 3, 10, 1000, 10**6, 10**9])
def test_adams_correction_after_many_steps(step: int) -> None:
    """b^t by squaring has the root's and the quotient's digits after any number of steps."""
    settings = settings_of(step, {"beta_2": 1 - 1e-9, "beta_1": 1 - 1e-8})
    rng = np.random.default_rng(1)
    p, g = rng.standard_normal((2, 10))
    slots = [rng.random(10), rng.random(10)]
    expected, expected_slots = p.copy(), [slot.copy() for slot in slots]
    on_gpu("adam", p, g, slots, settings, 10)
    on_cpu("adam", expected, g, expected_slots, settings)
    np.testing.assert_allclose(p, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(slots, expected_slots, rtol=1e-14)


@pytest.mark.parametrize("case", ["sgd", "rmsprop"])
def test_slots_that_are_not_needed_may_be_missing_and_are_not_touched(case: str) -> None:
    """SGD keeps nothing without momentum, RMSprop without either nothing but v."""
    rng = np.random.default_rng(2)
    p, g = (draw_normals(rng, (100,), np.float32) for _ in range(2))
    full, slots = p.copy(), [np.zeros(100, np.float32) for _ in range(CASES[case][2])]
    on_gpu(case, full, g, slots, settings_of(1, {}), 100)
    few: list[Any] = [np.zeros(100, np.float32)][: len(slots)]
    on_gpu(case, p, g, few, settings_of(1, {}), 100)
    np.testing.assert_array_equal(p, full)
    for slot in slots[1:]:
        np.testing.assert_array_equal(slot, 0)


@pytest.mark.parametrize("case", CASES)
def test_more_than_a_turn_of_each_thread_and_the_same_bits_again(case: str) -> None:
    device = Interpreted()
    device.multiprocessors = 1
    name, integers, number, changed = CASES[case]
    found = []
    for _ in range(2):
        rng = np.random.default_rng(3)
        p, g = (draw_normals(rng, (5000,), np.float32) for _ in range(2))
        slots = [np.zeros(5000, np.float32) for _ in range(number)]
        plan = Plan(device)
        optimizers.add_step(plan, name, integers, p, g, settings_of(2, changed), slots, 5000)
        plan.run()
        found.append([p, *slots])
    assert all(np.isfinite(array).all() for array in found[0])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_to_do() -> None:
    plan, empty = Plan(DEVICE), np.empty(0, np.float32)
    optimizers.add_step(plan, "adam", (), empty, empty, settings_of(1, {}), [empty, empty], 0)
    assert not plan.launches
