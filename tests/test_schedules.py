"""Schedules: Keras's formulas at the steps where they bend, configs, bad arguments."""

from __future__ import annotations

import json
import math

import pytest

from cnnlite.schedules import (
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
    deserialize,
    serialize,
)

CASES = [
    (ExponentialDecay(0.1, 10, 0.5), {0: 0.1, 5: 0.1 * 0.5**0.5, 10: 0.05, 25: 0.1 * 0.5**2.5}),
    (ExponentialDecay(0.1, 10, 0.5, staircase=True), {0: 0.1, 9: 0.1, 10: 0.05, 19: 0.05, 25: 0.025}),
    (InverseTimeDecay(0.1, 10, 0.5), {0: 0.1, 5: 0.1 / 1.25, 10: 0.1 / 1.5, 40: 0.1 / 3}),
    (InverseTimeDecay(0.1, 10, 0.5, staircase=True), {0: 0.1, 9: 0.1, 10: 0.1 / 1.5, 19: 0.1 / 1.5}),
    (PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.1]), {0: 1, 10: 1, 11: 0.5, 20: 0.5, 21: 0.1, 999: 0.1}),
    (PiecewiseConstantDecay([], [0.3]), {0: 0.3, 9: 0.3}),
    (PolynomialDecay(0.1, 10), {0: 0.1, 5: 0.05005, 10: 0.0001, 99: 0.0001}),
    (PolynomialDecay(0.1, 10, 0.02, power=2.0), {0: 0.1, 5: 0.04, 10: 0.02, 11: 0.02}),
    # the second cycle is the line from step 0 to step 20: Keras stretches decay_steps
    (PolynomialDecay(0.1, 10, 0.0, cycle=True), {0: 0.1, 5: 0.05, 10: 0.0, 11: 0.045, 20: 0.0, 21: 0.03}),
    (CosineDecay(0.1, 10), {0: 0.1, 5: 0.05, 10: 0.0, 99: 0.0, 2: 0.05 * (1 + math.cos(0.2 * math.pi))}),
    (CosineDecay(0.1, 10, alpha=0.2), {0: 0.1, 5: 0.06, 10: 0.02, 99: 0.02}),
    (CosineDecay(0.1, 10, warmup_steps=5), {0: 0.1, 5: 0.05, 10: 0.0}),
    (
        CosineDecay(0.1, 10, 0.5, warmup_target=0.5, warmup_steps=4),
        {0: 0.1, 1: 0.2, 3: 0.4, 4: 0.5, 9: 0.375, 14: 0.25, 99: 0.25},
    ),
    (CosineDecay(0.1, 10, warmup_target=0.5), {0: 0.5, 10: 0.0}),
]


@pytest.mark.parametrize(("schedule", "expected"), CASES, ids=lambda value: getattr(value, "name", ""))
def test_formulas(schedule, expected):
    for step, rate in expected.items():
        assert schedule(step) == pytest.approx(rate, rel=1e-12, abs=1e-15)
        assert type(schedule(step)) is float


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in CASES], ids=lambda schedule: schedule.name)
def test_configs_survive_json(schedule):
    again = deserialize(json.loads(json.dumps(serialize(schedule))))
    assert type(again) is type(schedule)
    assert repr(again) == repr(schedule)
    assert [again(step) for step in range(30)] == [schedule(step) for step in range(30)]


def test_a_long_schedule_does_not_overflow():
    assert ExponentialDecay(0.1, 1, 0.5)(10_000) == 0
    assert InverseTimeDecay(0.1, 1, 1.0)(10**12) > 0


def test_the_base_class_has_no_formula():
    with pytest.raises(NotImplementedError, match=r"LearningRateSchedule: define __call__\(step\)"):
        LearningRateSchedule()(0)


def test_an_unknown_class():
    with pytest.raises(
        ValueError, match=r"expected a schedule, one of ExponentialDecay, .*, got 'Mine'. Make"
    ):
        deserialize({"class_name": "Mine", "config": {}})


@pytest.mark.parametrize("kind", [ExponentialDecay, InverseTimeDecay])
@pytest.mark.parametrize("steps", [0, -1])
def test_decay_steps_are_above_0(kind, steps):
    with pytest.raises(ValueError, match=rf"{kind.__name__}: expected decay_steps above 0, got {steps}"):
        kind(0.1, steps, 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PolynomialDecay(0.1, 0), r"PolynomialDecay: expected decay_steps above 0, got 0"),
        (lambda: CosineDecay(0.1, 0), r"CosineDecay: expected decay_steps above 0, got 0"),
        (lambda: CosineDecay(0.1, 9, warmup_steps=-1), r"expected warmup_steps of 0 or more, got -1"),
        (
            lambda: ExponentialDecay(0.1, 9, -0.5),
            r"ExponentialDecay: expected decay_rate of 0 or more, got -0.5",
        ),
        (lambda: CosineDecay(float("nan"), 9), r"expected initial_learning_rate to be finite, got nan"),
        (lambda: PiecewiseConstantDecay([1], [0.1]), r"one value more than boundaries, got 1 values and 1"),
        (lambda: PiecewiseConstantDecay([2, 2], [1, 2, 3]), r"expected boundaries that rise, got \(2, 2\)"),
    ],
)
def test_bad_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("bad", ["0.1", None, True, [0.1]])
def test_arguments_are_numbers(bad):
    with pytest.raises(TypeError, match=r"CosineDecay: expected initial_learning_rate to be a number, got"):
        CosineDecay(bad, 10)
