"""Samples (cuda_samples.py) for every kernel of matrix products and convolutions, of each tile that it comes with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any
from unittest.mock import patch

import numpy as np
from cases import ConvCase
from cuda_samples import Check, Checks, Sample, integers, there

from cnnlite_kernels import reference
from cnnlite_kernels.cuda import (
    conv2d,
    conv2d_grad_weights,
    conv2d_taps,
    matmul,
    narrow,
    tensor_conv2d,
    tensor_matmul,
    tensor_tile,
    tile,
)
from cnnlite_kernels.cuda.geometry import Geometry
from cnnlite_kernels.cuda.plan import Plan

WIDE, SCALAR = (
    ConvCase("wide", 2, 5, 6, 16, 8, (3, 2), (2, 1), "same"),
    ConvCase("scalar", 2, 5, 6, 9, 5, (3, 2), (1, 2), "same"),
)
PRECISIONS = ("tf32", "bfloat16")


def _matmul(plan: Plan, one: tile.Tile, transpose_a: bool, transpose_b: bool, wide: bool) -> Checks:
    """In two parts, more than a step each."""
    m, n, k = (20, 24, 28) if wide else (19, 23, 27)
    a = integers((k, m) if transpose_a else (m, k), np.float32)
    b = integers((n, k) if transpose_b else (k, n), np.float32)
    bias, y = integers((n,), np.float32), plan.scratch(m * n)
    with patch.object(matmul, "choose", lambda *_: tile.Choice(one, 2, 16)):
        matmul.add_matmul(
            plan, there(plan, a), there(plan, b), y, m, n, k, transpose_a=transpose_a, transpose_b=transpose_b,
            bias=there(plan, bias), activation="relu",
        )  # fmt: skip
    wanted = reference.matmul(
        a, b, bias=bias, transpose_a=transpose_a, transpose_b=transpose_b, activation="relu"
    )
    return [Check(y, wanted)]


def _conv2d(
    plan: Plan, case: ConvCase, precision: str | None = None, passes: str = "y grad_x grad_w"
) -> Checks:
    """precision: of tensor cores, None without them."""
    x, w, b, grad_y = (
        integers(shape, np.float32) for shape in (case.x_shape, case.w_shape, (case.cout,), case.y_shape)
    )
    g = Geometry.of(case.window, case.n, case.h, case.w, case.cin, case.cout, case.groups)
    checks = []
    ops: Any = tensor_conv2d if precision else conv2d
    options = {"precision": precision} if precision else {}
    if "y" in passes.split():
        y = plan.scratch(grad_y.size)
        ops.add_forward(plan, g, there(plan, x), there(plan, w), there(plan, b), y, "relu", **options)
        checks.append(Check(y, reference.conv2d(x, w, b, activation="relu", **case.options)))
    if "grad_x" in passes:
        grad_x = plan.scratch(x.size)
        ops.add_grad_input(plan, g, there(plan, grad_y), there(plan, w), grad_x, **options)
        checks.append(Check(grad_x, reference.conv2d_grad_input(grad_y, w, case.x_shape, **case.options)))
    if "grad_w" in passes:
        grad_w = plan.scratch(w.size)
        ops.add_grad_weights(plan, g, there(plan, x), there(plan, grad_y), grad_w, **options)
        checks.append(Check(grad_w, reference.conv2d_grad_weights(x, grad_y, case.w_shape, **case.options)))
    return checks


def _conv2d_of(plan: Plan, case: ConvCase, one: tile.Tile) -> Checks:
    choice = tile.Choice(one, 1, 64)
    with (
        patch.object(conv2d_taps, "choose", lambda *_: choice),
        patch.object(conv2d_grad_weights, "choose", lambda *_: choice),
    ):
        return _conv2d(plan, case)


def _narrow(plan: Plan, case: ConvCase, one: tile.Tile) -> Checks:
    with patch.multiple(narrow, SLIM=one, SMALL=one, TALL=one):
        return _conv2d(plan, case, passes="y")


def _tensor_matmul(
    plan: Plan, one: tensor_tile.Tile, precision: str, k: int, transpose_a: bool, transpose_b: bool
) -> Checks:
    m, n = 20, 24
    a = integers((k, m) if transpose_a else (m, k), np.float32)
    b = integers((n, k) if transpose_b else (k, n), np.float32)
    y = plan.scratch(m * n)
    with patch.object(tensor_matmul, "choose", lambda *_: one):
        tensor_matmul.add_matmul(
            plan, there(plan, a), there(plan, b), y, m, n, k, transpose_a=transpose_a, transpose_b=transpose_b,
            precision=precision,
        )  # fmt: skip
    return [Check(y, reference.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b))]


def _tensor_grad_weights(plan: Plan, one: tensor_tile.Tile, precision: str) -> Checks:
    """Of several steps."""
    with patch.object(tensor_conv2d, "choose", lambda *_: one):
        return _conv2d(plan, WIDE.with_batch(8), precision=precision, passes="grad_w")


def _matmuls() -> Iterator[Sample]:
    for wide, tiles in ((True, tile.TILES), (False, matmul.GUARDED)):
        for one, (ta, tb) in product(tiles, product((False, True), repeat=2)):
            emit = partial(_matmul, one=one, transpose_a=ta, transpose_b=tb, wide=wide)
            yield Sample(f"matmul {one} {'nt'[ta]}{'nt'[tb]}{'' if wide else ' scalar'}", emit)


def _convolutions() -> Iterator[Sample]:
    for case, tiles in ((WIDE, conv2d_taps.TILES), (SCALAR, conv2d_taps.GUARDED)):
        for one in tiles:
            yield Sample(f"conv2d {one} {case}", partial(_conv2d_of, case=case, one=one))
    for one, more in product((narrow.SLIM, narrow.SMALL, narrow.TALL), (0, 1)):
        case = ConvCase("narrow", 1, 6, 5, 3, one.columns - 4 * (1 - more) - more, (3, 3), (2, 1))
        name = f"conv2d, few channels, {one}{' scalar' if more else ''}"
        yield Sample(name, partial(_narrow, case=case, one=one))
    for cin, cout, name in ((8, 8, ""), (3, 6, " scalar")):
        case = ConvCase("depthwise", 2, 6, 5, cin, cout, (3, 2), (2, 1), "same", groups=cin)
        yield Sample(f"depthwise{name}", partial(_conv2d, case=case))


def _tensor_cores() -> Iterator[Sample]:
    for precision, one in product(PRECISIONS, tensor_tile.TILES):
        for k, (ta, tb) in ((80, (False, False)), (33, (True, True))):
            emit = partial(_tensor_matmul, one=one, precision=precision, k=k, transpose_a=ta, transpose_b=tb)
            yield Sample(f"tensor matmul {one} {'nt'[ta]}{'nt'[tb]} {precision}", emit)
        emit = partial(_tensor_grad_weights, one=one, precision=precision)
        yield Sample(f"tensor conv2d gradient of weights {one} {precision}", emit)
    for precision, case in product(PRECISIONS, (WIDE, SCALAR)):
        emit = partial(_conv2d, case=case, precision=precision, passes="y grad_x")
        yield Sample(f"tensor conv2d {case} {precision}", emit)


SAMPLES: tuple[Sample, ...] = (*_matmuls(), *_convolutions(), *_tensor_cores())
