"""Convolutions on an interpreted GPU beside the reference's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from cases import ConvCase
from interpreted import Interpreted
from op_operands import draw_integers

from cnnlite_kernels import reference
from cnnlite_kernels.cuda import conv2d
from cnnlite_kernels.cuda.geometry import Geometry
from cnnlite_kernels.cuda.plan import Plan


class Wanted(NamedTuple):
    y: np.ndarray
    grad_x: np.ndarray
    grad_w: np.ndarray


class Results(NamedTuple):
    y: np.ndarray
    grad_x: np.ndarray
    grad_w: np.ndarray
    want: Wanted
    kernels: list[str]


def run(
    device: Interpreted, case: ConvCase, draw: Callable[..., np.ndarray] = draw_integers, *, seed: int = 0,
    activation: str | None = None, aligned: bool = True, margin: int = 0, passes: str = "y grad_x grad_w",
) -> Results:  # fmt: skip
    """All three passes; outputs begin as NaN.

    Args:
        aligned: as told to the kernels; operands then begin 4 bytes past a multiple of 16.
        margin: NaN before and behind every operand, a multiple of 4.
        passes: those to run.
    """
    rng = np.random.default_rng(seed)
    x, w, b, grad_y = (
        draw(rng, shape, np.float32) for shape in (case.x_shape, case.w_shape, (case.cout,), case.y_shape)
    )
    g = Geometry.of(case.window, case.n, case.h, case.w, case.cin, case.cout, case.groups)

    def place(array: np.ndarray) -> Any:
        start = margin + (0 if aligned else 1)
        memory = device.empty(start + array.size + margin)
        memory[start : start + array.size] = array.reshape(-1)
        return memory[start : start + array.size]

    def empty(shape: tuple[int, ...]) -> Any:
        return place(np.full(shape, np.nan, np.float32))

    y, grad_x, grad_w = empty(case.y_shape), empty(case.x_shape), empty(case.w_shape)
    plan = Plan(device)
    if "y" in passes.split():
        conv2d.add_forward(plan, g, place(x), place(w), place(b), y, activation, aligned)
    if "grad_x" in passes:
        conv2d.add_grad_input(plan, g, place(grad_y), place(w), grad_x, aligned)
    if "grad_w" in passes:
        conv2d.add_grad_weights(plan, g, place(x), place(grad_y), grad_w, aligned)
    plan.run()
    want = Wanted(
        reference.conv2d(x, w, b, activation=activation, **case.options),
        reference.conv2d_grad_input(grad_y, w, case.x_shape, **case.options),
        reference.conv2d_grad_weights(x, grad_y, case.w_shape, **case.options),
    )
    return Results(
        y.reshape(case.y_shape), grad_x.reshape(case.x_shape), grad_w.reshape(case.w_shape), want,
        [launch.kernel.name for launch in plan.launches],
    )  # fmt: skip


def assert_equal_to_reference(device: Interpreted, case: ConvCase, seed: int = 0, **options: Any) -> None:
    """Integers, so every sum is exact; a place that is not written shows as NaN."""
    found = run(device, case, seed=seed, activation="relu", **options)
    np.testing.assert_array_equal(found.y, found.want.y)
    np.testing.assert_array_equal(found.grad_x, found.want.grad_x)
    np.testing.assert_array_equal(found.grad_w, found.want.grad_w)


def with_bias(
    device: Interpreted, case: ConvCase, add: Callable[..., None] = conv2d.add_grad_input, **options: Any
) -> None:
    """The input's gradient plus a bias is the reference's, of integers; `add` emits it."""
    rng = np.random.default_rng(0)
    grad_y, w, bias = (
        draw_integers(rng, shape, np.float32) for shape in (case.y_shape, case.w_shape, (case.cin,))
    )
    g = Geometry.of(case.window, case.n, case.h, case.w, case.cin, case.cout)
    plan, grad_x = Plan(device), device.empty(int(np.prod(case.x_shape)))
    add(plan, g, grad_y.reshape(-1), w.reshape(-1), grad_x, bias=bias, **options)
    plan.run()
    expected = reference.conv2d_grad_input(grad_y, w, case.x_shape, **case.options) + bias
    np.testing.assert_array_equal(grad_x.reshape(case.x_shape), expected)
