"""Losses, their gradients, and AdamW against what Keras computed in float64: tools/make_keras_losses.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnlite import layers, losses, models, optimizers

FIGURES = json.loads(Path(__file__).with_name("data").joinpath("keras_losses.json").read_text("utf-8"))


@pytest.mark.parametrize("case", FIGURES["losses"], ids=lambda case: f"{case['loss']}_{case['arguments']}")
def test_losses_and_gradients(case: dict[str, Any]) -> None:
    loss = getattr(losses, case["loss"])(**case["arguments"])
    y_true, y_pred = np.array(case["y_true"]), np.array(case["y_pred"])
    assert loss.name == case["name"]
    assert loss(y_true, y_pred) == pytest.approx(case["value"], rel=1e-10)
    weights = np.array(case["sample_weight"])
    assert loss(y_true, y_pred, sample_weight=weights) == pytest.approx(case["weighted_value"], rel=1e-10)
    np.testing.assert_allclose(loss.gradient(y_true, y_pred), case["gradient"], rtol=1e-10)


@pytest.mark.parametrize("case", FIGURES["losses"], ids=lambda case: f"{case['loss']}_{case['arguments']}")
def test_losses_in_a_model(case: dict[str, Any]) -> None:
    """What a kernel makes of them: the loss, and a step along the gradient of its mean over the samples."""
    x, y = np.array(case["y_pred"]), np.array(case["y_true"])
    model = models.Sequential([layers.Input((3,)), layers.Dense(3, use_bias=False)], dtype="float64")
    model.compile(optimizers.SGD(1.0), getattr(losses, case["loss"])(**case["arguments"]))
    model.build()
    model.set_weights([np.eye(3)])
    assert model.evaluate(x, y, verbose=0) == pytest.approx(case["value"], rel=1e-10)
    assert model.train_on_batch(x, y) == pytest.approx(case["value"], rel=1e-10)
    step = np.eye(3) - model.get_weights()[0]
    np.testing.assert_allclose(step, x.T @ np.array(case["gradient"]) / len(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "case", FIGURES["adamw"], ids=lambda case: str(case["arguments"].get("weight_decay"))
)
def test_steps_of_adamw(case: dict[str, Any]) -> None:
    model = models.Sequential([layers.Input((1,)), layers.Dense(4, use_bias=False)], dtype="float64")
    model.build()
    model.set_weights([np.array([case["weight"]])])
    optimizer = optimizers.AdamW(**case["arguments"])
    for grad, wanted in zip(case["grads"], case["weights"], strict=True):
        model.weights[0].gradient[...] = grad
        optimizer.apply(model.weights)
        # Keras rounds a decay of 0.004 to float32
        np.testing.assert_allclose(model.get_weights()[0][0], wanted, rtol=1e-10, atol=1e-11)


def test_defaults_of_adamw() -> None:
    config = optimizers.AdamW().get_config()
    assert {name: config[name] for name in FIGURES["adamw_defaults"]} == FIGURES["adamw_defaults"]
