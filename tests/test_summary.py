"""summary(): the table; its figures against Keras's are in test_keras_figures.py."""

from __future__ import annotations

import networks
import pytest

from cnnlite import layers, models


def test_prints_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    networks.documented(name="net").summary()
    printed = capsys.readouterr().out
    assert printed.startswith('Model: "net"\n┌')
    assert "Total params: 93,322 (364.54 KB)" in printed


def test_every_line_goes_to_print_fn(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    networks.small().summary(line_length=60, print_fn=lines.append)
    assert capsys.readouterr().out == ""
    table = [line for line in lines if line[0] in "┌│├└"]
    assert len({len(line) for line in table}) == 1


def test_frozen_layers_and_float64() -> None:
    model = models.Sequential(
        [layers.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2, name="b")], dtype="float64"
    )
    model.layers[0].trainable = False
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert any("a (Dense), frozen" in line for line in lines)
    assert lines[-3:] == [
        "Total params: 23 (184.00 B)",
        "Trainable params: 8 (64.00 B)",
        "Non-trainable params: 15 (120.00 B)",
    ]
