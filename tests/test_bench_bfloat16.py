"""The row of bfloat16 convolutions: what is timed is right, and what is said of figures."""

from __future__ import annotations

import numpy as np
import pytest
from bfloat16_host import needs_bfloat16, rounded
from cases import ConvCase
from peers import bfloat16_conv, bfloat16_rows
from peers.driver import Figure
from peers.layer_rows import PASSES, request_for
from peers.operands import conv_inputs
from peers.protocol import Absent

from cnnlite_kernels import reference
from cnnlite_kernels.cpu.host import Host

CASE = ConvCase("small", 2, 9, 8, 20, 34, (3, 3), (2, 1), "same")


@needs_bfloat16
@pytest.mark.parametrize("which", PASSES)
def test_answers_are_of_rounded_operands(which: str) -> None:
    request = request_for(CASE, which)
    given = conv_inputs(request)
    x, w, grad_y = rounded(given.x), rounded(given.w), rounded(given.grad_y)
    expected = {
        "forward": lambda: reference.conv2d(x, w, **CASE.options),
        "grad_input": lambda: reference.conv2d_grad_input(grad_y, w, x.shape, **CASE.options),
        "grad_weights": lambda: reference.conv2d_grad_weights(x, grad_y, w.shape, **CASE.options),
    }[which]()
    answer = bfloat16_conv.bfloat16_conv(request).answer
    assert answer is not None
    limit = 2.0**-8 * np.abs(expected).mean(axis=-1)
    assert np.all(np.abs(answer() - rounded(expected.astype(np.float32)).mean(axis=-1)) <= limit)


def test_a_processor_without_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfloat16_conv, "host", lambda: Host(32, 16))
    with pytest.raises(Absent, match="this processor multiplies no bfloat16"):
        bfloat16_conv.bfloat16_conv(request_for(CASE, "forward"))


def result(ours: float, torch: Figure) -> bfloat16_rows.Bfloat16Result:
    figures = Figure("cnnlite", [ours]), torch, Figure("cnnlite", [2.0])
    return bfloat16_rows.Bfloat16Result("layer", "forward", 4e9, *figures)


@pytest.mark.parametrize(("ours", "verdict"), [(1.0, "met"), (1.2, "missed")])
def test_the_least_ratio_decides(ours: float, verdict: str) -> None:
    found = [result(ours, Figure("torch", [1.0])), result(0.5, Figure("torch", [1.0], note="packed"))]
    row = bfloat16_rows.summed_up(found)
    assert row.verdict == f"{verdict}; least {1 / ours:.2f}x (layer, forward)"
    assert row.ratio == pytest.approx((2 / ours) ** 0.5)
    assert "| packed" in bfloat16_rows.table(found)


def test_what_is_absent_is_named() -> None:
    found = [result(1.0, Figure("torch", missing="absent"))]
    assert bfloat16_rows.summed_up(found).verdict == "not measured: absent"
    assert "absent" in bfloat16_rows.table(found)
